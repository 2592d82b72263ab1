"""Teaches an image model to see differences: six channels, trained on pairs of frames (pairs.py) and on the classes at once.

    python3 train_pairs.py RING VALID_RING OUT_DIR --start CHECKPOINT.pt[,…] --minutes 45 [--clips CLIP_RING]

Starts from an image model of the same width and depth, whose weights for the three channels more are zero. With
--clips a third of the pairs are neighbours in rendered clips (clips.py).
"""

import argparse
import copy
import math
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import pairs
import picture as p
from export import load
from ring import Ring
from train import CONFIG, draw_pixels, optimizers, update_average
from vig_torch import ViG, cell_means


class Pairs(ViG):
    """A ViG that also tells, in every cell, what has changed since the frame before."""

    def __init__(self):
        super().__init__({**CONFIG, "in_chans": 6})
        self.change = nn.Linear(CONFIG["embed_dim"], pairs.TARGETS)

    def forward(self, x):
        x = self.norm(self.tokens(x))
        return self.head(x.mean(1)), self.change(cell_means(x, pairs.GRID))


def inflated(weights):
    """The weights of an image model with three input channels more, which do nothing yet."""
    first = "patch_embed.proj.0.weight"
    return {**weights, first: torch.cat([weights[first], torch.zeros_like(weights[first])], 1)}


def draw(rng, ring, clips, n):
    pixels, labels = draw_pixels(rng, ring, n)
    x, targets, known = pairs.from_pictures(rng, pixels)
    if clips is None or clips.filled() < 50:
        return x, labels, targets, known
    m = n // 3
    got = [pairs.from_clip(rng, *clips.neighbours(rng)) for _ in range(m)]
    now, before, moved = (np.stack([g[i] for g in got]) for i in range(3))
    x[:m] = pairs.to_input(now, before)
    targets[:m] = torch.from_numpy(np.concatenate([pairs.measured(now, before), np.clip(moved / pairs.REACH, -2, 2)], -1).astype(np.float32))
    known[:m] = torch.tensor([bool(g[3]) for g in got])
    labels[:m] = -100
    return x, labels, targets, known


def validate(model, ring, n=720):
    n, hits, losses = min(n, ring.filled()), np.zeros((len(p.LABELS),) * 2, int), []
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for start in range(0, n, 48):
            pixels, labels = np.array(ring.pixels[start:start + 48]), ring.labels[start:start + 48]
            x, targets, known = pairs.from_pictures(rng, pixels)
            logits, told = model(x)
            np.add.at(hits, (labels, logits.argmax(1).numpy()), 1)
            losses.append(pairs.loss(told, targets, known).item())
    recalls = hits.diagonal() / hits.sum(1).clip(1)
    return f"valid {hits.trace() / hits.sum():.3f}  pairs {np.mean(losses):.4f}  " + " ".join(
        f"{name[:5]} {r:.2f}" for name, r in zip(p.LABELS, recalls))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ring"), parser.add_argument("valid"), parser.add_argument("out")
    parser.add_argument("--start", required=True)
    parser.add_argument("--clips")
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng()
    ring, valid, clips = Ring(args.ring), Ring(args.valid), None
    model = Pairs()
    model.load_state_dict(inflated(load(args.start)["average"]), strict=False)
    average = copy.deepcopy(model).eval()
    both = optimizers(model, args.rate)
    rates = [(group, group["lr"]) for o in both.values() for group in o.param_groups]
    os.makedirs(args.out, exist_ok=True)
    path, step, losses = os.path.join(args.out, "checkpoint.pt"), 0, []
    begin = last_save = time.time()
    print("before:", validate(average, valid, 2400), flush=True)
    while (done := (time.time() - begin) / (args.minutes * 60)) < 1:
        if args.clips and clips is None and os.path.exists(os.path.join(args.clips, "filled")):
            from clips import ClipRing
            clips = ClipRing(args.clips)
        for group, rate in rates:
            group["lr"] = rate * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * done))
        x, labels, targets, known = draw(rng, ring, clips, args.batch)
        with torch.autocast("cpu", torch.bfloat16):
            logits, told = model(x)
        told_loss = pairs.loss(told.float(), targets, known)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.02) + 2 * told_loss
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in both.values():
            o.step()
        step += 1
        update_average(average, model, step)
        losses.append((loss.item(), told_loss.item()))
        if time.time() - last_save > 150:
            a, b = np.mean(losses, 0)
            print(f"{(time.time() - begin) / 60:5.1f} min  {step * args.batch:7d} draws  loss {a:.3f}  pairs {b:.4f}  {validate(average, valid)}", flush=True)
            torch.save({"config": model.config, "average": average.state_dict()}, path)
            last_save, losses = time.time(), []
    torch.save({"config": model.config, "average": average.state_dict()}, path)
    print("finished:", validate(average, valid, 2400))


if __name__ == "__main__":
    main()
