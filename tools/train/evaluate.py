"""Scores a model file on the evaluation frames and prints the confusion matrix.

    python3 evaluate.py MODEL.safetensors FRAMES_DIR [VIG_INFER]

With VIG_INFER (build/engine/vig-infer) the frames go through the engine; without it through the PyTorch model and
Pillow, from the same model file.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict

import numpy as np

import picture as p


def with_engine(program, model, files):
    """Labels through vig-infer, some hundred files at a time."""
    got = []
    for start in range(0, len(files), 200):
        out = subprocess.run([program, "--model", model, "--json", *(a for f in files[start:start + 200] for a in ("--image", f))],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        got += labels_of(out)
    return got


def labels_of(text):
    """The best label of every picture: vig-infer prints one JSON object a line, best result first."""
    return [json.loads(line)["results"][0]["label"] for line in text.splitlines()]


def with_torch(model_path, files):
    import torch
    from PIL import Image
    from train import to_input
    from vig_torch import load
    model, metadata = load(model_path)
    labels, got = json.loads(metadata["vig_labels"]), []
    with torch.no_grad():
        for start in range(0, len(files), 32):
            seen = np.stack([p.view(np.asarray(Image.open(f).convert("RGB"))) for f in files[start:start + 32]])
            got += [labels[i] for i in model(to_input(seen)).argmax(1)]
    return got


def print_matrix(frames, got, labels=p.LABELS, of="frames"):
    n = len(labels)
    matrix = np.zeros((n, n), int)
    for f, g in zip(frames, got):
        matrix[labels.index(f["label"]), labels.index(g)] += 1
    print(f"{'is \\ said':14s}" + "".join(f"{name[:9]:>10s}" for name in labels) + "    recall")
    for name, row in zip(labels, matrix):
        print(f"{name:14s}" + "".join(f"{v or '.':>10}" for v in row) + f"{row[labels.index(name)] / max(1, row.sum()):10.1%}")
    precision = matrix.diagonal() / matrix.sum(0).clip(1)
    print(f"{'precision':14s}" + "".join(f"{v:10.1%}" for v in precision))
    there = matrix.sum(1) > 0
    recalls = np.where(there, matrix.diagonal() / matrix.sum(1).clip(1), 1.0)
    print(f"top-1 {matrix.trace() / matrix.sum():.1%} of {matrix.sum()} {of}; mean recall {recalls[there].mean():.1%}; "
          f"lowest {labels[int(recalls.argmin())]} {recalls.min():.1%}")


def print_shares(title, key, frames, got):
    """Right answers by variant of the fault, or by video."""
    hits, all_ = defaultdict(int), defaultdict(int)
    for f, g in zip(frames, got):
        all_[key(f)] += 1
        hits[key(f)] += f["label"] == g
    print(f"\n{title}")
    for name in sorted(all_):
        print(f"  {name}: {hits[name]} of {all_[name]}")


def main(model, folder, program=None):
    frames = json.load(open(os.path.join(folder, "frames.json")))
    files = [os.path.join(folder, f["file"]) for f in frames]
    got = with_engine(program, model, files) if program else with_torch(model, files)
    print_matrix(frames, got)
    print_shares("by fault and how it was made", lambda f: f"{f['label']}, {f['variant']}", frames, got)
    print_shares("by video", lambda f: f["video"], frames, got)
    with open(os.path.join(folder, "answers.json"), "w") as f:
        json.dump([{**f_, "said": g} for f_, g in zip(frames, got)], f, indent=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
