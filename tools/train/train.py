"""Trains the camera-health model from a ring of rendered samples. Ends at the wanted time, whatever the machine's speed.

    python3 train.py RING VALID_RING OUT_DIR --minutes 75

The learning rate follows the clock: a short warm-up, then a cosine to zero at the end of the time. A checkpoint is
written every two minutes; running the same command with --resume goes on from it.
"""

import argparse
import copy
import math
import os
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F

import picture as p
from ring import Ring
from vig_torch import ViG

CONFIG = {"family": "vig", "name": "camera-health", "embed_dim": 96, "depth": 5, "num_heads": 3, "img_size": p.SIZE,
          "patch_size": 16, "in_chans": 3, "num_classes": len(p.LABELS), "act_in_conv": True, "out_act": True}


def to_input(pixels):
    """uint8 [B,H,W,3] to the normalised tensor [B,3,H,W]."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(p.MEAN).view(1, 3, 1, 1)) / torch.tensor(p.STD).view(1, 3, 1, 1)


SCENES = [p.LABELS.index(name) for name in ("normal", "defocused", "covered")]   # may stand on their heads, be lit otherwise


def vary(rng, pixels, label):
    """A cheap new sample from one of the ring: mirrored, cropped a little, other colours. The class stays what it is."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    if rng.random() < 0.5:
        pixels = pixels[..., rng.permutation(3)]
    if label in SCENES and rng.random() < 0.25:
        pixels = pixels[::-1]
    if rng.random() < 0.5:
        h, w = rng.integers(int(0.88 * p.SIZE), p.SIZE + 1, 2)
        y, x = rng.integers(p.SIZE - h + 1), rng.integers(p.SIZE - w + 1)
        pixels = cv2.resize(np.ascontiguousarray(pixels[y:y + h, x:x + w]), (p.SIZE, p.SIZE), interpolation=cv2.INTER_CUBIC)
    if label in SCENES and rng.random() < 0.4:
        pixels = (pixels * rng.uniform(0.75, 1.0, 1 if rng.random() < 0.5 else 3) + rng.uniform(0, 12)).astype(np.uint8)
    return pixels


# shares of the draws: the classes that are learned first need few
SHARES = {"normal": 38, "defocused": 11, "covered": 20, "over-exposed": 6, "black": 2, "test-pattern": 7, "snow": 2,
          "solid-colour": 3, "blocky": 23}


def draw_pixels(rng, ring, n):
    """Random samples of the filled part, each a little changed: uint8 [n,H,W,3], labels [n]."""
    labels = ring.labels[:ring.filled()]
    chances = np.array([SHARES[name] for name in p.LABELS]) / np.bincount(labels, minlength=len(p.LABELS))
    i = rng.choice(len(labels), n, p=chances[labels] / chances[labels].sum())
    pixels = np.stack([vary(rng, ring.pixels[k], ring.labels[k]) for k in i])
    return pixels, torch.from_numpy(ring.labels[i])


def draw(rng, ring, n):
    pixels, labels = draw_pixels(rng, ring, n)
    return to_input(pixels), labels


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (Newton-Schulz): fewer samples to the same loss than Adam, for matrices."""

    def __init__(self, params, lr, momentum=0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": 0.01})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for q in group["params"]:
                state = self.state[q]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(q)
                state["momentum"].lerp_(q.grad, 1 - group["momentum"])
                update = orthogonal(q.grad.lerp(state["momentum"], group["momentum"]))
                q.mul_(1 - group["lr"] * group["weight_decay"])
                q.add_(update, alpha=-group["lr"] * max(1, q.shape[0] / q.shape[1]) ** 0.5)


def orthogonal(g):
    """The nearest (semi-)orthogonal matrix, roughly."""
    x = g / (g.norm() + 1e-7)
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x if wide else x.T


def optimizers(model, rate):
    """Muon for the matrices of the blocks; Adam, with weight decay for convolutions only, for everything else."""
    named = list(model.named_parameters())
    matrices = [q for n, q in named if n.startswith("blocks") and q.ndim == 2 and min(q.shape) >= 64]
    mine = {id(q) for q in matrices}
    rest = [(n, q) for n, q in named if id(q) not in mine]
    adam = torch.optim.AdamW([{"params": [q for _, q in rest if q.ndim == 4], "weight_decay": 0.03},
                              {"params": [q for _, q in rest if q.ndim != 4], "weight_decay": 0.0}], rate, betas=(0.9, 0.98))
    return {"muon": Muon(matrices, 10 * rate), "adam": adam}


def update_average(average, model, step):
    keep = min(0.9985, step / (step + 30))
    with torch.no_grad():
        for a, q in zip(average.parameters(), model.parameters()):
            a.lerp_(q, 1 - keep)


def validate(model, ring, n=720):
    n = min(n, ring.filled())
    hits = np.zeros((len(p.LABELS), len(p.LABELS)), int)
    with torch.no_grad():
        for start in range(0, n, 48):
            end = min(n, start + 48)
            got = model(to_input(np.array(ring.pixels[start:end]))).argmax(1).numpy()
            np.add.at(hits, (ring.labels[start:end], got), 1)
    recalls = hits.diagonal() / hits.sum(1).clip(1)
    return hits.trace() / n, " ".join(f"{name[:5]} {r:.2f}" for name, r in zip(p.LABELS, recalls))


def save(path, model, average, both, step, spent):
    torch.save({"config": CONFIG, "model": model.state_dict(), "average": average.state_dict(), "step": step, "spent": spent,
                "optimizers": {name: o.state_dict() for name, o in both.items()}}, path + ".new")
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ring"), parser.add_argument("valid"), parser.add_argument("out")
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--start", help="a checkpoint to take the weights from, and nothing else")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng()
    ring, valid = Ring(args.ring), Ring(args.valid)
    model = ViG(CONFIG).init_weights()
    average = copy.deepcopy(model).eval()
    both = optimizers(model, args.rate)
    rates = [(group, group["lr"]) for o in both.values() for group in o.param_groups]
    os.makedirs(args.out, exist_ok=True)
    path, step, spent = os.path.join(args.out, "checkpoint.pt"), 0, 0.0
    if args.resume:
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"]), average.load_state_dict(saved["average"])
        for name, o in both.items():
            o.load_state_dict(saved["optimizers"][name])
        rates = [(group, rate) for (_, rate), group in zip(rates, [g for o in both.values() for g in o.param_groups])]
        step, spent = saved["step"], saved["spent"]
    if args.start:
        saved = torch.load(args.start, weights_only=True)
        model.load_state_dict(saved["average"]), average.load_state_dict(saved["average"])

    begin, total = time.time() - spent, args.minutes * 60
    last_save, losses = time.time(), []
    while (done := (time.time() - begin) / total) < 1:
        for group, rate in rates:
            group["lr"] = rate * min(1, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * done))
        x, y = draw(rng, ring, args.batch)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x)
        loss = F.cross_entropy(logits.float(), y, label_smoothing=0.02)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in both.values():
            o.step()
        step += 1
        update_average(average, model, step)
        losses.append(loss.item())
        if time.time() - last_save > 120:
            spent = time.time() - begin
            accuracy, recalls = validate(average, valid)
            print(f"{spent / 60:5.1f} min  {step * args.batch:7d} draws  {ring.filled():6d} filled  loss {np.mean(losses):.3f}  "
                  f"valid {accuracy:.3f}  {recalls}", flush=True)
            save(path, model, average, both, step, spent)
            last_save, losses = time.time(), []
    save(path, model, average, both, step, time.time() - begin)
    print("finished:", *validate(average, valid, 10000))


if __name__ == "__main__":
    main()
