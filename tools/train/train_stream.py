"""From a backbone that sees differences (train_pairs.py) to a stream model: a module over time and a block behind it.

    python3 train_stream.py cache BACKBONE.pt CLIPS OUT.npz [--passes 2]             clips of a ring (clips.py)
    python3 train_stream.py cache BACKBONE.pt SOURCES OUT.npz --render 1500          new clips, which are not kept
    python3 train_stream.py cache BACKBONE.pt FRAMES OUT.npz --still 1,4             still cameras at the frames of a ring (ring.py)
    python3 train_stream.py train BACKBONE.pt TRAIN.npz[,…] FRAMES.npz VALID.npz[,…] OUT.pt --minutes 20

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

import clips
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
    "kind": "stream", "after": [CONFIG["depth"] - 1], "grid": pairs.GRID, "width": 192, "num_heads": 12, "step": STEP,
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


def from_frame(rng, pixels, label, low, high):
    """A still camera at a picture of the ring, for `low` to `high` frames: noise, a breath of movement, now and then no change at all."""
    n, sigma = int(rng.integers(low, high + 1)), rng.choice([0, np.exp(rng.uniform(np.log(0.15), np.log(4)))], p=[0.25, 0.75])
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


def asked_about(rng, labels, n):
    """Numbers of n frames that have a label, the last one the last of them; two of what was before the fault."""
    known = np.flatnonzero(labels != NONE)
    late = known[labels[known] == labels[known[-1]]]
    early = known[labels[known] != labels[known[-1]]]
    some = list(rng.choice(late, n - 1)) + [known[-1]]
    if len(early) and n > 2:
        some[:2] = rng.choice(early, 2)
    return np.array(some)


def sequences(rng, args):
    """(frames, labels, seconds between them), each clip a few times in other ways."""
    if args.still:
        ring, (low, high) = Ring(args.source), map(int, args.still.split(","))
        for i in rng.permutation(ring.filled()):
            yield from_frame(rng, np.array(ring.pixels[i]), int(ring.labels[i]), low, high)
        return
    before = None
    for clip in rendered(rng, args.source, args.render) if args.render else of_ring(rng, args.source):
        for _ in range(args.passes):
            yield varied(rng, *(clip if before is None or rng.random() >= args.cuts else behind_a_cut(rng, before, *clip)))
        before = clip[0]


def behind_a_cut(rng, before, frames, labels):
    """The clip behind the end of another. What is said in the first half second nobody asks."""
    n, labels = rng.integers(6, 30), labels.copy()
    labels[:RATE // 2] = NONE
    return np.concatenate([before[-n:], frames]), np.concatenate([np.full(n, NONE, np.int8), labels])


def rendered(rng, sources, n):
    pictures, runs = clips.open_sources(sources, "train", rng)
    for name in clips.deal(n):
        yield clips.render(rng, pictures, runs, name)


def of_ring(rng, path):
    ring = ClipRing(path)
    for i in rng.permutation(ring.filled()):
        yield ring.pixels[i], ring.labels[i]


def cache(args):
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng, model, begin = np.random.default_rng(args.seed), Pairs(), time.time()
    model.load_state_dict(torch.load(args.backbone, weights_only=True)["average"])
    model.eval()
    kept = {name: [] for name in ("cells", "tokens", "asked", "labels", "lengths", "steps")}
    for n, (pixels, labels, seconds) in enumerate(sequences(rng, args)):
        if time.time() - begin > args.minutes * 60:
            break
        if (labels == NONE).all():
            continue
        before = np.concatenate([pixels[:1], pixels[:-1]])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            tokens = torch.cat([model.tokens(pairs.to_input(pixels[a:a + 40], before[a:a + 40])) for a in range(0, len(pixels), 40)])
        cells, asked = cell_means(rms(tokens), pairs.GRID), asked_about(rng, labels, 1 if args.still else ASKED)
        for name, value in zip(kept, (cells.numpy().astype(np.float16), tokens[asked].numpy().astype(np.float16), asked, labels[asked],
                                      len(cells), seconds / STEP)):
            kept[name].append(value)
        if n % 200 == 199:
            print(n + 1, flush=True)
    np.savez(args.out, cells=np.concatenate(kept.pop("cells")), **{name: np.stack(values) for name, values in kept.items()})


# ---- training -----------------------------------------------------------------------------------------------------------

class Cached:
    """Sequences of cells, and tokens of the frames asked about."""

    def __init__(self, paths):
        files = [dict(np.load(path)) for path in paths.split(",")]
        for name in files[0]:
            setattr(self, name, np.concatenate([f[name] for f in files]))
        self.cells, self.tokens = torch.from_numpy(self.cells), torch.from_numpy(self.tokens)
        self.begin, self.last = self.lengths.cumsum() - self.lengths, self.labels[:, -1]

    def chances(self, wanted):
        """Of every sequence to be drawn, if classes are to be drawn as `wanted`."""
        chances = wanted[self.last] / np.bincount(self.last, minlength=len(LABELS))[self.last]
        return chances / chances.sum()

    def batch(self, rng, chosen, history):
        """(cells [B,T,C,D], elapsed [B,T], at [B,Q], tokens [B,Q,L,D], labels [B,Q]); `history`: before half of them, the end of
        another sequence, and all a little faster or slower."""
        n, past = len(chosen), 40 if history else 0
        length = self.lengths[chosen].max() + past
        cells = torch.zeros(n, length, *self.cells.shape[1:])
        elapsed, at = np.zeros((n, length), np.float32), np.zeros((n, self.asked.shape[1]), int)
        for row, i in enumerate(chosen):
            start, m = 0, self.lengths[i]
            if history and rng.random() < 0.5:
                j = rng.integers(len(self.lengths))
                start, end = int(min(past, rng.integers(1, self.lengths[j] + 1))), self.begin[j] + self.lengths[j]
                cells[row, :start] = self.cells[end - start:end]
                elapsed[row, :start] = self.steps[j]
            cells[row, start:start + m] = self.cells[self.begin[i]:self.begin[i] + m]
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

    def forward(self, *parts):
        """Of parts (cells, elapsed, at, tokens), the logits of every frame asked about: [sum of B Q, classes]"""
        x = torch.cat([(tokens + self.temporal(cells, elapsed, at)[:, :, self.cell]).flatten(0, 1) for cells, elapsed, at, tokens in parts])
        side = int(x.shape[1] ** 0.5)
        x = F.dropout(x, 0.1, self.training)
        return self.head(self.norm(self.block(x, (side, side))).mean(1))


def start(backbone, data):
    """A stream model that begins as its backbone, with a module over time and a block more."""
    model = Stream(STREAM).init_weights()
    state = model.state_dict()
    for name, weight in backbone.items():
        if name in state and state[name].shape == weight.shape:
            state[name] = weight
    old = len(p.LABELS)
    state["head.weight"][:old], state["head.bias"][:old] = backbone["head.weight"], backbone["head.bias"]
    state["head.weight"][old:], state["head.bias"][old:] = 0, -2
    state.update(statistics(backbone, data.cells, f"blocks.{STREAM['depth'] - 2}.temporal.", state))
    model.load_state_dict(state)
    make_heard(Rest(model), data)
    return model


def make_heard(rest, data):
    """What is new begins a third as loud as the tokens, or half of that: with the usual weights it was 400 times quieter, and the
    validation loss after some 580 steps 0.77, where it is 0.67 so."""
    cells, elapsed, at, tokens, _ = data.batch(np.random.default_rng(0), np.arange(0, len(data.lengths), len(data.lengths) // 40), False)
    block, side = rest.block, int(tokens.shape[2] ** 0.5)
    with torch.no_grad():
        loud = tokens.square().mean().sqrt() / 3

        def adjusted(x, proj, share):
            ratio = share * loud / x.square().mean().sqrt()
            proj.weight *= ratio
            return x * ratio
        heard = adjusted(rest.temporal(cells, elapsed, at), rest.temporal.o_proj, 1)
        x = (tokens + heard[:, :, rest.cell]).flatten(0, 1)
        x = x + adjusted(block.attn(block.attn_norm(x), (side, side)), block.attn.o_proj, 0.5)
        adjusted(block.mlp(block.mlp_norm(x)), block.mlp.down_proj, 0.5)


def statistics(backbone, cells, module, state):
    """A memory that begins as running means and products of what the backbone was taught to tell of a cell (how much has changed,
    how it has moved…), which faults in time are made of.

    Told of a cell: [1, x1 … x5], of unit variance. Half of the heads remember for half a second, half for two; of each half the
    first adds up v, the others (1 + xi) v. The first entries of v are what is told, and the 1 keeps the scale through g_norm.
    """
    heads, width = STREAM["temporal"]["num_heads"], STREAM["temporal"]["width"]
    c = cells[torch.randperm(len(cells))[:4000]].flatten(0, 1).float()
    gram = c.T @ c + 1e-3 * len(c) * torch.eye(c.shape[1])
    one = torch.linalg.solve(gram, c.sum(0))
    told = backbone["change.weight"] * backbone["norm.weight"] + backbone["change.bias"][:, None] * one
    told -= (c @ told.T).mean(0)[:, None] * one
    told /= (c @ told.T).std(0)[:, None]
    told = torch.cat([one[None], told])
    qkv, gk = state[module + "qkv_proj.weight"] * 0.3, state[module + "gk_proj.1.bias"].clone()
    q, k, v = qkv.split([width // 2, width // 2, width])
    for h, (q_h, k_h, v_h, gk_h) in enumerate(zip(*(x.chunk(heads) for x in (q, k, v, gk)))):
        i, tau = h % len(told), 0.5 if h < len(told) else 2.0
        q_h += one
        k_h += one + told[i] if i else one
        v_h[:len(told)] = told
        # log decay of a step: log(sigmoid(z)) / 16 = -STEP / tau
        gk_h[:] = -math.log(math.expm1(16 * STEP / tau)) + torch.linspace(-0.5, 0.5, len(gk_h))
    return {module + "qkv_proj.weight": qkv, module + "gk_proj.1.bias": gk, module + "gk_proj.1.weight": state[module + "gk_proj.1.weight"] * 0.1,
            module + "g_proj.weight": state[module + "g_proj.weight"] * 0.3}


def score(rest, data, chosen=None):
    """Right answers of the last frames of the sequences, by class."""
    rest.eval()
    chosen = np.arange(len(data.last)) if chosen is None else chosen
    hits, loss = np.zeros((len(LABELS),) * 2, int), []
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for a in range(0, len(chosen), 32):
            cells, elapsed, at, tokens, labels = data.batch(rng, chosen[a:a + 32], False)
            logits = rest((cells, elapsed, at[:, -1:], tokens[:, -1:]))
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
    data, frames, valid = Cached(args.data), Cached(args.frames), Cached(args.valid)
    model = start(torch.load(args.backbone, weights_only=True)["average"], data)
    if args.start:
        model.load_state_dict(torch.load(args.start, weights_only=True)["average"])
    rest = Rest(model)
    average = copy.deepcopy(rest)
    wanted = np.ones(len(LABELS))
    wanted[[LABELS.index(n) for n in ("normal", "blocky", "covered")]] = 4, 1.6, 1.6
    wanted[len(p.LABELS):] = 1.6
    chances, frame_chances = data.chances(wanted), frames.chances(wanted)
    gentle = [q for n, q in rest.named_parameters() if q.ndim < 2 or n.startswith("head")]
    matrices = [q for n, q in rest.named_parameters() if not (q.ndim < 2 or n.startswith("head"))]
    optimizer = torch.optim.AdamW([{"params": gentle, "weight_decay": 0}, {"params": matrices, "weight_decay": 0.1}], args.rate, betas=(0.9, 0.98))
    begin, said, step, losses = time.time(), time.time(), 0, []
    while (done := (time.time() - begin) / (args.minutes * 60)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * done))
        cells, elapsed, at, tokens, labels = data.batch(rng, rng.choice(len(chances), args.batch, p=chances), step % 4 == 0)
        *still, frame_labels = frames.batch(rng, rng.choice(len(frame_chances), 2 * args.batch, p=frame_chances), False)
        few = torch.from_numpy(rng.permutation(ASKED)[:3])
        with torch.autocast("cpu", torch.bfloat16):
            logits = rest((cells, elapsed, at[:, few], tokens[:, few]), still)
        labels = torch.cat([labels[:, few].flatten(), frame_labels.flatten()])
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.03)
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
    c.add_argument("backbone"), c.add_argument("source"), c.add_argument("out")
    c.add_argument("--passes", type=int, default=1, help="how often every clip, at another rate, mirrored…")
    c.add_argument("--render", type=int, default=0, help="so many new clips of the sources")
    c.add_argument("--cuts", type=float, default=0, help="so many of the clips, 0 to 1, come behind the end of another")
    c.add_argument("--still", help="LEAST,MOST frames of a still camera at every frame of a ring")
    c.add_argument("--minutes", type=float, default=math.inf, help="what is done then is kept")
    c.add_argument("--seed", type=int, default=0)
    t = sub.add_parser("train")
    t.set_defaults(run=train)
    t.add_argument("backbone"), t.add_argument("data"), t.add_argument("frames"), t.add_argument("valid"), t.add_argument("out")
    t.add_argument("--start", help="a model trained before, from which to go on")
    t.add_argument("--minutes", type=float, default=20), t.add_argument("--batch", type=int, default=32)
    t.add_argument("--rate", type=float, default=2e-3), t.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
