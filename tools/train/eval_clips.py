"""Makes the evaluation set of clips: videos never seen in training, with the faults of a frame and those of time.

    python3 eval_clips.py MEDIA OUT_DIR SEED [CLIPS]

CLIPS of each class (default 32, normal half as many again), each of 4 to 6 s, stored as an encoded file, spread evenly over the videos. A
clip is in its class at its end, after encoding: for the faults of a frame the limits are those of picture.py, for the
faults of time those of eval_time.py; what does not keep them is not counted. None of the code that renders training
samples is used. Writes OUT_DIR/*.mkv and OUT_DIR/clips.json: a list of {file, label, variant, video, rate, onset} (onset:
seconds until the fault begins).
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import cv2
import numpy as np

import eval_frames as e
import eval_time as t
import picture as p

LABELS = p.LABELS + t.LABELS
LARGEST = 640, 480
RATES = [25, 25, 25, 25, 12.5, 15, 30, 30]


# ---- videos ------------------------------------------------------------------------------------------------------------

class Video:
    """The frames of a video (at most e.LONGEST), upright, no larger than LARGEST; their rate; which are sharp and normal."""

    def __init__(self, name, path):
        self.name = name
        probe = ["ffprobe", "-v", "quiet", "-select_streams", "v:0", "-show_entries", "stream=avg_frame_rate", "-of", "csv=p=0", path]
        self.rate = float(Fraction(subprocess.run(probe, stdout=subprocess.PIPE, text=True).stdout.split()[0].strip(",")))
        upright = f"scale=iw*sar:ih,scale='min({LARGEST[0]},iw)':'min({LARGEST[1]},ih)':force_original_aspect_ratio=decrease"
        self.frames = e.even(decode(path, upright))
        if self.rate > 45:
            self.frames, self.rate = self.frames[::2], self.rate / 2
        self.normal = [p.is_normal(p.view(f)) for f in self.frames[::5]]   # of every fifth

    def rates(self):
        """The rates at which it looks natural."""
        return [r for r in RATES if 0.8 <= r * max(1, round(self.rate / r)) / self.rate <= 1.7]

    def scene(self, rnd, rate, seconds, straight=False):
        """Consecutive frames that are normal, or None: forward and backward where the video is short, unless `straight`."""
        step, count = max(1, round(self.rate / rate)), round(rate * seconds)
        n = len(self.frames)
        there = list(range(0, n, step))
        for _ in range(20):
            if len(there) >= count:
                start = rnd.randrange(len(there) - count + 1)
                order = there[start:start + count]
            elif straight:
                return None
            else:
                turn = there + there[-2:0:-1]
                start = rnd.randrange(len(turn))
                order = [turn[(start + i) % len(turn)] for i in range(count)]
            if all(self.normal[i // 5] for i in order):
                return sized(rnd, [self.frames[i] for i in order])
        return None

    def still(self, rnd):
        usable = [i for i, good in enumerate(self.normal) if good]
        return sized(rnd, [self.frames[5 * rnd.choice(usable)]])[0] if usable else None


def sized(rnd, frames):
    """Large pictures are made smaller at times."""
    h, w = frames[0].shape[:2]
    share = rnd.choice([1, 0.75, 0.5, 0.5]) if w > 480 else 1
    size = int(w * share) // 16 * 16, int(h * share) // 16 * 16
    return [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames] if share < 1 else frames


def decode(path, graph="null", size=None):
    """Frames (at most e.LONGEST) behind a filter graph; their size, if known, need not be found out."""
    if not size:
        first = ["-i", path, "-vf", graph, "-frames:v", "1", "-c:v", "ppm", "-f", "image2pipe", "-"]
        size = tuple(map(int, e.ffmpeg(first).split(maxsplit=3)[1:3]))
    out = e.ffmpeg(["-i", path, "-vf", graph, "-frames:v", str(e.LONGEST), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
    return list(np.frombuffer(out, np.uint8).reshape(-1, size[1], size[0], 3))


# ---- encoding ----------------------------------------------------------------------------------------------------------

def encoder(rnd, fine):
    """Arguments of an encoder; `fine`: what is there must survive, damage and noise."""
    kind = rnd.choice(["x264"] * 7 + ["mpeg4"] * 2 + ["mjpeg"])
    if kind == "mjpeg":
        return ["-c:v", "mjpeg", "-q:v", str(rnd.randint(4, 8)), "-pix_fmt", "yuvj420p"]
    if kind == "mpeg4":
        return ["-c:v", "mpeg4", "-q:v", str(rnd.randint(2, 4 if fine else 8)), "-g", str(rnd.choice([12, 25, 50])), "-pix_fmt", "yuv420p"]
    options = ["-c:v", "libx264", "-threads", "1", "-preset", rnd.choice(["superfast", "veryfast", "faster"]), "-pix_fmt", "yuv420p",
               "-crf", str(rnd.randint(18, 25 if fine else 30)), "-g", str(rnd.choice([12, 25, 50, 100, 250]))]
    return options + (["-tune", "zerolatency"] if rnd.random() < 0.4 else [])


def encode(rnd, frames, rate, path, fine):
    """Writes a clip."""
    h, w = frames[0].shape[:2]
    e.ffmpeg(["-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", str(rate), "-i", "-", *encoder(rnd, fine), path],
             b"".join(f.tobytes() for f in frames))


# ---- the set -----------------------------------------------------------------------------------------------------------

class Set:
    def __init__(self, out, rnd, most):
        self.out, self.rnd, self.most = out, rnd, most
        self.entries, self.dropped, self.tried = [], Counter(), Counter()
        os.makedirs(out, exist_ok=True)

    def quota(self, label):
        return self.most * 3 // 2 if label == "normal" else self.most

    def add(self, label, variant, video, frames, rate, keeps_limits, onset=0, fine=True):
        """Encodes a clip, decodes its end, and keeps it if keeps_limits(frames, their views) says so. True if it did."""
        name = f"{label}-{len(self.entries):04d}.mkv"
        path = os.path.join(self.out, name)
        if len(frames) >= 3.5 * rate:
            encode(self.rnd, frames, rate, path, fine)
            late = round(2.3 * rate)
            decoded = decode(path, f"select='gte(n,{len(frames) - late})'", frames[0].shape[1::-1])
            if len(decoded) == late and keeps_limits(decoded, [p.view(f) for f in decoded]):
                self.entries.append({"file": name, "label": label, "variant": variant, "video": video, "rate": rate, "onset": round(onset / rate, 2)})
                return True
            os.remove(path)
        self.dropped[f"{label}, {variant}"] += 1
        return False

    def ways(self, variants, label, *arguments):
        """The numbers of the variants, the least tried first."""
        ways = list(range(len(list(variants(random.Random(0), *arguments)))))
        self.rnd.shuffle(ways)
        return sorted(ways, key=lambda i: self.tried[label, i])

    def finish(self):
        """The quota of each class, those of the videos that have most of it left out first."""
        kept = []
        for label in LABELS:
            mine = [c for c in self.entries if c["label"] == label]
            self.rnd.shuffle(mine)
            while len(mine) > self.quota(label):
                most, _ = Counter(c["video"] for c in mine).most_common(1)[0]
                mine.remove(next(c for c in mine if c["video"] == most))
            kept += sorted(mine, key=lambda c: c["file"])
            gone = {k: n for k, n in self.dropped.items() if k.startswith(label + ",")}
            print(f"{label}: {len(mine)} clips; outside the limits {sum(gone.values())}: {gone}")
        for c in self.entries:
            if c not in kept:
                os.remove(os.path.join(self.out, c["file"]))
        self.write(kept)

    def write(self, clips):
        with open(os.path.join(self.out, "clips.json"), "w") as f:
            json.dump(clips, f, indent=0)


def last_second(views, rate):
    """Five views of it, the last among them."""
    return [views[-1 - round(i * rate / 5)] for i in range(5)]


def mostly_normal(views, rate):
    return sum(map(p.is_normal, last_second(views, rate))) >= 3


# what the decoded frames and views of a clip with a fault of time must be
def time_limits(label, rate, known):
    if label == "frozen":
        return lambda frames, views: t.is_still(views, rate) and mostly_normal(views, rate)
    if label == "flicker":
        return lambda frames, views: t.is_flicker(views, rate) and any(map(p.is_normal, last_second(views, rate)))
    if label == "rolling":
        return lambda frames, views: t.is_rolling(views, rate, *known) and mostly_normal(views, rate)
    if label == "shaking":
        return lambda frames, views: t.shake(frames, rate) >= t.SHAKING and mostly_normal(views, rate)
    return lambda frames, views: t.is_stuttering(views, rate, *known) and mostly_normal(views, rate)


def base(todo, video, label, rate, seconds):
    """A scene for a fault of time: the video itself, or at times, where nothing else has to move, a still that is alive."""
    rnd = todo.rnd
    still = video.still(rnd) if label != "stuttering" and rnd.random() < (0.35 if any(video.normal) else 1) else None
    if still is None:
        return "video", video.scene(rnd, rate, seconds, straight=label == "stuttering")
    way = todo.ways(t.still_variants, "base", still, 2)[0]
    todo.tried["base", way] += 1
    for i, (variant, make) in enumerate(t.still_variants(rnd, still, round(rate * seconds))):
        if i == way:
            return variant, make()


MAKERS = {"frozen": t.frozen_variants, "flicker": t.flicker_variants, "rolling": t.rolling_variants, "shaking": t.shaking_variants,
          "stuttering": t.stuttering_variants}


def add_time_fault(todo, video, label):
    rnd, variants = todo.rnd, MAKERS[label]
    rate, seconds = rnd.choice(video.rates()), rnd.uniform(4.3, 5.5)
    scene, frames = base(todo, video, label, rate, seconds)
    if not frames and label == "stuttering":   # a shorter one may do
        scene, frames = base(todo, video, label, rate, 4)
    if not frames:
        return False
    onset = rnd.choice([0, round(rate * rnd.uniform(0.5, 1.5))])
    if label == "frozen" and onset:
        onset = round(rate * rnd.uniform(1, len(frames) / rate - 2.3))
    way = todo.ways(variants, label, frames, rate, onset)[0]
    todo.tried[label, way] += 1
    for i, (variant, make, *known) in enumerate(variants(rnd, frames, rate, onset)):
        if i == way:
            name = variant if scene == "video" else f"{variant}, of a still"
            return todo.add(label, name, video.name, make(), rate, time_limits(label, rate, known), onset, fine=False)


def add_normal(todo, video, still):
    """The video with the looks of eval_frames.py, or a still that is alive. Both change all the time, and neither shakes."""
    rnd = todo.rnd
    rate, seconds = rnd.choice(video.rates()), rnd.uniform(4, 5.2)
    frames = [video.still(rnd)] * round(rate * seconds) if still else video.scene(rnd, rate, seconds)
    if not frames or frames[0] is None:
        return False
    variants = (lambda rnd, frames: t.still_variants(rnd, frames[0], len(frames))) if still else e.normal_variants
    label = "normal, still" if still else "normal"
    way = todo.ways(variants, label, frames[:1])[0]
    todo.tried[label, way] += 1
    limits = lambda decoded, views: (all(map(p.is_normal, last_second(views, rate))) and t.is_alive(views, rate)
                                     and t.shake(decoded, rate) <= t.STEADY)
    for i, (variant, make) in enumerate(variants(rnd, frames)):
        if i == way:
            return todo.add("normal", variant, video.name, make(), rate, limits)


def add_frame_fault(todo, video, label):
    """A fault of a frame, the same through the whole clip."""
    rnd = todo.rnd
    rate = rnd.choice(video.rates())
    frames = video.scene(rnd, rate, rnd.uniform(4, 4.8))
    if not frames:
        return False
    variants = {"defocused": e.defocused_variants, "covered": e.covered_variants, "over-exposed": e.over_exposed_variants,
                "black": e.dark_variants}[label]
    way = todo.ways(variants, label, frames[:1])[0]
    todo.tried[label, way] += 1
    for i, (variant, make, *share) in enumerate(variants(rnd, frames)):
        if i != way:
            continue
        got = make()
        if label == "covered":
            got, *share = got
        clean = last_second([p.view(f) for f in frames[-round(rate):]], rate)
        one = {"defocused": lambda clean, seen: p.is_defocused(clean, seen, *share), "covered": lambda clean, seen: e.is_covered(seen, *share),
               "over-exposed": lambda clean, seen: p.is_over_exposed(seen), "black": lambda clean, seen: p.is_black(seen)}[label]
        return todo.add(label, variant, video.name, got, rate, lambda decoded, views: all(map(one, clean, last_second(views, rate))))


HEAVY = (0.01, 0.03, 0.06), (200, 500, 1500)   # losses of packets, wrong bytes: so that the damage lasts


def add_damaged(todo, video, wanted):
    """Up to three clips out of a run of a damaged stream, where a second of damage ends."""
    rnd = todo.rnd
    frames = video.scene(rnd, 25, 7)
    if not frames:
        return
    way = todo.ways(e.blocky_variants, "blocky", frames[:1])[0]
    todo.tried["blocky", way] += 1
    for i, (variant, make) in enumerate(e.blocky_variants(rnd, frames, *HEAVY)):
        if i == way:
            bad, clean = make()
            break
    seen, clean = [p.view(f) for f in bad], [p.view(f) for f in clean]

    def blocky(i, view):
        return (p.damaged_share(clean[i:i + 1], view) >= 0.12   # an upper bound, and cheap
                and p.is_blocky(clean[max(0, i - 12):i + 13:2], view))

    hit = {i: blocky(i, seen[i]) for i in range(0, len(bad), 5)}
    ends = [i for i in hit if i >= 60 and hit[i] and sum(hit[i - j] for j in range(0, 25, 5)) >= 4]
    rnd.shuffle(ends)
    made = []
    for end in ends:
        if len(made) < min(3, wanted) and all(abs(end - m) > 30 for m in made):
            rate = rnd.choice([r for r in RATES if r <= (end + 1) / 4])
            first = max(0, end + 1 - round(rnd.uniform(4, 5) * rate))
            back = range(0, round(rate), 3)
            damaged = lambda _, views: blocky(end, views[-1]) and sum(blocky(end - j, views[-1 - j]) for j in back) >= 0.8 * len(back)
            if todo.add("blocky", variant, video.name, bad[first:end + 1], rate, damaged):
                made.append(end)


def add_generated(todo, label, variants):
    """Frames without a scene: as many of each kind of generator."""
    rnd = todo.rnd
    take = e.Take(120, 1, [(320, 240), (640, 360), (480, 270), (640, 480)])
    numbers = {}
    for i, (variant, _) in enumerate(variants(random.Random(0), take)):
        numbers.setdefault(variant if label == "test-pattern" else i % 6, []).append(i)
    have = sum(c["label"] == label for c in todo.entries)
    turns = [rnd.sample(n, len(n)) for n in numbers.values()]
    wanted = []
    while len(wanted) < 1.2 * (todo.quota(label) - have) and any(turns):
        rnd.shuffle(turns)
        wanted += [turn.pop() for turn in turns if turn]
    wanted = set(wanted[:round(1.2 * (todo.quota(label) - have))])
    for i, (variant, make) in enumerate(variants(rnd, take)):
        if i in wanted:
            rate = rnd.choice(RATES)
            frames = make()[:round(rnd.uniform(4, 4.8) * rate)]
            todo.add(label, variant, "generator", frames, rate, lambda decoded, views: all(
                e.is_generated(label, variant, view) for view in last_second(views, rate)))


def again(todo, times, add, *arguments):
    """As many clips as wanted, with as many tries more."""
    made = 0
    for _ in range(2 * times):
        if made < times:
            made += bool(add(todo, *arguments))


def add_video(todo, video, share):
    """`share`: the part of each class that comes from this video."""
    of = {label: int(todo.quota(label) * share + todo.rnd.random()) for label in LABELS}
    stills = int(of["normal"] / 2 + todo.rnd.random())
    again(todo, of["normal"] - stills, add_normal, video, False)
    again(todo, stills, add_normal, video, True)
    for label in t.LABELS:
        more = 1.4 if label == "stuttering" else 1   # the short videos have none of these
        again(todo, int(of[label] * more + todo.rnd.random()), add_time_fault, video, label)
    for label in "defocused", "covered", "over-exposed":
        again(todo, of[label], add_frame_fault, video, label)
    again(todo, min(of["black"], 1), add_frame_fault, video, "black")
    for _ in range(3 * of["blocky"]):
        have = sum(c["label"] == "blocky" and c["video"] == video.name for c in todo.entries)
        if have < of["blocky"]:
            add_damaged(todo, video, of["blocky"] - have)


def main(media, out, seed, clips=32):
    e.Gst.init(None)
    todo = Set(out, random.Random(int(seed)), int(clips))
    for name, path in e.VIDEOS.items():
        if found := e.find(media, path):
            video = Video(name, found)
            before = len(todo.entries)
            add_video(todo, video, 1.15 / len(e.VIDEOS))   # some too many: not every video has every fault
            print(f"{name}: {len(video.frames)} frames of {video.frames[0].shape[1]}x{video.frames[0].shape[0]}, "
                  f"{video.rate:.1f} a second; {len(todo.entries) - before} clips", flush=True)
            todo.write(todo.entries)   # what there is so far
    for label, variants in e.GENERATED.items():
        add_generated(todo, label, variants)
    todo.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
