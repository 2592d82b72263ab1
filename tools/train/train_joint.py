"""From an image model to a joint one (docs/temporal.md): inflated, then trained on windows of rendered clips.

    python3 train_joint.py IMAGE.pt[,…] CLIP_RING VALID_CLIPS OUT.pt --minutes 60 [--window 16] [--conv time]

Before the first step every frame's answer is the image model's. No model of this kind ships: camera-health-clip is a
stream model, which costs a frame's work where a window costs as many as it is long.
"""

import argparse
import math
import time

import numpy as np
import torch
import torch.nn.functional as F

import picture as p
from clips import LABELS, NONE, ClipRing
from export import load
from train import CONFIG, optimizers, to_input
from vig_torch import Joint


def config(window, conv):
    return {**CONFIG, "name": "camera-health-window", "num_classes": len(LABELS), "temporal": {"kind": "joint", "frames": window, "conv": conv}}


def start(image, window, conv):
    """The image model inflated; the faults in time, which it does not know, are unlikely at first."""
    model = Joint(config(window, conv))
    new = len(LABELS) - len(p.LABELS)
    image = {**image, "head.weight": F.pad(image["head.weight"], (0, 0, 0, new)), "head.bias": F.pad(image["head.bias"], (0, new), value=-2)}
    return model.inflate(image)


def let_past(model):
    """A boundary of -200 has no gradient to speak of: before training the scans may look into the frames beside."""
    with torch.no_grad():
        for block in model.blocks:
            block.attn.boundary.uniform_(-4, -0.5)


def windows(rng, ring, n, window):
    """n windows that end in a frame with a label: ([n,window,3,H,W], labels [n])"""
    frames, labels = [], []
    while len(frames) < n:
        i, stride = rng.integers(ring.filled()), rng.choice([1, 2, 3])
        ends = np.flatnonzero(ring.labels[i] != NONE)
        ends = ends[ends >= (window - 1) * stride]
        if len(ends):
            end = rng.choice(ends)
            frames.append(ring.pixels[i, end - (window - 1) * stride:end + 1:stride])
            labels.append(ring.labels[i, end])
    pixels = np.concatenate(frames)
    return to_input(pixels).unflatten(0, (n, window)), torch.tensor(np.array(labels), dtype=torch.long)


def score(model, ring, window, n=160):
    rng, right = np.random.default_rng(3), 0
    with torch.no_grad():
        for _ in range(n // 8):
            x, labels = windows(rng, ring, 8, window)
            right += (model(x).mean(1).argmax(1) == labels).sum().item()
    return right / (n // 8 * 8)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("image"), parser.add_argument("clips"), parser.add_argument("valid"), parser.add_argument("out")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--conv", choices=["frame", "time"], default="time")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng, ring, valid = np.random.default_rng(), ClipRing(args.clips), ClipRing(args.valid)
    model = start(load(args.image)["average"], args.window, args.conv)
    print(f"inflated: {score(model, valid, args.window):.3f}", flush=True)
    let_past(model)
    both = optimizers(model, args.rate)
    rates = [(group, group["lr"]) for o in both.values() for group in o.param_groups]
    begin, said, step, losses = time.time(), time.time(), 0, []
    while (done := (time.time() - begin) / (args.minutes * 60)) < 1:
        for group, rate in rates:
            group["lr"] = rate * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done))
        x, labels = windows(rng, ring, args.batch, args.window)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x).mean(1)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.02)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in both.values():
            o.step()
        step += 1
        losses.append(loss.item())
        if time.time() - said > 120:
            print(f"{(time.time() - begin) / 60:5.1f} min  {step} steps  loss {np.mean(losses):.3f}  valid {score(model, valid, args.window):.3f}", flush=True)
            said, losses = time.time(), []
    torch.save({"config": model.config, "average": model.state_dict()}, args.out)
    print(f"finished: {score(model, valid, args.window, 400):.3f}")


if __name__ == "__main__":
    main()
