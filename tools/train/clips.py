"""Clips for stream models: pictures that live, pan or play, faults of a frame, faults in time, really encoded and decoded.

    python3 clips.py prepare CACHE MEDIA               decodes runs of frames of the training footage into CACHE
    python3 clips.py CACHE RING [CLIPS [SEED]]         fills a ring of rendered clips, as the model sees them

A clip is LENGTH frames at 25 a second, with a label for every frame, or NONE where neither answer would be wrong (a
picture that has stood still for a second, say).
"""

import glob
import os
import sys

import cv2
import numpy as np

import degrade
import picture as p
import sources
import streams
from ring import Ring

LABELS = p.LABELS + ["frozen", "flicker", "rolling", "shaking", "stuttering"]
LENGTH, RATE, NONE = 80, 25, -1
SIZES = [(320, 240), (320, 240), (352, 288), (320, 180), (400, 224), (480, 270), (640, 360)]
# mostly what needs clips: the faults of frames come from the frames' own ring too (train_stream.py)
SHARES = {"normal": 26, "defocused": 2, "covered": 4, "over-exposed": 1, "black": 1, "test-pattern": 2, "snow": 1, "solid-colour": 1,
          "blocky": 7, "frozen": 10, "flicker": 9, "rolling": 10, "shaking": 14, "stuttering": 14}
RUN_LENGTH, RUN_WIDTH = 500, 480


# ---- what the camera looks at ----------------------------------------------------------------------------------------

def prepare(cache, media):
    """Runs of neighbouring frames of the footage that sources.py names, as CACHE/{train,valid}-run-N.npy."""
    for i, (pattern, held_out) in enumerate(sources.FOOTAGE):
        found = glob.glob(os.path.join(media, "**", pattern), recursive=True)
        if pattern.endswith("png") or not found:
            continue
        capture, frames = cv2.VideoCapture(found[0]), []
        while len(frames) < RUN_LENGTH and (got := capture.read())[0]:
            scale = min(1, RUN_WIDTH / got[1].shape[1])
            frames.append(cv2.cvtColor(cv2.resize(got[1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))
        np.save(f"{cache}/{'valid' if held_out else 'train'}-run-{i}.npy", np.stack(frames))


class Scene:
    """at(t, dx, dy, turn): the picture at frame t, the camera moved by dx, dy (shares of the height) and turned (degrees)."""

    def __init__(self, rng, runs, pictures, w, h, moving=None):
        self.w, self.h, kind = w, h, rng.random()
        if moving is None:
            moving = rng.random() < 0.6
        self.things = [streams.moving_thing(rng, pictures, w, h) for _ in range(rng.integers(1 if moving else 0, 4) if moving else 0)]
        self.drift, self.zoom = np.zeros(2), 1.0
        if runs and kind < (0.6 if moving else 0.1):
            self.run, self.things = runs[rng.integers(len(runs))], self.things[:rng.integers(0, 2)]
            self.start, self.still = rng.integers(max(1, len(self.run) - LENGTH)), not moving
            oh, ow = self.run.shape[1:3]
            self.tone = self.tone_table(rng) if rng.random() < 0.4 else None
        else:
            self.run, self.still, self.start = None, True, 0
            picture = degrade.normal_picture(rng, pictures, (int(w * 1.6), int(h * 1.6)))
            self.picture, (oh, ow) = picture, picture.shape[:2]
            self.tone = None
            if moving and rng.random() < 0.6:
                self.drift = rng.normal(0, 0.004, 2) * np.exp(rng.normal(0, 0.7))
                self.zoom = rng.choice([1, rng.uniform(0.996, 1.004)])
        scale = min(ow / w, oh / h) * rng.uniform(0.72, 0.85)
        self.scale, self.centre = scale, (ow / 2, oh / 2)
        self.shape = (ow, oh)
        # things painted in the picture's own frame would shake with it: a fixed wobble of the hand that holds the camera
        self.hand = rng.choice([0, 0, rng.uniform(0, 0.003)])
        self.phase = rng.uniform(0, 6, 2)

    @staticmethod
    def tone_table(rng):
        x = np.arange(256, dtype=np.float32) / 255
        y = (x ** rng.uniform(0.7, 1.6) * 255 - 128) * rng.uniform(0.6, 1.15) + 128 + rng.uniform(-20, 15)
        return np.stack([y * rng.uniform(0.9, 1.1) for _ in range(3)], -1).clip(0, 255).astype(np.uint8)

    def at(self, t, dx=0.0, dy=0.0, turn=0.0):
        if self.run is not None:
            i = self.start + (0 if self.still else t)
            n = len(self.run)
            i = i % (2 * n - 2) if n > 1 else 0
            source = self.run[i if i < n else 2 * n - 2 - i]
        else:
            source = self.picture
        sway = self.hand * np.sin(t / RATE * 2 * np.pi * 0.35 + self.phase)
        scale = self.scale * self.zoom ** t
        room = np.maximum(np.array(self.shape) / 2 - scale * np.array([self.w, self.h]) / 2, 0) / (scale * self.h)
        where = np.clip(self.drift * t + sway, -0.55 * room, 0.55 * room) + (dx, dy)
        cx, cy = np.array(self.centre) + where * self.h * scale
        m = cv2.getRotationMatrix2D((self.w / 2, self.h / 2), turn, 1)
        m = np.vstack([m, [0, 0, 1]])
        to = np.array([[scale, 0, cx - scale * self.w / 2], [0, scale, cy - scale * self.h / 2]]) @ m
        if scale > 1.6:   # shrink first: warpAffine does not average
            source = cv2.resize(source, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
            to = to / scale
        frame = cv2.warpAffine(source, to, (self.w, self.h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT)
        frame = np.ascontiguousarray(frame)
        for thing in self.things:
            thing(frame, t)
        if self.tone is not None:
            frame = np.stack([cv2.LUT(frame[..., c], self.tone[:, c]) for c in range(3)], -1)
        return frame


def alive(rng, frames, low=0.7):
    """Noise of a sensor, other in every frame; now and then light that changes slowly, a lamp that blinks, a running clock."""
    sigma = np.float32(np.exp(rng.uniform(np.log(low), np.log(8))))
    h, w, n = *frames[0].shape[:2], len(frames)
    channels, grain = rng.choice([1, 3]), rng.choice([1, 1, 2])
    slow = 1 + rng.choice([0, 0, 0.04]) * np.sin(np.arange(n) / RATE * 2 * np.pi * rng.uniform(0.05, 0.25) + rng.uniform(0, 6))
    lamp = rng.random() < 0.06
    lamp_at, lamp_size, period = rng.uniform(0.1, 0.9, 2), rng.uniform(0.01, 0.05), rng.integers(6, 40)
    clock = rng.random() < 0.15
    out = []
    for i, frame in enumerate(frames):
        noise = degrade.noise_field(rng, h // grain + 1, w // grain + 1, channels) * sigma
        noise = cv2.resize(noise, (w, h), interpolation=cv2.INTER_LINEAR).reshape(h, w, channels) if grain > 1 else noise[:h, :w]
        x = degrade.to_uint8(frame * np.float32(slow[i]) + noise)
        if lamp and i // period % 2:
            cv2.circle(x, (int(lamp_at[0] * w), int(lamp_at[1] * h)), max(1, int(lamp_size * h)), (255, 220, 160), -1)
        if clock:
            cv2.putText(x, f"12:03:{4 + i // RATE:02d}", (8, h - 8), cv2.FONT_HERSHEY_PLAIN, h / 240, (255, 255, 255), 1, cv2.LINE_AA)
        out.append(x)
    return out


# ---- faults in time: (frames, labels) --------------------------------------------------------------------------------

def label_from(name, onset, settle):
    """Normal before the onset, the fault once it has gone on for `settle` seconds, in between neither."""
    labels = np.full(LENGTH, NONE, np.int8)
    labels[:max(0, onset)] = 0
    labels[onset + int(settle * RATE):] = LABELS.index(name)
    return labels


def onset_of(rng, latest):
    return 0 if rng.random() < 0.45 else int(rng.uniform(0, latest) * RATE)


def frozen(rng, scene):
    onset = onset_of(rng, 1.0)
    frames = alive(rng, [scene.at(t) for t in range(onset + 1)])
    return frames + [frames[-1]] * (LENGTH - onset - 1), label_from("frozen", onset, 2.0)


def flicker(rng, scene):
    onset, kind = onset_of(rng, 1.2), rng.random()
    frames = alive(rng, [scene.at(t) for t in range(LENGTH)])
    hz, amount = np.exp(rng.uniform(np.log(0.9), np.log(11))), np.exp(rng.uniform(np.log(0.08), np.log(0.6)))
    t, h = np.arange(LENGTH) / RATE, frames[0].shape[0]
    wave = np.sin(2 * np.pi * hz * t + rng.uniform(0, 6))
    if kind < 0.3:
        wave = np.sign(wave)
    elif kind < 0.5:     # a new level now and then
        wave = np.repeat(rng.uniform(-1, 1, LENGTH), max(1, int(RATE / hz / 2)))[:LENGTH]
    elif kind < 0.58:    # short flashes or drop-outs
        wave = np.where(rng.random(LENGTH) < 0.25, rng.choice([-1, 1]), 0)
    bands = kind > 0.86  # mains light and a rolling shutter
    ys = np.arange(h)[:, None, None] / h
    colour = np.float32(rng.uniform(0.2, 1, 3)) if rng.random() < 0.25 else np.ones(3, np.float32)
    additive = rng.random() < 0.3
    for i in range(onset, LENGTH):
        level = np.sin(2 * np.pi * (hz * t[i] + ys * rng.choice([1.0]) * 1.7)) if bands else wave[i]
        change = np.float32(amount * level) * colour
        x = frames[i] + 110 * change if additive else frames[i] * (1 + change)
        frames[i] = degrade.to_uint8(x.astype(np.float32))
    return frames, label_from("flicker", onset, 0.5 + 0.5 / hz)


def rolling(rng, scene):
    onset, speed = onset_of(rng, 1.2), np.exp(rng.uniform(np.log(0.08), np.log(2.0))) * rng.choice([-1, 1])
    frames = alive(rng, [scene.at(t) for t in range(LENGTH)])
    bar, sideways, jumpy = rng.choice([0, 0, rng.uniform(0.02, 0.12)]), rng.random() < 0.18, rng.random() < 0.15
    at = 0.0
    for i in range(onset, LENGTH):
        at += speed / RATE * (rng.uniform(0, 2) if jumpy else 1)
        x = frames[i].transpose(1, 0, 2) if sideways else frames[i]
        n = len(x)
        gap = np.zeros((int(bar * n), *x.shape[1:]), np.uint8)
        x = np.roll(np.concatenate([x, gap]), int(round(at * n)), 0)[:n]
        frames[i] = np.ascontiguousarray(x.transpose(1, 0, 2) if sideways else x)
    return frames, label_from("rolling", onset, 0.4)


def shake(rng, size):
    """Where the camera is, [LENGTH, 3]: shares of the height, and degrees; `size`: root mean square of the way."""
    t, way = np.arange(LENGTH) / RATE, np.zeros((LENGTH, 3))
    kind = rng.random()
    if kind < 0.15:   # knocks that ring
        period, hz, axis = rng.uniform(0.4, 1.0), rng.uniform(3, 8), rng.normal(0, 1, 3) * (1, 1, rng.choice([0, 15]))
        since = (t + rng.uniform(0, 1)) % period
        way += (np.exp(-rng.uniform(3, 7) * since) * np.sin(2 * np.pi * hz * since))[:, None] * axis
    elif kind < 0.65:
        for _ in range(rng.integers(1, 4)):
            hz, axis = rng.uniform(1.6, 9), rng.normal(0, 1, 3) * (1, 1, rng.choice([0, 15]))
            way += np.sin(2 * np.pi * hz * t + rng.uniform(0, 6))[:, None] * axis
    else:
        way = rng.normal(0, 1, (LENGTH, 3)) * (1, rng.uniform(0.3, 1), rng.choice([0, 15]))
        if rng.random() < 0.6:
            way = cv2.blur(way, (1, int(rng.integers(2, 5))))
    return way * size / max(1e-6, np.sqrt((way[:, :2] ** 2).sum(1).mean()))


def shaking(rng, scene):
    onset, size = onset_of(rng, 1.2), np.exp(rng.uniform(np.log(0.008), np.log(0.045)))
    way, frames = shake(rng, size), []
    blur = rng.random() < 0.35
    for t in range(LENGTH):
        moved = way[t] if t >= onset else np.zeros(3)
        x = scene.at(t, *moved)
        if blur and t > onset:
            dx, dy = (way[t] - way[t - 1])[:2] * scene.h * 0.5
            n = int(min(25, np.hypot(dx, dy)))
            if n >= 3:
                kernel = np.zeros((n, n), np.float32)
                cv2.line(kernel, (int(n / 2 - dx / 2), int(n / 2 - dy / 2)), (int(n / 2 + dx / 2), int(n / 2 + dy / 2)), 1)
                x = cv2.filter2D(x, -1, kernel / max(1, kernel.sum()))
        frames.append(x)
    return alive(rng, frames), label_from("shaking", onset, 0.5)


def stuttering(rng, scene):
    onset, kind = onset_of(rng, 0.8), rng.random()
    shown, t = list(range(onset)), onset
    regular, base = rng.random() < 0.35, rng.uniform(0.16, 0.9)
    while len(shown) < LENGTH:
        n = max(3, int(RATE * (base if regular else rng.uniform(0.16, 0.95))))
        if kind < 0.45:           # held, then on to where time has got to
            shown += [t] * n
            t += n
        elif kind < 0.62:         # held, then on from there
            play = int(rng.integers(1, 9))
            shown += [t] * n + list(range(t + 1, t + play))
            t += play
        elif kind < 0.8:          # the last frames again and again
            n = max(2, n // 2)
            shown += list(range(t, t + n)) * int(rng.integers(2, 4))
            t += n
        elif kind < 0.9:          # in the wrong order
            n = max(4, n // 2)
            shown += list(range(t + n - 1, t - 1, -1)) if rng.random() < 0.7 else list(rng.permutation(np.arange(t, t + n)))
            t += n
        else:                     # to and fro between an old frame and a new one
            n = max(4, n // 2)
            shown += [t + (n - 1) * (i % 2) for i in range(n)]
            t += n
    all_frames = alive(rng, [scene.at(i) for i in range(max(shown[:LENGTH]) + 1)])
    seen = [p.view(all_frames[i]).astype(np.int16) for i in sorted(set(shown[onset:LENGTH]))]
    if min((np.abs(a - b).mean() for a, b in zip(seen, seen[1:])), default=0) < 0.5 or np.median(
            [np.abs(a - b).mean() for a, b in zip(seen, seen[1:])]) < (2.0 if kind < 0.45 else 1.2):
        return None               # nothing moves: nobody could tell
    return [all_frames[i] for i in shown[:LENGTH]], label_from("stuttering", onset, 1.0)


TIME_FAULTS = {"frozen": frozen, "flicker": flicker, "rolling": rolling, "shaking": shaking, "stuttering": stuttering}


# ---- a fault of every frame -------------------------------------------------------------------------------------------

def of_frames(rng, pictures, scene, name):
    """A clip with one of the frame faults from the first frame to the last."""
    w, h = scene.w, scene.h
    labels = np.full(LENGTH, LABELS.index(name), np.int8)
    if name in degrade.FROM_NOTHING:
        if name == "snow":
            some = [x for x in (degrade.snow_frame(np.random.default_rng(rng.integers(1 << 30)), w, h) for _ in range(1)) if x is not None]
            if not some:
                return None
            base = some[0]       # moved about at random it is new noise, of the same kind
            return [np.roll(base, tuple(rng.integers(0, (h, w))), (0, 1)) for _ in range(LENGTH)], labels
        x = degrade.FROM_NOTHING[name](rng, w, h)
        if x is None:
            return None
        return ([x] * LENGTH if rng.random() < 0.5 else alive(rng, [x] * LENGTH, 0.3)), labels
    frames = [scene.at(t) for t in range(LENGTH)]
    if not p.is_normal(p.view(frames[0])):
        return None
    if name == "defocused":
        share = np.exp(rng.uniform(np.log(0.0125), np.log(0.055)))
        disc = rng.random() < 0.4 and share * h < 6
        blur = (lambda x: degrade.disc_blur(x, 2 * share * h)) if disc else (lambda x: cv2.GaussianBlur(x, (0, 0), share * h))
        faulty = [blur(x) for x in frames]
        good = p.is_defocused(p.view(frames[0]), p.view(faulty[0]), share)
    elif name == "covered":
        mask, light = degrade.occluder_mask(rng, h, w)
        share = float((mask > 0.5).mean())
        if not p.is_covered(share):
            return None
        surface = degrade.occluder_surface(rng, pictures, h, w, share > 0.9) * light[..., None]
        faulty = [degrade.to_uint8(x * (1 - mask[..., None]) + surface * mask[..., None]) for x in frames]
        seen = p.view(faulty[0])
        good = (share <= 0.9 or (seen.std((0, 1)).max() >= 12 and seen.max(2).mean() >= 25)) and np.percentile(seen.max(2), 99) > 55
    else:
        table = np.arange(256, dtype=np.float32)
        table = table * np.exp(rng.uniform(np.log(2), np.log(30)) / 2.2) if rng.random() < 0.5 else table * rng.uniform(1.2, 4) + rng.uniform(0, 110)
        faulty = [cv2.LUT(x, table.clip(0, 255).astype(np.uint8)) for x in frames]
        good = p.is_over_exposed(p.view(faulty[0]))
    return (alive(rng, faulty, 0.4), labels) if good else None


# ---- encoding ------------------------------------------------------------------------------------------------------------

def encoded(rng, frames, spoil=False):
    """The frames as they come out of a decoder. None: some were lost. To be spoilt: those, and what decodes them with damage."""
    h, w = frames[0].shape[:2]
    kind = rng.random()
    if not spoil and kind < 0.15:
        return frames
    if not spoil and kind < 0.35:
        quality = int(rng.uniform(30, 95))
        return [degrade.jpeg(x, quality) for x in frames]
    codec, container, _ = streams.CODECS[rng.integers(6)]
    options = ["-crf", str(rng.integers(18, 32)), "-preset", rng.choice(["ultrafast", "superfast", "veryfast"])]
    if codec == "libx264":
        options += ["-tune", "zerolatency"] if rng.random() < 0.4 else ["-bf", str(rng.integers(0, 3))]
    else:
        options = ["-q:v", str(rng.integers(2, 12))]
    stream = streams.ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", "25", "-i", "-", "-pix_fmt", "yuv420p", "-c:v", codec,
                            *options, "-g", str(int(np.exp(rng.uniform(np.log(8), np.log(250))))), "-f", container, "-",
                            data=b"".join(f.tobytes() for f in frames))
    got = decoded(stream, container, w, h)
    if len(got) != len(frames):
        return None
    return (got, lambda: decoded(streams.damage(rng, stream), container, w, h)) if spoil else got


def decoded(stream, container, w, h):
    raw = streams.ffmpeg("-flags", "+output_corrupt", "-err_detect", "ignore_err", "-f", container, "-i", "-", "-fps_mode", "passthrough",
                         "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-", data=stream)
    n = w * h * 3
    return list(np.frombuffer(raw[:len(raw) // n * n], np.uint8).reshape(-1, h, w, 3))


def blocky(rng, scene):
    """A damaged stream: a frame is labelled where the damage shows, before it starts, and nowhere else."""
    frames = alive(rng, [scene.at(t) for t in range(LENGTH)])
    got = encoded(rng, frames, spoil=True)
    for _ in range(6 if got else 0):
        clean, bad = got[0], got[1]()
        if len(bad) != LENGTH:
            continue
        labels = np.full(LENGTH, NONE, np.int8)
        for t in range(3, LENGTH, 8):
            if np.array_equal(clean[t], bad[t]) and (labels[:t] <= 0).all():
                labels[:t + 1] = 0
            elif p.is_blocky([p.view(x) for x in clean[max(0, t - 6):t + 7:6]], p.view(bad[t])):
                labels[t] = LABELS.index("blocky")
        if (labels > 0).sum() >= 3:
            return [p.view(x) for x in bad], labels
    return None


# ---- a clip ----------------------------------------------------------------------------------------------------------------

def lives(views):
    """Something changes from frame to frame all the while: otherwise it is frozen."""
    change = [np.abs(a.astype(np.int16) - b).mean() for a, b in zip(views, views[1:])]
    return min(np.mean(change[i:i + 12]) for i in range(0, len(change) - 11, 6)) >= 0.12


def render(rng, pictures, runs, name):
    """One clip of a class: (uint8 [LENGTH,160,160,3], labels [LENGTH])."""
    while True:
        w, h = SIZES[rng.integers(len(SIZES))]
        scene = Scene(rng, runs, pictures, w, h, True if name == "stuttering" else None)
        if not p.is_normal(p.view(scene.at(0))):
            continue
        if name == "blocky":
            if (got := blocky(rng, scene)) is not None:
                return np.stack(got[0]), got[1]
            continue
        if name == "normal":
            got = alive(rng, [scene.at(t) for t in range(LENGTH)]), np.zeros(LENGTH, np.int8)
        elif name in TIME_FAULTS:
            got = TIME_FAULTS[name](rng, scene)
        else:
            got = of_frames(rng, pictures, scene, name)
        if got is None:
            continue
        frames, labels = got
        frames = encoded(rng, frames)
        if frames is None:
            continue
        views = [p.view(np.ascontiguousarray(x)) for x in frames]
        if (name == "normal" or name == "flicker" or name == "shaking") and not lives(views):
            continue
        if name == "normal":
            labels[[not p.is_normal(v) for v in views]] = NONE
        return np.stack(views), labels


class ClipRing(Ring):
    """Rendered clips in a file: pixels [N,LENGTH,160,160,3], labels [N,LENGTH]."""

    def __init__(self, path, clips=None):
        os.makedirs(path, exist_ok=True)
        if clips is None:
            clips = os.path.getsize(os.path.join(path, "labels.i1")) // LENGTH
        open_ = lambda name, dtype, shape: np.memmap(os.path.join(path, name), dtype, "r+" if os.path.exists(os.path.join(path, name)) else "w+",
                                                     shape=shape)
        self.pixels = open_("pixels.u8", np.uint8, (clips, LENGTH, p.SIZE, p.SIZE, 3))
        self.labels = open_("labels.i1", np.int8, (clips, LENGTH))
        self.filled_file = os.path.join(path, "filled")

    def neighbours(self, rng):
        """A clip, at some rate, and the number of a frame that has one before it."""
        clip = self.pixels[rng.integers(self.filled())][::rng.choice([1, 1, 1, 2, 3])]
        return clip, rng.integers(1, len(clip))


def open_sources(cache, split, rng):
    return sources.Sources(cache, split, rng), [np.load(f, mmap_mode="r") for f in sorted(glob.glob(f"{cache}/{split}-run-*.npy"))]


def deal(n):
    names = np.array([name for name, share in SHARES.items() for _ in range(share)])
    np.random.default_rng(2).shuffle(names)
    return names[np.arange(n) % len(names)]


def main(cache, path, clips=1600, seed=0):
    cv2.setNumThreads(1)
    rng = np.random.default_rng(int(seed) or None)
    split = "valid" if "valid" in path else "train"
    pictures, runs = open_sources(cache, split, rng)
    ring = ClipRing(path, int(clips))
    names = deal(int(clips))
    for i in range(ring.filled(), int(clips)):
        ring.pixels[i], ring.labels[i] = render(rng, pictures, runs, names[i])
        ring.set_filled(i + 1)


if __name__ == "__main__":
    prepare(*sys.argv[2:4]) if sys.argv[1] == "prepare" else main(*sys.argv[1:])
