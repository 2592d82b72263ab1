"""Two neighbouring frames made of one picture, and what is to be known of their difference: the exercise that teaches
the stem of a stream model (docs/temporal.md) to see time.

The frame before is made of the model's view of a frame: the same, with other noise, shifted, rolled, lit otherwise, with
something that has moved in it, or another picture altogether. What is to be told, in every cell, is measured (how much
has changed, and whether it got brighter) or known from how it was made (where things have moved).
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F

import picture as p

GRID = 5               # cells along a side
DIFFERENCE = 32        # what the model multiplies the difference of normalised frames by
LIMIT = 4              # and what it is then limited to
TARGETS = 5            # of a cell: amount, share, light, rows, columns
REACH = 6              # pixels of the view: a unit of movement


def to_input(now, before):
    """uint8 [B,H,W,3] twice to the normalised tensor [B,6,H,W]: the frame, and its amplified difference to the one before."""
    now, before = (torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255 for x in (now, before))
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (p.MEAN, p.STD))
    return torch.cat([(now - mean) / std, ((now - before) / std * DIFFERENCE).clamp(-LIMIT, LIMIT)], 1)


def measured(now, before):
    """[B,25,3]: log of the mean absolute difference in levels; share of the pixels that differ; log of the mean difference."""
    d = now.astype(np.float32) - before
    cells = lambda x: square_means(x).reshape(len(x), GRID * GRID)
    amount = np.log2(cells(np.abs(d).mean(3)) + 0.03) / 4
    share = cells((np.abs(d).max(3) >= 1).astype(np.float32))
    light = np.arcsinh(cells(d.mean(3)) * 4) / 3
    return np.stack([amount, share, light], -1)


def square_means(x):
    side = x.shape[1] // GRID
    return x.reshape(len(x), GRID, side, GRID, side).mean((2, 4))


def noise(rng, sigma):
    n = rng.standard_normal((p.SIZE, p.SIZE, 1 if rng.random() < 0.6 else 3), np.float32)
    if rng.random() < 0.4:   # finer than the view sees
        n = cv2.GaussianBlur(n, (0, 0), rng.uniform(0.4, 0.9)).reshape(n.shape) * 1.6
    if rng.random() < 0.25:  # a codec has let most of it stay as it was
        mask = cv2.resize(np.float32(rng.random((20, 20)) < rng.uniform(0.2, 0.8)), (p.SIZE, p.SIZE), interpolation=cv2.INTER_NEAREST)
        n = n * mask[..., None]
    return n * np.float32(sigma)


def movement(rng, low, high):
    size, angle = np.exp(rng.uniform(np.log(low), np.log(high))), rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.35:
        angle = rng.integers(4) * np.pi / 2
    return size * np.cos(angle), size * np.sin(angle)


def shifted(x, dx, dy, turn=0.0):
    m = cv2.getRotationMatrix2D((p.SIZE / 2, p.SIZE / 2), turn, 1.0)
    m[:, 2] += dx, dy
    return cv2.warpAffine(x, m, (p.SIZE, p.SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def rolled(rng, x, dy):
    y = np.roll(x, int(np.floor(dy)), 0).astype(np.float32)
    part = dy - np.floor(dy)
    return y * (1 - part) + np.roll(y, 1, 0) * part


def frame_before(rng, x, other):
    """(frame before, movement [25,2] in pixels from before to now, whether that is known)"""
    y, moved, kind = x.astype(np.float32), np.zeros((GRID * GRID, 2), np.float32), rng.random()
    if kind < 0.22:
        return x, moved, True
    if kind < 0.28:
        return other, moved, False
    if 0.45 < kind < 0.72:
        dx, dy = movement(rng, 0.15, 12)
        y = shifted(y, -dx, -dy, rng.choice([0, rng.normal(0, 1)]))
        moved[:] = dx, dy
    elif kind < 0.8 and kind > 0.45:
        dy = movement(rng, 0.5, 12)[0]
        y = rolled(rng, y, -dy)
        moved[:] = 0, dy
    elif kind > 0.8:
        dx, dy = movement(rng, 0.3, 10)
        mask = np.zeros((p.SIZE, p.SIZE), np.float32)
        for _ in range(rng.integers(1, 4)):
            centre, axes = rng.uniform(0, p.SIZE, 2), rng.uniform(8, 45, 2)
            cv2.ellipse(mask, tuple(map(int, centre)), tuple(map(int, axes)), rng.uniform(0, 180), 0, 360, 1, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), 2)
        y = y + (shifted(y, -dx, -dy) - y) * mask[..., None]
        moved[:] = square_means(mask[None]).reshape(-1, 1) * (dx, dy)
    if rng.random() < 0.22:
        y = y * (1 + rng.normal(0, 0.12, 1 if rng.random() < 0.7 else 3)) + rng.normal(0, 6)
    if rng.random() < 0.9:
        y = y + noise(rng, np.exp(rng.uniform(np.log(0.15), np.log(6))))
    return np.clip(y + 0.5, 0, 255).astype(np.uint8), moved, True


def from_pictures(rng, pixels):
    """uint8 [B,H,W,3] to (input [B,6,H,W], targets [B,25,5], known [B]: whether movement is)."""
    before, moved, known = zip(*(frame_before(rng, x, pixels[rng.integers(len(pixels))]) for x in pixels))
    before = np.stack(before)
    targets = np.concatenate([measured(pixels, before), np.clip(np.stack(moved) / REACH, -2, 2)], -1)
    return to_input(pixels, before), torch.from_numpy(targets.astype(np.float32)), torch.tensor(known)


def from_clip(rng, clip, at):
    """A frame of a clip and the one before it: movement of the whole picture is measured where it can be."""
    now, before = clip[at], clip[at - 1]
    grey = [cv2.cvtColor(x, cv2.COLOR_RGB2GRAY).astype(np.float32) for x in (before, now)]
    (dx, dy), trust = cv2.phaseCorrelate(*grey, HANN)
    moved = np.broadcast_to(np.float32([dx, dy]), (GRID * GRID, 2))
    return now, before, moved, trust > 0.5


HANN = cv2.createHanningWindow((p.SIZE, p.SIZE), cv2.CV_32F)


def loss(told, targets, known):
    """told [B,25,5]"""
    each = F.smooth_l1_loss(told, targets, beta=0.1, reduction="none").mean(1)
    return each[:, :3].mean() + (each[:, 3:].mean(1) * known).mean()

