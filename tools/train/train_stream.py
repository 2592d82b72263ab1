"""From a backbone that sees differences (train_pairs.py) to a stream model: a module over time and a block behind it.

    python3 train_stream.py cache BACKBONE.pt CLIP_RING OUT.npz [--frames RING] [--passes 2]
    python3 train_stream.py train BACKBONE.pt TRAIN.npz[,…] VALID.npz OUT.pt --minutes 20

The backbone stays as it is, so every clip goes through it once or a few times (mirrored, at another rate) and what the
rest needs is kept: the cells of every frame, and the tokens of the few frames that are asked about. Hours become minutes.
"""

import argparse
import copy
import math
import time

import cv2
import numpy as np
import torch
import torch.nn.functional as F

import pairs
import picture as p
from clips import LABELS, LENGTH, NONE, RATE, ClipRing
from ring import Ring
from train import CONFIG
from train_pairs import Pairs
from vig_torch import Stream, cell_means, cell_of, rms

ASKED = 6              # frames of a clip that are asked about
STEP = 0.2
STREAM = {**CONFIG, "name": "camera-health-clip", "depth": CONFIG["depth"] + 1, "in_chans": 6, "num_classes": len(LABELS), "temporal": {
    "kind": "stream", "after": [CONFIG["depth"] - 1], "grid": pairs.GRID, "width": 96, "num_heads": 3, "step": STEP,
    "max_elapsed": 4, "difference": pairs.DIFFERENCE}}


# ---- what the backbone makes of clips ---------------------------------------------------------------------------------

def varied(rng, frames, labels):
    """The clip at some rate, mirrored, in other colours: frames, labels, seconds between frames."""
    stride = rng.choice([1, 1, 1, 2, 2, 3])
    frames, labels = frames[rng.integers(stride)::stride], labels[rng.integers(stride)::stride]
    n = min(len(frames), len(labels))
    frames, labels = frames[:n], labels[:n]
    if rng.random() < 0.5:
        frames = frames[:, :, ::-1]
    if rng.random() < 0.4:
        frames = frames[..., rng.permutation(3)]
    return np.ascontiguousarray(frames), labels, stride / RATE


def from_frame(rng, pixels, label):
    """A still camera at a picture of the ring: noise, a breath of movement, now and then nothing changes at all."""
    n, sigma = int(rng.integers(10, 30)), rng.choice([0, np.exp(rng.uniform(np.log(0.15), np.log(4)))], p=[0.25, 0.75])
    if label == 0 or LABELS[label] == "snow":
        sigma = max(sigma, 0.3)
    drift = rng.normal(0, 0.4, 2) * rng.choice([0, 0, 1])
    frames = []
    for t in range(n):
        x = pairs.shifted(pixels.astype(np.float32), *(drift * t)) if drift.any() else pixels.astype(np.float32)
        frames.append(np.clip(x + (pairs.noise(rng, sigma) if sigma else 0) + 0.5, 0, 255).astype(np.uint8))
    if LABELS[label] == "snow":
        frames = [np.roll(f, tuple(rng.integers(0, p.SIZE, 2)), (0, 1)) for f in frames]
    return np.stack(frames), np.full(n, label, np.int8), rng.choice([1, 2, 3]) / RATE


def asked_about(rng, labels):
    """Numbers of ASKED frames that have a label, the last one among them; as many of the fault as of what was before it."""
    known = np.flatnonzero(labels != NONE)
    late = known[labels[known] == labels[known[-1]]]
    early = known[labels[known] != labels[known[-1]]]
    some = list(rng.choice(late, ASKED - 1)) + [known[-1]]
    if len(early):
        some[:2] = rng.choice(early, 2)
    return np.array(some)


def cache(args):
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng, model = np.random.default_rng(args.seed), Pairs()
    model.load_state_dict(torch.load(args.backbone, weights_only=True)["average"])
    model.eval()
    ring = ClipRing(args.clips)
    todo = [(ring.pixels[i], ring.labels[i]) for _ in range(args.passes) for i in range(ring.filled())]
    frames = Ring(args.frames) if args.frames else None
    if frames:
        todo += [int(i) for i in rng.choice(frames.filled(), int(len(todo) * args.share), replace=False)]
    kept = {name: [] for name in ("cells", "tokens", "asked", "labels", "lengths", "steps")}
    for n, item in enumerate(todo):
        pixels, labels, seconds = (from_frame(rng, np.array(frames.pixels[item]), int(frames.labels[item])) if isinstance(item, int)
                                   else varied(rng, *item))
        if (labels == NONE).all():
            continue
        before = np.concatenate([pixels[:1], pixels[:-1]])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            tokens = torch.cat([model.tokens(pairs.to_input(pixels[a:a + 40], before[a:a + 40])) for a in range(0, len(pixels), 40)])
        cells, asked = cell_means(rms(tokens), pairs.GRID), asked_about(rng, labels)
        padded = np.zeros((LENGTH, pairs.GRID ** 2, cells.shape[2]), np.float16)
        padded[:len(cells)] = cells.numpy()
        for name, value in zip(kept, (padded, tokens[asked].numpy().astype(np.float16), asked, labels[asked], len(cells), seconds / STEP)):
            kept[name].append(value)
        if n % 200 == 199:
            print(n + 1, "of", len(todo), flush=True)
    np.savez(args.out, **{name: np.stack(values) for name, values in kept.items()})


# ---- training -----------------------------------------------------------------------------------------------------------

class Cached:
    """Sequences of cells, and tokens of the frames asked about."""

    def __init__(self, paths):
        files = [np.load(path) for path in paths.split(",")]
        for name in files[0].files:
            setattr(self, name, np.concatenate([f[name] for f in files]))
        self.cells, self.tokens = torch.from_numpy(self.cells), torch.from_numpy(self.tokens)
        self.last = self.labels[:, -1]

    def batch(self, rng, chosen, history):
        """(cells [B,T,C,D], elapsed [B,T], at [B,Q], tokens [B,Q,L,D], labels [B,Q]); `history`: before half of them, the end of
        another sequence, and all a little faster or slower."""
        n, past = len(chosen), 40 if history else 0
        length = self.lengths[chosen].max() + past
        cells = torch.zeros(n, length, *self.cells.shape[2:])
        elapsed, at = np.zeros((n, length), np.float32), np.zeros((n, ASKED), int)
        for row, i in enumerate(chosen):
            start, m = 0, self.lengths[i]
            if history and rng.random() < 0.5:
                j = rng.integers(len(self.cells))
                end = self.lengths[j]
                start = int(min(past, rng.integers(4, end + 1)))
                cells[row, :start] = self.cells[j, end - start:end]
                elapsed[row, :start] = self.steps[j]
            cells[row, start:start + m] = self.cells[i, :m]
            elapsed[row, start:start + m] = self.steps[i] * (rng.uniform(0.8, 1.25) if history else 1)
            elapsed[row, 0] = 1
            at[row] = self.asked[i] + start
        return cells, torch.from_numpy(elapsed), torch.from_numpy(at), self.tokens[chosen].float(), torch.from_numpy(self.labels[chosen].astype(np.int64))


class Rest(torch.nn.Module):
    """All of a stream model behind its backbone."""

    def __init__(self, model):
        super().__init__()
        self.temporal, self.block, self.norm, self.head = model.blocks[-2].temporal, model.blocks[-1], model.norm, model.head
        self.cell = cell_of(int(model.pos_embed.shape[1] ** 0.5), pairs.GRID)

    def forward(self, cells, elapsed, at, tokens):
        heard = self.temporal(cells, elapsed, at)
        x = (tokens + heard[:, :, self.cell]).flatten(0, 1)
        side = int(x.shape[1] ** 0.5)
        return self.head(self.norm(self.block(x, (side, side))).mean(1)).unflatten(0, at.shape)


def start(backbone):
    """A stream model that says at first what the backbone says."""
    model = Stream(STREAM).init_weights()
    state = model.state_dict()
    for name, weight in backbone.items():
        if name in state and state[name].shape == weight.shape:
            state[name] = weight
    old = len(p.LABELS)
    state["head.weight"][:old], state["head.bias"][:old] = backbone["head.weight"], backbone["head.bias"]
    state["head.weight"][old:], state["head.bias"][old:] = 0, -2
    last, module = f"blocks.{STREAM['depth'] - 1}.", f"blocks.{STREAM['depth'] - 2}.temporal."
    for name in (last + "attn.o_proj.weight", last + "mlp.down_proj.weight", module + "o_proj.weight"):
        state[name] *= 0.1
    # q, k and v begin with what the backbone was taught to tell of a cell (how much has changed, how it has moved…): what a
    # fault in time is made of. Each head has all of it and as much at random.
    told = backbone["change.weight"] * backbone["norm.weight"]
    told = torch.cat([told, -told]) / told.norm(dim=1).repeat(2)[:, None] * state[module + "qkv_proj.weight"].norm(dim=1).mean()
    heads, qkv = STREAM["temporal"]["num_heads"], state[module + "qkv_proj.weight"]
    for rows in qkv.split([qkv.shape[0] // 4, qkv.shape[0] // 4, qkv.shape[0] // 2]):
        for head in rows.chunk(heads):
            head[:len(told)] = 2 * told
    width = state[module + "gk_proj.1.bias"].shape[0]
    state[module + "gk_proj.1.bias"] = -torch.linspace(0.5, 12, width)[torch.randperm(width)]   # remembers for 0.3 to 3 s
    model.load_state_dict(state)
    return model


def score(rest, data, chosen=None):
    """Right answers of the last frames of the sequences, by class."""
    rest.eval()
    chosen = np.arange(len(data.last)) if chosen is None else chosen
    hits, loss = np.zeros((len(LABELS),) * 2, int), []
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for a in range(0, len(chosen), 32):
            cells, elapsed, at, tokens, labels = data.batch(rng, chosen[a:a + 32], False)
            logits = rest(cells, elapsed, at[:, -1:], tokens[:, -1:])[:, 0]
            np.add.at(hits, (labels[:, -1].numpy(), logits.argmax(1).numpy()), 1)
            loss.append(F.cross_entropy(logits, labels[:, -1]).item())
    rest.train()
    return hits, np.mean(loss)


def summary(hits):
    recalls = hits.diagonal() / hits.sum(1).clip(1)
    return f"{hits.trace() / hits.sum():.3f}  " + " ".join(f"{name[:5]} {r:.2f}" for name, r in zip(LABELS, recalls))


def train(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng()
    data, valid = Cached(args.data), Cached(args.valid)
    model = start(torch.load(args.backbone, weights_only=True)["average"])
    rest = Rest(model)
    average = copy.deepcopy(rest)
    wanted = np.ones(len(LABELS))
    wanted[[LABELS.index(n) for n in ("normal", "blocky", "covered")]] = 4, 1.6, 1.6
    wanted[len(p.LABELS):] = 1.6
    chances = wanted[data.last] / np.bincount(data.last, minlength=len(LABELS))[data.last]
    chances /= chances.sum()
    gentle = [q for n, q in rest.named_parameters() if q.ndim < 2 or n.startswith("head")]
    matrices = [q for n, q in rest.named_parameters() if not (q.ndim < 2 or n.startswith("head"))]
    optimizer = torch.optim.AdamW([{"params": gentle, "weight_decay": 0}, {"params": matrices, "weight_decay": 0.1}], args.rate, betas=(0.9, 0.98))
    begin, said, step, losses = time.time(), time.time(), 0, []
    while (done := (time.time() - begin) / (args.minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done))
        cells, elapsed, at, tokens, labels = data.batch(rng, rng.choice(len(chances), args.batch, p=chances), step % 4 == 0)
        few = torch.from_numpy(rng.permutation(ASKED)[:3])
        with torch.autocast("cpu", torch.bfloat16):
            logits = rest(cells, elapsed, at[:, few], tokens[:, few])
        loss = F.cross_entropy(logits.float().flatten(0, 1), labels[:, few].flatten(), label_smoothing=0.03)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest.parameters(), 1.0)
        optimizer.step()
        step += 1
        losses.append(loss.item())
        keep = min(0.995, step / (step + 20))
        with torch.no_grad():
            for a, q in zip(average.parameters(), rest.parameters()):
                a.lerp_(q, 1 - keep)
        if time.time() - said > 60:
            hits, valid_loss = score(average, valid)
            print(f"{(time.time() - begin) / 60:4.1f} min  {step:5d} steps  loss {np.mean(losses):.3f}  valid {valid_loss:.3f} {summary(hits)}", flush=True)
            said, losses = time.time(), []
    hits, _ = score(average, valid)
    rest.load_state_dict(average.state_dict())   # the model's own modules
    torch.save({"config": STREAM, "average": model.state_dict()}, args.out)
    print("finished:", summary(hits))
    print(hits)


def main():
    parser = argparse.ArgumentParser()
    sub = parser.add_subparsers(required=True)
    c = sub.add_parser("cache")
    c.set_defaults(run=cache)
    c.add_argument("backbone"), c.add_argument("clips"), c.add_argument("out")
    c.add_argument("--frames"), c.add_argument("--passes", type=int, default=2), c.add_argument("--seed", type=int, default=0)
    c.add_argument("--share", type=float, default=0.8, help="sequences made of single frames, for one of clips")
    t = sub.add_parser("train")
    t.set_defaults(run=train)
    t.add_argument("backbone"), t.add_argument("data"), t.add_argument("valid"), t.add_argument("out")
    t.add_argument("--minutes", type=float, default=20), t.add_argument("--batch", type=int, default=32)
    t.add_argument("--rate", type=float, default=2e-3), t.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
