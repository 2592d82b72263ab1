"""Really compressed clips, and really damaged ones: encode, spoil bytes or lose packets, decode, compare with the clean decode."""

import subprocess

import cv2
import numpy as np

import picture as p
from degrade import with_look

FRAMES = 20
DAMAGES = 8           # of one encoded clip
SIZES = [(176, 144), (320, 176), (320, 240), (320, 240), (352, 288), (400, 224), (480, 272), (480, 360), (640, 360), (848, 480)]

# codec, container, quality options
CODECS = [("mpeg4", "m4v", lambda r: ["-q:v", str(r.integers(2, 14))]),
          ("mpeg4", "m4v", lambda r: ["-q:v", str(r.integers(3, 16)), "-ps", "600"]),
          ("mpeg2video", "mpeg2video", lambda r: ["-q:v", str(r.integers(2, 16))]),
          ("libx264", "h264", lambda r: ["-preset", "ultrafast", "-crf", str(r.integers(20, 36)), "-slices", str(r.integers(1, 9))]),
          ("libx264", "h264", lambda r: ["-preset", "superfast", "-bf", "0", "-crf", str(r.integers(20, 34))]),
          ("libx264", "h264", lambda r: ["-preset", "veryfast", "-crf", str(r.integers(20, 34)), "-slices", str(r.integers(1, 5))]),
          ("mjpeg", "mjpeg", lambda r: ["-q:v", str(r.integers(2, 20)), "-pix_fmt", "yuvj420p"])]


def ffmpeg(*arguments, data=b""):
    command = ["ffmpeg", "-v", "quiet", "-nostdin", "-threads", "1", *arguments]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def moving_clip(rng, sources, w, h):
    """Frames of a still or slowly panning and zooming camera over a photograph or footage, with things that move across it."""
    original = sources.original()
    oh, ow = original.shape[:2]
    scale = min(ow / w, oh / h) * rng.uniform(0.6, 0.9)
    cw, ch = w * scale, h * scale
    x, y = rng.uniform(0, ow - cw), rng.uniform(0, oh - ch)
    still = rng.random() < 0.4
    dx, dy, zoom = (0, 0, 1) if still else (*rng.normal(0, 0.012, 2) * (cw, ch), rng.choice([1, rng.uniform(0.985, 1)]))
    things = [moving_thing(rng, sources, w, h) for _ in range(rng.integers(1 if still else 0, 4))]
    seed, frames = rng.integers(1 << 30), []
    for i in range(FRAMES):
        size = zoom ** i
        left, top = np.clip(x + i * dx, 0, ow - cw), np.clip(y + i * dy, 0, oh - ch)
        frame = crop_exactly(original, int(left), int(top), int(cw * size), int(ch * size), w, h)
        for thing in things:
            thing(frame, i)
        frames.append(with_look(np.random.default_rng(seed), frame))
    return np.stack(frames)


def moving_thing(rng, sources, w, h):
    """A piece of another picture with an oval outline that crosses the frame: paint(frame, number of the frame)."""
    tw, th = int(w * rng.uniform(0.08, 0.35)), int(h * rng.uniform(0.15, 0.6))
    piece, mask = sources.picture((tw, th)), np.zeros((th, tw), np.uint8)
    cv2.ellipse(mask, (tw // 2, th // 2), (int(tw * rng.uniform(0.3, 0.5)), int(th * rng.uniform(0.35, 0.5))), 0, 0, 360, 1, -1)
    x, y = rng.uniform(-0.1, 0.9) * w, rng.uniform(-0.1, 0.8) * h
    dx, dy = rng.normal(0, 0.02, 2) * (w, 0.4 * h)

    def paint(frame, i):
        left, top = int(x + i * dx), int(y + i * dy)
        x0, y0, x1, y1 = max(0, left), max(0, top), min(w, left + tw), min(h, top + th)
        if x0 < x1 and y0 < y1:
            part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
            np.copyto(frame[y0:y1, x0:x1], piece[part], where=mask[part][..., None] > 0)
    return paint


def crop_exactly(original, left, top, cw, ch, w, h):
    return cv2.resize(np.ascontiguousarray(original[top:top + ch, left:left + cw]), (w, h), interpolation=cv2.INTER_AREA)


def without_key_frame(rng, stream):
    """Most of the first frame missing: what a receiver sees that joins late or lost it."""
    end = len(stream) * rng.uniform(0.08, 0.3)   # the first frame is by far the largest
    return stream[:200] + stream[int(end):]


def units(stream):
    """Where the units of a stream start (NAL units, slices, frames): at 00 00 01."""
    starts, at = [], stream.find(b"\0\0\1")
    while at >= 0:
        starts.append(at)
        at = stream.find(b"\0\0\1", at + 3)
    return starts


def without_packets(rng, stream):
    """What a network loses: whole units, or the tail of one behind a lost packet, as depayloaders pass it on."""
    starts = [at for at in units(stream) if at > 300] + [len(stream)]
    chance, tails, kept, at = rng.choice([0.03, 0.08, 0.2, 0.4]), rng.random() < 0.5, [stream[:starts[0]]], 0
    for at, end in zip(starts, starts[1:]):
        unit = stream[at:end]
        if rng.random() < chance * min(1, len(unit) / 700):
            unit = unit[:int(len(unit) * rng.uniform(0.1, 0.9))] if tails else b""
        kept.append(unit)
    return b"".join(kept)


def without_fragments(rng, stream):
    """What a network loses of frames longer than a packet, where the receiver puts the rest together again."""
    chance, size = np.exp(rng.uniform(np.log(0.01), np.log(0.3))), int(rng.integers(400, 1400))
    at, kept = 300, [stream[:300]]
    for end in [start for start in units(stream) if start > 300] + [len(stream)]:
        kept += [stream[i:min(end, i + size)] for i in range(at, end, size) if rng.random() > chance]
        at = end
    return b"".join(kept)


def damage(rng, stream):
    """Flips, overwrites or drops bytes or packets, sparing the first headers."""
    kind, n = rng.random(), len(stream)
    if n < 3000:
        return stream
    if kind < 0.1:
        return without_key_frame(rng, stream)
    if kind < 0.32:
        return without_packets(rng, stream)
    if kind < 0.52:
        return without_fragments(rng, stream)
    stream = bytearray(stream)
    hits = int(max(1, n / np.exp(rng.uniform(np.log(400), np.log(12000)))))
    for at in np.sort(rng.integers(300, n, hits))[::-1]:
        if kind < 0.72:
            stream[at] ^= 1 << rng.integers(8)
        elif kind < 0.85:
            run = int(rng.choice([1, 1, rng.integers(2, 60)]))
            stream[at:at + run] = rng.integers(0, 256, len(stream[at:at + run]), np.uint8).tobytes()
        else:
            del stream[at:at + int(rng.choice([184, 184 * 2, 700, rng.integers(20, 1400)]))]
    return bytes(stream)


class Streams:
    """A pool of damaged and of intact decoded frames, slowly renewed."""

    def __init__(self, rng, sources, pool=400, uses=1.3):
        self.rng, self.sources, self.pool, self.uses = rng, sources, pool, uses
        self.bad, self.good, self.credit = [], [], 0

    def renew(self):
        rng = self.rng
        w, h = SIZES[rng.integers(len(SIZES))]
        codec, container, options = CODECS[rng.integers(len(CODECS))]
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}"]
        pixels = [] if codec == "mjpeg" else ["-pix_fmt", "yuv420p"]
        clip = moving_clip(rng, self.sources, w, h)
        stream = ffmpeg(*raw, "-i", "-", *pixels, "-c:v", codec, "-g", str(rng.integers(5, 60)), *options(rng),
                        "-f", container, "-", data=clip.tobytes())
        clean = self.decode(stream, container, [], w, h)
        views = [p.view(f) for f in clean]
        usable = [p.is_normal(v) for v in views]
        for _ in range(DAMAGES):
            conceal = [["-ec", "0"], ["-ec", "guess_mvs"], *[[]] * 6][rng.integers(8)]
            damaged = self.decode(damage(rng, stream), container, conceal, w, h)
            if not all(usable):   # frames may be lost: which is which is not known
                continue
            some = damaged[rng.permutation(len(damaged))[:4]]
            self.bad += [frame.copy() for frame in some if self.wanted(views[::2], p.view(frame))]
        self.good += [f.copy() for f in clean[np.flatnonzero(usable)][:: FRAMES // 5]]
        self.bad, self.good = self.bad[-self.pool:], self.good[-self.pool:]

    def wanted(self, clean_views, seen):
        """Visible damage; not all of what nobody could miss."""
        return p.is_blocky(clean_views, seen) and (self.rng.random() < 0.35 or p.damaged_share(clean_views, seen) < 0.4)

    def decode(self, stream, container, conceal, w, h):
        flags = ["-flags", "+output_corrupt", "-err_detect", "ignore_err", *conceal]
        raw = ffmpeg(*flags, "-f", container, "-i", "-", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24",
                     "-s", f"{w}x{h}", "-", data=stream)
        size = w * h * 3
        return np.frombuffer(raw[:len(raw) // size * size], np.uint8).reshape(-1, h, w, 3)

    def take(self, frames_of):
        self.credit -= 1
        frames = frames_of()
        while self.credit < 0 or len(frames) < 60:
            self.renew()
            self.credit += 9 * self.uses
            frames = frames_of()
        return frames[self.rng.integers(len(frames))]

    def damaged(self, rng):
        return self.take(lambda: self.bad)

    def intact(self, rng):
        return self.take(lambda: self.good)
