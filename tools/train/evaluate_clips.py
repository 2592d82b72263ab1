"""Scores a model with a memory on the evaluation clips and prints the confusion matrix.

    python3 evaluate_clips.py [options] MODEL.safetensors CLIPS_DIR

    --plugin FOLDER    where libgstvig.so is: the clips go through vigclassify; without it through the PyTorch model
    --beside FILE      a model of single frames, scored on the same clips with clip-mode=mean (needs --plugin)
    --length N         frames of its window (25)
    --interval N       classify every n-th frame (1)

The answer for a clip is that on its last frame. Also printed is the share of all frames that are right from 2.5 s on, and
2 s after the fault has begun.
"""

import argparse
import json
import os
from collections import defaultdict

import numpy as np

import picture as p
from eval_clips import LABELS
from evaluate import print_matrix, print_shares

SURE, SETTLED = 2.5, 2.0   # seconds of the clip, and of the fault, after which frames are counted


# ---- through the element -----------------------------------------------------------------------------------------------

class Element:
    """Answers of vigclassify, for a clip and for a model of single frames beside it."""

    def __init__(self, plugin, model, beside, length, interval):
        import gi
        gi.require_version("Gst", "1.0")
        from gi.repository import Gst
        Gst.init(None)
        Gst.Registry.get().scan_path(plugin)
        self.gst = Gst
        self.chain = f"vigclassify name=clip model-file={model} interval={interval}"
        if beside:
            self.chain += f" ! vigclassify name=frames model-file={beside} clip-mode=mean clip-length={length} interval={interval}"
        # as long as these are ready, no model is loaded again for the next clip
        self.holder = Gst.parse_launch(f"fakesrc ! {self.chain} ! fakesink")
        if self.holder.set_state(Gst.State.READY) == Gst.StateChangeReturn.FAILURE:
            raise SystemExit(self.error(self.holder))

    def error(self, pipeline):
        message = pipeline.get_bus().pop_filtered(self.gst.MessageType.ERROR)
        return message.parse_error()[0].message if message else "the pipeline failed"

    def __call__(self, path):
        """Seconds of each frame, and the label on it: {name of the element: [label]}."""
        pipeline = self.gst.parse_launch(f"filesrc location={path} ! decodebin ! videoconvert ! {self.chain} ! appsink name=sink sync=false")
        sink = pipeline.get_by_name("sink")
        pipeline.set_state(self.gst.State.PLAYING)
        times, said = [], defaultdict(list)
        while (sample := sink.emit("pull-sample")) is not None:
            buffer = sample.get_buffer()
            times.append(buffer.pts / self.gst.SECOND)
            for result in buffer.get_custom_meta("VigResults").get_structure().get_value("results"):
                said[result["element"]].append(result["label"])
        failed = self.error(pipeline) if not times else None
        pipeline.set_state(self.gst.State.NULL)
        if failed:
            raise SystemExit(f"{path}: {failed}")
        return times, said


# ---- through PyTorch -----------------------------------------------------------------------------------------------------

class Torch:
    def __init__(self, model, interval):
        from vig_torch import load
        self.model, metadata = load(model)
        self.labels, self.interval = json.loads(metadata["vig_labels"]), interval

    def __call__(self, path):
        from eval_clips import decode
        frames = np.stack([p.view(f) for f in decode(path)])
        rate = next(c["rate"] for c in self.clips if path.endswith(c["file"]))
        times = np.arange(len(frames)) / rate
        best = answers(self.model, frames[::self.interval], times[::self.interval]).argmax(1)
        return list(times), {"clip": [self.labels[best[i // self.interval]] for i in range(len(frames))]}


def answers(model, frames, times):
    """Logits [T,classes] of a clip: views uint8 [T,160,160,3], times in seconds [T]."""
    import torch
    from train import to_input
    with torch.no_grad():
        return model(to_input(frames), torch.from_numpy(times).float()).numpy()


# ---- the score -------------------------------------------------------------------------------------------------------------

def settled(clip, times, labels):
    """The labels of the frames on which nobody could doubt any more."""
    return [label for at, label in zip(times, labels) if at >= max(SURE, clip["onset"] + SETTLED if clip["onset"] else 0)]


def print_score(clips, got, labels, title):
    """`got`: (times, label of every frame) of each clip."""
    last = [said[-1] for _, said in got]
    print(f"\n{title}")
    print_matrix(clips, last, labels, "clips")
    right, counted = defaultdict(int), defaultdict(int)
    for clip, (times, said) in zip(clips, got):
        late = settled(clip, times, said)
        for key in (clip["label"], "all"):
            right[key] += sum(label == clip["label"] for label in late)
            counted[key] += len(late)
    print("frames right: " + ", ".join(f"{key} {right[key] / max(1, counted[key]):.1%}" for key in ["all", *labels] if counted[key]))
    return last


def main():
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("model")
    options.add_argument("folder")
    options.add_argument("--plugin")
    options.add_argument("--beside")
    options.add_argument("--length", type=int, default=25)
    options.add_argument("--interval", type=int, default=1)
    args = options.parse_args()
    with open(os.path.join(args.folder, "clips.json")) as f:
        clips = json.load(f)
    if args.plugin:
        run = Element(args.plugin, args.model, args.beside, args.length, args.interval)
    else:
        run = Torch(args.model, args.interval)
        run.clips = clips
    got = [run(os.path.join(args.folder, clip["file"])) for clip in clips]
    of = lambda element: [(times, said[element]) for times, said in got]
    last = print_score(clips, of("clip"), LABELS, os.path.basename(args.model))
    print_shares("by fault and how it was made", lambda c: f"{c['label']}, {c['variant']}", clips, last)
    print_shares("by video", lambda c: c["video"], clips, last)
    if args.beside:
        print_score(clips, of("frames"), LABELS, f"{os.path.basename(args.beside)}, each frame by itself, clip-mode=mean over {args.length} frames")
    with open(os.path.join(args.folder, "clip-answers.json"), "w") as f:
        json.dump([{**c, "said": said} for c, said in zip(clips, last)], f, indent=0)


if __name__ == "__main__":
    main()
