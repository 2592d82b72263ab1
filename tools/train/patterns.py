"""Frames without a scene: black, one colour, snow, test patterns. All drawn here with NumPy and OpenCV."""

import cv2
import numpy as np

import picture as p
from texts import announce, draw_text


def noisy(rng, x, sigma):
    grain = rng.integers(1, 3)
    h, w, c = x.shape
    noise = rng.standard_normal((h // grain + 1, w // grain + 1, c if rng.random() < 0.5 else 1), np.float32) * sigma
    noise = cv2.resize(noise, (w, h), interpolation=cv2.INTER_NEAREST).reshape(h, w, -1)
    return np.clip(x + noise + 0.5, 0, 255).astype(np.uint8)


def slope(rng, h, w):
    """A gentle gradient between -1 and 1."""
    angle, ys, xs = rng.uniform(0, 2 * np.pi), *np.ogrid[0:h, 0:w]
    field = (xs / w - 0.5) * np.cos(angle) + (ys / h - 0.5) * np.sin(angle)
    if rng.random() < 0.5:
        field = np.hypot(xs / w - rng.uniform(), ys / h - rng.uniform()) * 2 - 1
    return field.astype(np.float32)[..., None]


def black_frame(rng, w, h):
    x = np.zeros((h, w, 3), np.float32) + np.float32(rng.uniform(0, 12) + rng.uniform(-2, 2, 3)).clip(0)
    if rng.random() < 0.4:
        x = x + slope(rng, h, w) * rng.uniform(0, 8)
    x = noisy(rng, x, rng.choice([0, rng.uniform(0, 3), rng.uniform(0, 10)]))
    if not p.is_black(p.view(x)):
        return None
    return announce(rng, x) if rng.random() < 0.25 else x


def solid_frame(rng, w, h):
    if rng.random() < 0.5:   # what receivers and recorders show
        colours = [(0, 0, 255), (0, 0, 128), (16, 16, 180), (128, 128, 128), (0, 128, 0), (0, 255, 0), (255, 255, 255),
                   (235, 235, 235), (192, 192, 192), (255, 0, 255), (255, 0, 0), (0, 255, 255), (255, 255, 0),
                   (80, 80, 80), (0, 135, 0), (60, 100, 200)]
        colour = np.float32(colours[rng.integers(len(colours))])
    else:
        colour = np.float32(rng.uniform(0, 255, 3)) * rng.uniform(0, 1) + rng.uniform(0, 255) * rng.uniform(0, 1)
    x = np.zeros((h, w, 3), np.float32) + colour.clip(0, 255)
    if rng.random() < 0.35:
        x = x + slope(rng, h, w) * rng.uniform(0, 7)
    x = noisy(rng, x, rng.choice([0, 0, rng.uniform(0, 3), rng.uniform(0, 8)]))
    if not p.is_solid(p.view(x)):
        return None
    return announce(rng, x) if rng.random() < 0.35 else x


def snow_frame(rng, w, h):
    grain_y, grain_x = rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2, 3, 5])
    size = (h // grain_y + 1, w // grain_x + 1, 3 if rng.random() < 0.35 else 1)
    kind = rng.random()
    if kind < 0.4:
        noise = rng.random(size, np.float32) * 255
    elif kind < 0.7:
        noise = rng.standard_normal(size, np.float32) * rng.uniform(35, 110) + rng.uniform(60, 180)
    elif kind < 0.85:   # black and white dots
        noise = (rng.random(size, np.float32) < rng.uniform(0.2, 0.8)) * np.float32(rng.uniform(150, 255)) + rng.uniform(0, 40)
    else:
        noise = rng.gamma(rng.uniform(0.6, 2), 60, size).astype(np.float32)
    how = cv2.INTER_NEAREST if rng.random() < 0.6 else cv2.INTER_LINEAR
    x = cv2.resize(noise.clip(0, 255), (w, h), interpolation=how).reshape(h, w, -1)
    x = np.repeat(x, 3 // x.shape[2], 2) * rng.uniform(0.5, 1) + rng.uniform(0, 30)
    if rng.random() < 0.25:   # rolling bars
        ys = np.arange(h, dtype=np.float32)[:, None, None]
        x = x * (1 - rng.uniform(0.1, 0.7) * (np.sin(2 * np.pi * (ys / h * rng.uniform(0.5, 3) + rng.uniform())) > rng.uniform(0, 0.9)))
    if rng.random() < 0.15:   # a faint tint
        x = x * np.float32(rng.uniform(0.7, 1.15, 3))
    x = x.clip(0, 255).astype(np.uint8)
    if not p.is_snow(p.view(x)):
        return None
    return announce(rng, x) if rng.random() < 0.1 else x


# ---- test patterns ---------------------------------------------------------------------------------------------------

BARS = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)]


def columns(x, colours, y0, y1):
    edges = np.linspace(0, x.shape[1], len(colours) + 1).astype(int)
    for colour, a, b in zip(colours, edges, edges[1:]):
        x[y0:y1, a:b] = colour


def colour_bars(rng, x):
    """SMPTE, EBU, with or without the lower rows, upright or lying."""
    h = x.shape[0]
    bars = np.float32(BARS) * rng.choice([191, 191, 255, 180, 235])
    if rng.random() < 0.4:
        bars = np.concatenate([bars, np.zeros((1, 3), np.float32)])
    if rng.random() < 0.15:
        bars = rng.permutation(bars)
    columns(x, bars, 0, h)
    if rng.random() < 0.55:
        top, middle = int(h * rng.uniform(0.55, 0.8)), int(h * rng.uniform(0.0, 0.12))
        columns(x, bars[::-1] * (np.arange(len(bars)) % 2 == 0)[:, None], top, top + middle)
        rest = [(0, 33, 76), (255, 255, 255), (50, 0, 106), (19, 19, 19), (9, 9, 9), (29, 29, 29), (19, 19, 19)]
        columns(x, np.float32(rest)[:rng.integers(4, 8)], top + middle, h)
    elif rng.random() < 0.3:
        columns(x, [np.float32([v] * 3) for v in np.linspace(0, 255, rng.integers(2, 12))], int(h * 0.7), h)
    elif rng.random() < 0.2:
        x[:] = cv2.resize(np.ascontiguousarray(x.transpose(1, 0, 2)), (x.shape[1], h))


def ramp(rng, x):
    h, w = x.shape[:2]
    steps = rng.choice([0, 0, 5, 8, 11, 16])
    t = np.linspace(0, 1, w, dtype=np.float32)[None, :, None]
    if steps:
        t = np.floor(t * steps) / (steps - 1)
    if rng.random() < 0.35:
        t = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    a, b = (np.float32([0, 0, 0]), np.float32([255, 255, 255])) if rng.random() < 0.6 else np.float32(rng.uniform(0, 255, (2, 3)))
    x[:] = a + (b - a) * t
    if rng.random() < 0.4:
        bands = rng.integers(2, 6)
        for i, band in enumerate(np.array_split(np.arange(h), bands)):
            x[band] = (x[band[0]] if i % 2 else x[band[0]][::-1]) * np.float32(rng.choice([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]))


def checkers(rng, x):
    h, w = x.shape[:2]
    n = max(2, int(h * np.exp(rng.uniform(np.log(0.008), np.log(0.2)))))
    ys, xs = np.ogrid[0:h, 0:w]
    on = ((ys // n + xs // n) % 2)[..., None].astype(np.float32)
    a, b = [(0, 0, 0), (255, 255, 255)] if rng.random() < 0.6 else rng.uniform(0, 255, (2, 3))
    x[:] = np.float32(a) * on + np.float32(b) * (1 - on)


def zone_plate(rng, x):
    h, w = x.shape[:2]
    ys, xs = np.ogrid[0:h, 0:w]
    cx, cy = (w / 2, h / 2) if rng.random() < 0.7 else (rng.uniform(0, w), rng.uniform(0, h))
    power = rng.choice([2, 2, 2, 1])
    r = (np.hypot(xs - cx, ys - cy) / h) ** power
    stretch = rng.choice([[1, 1], [1, 0], [0, 1]], p=[0.8, 0.1, 0.1])
    if stretch[0] == 0 or stretch[1] == 0:
        r = (abs(xs - cx) / h * stretch[0] + abs(ys - cy) / h * stretch[1]) ** power
    phase = rng.uniform(0, 2 * np.pi) + np.float32([0, 0, 0] if rng.random() < 0.7 else rng.uniform(0, 6, 3))
    wave = np.sin(r[..., None] * rng.uniform(15, 350) + phase)
    if rng.random() < 0.3:   # lines instead of waves, thick or thin
        wave = np.where(wave > rng.choice([0, 0.7, 0.95]), 1, -1) * rng.choice([1, -1])
    x[:] = 128 + 127 * wave
    if rng.random() < 0.2:
        cv2.circle(x, (int(cx), int(cy)), int(h * rng.uniform(0.05, 0.25)), (int(rng.integers(0, 256)),) * 3, -1)


def rings(rng, x):
    """Bands around the middle, each with rings of its own width, fading towards the band's edges or not."""
    h, w = x.shape[:2]
    ys, xs = np.ogrid[0:h, 0:w]
    r = np.hypot(xs - w / 2, ys - h / 2)[..., None] / h
    bands, first, ratio = rng.integers(2, 9), rng.uniform(0.004, 0.03), rng.uniform(1.1, 2)
    at = r * bands / rng.uniform(0.5, 0.9)
    wave = np.sin(2 * np.pi * r / (first * ratio ** np.floor(at.clip(0, bands))) + rng.uniform(0, 6))
    if rng.random() < 0.6:
        wave = wave * np.sin(np.pi * (at % 1)) ** rng.choice([1, 2])
    x[:] = rng.choice([128, 128, 60]) + rng.uniform(60, 127) * wave * (at < bands)


def spokes(rng, x):
    h, w = x.shape[:2]
    ys, xs = np.ogrid[0:h, 0:w]
    angle = np.arctan2(ys - h / 2, xs - w / 2)[..., None]
    wave = np.sin(angle * rng.integers(4, 40) + rng.uniform(0, 6))
    x[:] = np.where(wave > rng.choice([0, 0, 0.6, 0.9]), 255, 0) if rng.random() < 0.7 else 128 + 127 * wave
    if rng.random() < 0.3:   # a disc in the middle
        cv2.circle(x, (w // 2, h // 2), int(h * rng.uniform(0.05, 0.2)), (int(rng.integers(0, 256)),) * 3, -1)
    if rng.random() < 0.3:
        x[:] = x * np.float32(rng.uniform(0, 1, 3))


def grid_and_circle(rng, x):
    """In the manner of Philips and BBC cards: a grid, a circle with bars, ramps and frequencies."""
    h, w = x.shape[:2]
    x[:] = np.float32([rng.choice([0, 64, 96, 128, 128, 180])] * 3)
    n = h / rng.integers(6, 16)
    for t in np.arange(n / 2, w, n):
        cv2.line(x, (int(t), 0), (int(t), h), (255, 255, 255), max(1, h // 240))
    for t in np.arange(n / 2, h, n):
        cv2.line(x, (0, int(t)), (w, int(t)), (255, 255, 255), max(1, h // 240))
    if rng.random() < 0.75:
        disc, card = np.zeros((h, w), np.uint8), x.copy()
        cv2.circle(disc, (w // 2, h // 2), int(h * rng.uniform(0.3, 0.48)), 1, -1)
        edges = np.linspace(0, h, rng.integers(3, 8)).astype(int)
        for a, b in zip(edges, edges[1:]):
            part = card[a:b]
            rng.choice([colour_bars, ramp, multiburst, colour_bars])(rng, part)
        x[disc > 0] = card[disc > 0]
        if rng.random() < 0.6:
            cv2.circle(x, (w // 2, h // 2), int(h * 0.45), (255, 255, 255), max(1, h // 160))


def multiburst(rng, x):
    w = x.shape[1]
    t = np.arange(w) / w
    x[:] = (128 + 127 * np.sign(np.sin(2 * np.pi * t ** 2 * rng.uniform(20, 90))))[None, :, None]


def colour_fields(rng, x):
    """Colour cards and hue planes."""
    h, w = x.shape[:2]
    if rng.random() < 0.5:
        cells = rng.uniform(0, 255, (rng.integers(2, 7), rng.integers(2, 9), 3)).astype(np.float32)
        x[:] = cv2.resize(cells, (w, h), interpolation=cv2.INTER_NEAREST)
        if rng.random() < 0.6:
            x[:: max(2, h // len(cells))] = 0
    else:
        hsv = np.empty((h, w, 3), np.float32)
        hsv[..., 0] = np.linspace(0, 360, w)[None] if rng.random() < 0.7 else np.linspace(0, 360, h)[:, None]
        hsv[..., 1] = np.linspace(0, 1, h)[:, None] if rng.random() < 0.5 else 1
        hsv[..., 2] = 1 if rng.random() < 0.5 else np.linspace(0, 1, h)[:, None]
        x[:] = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255


def moving_marks(rng, x):
    """Generators that move something: a ball, stripes, a counter, on a plain or coloured ground."""
    h, w = x.shape[:2]
    style = rng.random()
    if style < 0.35:
        x[:] = rng.choice([0, 0, 20, 128]) if rng.random() < 0.7 else np.float32(rng.uniform(0, 255, 3))
        r = int(h * rng.uniform(0.04, 0.16))
        at = int(rng.integers(r, w - r)), int(rng.integers(r, h - r))
        if rng.random() < 0.5:
            cv2.circle(x, at, r, (255, 255, 255), -1, cv2.LINE_AA)
        elif rng.random() < 0.5:
            x[:, at[0]:at[0] + r] = 255
        else:
            x[at[1]:at[1] + r] = 255
    else:
        n, angle, (ys, xs) = h * rng.uniform(0.02, 0.25), rng.uniform(0, np.pi), np.ogrid[0:h, 0:w]
        wave = ((xs * np.cos(angle) + ys * np.sin(angle)) / n % 2)[..., None]
        a, b = np.float32([[0] * 3, [255] * 3]) if rng.random() < 0.5 else np.float32(rng.uniform(0, 255, (2, 3)))
        x[:] = np.where(wave < 1, a, b)


PATTERNS = [(colour_bars, 0.28), (ramp, 0.1), (checkers, 0.13), (zone_plate, 0.11), (rings, 0.06), (spokes, 0.06), (grid_and_circle, 0.12),
            (multiburst, 0.03), (colour_fields, 0.05), (moving_marks, 0.06)]


def test_pattern(rng, w, h):
    x = np.zeros((h, w, 3), np.float32)
    draw = rng.choice(len(PATTERNS), p=[weight for _, weight in PATTERNS])
    PATTERNS[draw][0](rng, x)
    if draw != 0 and rng.random() < 0.25:   # another pattern in a corner or strip
        y0, x0 = int(h * rng.uniform(0, 0.8)), int(w * rng.uniform(0, 0.8))
        part = np.zeros((h - y0, w - x0, 3), np.float32)
        PATTERNS[rng.choice(len(PATTERNS))][0](rng, part)
        x[y0:, x0:] = part
    if not p.is_pattern(p.view(x.clip(0, 255).astype(np.uint8))):
        return None
    if rng.random() < 0.25:
        for _ in range(rng.integers(1, 3)):
            words = ["TEST", "1000 Hz", "STUDIO 2", "00:01:23:04", "HD", "1080i50", "PLEASE STAND BY", "576"]
            draw_text(rng, x, words[rng.integers(len(words))], (int(w * rng.uniform(0.05, 0.6)), int(h * rng.uniform(0.1, 0.95))),
                      max(7, int(h * rng.uniform(0.04, 0.12))), (255, 255, 255))
    return noisy(rng, x, rng.choice([0, 0, rng.uniform(0, 4)]))
