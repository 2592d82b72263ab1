"""Renders one labelled sample: a clean picture, a look (night, fog, infrared…), a fault, overlaid text, compression.

Every fault is checked against the limits in picture.py and drawn again when it does not show. `render` returns the
model's view of the picture, 160x160.
"""

import cv2
import numpy as np

import picture as p
from patterns import solid_frame, snow_frame, test_pattern, black_frame
from texts import overlay


# ---- looks: everything that is still normal ------------------------------------------------------------------------

def to_uint8(x):
    return np.clip(x + 0.5, 0, 255).astype(np.uint8)


NOISE = np.random.default_rng(0).standard_normal((1 << 22,), np.float32)   # drawing fresh noise costs too much


def noise_field(rng, h, w, channels):
    starts = rng.integers(0, len(NOISE) - h * w, channels)
    return np.stack([NOISE[at:at + h * w] for at in starts], -1).reshape(h, w, channels)


def add_noise(rng, x, sigma, grain=1):
    h, w = x.shape[:2]
    channels = 1 if rng.random() < 0.5 else 3
    noise = noise_field(rng, h // grain + 1, w // grain + 1, channels) * np.float32(sigma)
    if grain > 1:
        return x + cv2.resize(noise, (w, h), interpolation=cv2.INTER_LINEAR).reshape(h, w, channels)
    return x + noise[:h, :w]


def gamma(x, power):
    """255 (x/255)^power, by table."""
    table = (255 * (np.arange(1021, dtype=np.float32) / 1020) ** power).astype(np.float32)
    return table[(x.clip(0, 255) * 4).astype(np.int16)]


def night(rng, x):
    x = gamma(x, rng.uniform(1.2, 2.4)) * np.float32(rng.uniform(0.35, 0.9))
    if rng.random() < 0.5:
        x = x * np.float32(rng.uniform(0.6, 1.3, 3))
    for _ in range(rng.integers(0, 5)):   # lamps
        h, w = x.shape[:2]
        ys, xs = np.ogrid[0:h, 0:w]
        d = np.hypot(xs - rng.uniform(0, w), ys - rng.uniform(0, 0.6 * h)) / (h * rng.uniform(0.01, 0.06))
        x = x + (255 * np.exp(-d))[..., None] * np.float32([1, rng.uniform(0.7, 1), rng.uniform(0.4, 1)])
    return add_noise(rng, x, rng.uniform(1, 12), rng.integers(1, 3))


def grey(rng, x):
    return np.repeat(x.mean(2, keepdims=True), 3, 2)


def infrared(rng, x):
    h, w = x.shape[:2]
    ys, xs = np.ogrid[0:h, 0:w]
    d = np.hypot((xs / w - rng.uniform(0.35, 0.65)), (ys / h - rng.uniform(0.35, 0.7)))
    channel = x[..., rng.integers(3)]
    y = channel * (1.2 - rng.uniform(0.6, 1.5) * d).clip(0.05) * rng.uniform(0.5, 1.1) + rng.uniform(0, 20)
    tint = np.float32([1, 1, 1]) if rng.random() < 0.7 else np.float32(rng.uniform(0.8, 1.1, 3))
    return add_noise(rng, y[..., None] * tint, rng.uniform(1, 9), rng.integers(1, 3))


def fog(rng, x):
    h = x.shape[0]
    depth = np.linspace(1, rng.uniform(0.2, 1), h, dtype=np.float32)[:, None, None]
    amount = rng.uniform(0.2, 0.62) * depth
    return x * (1 - amount) + rng.uniform(120, 225) * np.float32(rng.uniform(0.93, 1.07, 3)) * amount


def tone(rng, x):
    x = gamma(x, rng.uniform(0.6, 1.6))
    contrast = rng.uniform(0.5, 1.25)
    return (x - 128) * contrast + 128 + rng.uniform(-25, 20)


def tint(rng, x):
    return x * np.float32(rng.uniform(0.75, 1.2, 3))


def motion(rng, x):
    n = max(2, int(x.shape[1] * rng.uniform(0.002, 0.007)))
    kernel = np.zeros((n, n), np.float32)
    cv2.line(kernel, (0, int(rng.integers(n))), (n - 1, int(rng.integers(n))), 1)
    return cv2.filter2D(x, -1, kernel / kernel.sum())


def shallow_focus(rng, x):
    """One region in focus, the rest blurred: normal, not defocused."""
    h, w = x.shape[:2]
    blurred = cv2.GaussianBlur(x, (0, 0), h * rng.uniform(0.008, 0.03))
    ys, xs = np.ogrid[0:h, 0:w]
    d = np.hypot((xs - rng.uniform(0.2, 0.8) * w) / w, (ys - rng.uniform(0.2, 0.8) * h) / h)
    mask = 1 / (1 + np.exp((d - rng.uniform(0.2, 0.4)) * 30))
    return blurred + (x - blurred) * mask[..., None].astype(np.float32)


def letterbox(rng, x):
    x = x.copy()
    h, w = x.shape[:2]
    if rng.random() < 0.5:
        n = int(h * rng.uniform(0.03, 0.12))
        x[:n] = x[h - n:] = 0
    else:
        n = int(w * rng.uniform(0.03, 0.125))
        x[:, :n] = x[:, w - n:] = 0
    return x


LOOKS = [(night, 0.13), (grey, 0.10), (infrared, 0.08), (fog, 0.10), (tone, 0.35), (tint, 0.15), (motion, 0.06),
         (shallow_focus, 0.06), (letterbox, 0.06)]


def with_look(rng, picture):
    x = picture.astype(np.float32)
    for look, probability in LOOKS:
        if rng.random() < probability:
            x = look(rng, x).clip(0, 255)
    if rng.random() < 0.3:
        x = add_noise(rng, x, rng.uniform(0.5, 7))
    if rng.random() < 0.25:
        x = cv2.GaussianBlur(x, (0, 0), max(0.3, x.shape[0] * rng.uniform(0.0008, 0.004)))
    return to_uint8(x)


def jpeg(x, quality):
    _, data = cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def compress(rng, x):
    """JPEG at any quality; at times at the low resolution of a cheap camera or sub-stream, enlarged again."""
    h, w = x.shape[:2]
    if rng.random() < 0.3:
        small_h = int(rng.uniform(140, 300))
        if small_h < h:
            small = cv2.resize(x, (int(w * small_h / h), small_h), interpolation=cv2.INTER_AREA)
            return cv2.resize(jpeg(small, rng.uniform(12, 80)), (w, h), interpolation=rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    return jpeg(x, rng.uniform(12, 96))


def normal_picture(rng, sources, size=None):
    """A picture that is_normal accepts."""
    while True:
        x = with_look(rng, sources.picture(size))
        if p.is_normal(p.view(x)):
            return x


# ---- faults --------------------------------------------------------------------------------------------------------

def disc_blur(x, radius):
    r = max(1, int(round(radius)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * r + 1, 2 * r + 1)).astype(np.float32)
    return cv2.filter2D(x, -1, kernel / kernel.sum())


def defocused(rng, sources):
    x = normal_picture(rng, sources)
    h, share = x.shape[0], np.exp(rng.uniform(np.log(0.0125), np.log(0.055)))
    sigma = share * h
    kind = rng.random()
    if kind < 0.5:
        y = cv2.GaussianBlur(x, (0, 0), sigma)
    elif kind < 0.85:
        y = disc_blur(x, 2 * sigma) if sigma < 12 else cv2.GaussianBlur(x, (0, 0), sigma)
    else:   # shrunk and enlarged
        n = 1 / (3.0 * sigma)
        small = cv2.resize(x, None, fx=n, fy=n, interpolation=cv2.INTER_AREA)
        y = cv2.resize(small, (x.shape[1], h), interpolation=cv2.INTER_CUBIC)
    seen = p.view(y)
    if not p.is_defocused(p.view(x), seen, share):
        return None
    if rng.random() < 0.4:
        y = to_uint8(add_noise(rng, y.astype(np.float32), rng.uniform(0.5, 5)))
    return y


def smooth_field(rng, h, w, cells):
    field = rng.standard_normal((cells, cells + 1), np.float32)
    return cv2.resize(field, (w, h), interpolation=cv2.INTER_CUBIC)


def fractal(rng, h, w):
    """Noise of all scales, stretched along one side at times; about unit variance."""
    total, weight = np.zeros((h, w), np.float32), 0.0
    roughness, stretch = rng.uniform(0.5, 1.0), rng.choice([1, 1, 4, 8])
    for octave in range(6):
        cells, amount = 3 * 2 ** octave, roughness ** octave
        field = noise_field(rng, max(2, int(cells // stretch) + 2), cells + 2, 1)[..., 0]
        total += amount * cv2.resize(field, (w, h), interpolation=cv2.INTER_CUBIC)
        weight += amount ** 2
    total /= weight ** 0.5
    return np.abs(total) * 2 - 1 if rng.random() < 0.3 else total   # veins, as of marble


OCCLUDER_COLOURS = [(224, 172, 140), (150, 100, 70), (90, 55, 40), (235, 215, 180), (245, 240, 225), (200, 190, 170),
                    (60, 60, 65), (30, 30, 30), (120, 85, 50), (70, 90, 60), (170, 40, 40), (40, 60, 120)]


def occluder_surface(rng, sources, h, w, whole):
    """What hangs before the lens: skin, cloth, paper, card, leaves or a blurred thing, lit unevenly.

    Over the whole picture a thing with a shape of its own would be a defocused picture: only plain surfaces do.
    """
    kind = rng.choice([-0.1, rng.uniform(0.62, 1)], p=[0.25, 0.75]) if whole else rng.uniform(-0.25, 1)
    if kind < 0:      # real stone, wood, cloth, paper, in any colour
        surface = sources.texture(w, h).astype(np.float32)
        if rng.random() < 0.6:
            surface = surface.mean() + (surface - surface.mean()) * rng.uniform(0.4, 1.3) + rng.uniform(-60, 60, 3)
    elif kind < 0.3:    # an out-of-focus thing: a small crop, blurred away
        part = sources.picture((160, 120)).astype(np.float32)
        surface = cv2.resize(cv2.GaussianBlur(part, (0, 0), rng.uniform(9, 24)), (w, h))
    elif kind < 0.42:   # a texture seen close up
        part = sources.picture((160, 120)).astype(np.float32)
        surface = cv2.resize(cv2.GaussianBlur(part, (0, 0), rng.uniform(1, 4)), (w, h))
        surface = surface.mean((0, 1)) + (surface - surface.mean((0, 1))) * rng.uniform(0.2, 0.6)
    else:             # one colour
        if rng.random() < 0.6:
            colour = np.float32(OCCLUDER_COLOURS[rng.integers(len(OCCLUDER_COLOURS))]) * rng.uniform(0.5, 1.1)
        elif rng.random() < 0.25:   # white paper: not quite burnt out
            colour = rng.uniform(205, 243) + np.float32(rng.uniform(-8, 3, 3))
        else:         # a coat, a wall, paper: often nearly grey
            colour = rng.uniform(10, 245) + rng.choice([0.03, 0.3]) * np.float32(rng.uniform(-120, 120, 3))
        surface = np.empty((h, w, 3), np.float32)
        surface[:] = colour
        if not whole and rng.random() < 0.35:   # nothing to be seen on it
            return surface.clip(0, 255)
    if 0.42 <= kind < 0.62:   # stone, wood, cloth, leaves: fractal noise, sharp
        surface = surface + fractal(rng, h, w)[..., None] * rng.uniform(6, 40)
    if rng.random() < 0.65:   # uneven light
        surface = surface * (1 + rng.uniform(0.05, 0.3) * smooth_field(rng, h, w, rng.integers(2, 4))[..., None])
    if kind > 0 and rng.random() < 0.35:   # weave or fibre
        period, angle = rng.uniform(0.008, 0.05) * h, rng.uniform(0, np.pi)
        ys, xs = np.ogrid[0:h, 0:w]
        wave = np.sin((xs * np.cos(angle) + ys * np.sin(angle)) * 2 * np.pi / period)
        if rng.random() < 0.6:
            wave = wave * np.sin((ys * np.cos(angle) - xs * np.sin(angle)) * 2 * np.pi / period)
        surface = surface + rng.uniform(2, 18) * wave[..., None].astype(np.float32)
    if rng.random() < 0.5:
        surface = add_noise(rng, surface, rng.uniform(0.5, 6), rng.integers(1, 4))
    return surface.clip(0, 255)


def fingers(rng, mask, light):
    """Bars side by side from one edge, each ending somewhere: touching, overlapping, or with gaps between, each lit from a side."""
    h, w = mask.shape
    angle = rng.choice([0, 0.5, 1, 1.5]) * np.pi + rng.normal(0, 0.25)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    reach, span = np.abs(along) @ (w, h), np.abs(across) @ (w, h)
    n = rng.integers(2, 7)
    pitch = span / n * rng.uniform(0.9, 1.1)
    spread, dark, hard = rng.uniform(0, 0.12), rng.choice([1, rng.uniform(0.25, 0.9)]), np.exp(rng.uniform(-1, 2))
    side, far, (ys, xs) = rng.choice([-1, 1]), rng.uniform(-0.5, 0.5), np.ogrid[0:h, 0:w]
    for i in range(n):
        at = np.array([w / 2, h / 2]) + across * (i - (n - 1) / 2 + rng.normal(0, 0.06)) * pitch
        tip = at + along * reach * rng.uniform(0.05, 0.55)
        root = at - along * reach + across * rng.normal(0, spread) * span
        width, finger = max(2, int(pitch * rng.uniform(0.72, 1.1))), np.zeros_like(mask)
        cv2.line(finger, tuple(map(int, root)), tuple(map(int, tip)), 1, width)
        to = (tip - root) / np.hypot(*(tip - root))
        beside = ((ys - root[1]) * to[0] - (xs - root[0]) * to[1]) / width * 2 + far * ((ys - at[1]) * to[1] + (xs - at[0]) * to[0]) / reach
        np.copyto(light, dark + (1 - dark) / (1 + np.exp(-2 * hard * side * beside)), where=finger > 0, casting="same_kind")
        np.maximum(mask, finger, out=mask)


def leaves(rng, mask):
    """Leaves, twigs, dirt, slats: many pieces of one shape, the picture showing through between them."""
    h, w = mask.shape
    wanted, size = rng.uniform(0.62, 0.9), h * np.exp(rng.uniform(np.log(0.06), np.log(0.3)))
    long, flat, turn = size * rng.uniform(1, 3), size * rng.uniform(0.3, 1), rng.choice([0, 25, 180])
    direction, oval = rng.uniform(0, 180), rng.random() < 0.6
    while mask.mean() < wanted:
        x, y, angle = rng.uniform(0, w), rng.uniform(0, h), direction + rng.uniform(-turn, turn)
        if oval:
            cv2.ellipse(mask, (int(x), int(y)), (int(long) + 1, int(flat) + 1), angle, 0, 360, 1, -1)
        else:
            cv2.fillPoly(mask, [np.int32(cv2.boxPoints(((x, y), (2 * long, 2 * flat), angle)))], 1)


def occluder_mask(rng, h, w):
    """(0…1: which part is hidden; 0…1: how it is lit): straight edges, blobs, boxes, fingers or leaves, sharp or out of focus."""
    s = 240 / h
    mh, mw = 240, max(40, int(w * s))
    mask, light = np.zeros((mh, mw), np.float32), np.ones((mh, mw), np.float32)
    kind = rng.random()
    if kind < 0.15:    # a straight edge at any angle
        angle, ys, xs = rng.uniform(0, 2 * np.pi), *np.ogrid[0:mh, 0:mw]
        d = (xs - mw / 2) * np.cos(angle) + (ys - mh / 2) * np.sin(angle)
        mask[d < np.percentile(d, rng.uniform(60, 100))] = 1
    elif kind < 0.3:   # a wavy blob
        field = smooth_field(rng, mh, mw, rng.integers(2, 5))
        mask[field < np.percentile(field, rng.uniform(60, 100))] = 1
    elif kind < 0.5:   # a box or paper, perhaps turned
        box = ((mw * rng.uniform(0.3, 0.7), mh * rng.uniform(0.3, 0.7)), (mw * rng.uniform(0.75, 1.3), mh * rng.uniform(0.75, 1.3)),
               rng.choice([0, 0, 0, rng.uniform(-40, 40)]))
        cv2.fillPoly(mask, [np.int32(cv2.boxPoints(box))], 1)
    elif kind < 0.62:  # a big round thing, or all but a round hole
        centre = (int(mw * rng.uniform(0.2, 0.8)), int(mh * rng.uniform(0.2, 0.8)))
        axes = (int(mw * rng.uniform(0.4, 0.8)), int(mh * rng.uniform(0.4, 0.8)))
        cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 1, -1)
        if rng.random() < 0.3:
            mask = 1 - cv2.ellipse(np.zeros_like(mask), centre, (axes[0] // 2, axes[1] // 2), 0, 0, 360, 1, -1)
    elif kind < 0.82:
        fingers(rng, mask, light)
    elif kind < 0.95:
        leaves(rng, mask)
    else:
        mask[:] = 1
    mask, light = cv2.resize(mask, (w, h)), cv2.resize(light, (w, h))
    soft = rng.choice([0, rng.uniform(0.004, 0.02), rng.uniform(0.02, 0.1)])
    if soft * h > 0.5:
        mask = cv2.GaussianBlur(cv2.copyMakeBorder(mask, h // 5, h // 5, h // 5, h // 5, cv2.BORDER_REPLICATE),
                                (0, 0), soft * h)[h // 5:-(h // 5), h // 5:-(h // 5)]
    return mask, light


def covered(rng, sources):
    x = normal_picture(rng, sources)
    h, w = x.shape[:2]
    mask, light = occluder_mask(rng, h, w)
    share = float((mask > 0.5).mean())
    if not p.is_covered(share):
        return None
    surface = occluder_surface(rng, sources, h, w, share > 0.9) * light[..., None]
    if rng.random() < 0.25:   # round: darker towards the edges of the thing
        inside = cv2.distanceTransform(np.uint8(mask > 0.5), cv2.DIST_L2, 3)
        surface = surface * (rng.uniform(0.3, 0.9) + (inside / (0.12 * h)).clip(0, 1) * 0.6).clip(0, 1)[..., None]
    y = to_uint8(x * (1 - mask[..., None]) + surface * mask[..., None])
    seen = p.view(y)
    # a full cover must show a surface: an even one is a single colour, a dark one is black
    if share > 0.9 and (seen.std((0, 1)).max() < 12 or seen.max(2).mean() < 25):
        return None
    return None if np.percentile(seen.max(2), 99) <= 55 else y


def over_exposed(rng, sources):
    x = normal_picture(rng, sources).astype(np.float32)
    kind = rng.random()
    if kind < 0.4:     # too much light: gain in linear light
        y = x * np.float32(np.exp(rng.uniform(np.log(2), np.log(30)) / 2.2))
    elif kind < 0.7:   # gain or brightness of the video signal
        y = x * rng.uniform(1.2, 4.0) + rng.uniform(0, 110)
    else:              # lifted gamma and gain
        y = gamma(x, rng.uniform(0.2, 0.7)) * np.float32(rng.uniform(1.1, 2.0))
    if rng.random() < 0.4:   # bloom
        light = cv2.GaussianBlur((y - 200).clip(0, 400), (0, 0), x.shape[0] * rng.uniform(0.01, 0.05))
        y = y + light * rng.uniform(0.2, 0.8)
    y = to_uint8(y)
    return y if p.is_over_exposed(p.view(y)) else None


# ---- simulated decode damage -----------------------------------------------------------------------------------------

def wild_colour(rng):
    if rng.random() < 0.6:   # grey, and the green or pink of missing chroma
        return np.float32([(128, 128, 128), (0, 135, 0), (77, 255, 77), (255, 60, 255), (0, 0, 0), (130, 0, 130)][rng.integers(6)])
    return np.float32(rng.uniform(0, 255, 3))


def damage_block(rng, x, by, bx, n, style):
    """One block of n x n pixels at (by, bx)."""
    h, w = x.shape[:2]
    block = x[by:by + n, bx:bx + n]
    if style == "copy":          # a wrong motion vector
        sy, sx = rng.integers(0, max(1, h - n)), rng.integers(0, max(1, w - n))
        block[:] = x[sy:sy + block.shape[0], sx:sx + block.shape[1]]
    elif style == "flat":        # only the DC coefficient, and a wrong one
        block[:] = block.mean((0, 1)) + rng.normal(0, 45, 3)
    elif style == "colour":
        block[:] = wild_colour(rng)
    else:                        # wrong coefficients: a cosine pattern over the block
        u, v = rng.integers(0, 4, 2)
        ys, xs = np.ogrid[0:block.shape[0], 0:block.shape[1]]
        wave = np.cos(np.pi * u * (ys + 0.5) / n) * np.cos(np.pi * v * (xs + 0.5) / n)
        block += wave[..., None] * rng.uniform(40, 160) * np.float32(rng.choice([[1, 1, 1], [1, 0.2, -0.5], [0.3, 1, 0.3]]))


def damage_row(rng, x, by, n):
    """The rest of a row of blocks: smeared, shifted, grey, or repeated from above."""
    h, w = x.shape[:2]
    start = int(rng.integers(0, w // n)) * n if rng.random() < 0.7 else 0
    row = x[by:by + n, start:]
    style = rng.random()
    if row.shape[1] == 0:
        return
    if style < 0.25:
        row[:] = row[:, :1] if rng.random() < 0.5 else x[by:by + 1, start:]
    elif style < 0.5:
        row[:] = np.roll(row, int(rng.integers(n, w)), 1) + rng.normal(0, 25, 3)
    elif style < 0.7:
        row[:] = wild_colour(rng)
    else:
        for bx in range(start, w, n):
            damage_block(rng, x, by, bx, n, rng.choice(["copy", "flat", "wave"]))


def only_changes(rng, clean):
    """What a decoder shows without a key frame: grey (or green), and on it the changes and some fresh blocks."""
    h, w = clean.shape[:2]
    x = clean.astype(np.float32)
    moved = np.roll(x, rng.integers(-6, 7, 2), (0, 1))
    ground = np.float32([128] * 3) if rng.random() < 0.75 else wild_colour(rng)
    n = 16
    rows, columns = -(-h // n), -(-w // n)
    field = smooth_field(rng, rows, columns, 5) + 0.5 * rng.standard_normal((rows, columns))
    fresh = cv2.resize((field > np.percentile(field, rng.uniform(40, 98))).astype(np.float32), (columns * n, rows * n),
                       interpolation=cv2.INTER_NEAREST)[:h, :w, None]
    y = ground + (x - moved) * rng.uniform(0.3, 1.2)
    return to_uint8(y * (1 - fresh) + x * fresh)


def simulated_blocky(rng, sources):
    clean = normal_picture(rng, sources)
    if rng.random() < 0.2:
        y = only_changes(rng, clean)
        return y if p.is_blocky([p.view(clean)], p.view(y)) else None
    x = clean.astype(np.float32)
    h, w = x.shape[:2]
    n = int(rng.choice([8, 16, 16, 16, 32])) * max(1, round(h / 480))
    rows, wanted = list(range(0, h, n)), rng.uniform(0.12, 0.8)
    kind = rng.random()
    if kind < 0.4:     # whole rows of blocks
        for by in rng.permutation(rows)[:max(1, int(len(rows) * wanted))]:
            damage_row(rng, x, int(by), n)
    elif kind < 0.6:   # everything below some row
        for by in rows[int(len(rows) * (1 - wanted)):]:
            damage_row(rng, x, by, n)
    else:              # single blocks, scattered or in patches
        styles = rng.choice(["copy", "flat", "colour", "wave"], rng.integers(1, 4))
        patchy = smooth_field(rng, len(rows), -(-w // n), 5) if rng.random() < 0.6 else rng.standard_normal((len(rows), -(-w // n)))
        limit = np.percentile(patchy, 100 * wanted)
        for r, c in np.argwhere(patchy < limit):
            damage_block(rng, x, int(r) * n, int(c) * n, n, rng.choice(styles))
    y = to_uint8(x)
    return y if p.is_blocky([p.view(clean)], p.view(y)) else None


# ---- samples -----------------------------------------------------------------------------------------------------------

def finish(rng, x):
    if rng.random() < 0.35:
        x = overlay(rng, x)
    if rng.random() < 0.7:
        x = compress(rng, x)
    return x


def render(rng, sources, streams, label):
    """The model's view of one sample of a class. `streams` is a bank of really damaged (and intact) decodes."""
    while True:
        if label == "normal":
            if streams and rng.random() < 0.25:
                x = streams.intact(rng)
            else:
                x = normal_picture(rng, sources)
        elif label == "blocky":
            x = streams.damaged(rng) if streams and rng.random() < 0.6 else simulated_blocky(rng, sources)
        elif label in FROM_PICTURE:
            x = FROM_PICTURE[label](rng, sources)
        else:
            w, h = sources.size()
            x = FROM_NOTHING[label](rng, w, h)
        if x is None:
            continue
        seen = p.view(finish(rng, x))
        if label != "normal" or p.is_normal(seen):
            return seen


FROM_PICTURE = {"defocused": defocused, "covered": covered, "over-exposed": over_exposed}
FROM_NOTHING = {"black": black_frame, "solid-colour": solid_frame, "snow": snow_frame, "test-pattern": test_pattern}
