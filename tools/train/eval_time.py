"""Faults that exist only in time, for eval_clips.py, made by FFmpeg filters and GStreamer elements; and their measures.

A maker takes some seconds of consecutive frames, their rate and the frame from which on the fault holds, and yields
(variant, function that gives the frames), as the makers of eval_frames.py do. The measures are taken on decoded frames,
most of them on the model's view of the last seconds. Between a fault and its absence there is a gap.
"""

import math
from functools import partial

import cv2
import gi
import numpy as np

import picture as p
from eval_frames import ffmpeg, ffmpeg_filter, gst

gi.require_version("GstController", "1.0")
from gi.repository import Gst, GstController   # noqa: E402

LABELS = ["frozen", "flicker", "rolling", "shaking", "stuttering"]


# ---- scenes that are still, but alive ----------------------------------------------------------------------------------

def still_variants(rnd, still, count):
    """A picture from a tripod: nothing moves but the noise of the camera."""
    h, w = still.shape[:2]
    frames = [still] * count
    noise = lambda low, high: f"noise=alls={rnd.randint(low, high)}:allf=t"
    yield "still, noise", partial(ffmpeg_filter, noise(4, 12), frames)
    grain = (f"[0]format=gbrp[a];[1]format=gbrp,{noise(8, 24)},scale={w}:{h}:flags=bilinear[n];"
             "[a][n]blend=all_mode=grainmerge:shortest=1")
    yield "still, coarse noise", partial(ffmpeg_filter, grain, frames, [f"color=gray:s={w // 2}x{h // 2}:r=25"])
    yield "still, infrared", partial(ffmpeg_filter, f"hue=s=0,eq=brightness=-0.06:contrast=0.8,{noise(8, 16)}", frames)
    yield "still, slow light", partial(ffmpeg_filter, f"eq=brightness='0.03*sin(2*PI*t/{rnd.uniform(5, 12):.1f})':eval=frame,"
                                       + noise(4, 12), frames)
    grainy = noise(6, 12)
    yield "still, clock", lambda: gst("timeoverlay", ffmpeg_filter(grainy, frames))
    chain = f"c.sink_0 compositor name=c sink_1::alpha={rnd.uniform(0.03, 0.08):.2f} ! video/x-raw,width={w},height={h} "
    snow = f"videotestsrc pattern=snow ! video/x-raw,width={w // 2},height={h // 2},framerate=25/1 ! videoscale ! " \
           f"video/x-raw,width={w},height={h} ! c.sink_1"
    yield "still, snow mixed in", partial(gst, chain, frames, snow)


# ---- the faults ----------------------------------------------------------------------------------------------------------

def after(onset, frames, make):
    """The first frames as they are, the rest made."""
    return frames[:onset] + make(frames[onset:]) if onset else make(frames)


def frozen_variants(rnd, frames, rate, onset):
    yield "loop", partial(ffmpeg_filter, f"loop=loop=-1:size=1:start={onset}", frames)
    yield "freezeframes", partial(ffmpeg_filter, f"split[a][b];[a][b]freezeframes=first={onset}:last={len(frames)}:replace={onset}", frames)
    yield "imagefreeze", partial(after, onset, frames, lambda rest: gst(f"imagefreeze num-buffers={len(rest)}", rest))


def any_number(rnd):
    """A number from 0 to 1 that is another in every frame, in terms of n. (FFmpeg's random() begins every run the same.)"""
    return f"mod(abs(sin(12.9898*n+{rnd.uniform(0, 6):.3f}))*43758.5453,1)"


def swing(rnd, low, high):
    """A sine of t as FFmpeg writes it, of amplitude 1, somewhere between two frequencies."""
    return f"sin(2*PI*({rnd.uniform(low, high):.2f}*t+{rnd.random():.2f}))"


def flicker_variants(rnd, frames, rate, onset):
    a = 0.035 * 5 ** rnd.random()   # half of the swing, as a share of the range of brightness
    ff = lambda graph, inputs=(): partial(after, onset, frames, lambda rest: ffmpeg_filter(graph, rest, inputs, rate=rate))
    yield "sine", ff(f"eq=brightness='{a:.3f}*{swing(rnd, 1, 8)}':eval=frame")
    yield "square", ff(f"eq=brightness='{a:.3f}*sgn({swing(rnd, 1, 6)})':eval=frame")
    beats = swing(rnd, 0.3, 0.8)
    yield "beats", ff(f"eq=brightness='{1.3 * a:.3f}*{swing(rnd, 5, 8)}*(0.6+0.4*{beats})':eval=frame")
    yield "random", ff(f"eq=brightness='{1.6 * a:.3f}*(2*{any_number(rnd)}-1)':eval=frame")
    yield "pumping", ff(f"eq=contrast='1+{2 * a:.3f}*{swing(rnd, 1, 4)}':gamma='1+{2 * a:.3f}*{swing(rnd, 1, 6)}':eval=frame")
    yield "lamp fails", ff(f"eq=brightness='-{2 * a:.3f}*gt({any_number(rnd)},{rnd.uniform(0.5, 0.8):.2f})':eval=frame")
    yield "hue", ff(f"hue=h='{rnd.uniform(25, 60):.0f}*{swing(rnd, 1, 6)}'")
    h, w = frames[0].shape[:2]
    wave = f"128+{255 * a:.0f}*sin(2*PI*({rnd.uniform(1.5, 7):.2f}*T+{rnd.uniform(0.3, 1.2):.2f}*Y/H))"
    yield "bands", ff(f"[0]format=gbrp[a];[1]format=gray,geq=lum='{wave}',scale={w}:{h}:flags=bilinear,format=gbrp[n];"
                      "[a][n]blend=all_mode=grainmerge:shortest=1", [f"color=gray:s=16x64:r={rate}"])
    chain = f"c.sink_0 compositor name=c sink_1::alpha={rnd.uniform(0.1, 0.25):.2f} ! video/x-raw,width={w},height={h},framerate={caps(rate)} "
    blink = f"videotestsrc pattern=blink ! video/x-raw,width={w},height={h},framerate={rnd.randint(3, 11)}/1 ! c.sink_1"
    yield "blink mixed in", partial(after, onset, frames, lambda rest: gst(chain, rest, blink, rate=rate))
    turns = 2 * math.pi * rnd.uniform(1, 6)
    sway = [("balance", "brightness", lambda t: a * math.sin(turns * t))]
    yield "videobalance", partial(after, onset, frames, lambda rest: controlled("videobalance name=balance", rest, rate, sway))


def rolling_variants(rnd, frames, rate, onset):
    """Also yields the speed in pictures a second, and whether it rolls sideways."""
    ff = lambda graph: partial(after, onset, frames, lambda rest: ffmpeg_filter(graph, rest))
    step = lambda speed: f"{speed / rate:.5f}"
    speed = lambda: rnd.choice([-1, 1]) * 10 ** rnd.uniform(-1, 0.17)
    s = speed()
    yield "scroll", ff(f"scroll=v={step(s)}"), -s, False
    s, bar = speed(), rnd.uniform(0.04, 0.12)
    yield "scroll, bar", ff(f"pad=iw:ih*{1 + bar:.3f}:0:0:{rnd.choice(['black', '0x202020', 'white'])},scroll=v={step(s)},"
                            f"crop=iw:{frames[0].shape[0]}:0:0"), -s, False
    s = speed()
    yield "scroll, sideways", ff(f"scroll=h={step(s)}"), -s, True
    s, aside = speed(), rnd.uniform(-0.05, 0.05)
    yield "scroll, slanted", ff(f"scroll=v={step(s)}:h={aside / rate:.5f}"), -s, False
    lines = max(2, round(10 ** rnd.uniform(-1, -0.1) * frames[0].shape[0] / rate)) * rnd.choice([-1, 1])
    yield ("lost sync", partial(after, onset, frames, lambda rest: lost_sync(rest, lines)),
           -lines * rate / frames[0].shape[0], False)


def lost_sync(frames, lines):
    """The rows of all frames in one sequence, read as pictures of so many lines more: what a lost vertical sync shows."""
    h, w = frames[0].shape[:2]
    graph = f"crop=iw:{h}:0:0" if lines > 0 else f"scale={w}:{h}"
    out = ffmpeg(["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h + lines}", "-i", "-", "-vf", graph, "-frames:v", str(len(frames)),
                  "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], b"".join(f.tobytes() for f in frames))
    return list(np.frombuffer(out, np.uint8)[:len(out) // (3 * w * h) * 3 * w * h].reshape(-1, h, w, 3))


def shaking_variants(rnd, frames, rate, onset):
    h, w = frames[0].shape[:2]
    start = f"gte(n,{onset})"

    def shaken(x, y, amplitude, turn=""):
        """x, y: expressions between about -1 and 1; amplitude: a share of the height. No border gets into the picture."""
        room = 1.15 * amplitude + (0.02 if turn else 0)
        cw, ch = int(w - 2 * room * h), int(h - 2 * room * h)
        by = lambda expression: f"+{start}*{amplitude * h:.2f}*clip({expression},-1.1,1.1)"
        return partial(ffmpeg_filter, f"{turn}crop=w={cw}:h={ch}:x='(in_w-{cw})/2{by(x)}':y='(in_h-{ch})/2{by(y)}',"
                       f"scale={w}:{h}:flags=bicubic", frames, rate=rate)

    amplitude = lambda: rnd.uniform(0.015, 0.06)
    two = lambda: f"(0.6*{swing(rnd, 2, 5)}+0.4*{swing(rnd, 4, 8)})"
    yield "sines", shaken(two(), two(), amplitude())
    yield "up and down", shaken("0", swing(rnd, 2, 8), amplitude())
    yield "sideways", shaken(swing(rnd, 2, 8), "0", amplitude())
    yield "random", shaken(f"2*{any_number(rnd)}-1", f"2*{any_number(rnd)}-1", amplitude())
    turn = f"rotate=a='{start}*{rnd.uniform(0.005, 0.02):.4f}*{swing(rnd, 2, 6)}':bilinear=1,"
    yield "with rotation", shaken(two(), two(), amplitude(), turn)
    knock = f"exp(-5*mod(t,{rnd.uniform(0.5, 0.9):.2f}))*sin(2*PI*{rnd.uniform(4, 7):.1f}*t)"
    yield "knocks", shaken(f"0.4*{knock}", f"1.1*{knock}", rnd.uniform(0.03, 0.06))
    a = rnd.uniform(0.02, 0.06)
    bw, bh = int(w * (1 + 2.4 * a * h / w)), int(h * (1 + 2.4 * a))
    chain = f"videoscale ! video/x-raw,width={bw},height={bh} ! compositor name=c ! video/x-raw,width={w},height={h}"

    def at(side, big):
        turns = 2 * math.pi * rnd.uniform(2, 7)
        return lambda t: (side - big) // 2 + (t >= onset / rate) * round(a * h * math.sin(turns * t))
    moves = [("c", "sink_0::xpos", at(w, bw)), ("c", "sink_0::ypos", at(h, bh))]
    yield "compositor", partial(controlled, chain, frames, rate, moves)


def stuttering_variants(rnd, frames, rate, onset):
    """Also yields, where frames are out of order, which one of those after the onset each shows."""
    rest = len(frames) - onset
    holds, shown = [], []
    while len(shown) < rest:   # irregular holds of 0.2 to 1 s
        hold = max(3, round(rate * rnd.choice([rnd.uniform(0.2, 0.45), rnd.uniform(0.3, 1)])))
        holds.append(len(shown))
        shown += [len(shown)] * hold
    keep = "+".join(f"eq(n,{i})" for i in holds)
    tail = lambda graph: partial(after, onset, frames, lambda f: ffmpeg_filter(graph, f, rate=rate))
    fill = f"fps={rate}:round=down,tpad=stop=-1:stop_mode=clone"
    yield "holds", tail(f"select='{keep}',{fill}"), None
    # rates that no video would have: 1.2 to 4 pictures a second
    slow = rnd.uniform(1.2, 4)
    yield "few frames", tail(f"fps={slow:.2f}:round=down,{fill}"), None
    drop = 1 - 1 / max(4.0, rnd.uniform(0.2, 0.5) * rate)
    yield ("identity, videorate", partial(after, onset, frames, lambda f: gst(
        f"identity drop-probability={drop:.2f} ! videorate ! video/x-raw,framerate={caps(rate)}", f, rate=rate)), None)
    yield ("videorate", partial(after, onset, frames, lambda f: gst(
        f"videorate drop-only=true max-rate={max(1, round(slow))} ! videorate ! video/x-raw,framerate={caps(rate)}", f, rate=rate)), None)
    group = max(4, round(rate * rnd.uniform(0.25, 0.5)))
    orders = {"replayed": 2 * list(range(group)),                    # the same frames twice
              "backwards": list(range(group))[::-1],                 # each group the wrong way round
              "to and fro": [(group - 1) * (i % 2) for i in range(group)]}   # A B A B
    for name, order in orders.items():
        whole = [len(order) * (i // len(order)) + order[i % len(order)] for i in range(rest)]
        yield name, tail(f"shuffleframes={' '.join(map(str, order))}"), whole


def controlled(chain, frames, rate, controls):
    """Frames through a chain whose properties move: (element, [pad::]property, function of the seconds that gives its value)."""
    def control(pipeline):
        for name, field, value in controls:
            target = pipeline.get_by_name(name)
            if "::" in field:
                pad, field = field.split("::")
                target = target.get_static_pad(pad)
            source = GstController.InterpolationControlSource(mode=GstController.InterpolationMode.NONE)
            for i in range(len(frames)):
                source.set(int(i * Gst.SECOND / rate), value(i / rate))
            target.add_control_binding(GstController.DirectControlBinding.new_absolute(target, field, source))
    return gst(chain, frames, rate=rate, prepare=control)


def caps(rate):
    return {12.5: "25/2"}.get(rate, f"{rate}/1")


# ---- measures --------------------------------------------------------------------------------------------------------------

def changes(views):
    """Mean absolute difference, in levels, of each view to the one before."""
    return np.array([np.abs(a.astype(np.int16) - b).mean() for a, b in zip(views, views[1:])])


def is_still(views, rate):
    """Unchanged for the last two seconds, but for what an encoder does to a picture that does not change."""
    late = changes(views)[-round(2 * rate):]
    return len(late) >= 2 * rate - 1 and np.median(late) <= 0.08 and np.mean(late > 1) <= 0.2


def is_alive(views, rate):
    """Something changes from most frames to the next, be it the camera's noise."""
    return np.median(changes(views)[-round(2 * rate):]) >= 0.15


def flicker_share(views, rate):
    """How far the brightness of a third of the picture, in some colour, swings in the last second: a share of its mean."""
    thirds = np.array([[part.mean((0, 1)) for part in np.array_split(view, 3)] for view in views[-round(1.2 * rate):]])
    high, low = np.percentile(thirds, 95, 0), np.percentile(thirds, 5, 0)
    return float(((high - low) / np.maximum(thirds.mean(0), 75)).max())


def is_flicker(views, rate):
    return flicker_share(views, rate) >= 0.08


def roll_speed(views, rate, expected, sideways):
    """Pictures a second, around the picture's edge, in the last two seconds; down or to the right is positive."""
    lag = max(1, round(0.05 * rate / abs(expected)))
    small = [cv2.resize(p.luma(v.transpose(1, 0, 2) if sideways else v), (20, p.SIZE), interpolation=cv2.INTER_AREA).astype(np.int16)
             for v in map(np.ascontiguousarray, views[-round(2 * rate) - lag:])]
    found = []
    for a, b in zip(small, small[lag:]):
        misfit = [np.abs(np.roll(a, s, 0) - b).mean() for s in range(-40, 41)]
        found.append((int(np.argmin(misfit)) - 40) / p.SIZE * rate / lag)
    return float(np.median(found)) if found else 0.0


def is_rolling(views, rate, expected, sideways):
    return abs(roll_speed(views, rate, expected, sideways) / expected - 1) <= 0.4


def shake(frames, rate):
    """How far the picture trembles in the last second, as a share of its height (RMS): its path less the path's mean over half a second."""
    lines, path, last = 180, [np.zeros(2)], None
    for frame in frames[-round(2 * rate):]:
        grey = p.luma(frame)
        grey = cv2.resize(grey, (grey.shape[1] * lines // grey.shape[0], lines), interpolation=cv2.INTER_AREA)
        step = np.zeros(2)
        points = cv2.goodFeaturesToTrack(last, 150, 0.01, 6) if last is not None else None
        if points is not None:
            moved, found, _ = cv2.calcOpticalFlowPyrLK(last, grey, points, None)
            steps = (moved - points)[found.ravel() == 1].reshape(-1, 2)
            step = np.median(steps, 0) / lines if len(steps) else step
        path.append(path[-1] + (step if np.abs(step).max() < 0.12 else 0))   # more is a cut
        last = grey
    path, n = np.array(path), round(rate / 4)
    mean = [np.convolve(np.pad(axis, n, "edge"), np.ones(2 * n + 1) / (2 * n + 1), "valid") for axis in path.T]
    return float(np.sqrt(((path - np.array(mean).T)[-round(rate):] ** 2).sum(1).mean()))


STEADY, SHAKING = 0.005, 0.007   # no more than; at least


def is_stuttering(views, rate, shown):
    """The picture jumps, by two levels or more, and between jumps stands still; or jumps as the order of the frames says."""
    late = changes(views)[-round(2 * rate):]
    if shown:
        jumps = late[np.abs(np.diff(shown)[-len(late):]) > 1]
        return len(jumps) >= 3 and np.median(jumps) >= 2
    jumps = late[late >= 2]
    return len(jumps) >= 2 and (late <= 0.25 * np.median(jumps)).mean() >= 0.6
