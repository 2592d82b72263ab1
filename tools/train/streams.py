"""Really compressed clips, and really damaged ones: encode, flip or drop bytes, decode, compare with the clean decode."""

import subprocess

import cv2
import numpy as np

import picture as p
from degrade import with_look

FRAMES = 12
DAMAGES = 3           # of one encoded clip
SIZES = [(176, 144), (320, 176), (320, 240), (320, 240), (352, 288), (400, 224), (480, 272), (640, 360)]

# codec, container, quality options
CODECS = [("mpeg4", "m4v", lambda r: ["-q:v", str(r.integers(2, 14))]),
          ("mpeg4", "m4v", lambda r: ["-q:v", str(r.integers(3, 16)), "-ps", "600"]),
          ("mpeg2video", "mpeg2video", lambda r: ["-q:v", str(r.integers(2, 16))]),
          ("libx264", "h264", lambda r: ["-preset", "ultrafast", "-crf", str(r.integers(20, 36)), "-slices", str(r.integers(1, 9))]),
          ("libx264", "h264", lambda r: ["-preset", "superfast", "-bf", "0", "-crf", str(r.integers(20, 34))]),
          ("mjpeg", "mjpeg", lambda r: ["-q:v", str(r.integers(2, 20)), "-pix_fmt", "yuvj420p"])]


def ffmpeg(*arguments, data=b""):
    command = ["ffmpeg", "-v", "quiet", "-nostdin", "-threads", "1", *arguments]
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def moving_clip(rng, sources, w, h):
    """Frames of a slow pan and zoom over a photograph, or of footage, all with one look."""
    original = sources.original()
    oh, ow = original.shape[:2]
    scale = min(ow / w, oh / h) * rng.uniform(0.6, 0.9)
    cw, ch = int(w * scale), int(h * scale)
    x, y = rng.integers(ow - cw + 1), rng.integers(oh - ch + 1)
    dx, dy = rng.normal(0, 0.012, 2) * (cw, ch)
    seed, frames = rng.integers(1 << 30), []
    for i in range(FRAMES):
        left, top = int(np.clip(x + i * dx, 0, ow - cw)), int(np.clip(y + i * dy, 0, oh - ch))
        frame = crop_exactly(original, left, top, cw, ch, w, h)
        frames.append(with_look(np.random.default_rng(seed), frame))
    return np.stack(frames)


def crop_exactly(original, left, top, cw, ch, w, h):
    return cv2.resize(np.ascontiguousarray(original[top:top + ch, left:left + cw]), (w, h), interpolation=cv2.INTER_AREA)


def without_key_frame(rng, stream):
    """Most of the first frame missing: what a receiver sees that joins late or lost it."""
    end = len(stream) * rng.uniform(0.08, 0.3)   # the first frame is by far the largest
    return stream[:200] + stream[int(end):]


def damage(rng, stream):
    """Flips, overwrites or drops bytes, sparing the first headers."""
    if rng.random() < 0.2:
        return without_key_frame(rng, stream)
    stream = bytearray(stream)
    spare, n = 300, len(stream)
    if n < 3000:
        return bytes(stream)
    kind, hits = rng.random(), int(max(1, n / np.exp(rng.uniform(np.log(400), np.log(12000)))))
    places = np.sort(rng.integers(spare, n, hits))[::-1]
    for at in places:
        if kind < 0.5:
            stream[at] ^= 1 << rng.integers(8)
        elif kind < 0.8:
            run = int(rng.integers(2, 60))
            stream[at:at + run] = rng.integers(0, 256, len(stream[at:at + run]), np.uint8).tobytes()
        else:
            del stream[at:at + int(rng.integers(20, 1400))]
    return bytes(stream)


class Streams:
    """A pool of damaged and of intact decoded frames, slowly renewed."""

    def __init__(self, rng, sources, pool=300, uses=1.5):
        self.rng, self.sources, self.pool, self.uses = rng, sources, pool, uses
        self.bad, self.good, self.credit = [], [], 0

    def renew(self):
        rng = self.rng
        w, h = SIZES[rng.integers(len(SIZES))]
        codec, container, options = CODECS[rng.integers(len(CODECS))]
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}"]
        pixels = [] if codec == "mjpeg" else ["-pix_fmt", "yuv420p"]
        clip = moving_clip(rng, self.sources, w, h)
        stream = ffmpeg(*raw, "-i", "-", *pixels, "-c:v", codec, "-g", str(rng.integers(5, 40)), *options(rng),
                        "-f", container, "-", data=clip.tobytes())
        clean = self.decode(stream, container, [], w, h)
        usable = [p.is_normal(p.view(f)) for f in clean]
        for _ in range(DAMAGES):
            conceal = [[], [], ["-ec", "0"], ["-ec", "guess_mvs"]][rng.integers(4)]
            damaged = self.decode(damage(rng, stream), container, conceal, w, h)
            if len(damaged) < len(clean) - 2:   # too many frames lost to know which is which
                continue
            ahead = len(clean) - len(damaged)   # frames are lost at the start: count from the end
            shown = [damaged[i - ahead] for i in np.flatnonzero(usable) if 0 <= i - ahead < len(damaged)
                     and p.is_blocky(clean, damaged[i - ahead])]
            self.bad += [shown[i].copy() for i in rng.permutation(len(shown))[:3]]
        self.good += [f.copy() for f in clean[np.flatnonzero(usable)][:: FRAMES // 2]]
        self.bad, self.good = self.bad[-self.pool:], self.good[-self.pool:]

    def decode(self, stream, container, conceal, w, h):
        flags = ["-flags", "+output_corrupt", "-err_detect", "ignore_err", *conceal]
        raw = ffmpeg(*flags, "-f", container, "-i", "-", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24",
                     "-s", f"{w}x{h}", "-", data=stream)
        size = w * h * 3
        return np.frombuffer(raw[:len(raw) // size * size], np.uint8).reshape(-1, h, w, 3)

    def take(self, frames_of):
        self.credit -= 1
        frames = frames_of()
        while self.credit < 0 or len(frames) < 40:
            self.renew()
            self.credit += 8 * self.uses
            frames = frames_of()
        return frames[self.rng.integers(len(frames))]

    def damaged(self, rng):
        return self.take(lambda: self.bad)

    def intact(self, rng):
        return self.take(lambda: self.good)
