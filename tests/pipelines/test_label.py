# SPDX-License-Identifier: LGPL-2.1-or-later
"""vig-label as users run it: test_label.py VIG_LABEL PLUGIN_FOLDER MODEL CLIP_MODEL HANG SANITIZER"""
import csv
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.parse

import killing
import tap

LABEL, PLUGINS, MODEL, CLIP_MODEL, HANG = map(os.path.abspath, sys.argv[1:6])
SANITIZER = sys.argv[6]
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/vig-label.md")
LIMIT = 200  # seconds until something hangs
ALL_FORMATS = "jsonl,csv,vtt,labelstudio"

WORK = tempfile.TemporaryDirectory()
os.chdir(WORK.name)
PLAIN = dict(os.environ, GST_REGISTRY="plain-registry", GST_REGISTRY_FORK="no", LC_ALL="C.UTF-8")
PLAIN.pop("GST_PLUGIN_PATH", None)
ENV = dict(PLAIN, GST_REGISTRY=os.path.abspath("registry"), GST_PLUGIN_PATH=PLUGINS)


# ---- videos ----

def launch(line):
    # without our plugin: one built with a sanitizer cannot be loaded into a program built without
    subprocess.run(["gst-launch-1.0", "--quiet", "--no-fault"] + line.split(), env=PLAIN, check=True,
                   stdout=subprocess.DEVNULL)


def box(kind, data):
    return struct.pack(">I", len(data) + 8) + kind + data


def encrypt(source, target):
    """The MP4 says that its video is encrypted (ISO/IEC 23001-7); that is enough to be refused."""
    with open(source, "rb") as f:
        data = bytearray(f.read())
    sinf = box(b"sinf", box(b"frma", b"avc1") + box(b"schm", bytes(4) + b"cenc" + struct.pack(">I", 0x10000))
               + box(b"schi", box(b"tenc", bytes(6) + b"\1\x08" + b"k" * 16)))
    at, end, skip = 0, len(data), 0
    for kind in b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1":
        while data[at + 4:at + 8] != kind:
            at += struct.unpack_from(">I", data, at)[0]
            assert at < end, kind
        size, = struct.unpack_from(">I", data, at)
        struct.pack_into(">I", data, at, size + len(sinf))
        if kind == b"avc1":
            data[at + 4:at + 8] = b"encv"
        last, at, end = at + size, at + 8 + (8 if kind == b"stsd" else 0), at + size
    data[last:last] = sinf
    with open(target, "wb") as f:
        f.write(data)


def cut(source, target, part):
    with open(source, "rb") as f:
        data = f.read()
    with open(target, "wb") as f:
        f.write(data[:int(len(data) * part)])


def make_media():
    os.makedirs("good/sub")
    os.mkdir("bad")
    source = "videotestsrc num-buffers=%d pattern=%s ! video/x-raw,width=320,height=240,framerate=25/1 ! "
    launch(source % (150, "smpte") + "x264enc key-int-max=10 bframes=2 ! matroskamux name=mux ! filesink location=good/film.mkv "
           "audiotestsrc num-buffers=200 ! vorbisenc ! mux.")
    launch(source % (60, "ball") + "vp8enc deadline=1 ! webmmux ! filesink location=good/clip2.webm")
    launch(source % (60, "black") + "jpegenc ! avimux ! filesink location=good/clip10.avi")
    launch(source % (50, "smpte") + "taginject tags=image-orientation=rotate-90,datetime=(datetime)2001-02-03T04:05:06Z ! x264enc ! "
           "mp4mux faststart=true ! filesink location=good/sub/turned.mp4")
    launch("videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=1,height=1 ! matroskamux ! filesink location=good/sub/dot.mkv")
    launch("videotestsrc num-buffers=5 ! video/x-raw,width=8192,height=64 ! jpegenc ! matroskamux ! filesink location=good/sub/wide.mkv")
    with open("good/sub/notes.doc", "w") as f:
        f.write("not named like a video\n")
    cut("good/film.mkv", "bad/half.mkv", 0.5)
    cut("good/sub/turned.mp4", "bad/no-index.mp4", 0.02)
    encrypt("good/sub/turned.mp4", "bad/secret.mp4")
    launch("audiotestsrc num-buffers=50 ! vorbisenc ! oggmux ! filesink location=bad/sound.ogv")
    open("bad/empty.mkv", "w").close()
    with open("bad/text.avi", "w") as f:
        f.write("no video at all, but a line of text\n")
    with open("bad/huge.y4m", "w") as f:
        f.write("YUV4MPEG2 W2000000000 H2000000000 F25:1\nFRAME\n")
    # the registry is made here, once: looking into every plugin of the system leaks, which is not tested here
    run("nowhere.mp4", "-o", "first", env=dict(ENV, ASAN_OPTIONS="detect_leaks=0"))


# ---- running it ----

def command(*arguments):
    return [LABEL, "--model", MODEL] + list(arguments)


def run(*arguments, env=ENV, **options):
    """Status, text of stdout, of stderr."""
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(command(*arguments), env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LIMIT, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def expect(status, *arguments, **options):
    found, out, err = run(*arguments, **options)
    assert found == status, (arguments, found, out, err)
    return out, err


def read(path):
    with open(path, "rb") as f:
        return f.read()


def one(folder, start, suffix):
    """The one output whose name begins so."""
    found = [n for n in os.listdir(os.path.join(folder, "videos")) if n.startswith(start) and n.endswith(suffix)]
    assert len(found) == 1, (start, suffix, os.listdir(os.path.join(folder, "videos")))
    return os.path.join(folder, "videos", found[0])


def lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def of(kind, rows):
    return [row for row in rows if row["type"] == kind]


def video(folder, start):
    return of("video", lines(one(folder, start, ".jsonl")))[0]


def labelled_now(err):
    return re.findall(r"^vig-label: (.*): \d+ frames, \d+ segments$", err, re.M)


# ---- results ----

def test_json_lines():
    expect(0, "-o", "json", "good/film.mkv", "--top-k", "3")
    rows = lines(one("json", "film.mkv", ".jsonl"))
    head, frames, segments = rows[0], of("frame", rows), of("segment", rows)
    assert rows == [head] + frames + segments and all(row["input"] == "good/film.mkv" for row in rows)
    assert head["frames"] == 150 == len(frames) and head["segments"] == len(segments) and head["error"] is None
    assert head["uri"] == "file://" + os.path.abspath("good/film.mkv") and head["frame_rate"] == "25/1" and head["duration"] == 6
    assert head["model"] == "camera-health" and re.fullmatch("[0-9a-f]{64}", head["model_hash"])
    assert [f["time"] for f in frames] == [i / 25 for i in range(150)]
    for frame in frames:
        sure = [score["confidence"] for score in frame["labels"]]
        assert len(sure) == 3 and sure == sorted(sure, reverse=True) and 0 <= sure[-1] and sure[0] <= 1
    assert len(segments) == 1 and segments[0]["label"] == "test-pattern" and (segments[0]["start"], segments[0]["end"]) == (0, 6)
    sure = [f["labels"][0]["confidence"] for f in frames]
    assert abs(segments[0]["mean"] - sum(sure) / 150) < 2e-6 and segments[0]["peak"] == max(sure)


def parse_vtt(text):
    """As the standard has it, roughly: blocks between empty lines."""
    blocks = re.split(r"\n\n+", text.strip("\n"))
    assert blocks[0] == "WEBVTT", blocks[0]
    cues = []
    for block in blocks[1:]:
        if block.startswith("NOTE"):
            assert "-->" not in block, block
            continue
        times, *text = block.split("\n")
        m = re.fullmatch(r"(\d\d+):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d)\.(\d{3})", times)
        assert m and len(text) == 1 and "-->" not in text[0] and not re.search("<|&(?!amp;|lt;|gt;)", text[0]), block
        h, mi, s, ms, h2, mi2, s2, ms2 = map(int, m.groups())
        start, end = 3600 * h + 60 * mi + s + ms / 1000, 3600 * h2 + 60 * mi2 + s2 + ms2 / 1000
        assert start < end, block
        cues.append((start, end, text[0].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")))
    return cues


def test_formats_agree():
    """Also with labels, and a name, that each format has to take care of."""
    name = 'a "b", <c> & --> d.mkv'
    shutil.copy("good/film.mkv", name)
    expect(0, "-o", "count", "--top-k", "100", "--sample-rate", "1", "good/film.mkv")
    n = len(of("frame", lines(one("count", "film", ".jsonl")))[0]["labels"])
    odd = ['l%d "<b>&--> x</b>, y' % i for i in range(n)]
    with open("labels.txt", "w") as f:
        f.write("\n".join(odd))
    expect(0, "-o", "formats", "-f", ALL_FORMATS, name, "--set", "labels-file=labels.txt", "--enter-threshold", "0.5")
    # other labels in the file are other results
    again = ["-n", "-o", "formats", "-f", ALL_FORMATS, name, "--set", "labels-file=labels.txt", "--enter-threshold", "0.5"]
    assert "1 inputs, 0 of them" in expect(0, *again)[0]
    with open("labels.txt", "w") as f:
        f.write("\n".join(reversed(odd)))
    assert "1 inputs, 1 of them" in expect(0, *again)[0]
    stem = "a__b____c____--__d.mkv"
    rows = lines(one("formats", stem, ".jsonl"))
    frames, segments = of("frame", rows), of("segment", rows)
    assert segments and segments[0]["label"] in odd
    with open(one("formats", stem, ".frames.csv"), newline="", encoding="utf-8") as f:
        table = list(csv.DictReader(f))
    assert [(r["input"], float(r["time"]), int(r["rank"]), r["label"], float(r["confidence"])) for r in table] == [
        (name, f["time"], i + 1, s["label"], s["confidence"]) for f in frames for i, s in enumerate(f["labels"])]
    with open(one("formats", stem, ".segments.csv"), newline="", encoding="utf-8") as f:
        table = list(csv.DictReader(f))
    assert [(r["input"], float(r["start"]), float(r["end"]), r["label"], float(r["mean"]), float(r["peak"])) for r in table] == [
        (name, s["start"], s["end"], s["label"], s["mean"], s["peak"]) for s in segments]
    cues = parse_vtt(read(one("formats", stem, ".vtt")).decode())
    assert [(c[0], c[1]) for c in cues] == [(s["start"], s["end"]) for s in segments]
    assert [c[2] for c in cues] == ["%s %d%%" % (s["label"], int(100 * s["mean"] + 0.5)) for s in segments], cues
    (task,) = json.loads(read(one("formats", stem, ".labelstudio.json")))
    assert task["data"] == {"video": rows[0]["uri"], "fps": 25, "input": name}
    (prediction,) = task["predictions"]
    assert prediction["model_version"].startswith("camera-health ") and 0 <= prediction["score"] <= 1
    for region, segment in zip(prediction["result"], segments, strict=True):
        assert (region["type"], region["from_name"], region["to_name"]) == ("timelinelabels", "videoLabels", "video")
        first, last = round(segment["start"] * 25) + 1, round(segment["end"] * 25)
        assert region["value"] == {"ranges": [{"start": first, "end": last}], "timelinelabels": [segment["label"]]}


def test_sample_rates():
    for rate, frames in ("all", range(150)), ("25", range(150)), ("5", range(0, 150, 5)), ("2", [0, 13, 25, 38, 50, 63, 75, 88, 100, 113, 125, 138]), (
            "0.4", [0, 63, 125]), ("key", range(0, 150, 10)):
        expect(0, "-o", "rate", "--sample-rate", rate, "good/film.mkv")
        found = [round(f["time"] * 25) for f in of("frame", lines(one("rate", "film", ".jsonl")))]
        assert found == list(frames), (rate, found)
        assert video("rate", "film")["duration"] == 6


def test_creation_time_and_rotation():
    expect(0, "-o", "tags", "good/sub/turned.mp4")
    head = video("tags", "turned")
    assert head["rotation"] == 90 and (head["width"], head["height"]) == (240, 320), head
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?", head["created"]), head


def test_model_over_time_and_jobs():
    """A model with a memory; and the number of files at once changes nothing."""
    for jobs in "1", "4":
        status = subprocess.run([LABEL, "-q", "-m", CLIP_MODEL, "-o", "clip" + jobs, "-j", jobs, "good"], env=ENV, timeout=LIMIT).returncode
        assert status == 0
    assert killing.contents("clip1") == killing.contents("clip4")
    assert video("clip1", "film")["model"] == "camera-health-clip"


def test_one_engine():
    """For all files, whatever runs at once; and kept from one to the next."""
    err = expect(0, "-o", "engine", "-j", "3", "-q", "good", env=dict(ENV, GST_DEBUG="vigclassify:4", GST_DEBUG_NO_COLOR="1"))[1]
    users = [int(n) for n in re.findall(r"used by (\d+),", err)]
    assert len(users) <= 6 and max(users) == len(users), users  # three that are decoded, and those that then wait for the engine


# ---- inputs ----

def order(err):
    """Inputs of a dry run, in order."""
    return [line[:-len(": would be labelled")] for line in err.splitlines() if line.endswith(": would be labelled")]


def test_inputs():
    """Folders, patterns, URIs, manifests; each once; 2 before 10."""
    everything = ["good/clip2.webm", "good/clip10.avi", "good/film.mkv", "good/sub/dot.mkv", "good/sub/turned.mp4", "good/sub/wide.mkv"]
    absolute = [os.path.abspath(p) for p in everything]
    os.symlink("../../good", "good/sub/loop")
    os.symlink("film.mkv", "good/same.mkv")
    with open("list.txt", "w") as f:
        f.write("# a comment\n\ngood/film.mkv\r\nfile://%s/good/clip2.webm\ngood/sub\n" % os.getcwd())
    with open("zero.any", "wb") as f:
        f.write(b"\0".join(p.encode() for p in absolute) + b"\0")
    try:
        assert order(expect(0, "-n", "good")[0]) == everything
        assert order(expect(0, "-n", "good", "good/film.mkv", "file://%s/good/film.mkv" % os.getcwd())[0]) == everything
        assert order(expect(0, "-n", "good/clip*")[0]) == everything[:2]
        os.unlink("good/sub/loop")
        assert order(expect(0, "-n", "list.txt")[0]) == [absolute[2], absolute[0]] + absolute[3:]
        assert order(expect(0, "-n", "--manifest", "zero.any")[0]) == absolute
        with open("zero.any", "rb") as f:
            assert order(expect(0, "-n", "-", stdin=f)[0]) == absolute
        assert "good/sub/notes.doc" in order(expect(0, "-n", "--all-files", "good")[0])
        with open("long.txt", "w") as f:
            f.write("x" * 70000)
        assert "long.txt: line 1: expected at most" in expect(2, "-n", "long.txt")[1]
    finally:
        os.unlink("good/same.mkv")


def test_lines_of_the_page():
    """Those at its head, in order, with what there is here."""
    with open(PAGE, encoding="utf-8") as f:
        page = [line.strip() for line in f.read().partition("\n| ")[0].splitlines() if line.startswith("    ") and "[options]" not in line]
    assert len(page) == 3 and all("vig-label " in line for line in page), page
    os.mkdir("page")
    os.mkdir("page/bin")
    os.symlink(LABEL, "page/bin/vig-label")
    env = dict(ENV, PATH=os.path.abspath("page/bin") + ":" + ENV["PATH"], VIG_MODEL_DIR=os.path.dirname(CLIP_MODEL))
    here = {"models/camera-health.safetensors": MODEL, "~/recordings": "../good/sub", "a.mp4": "../good/sub/turned.mp4", "b/*.mkv": "../good/*.mkv",
            "http://host/c.mp4": "file://%s/good/clip2.webm" % os.getcwd(), "/archive": os.path.abspath("good")}
    for line in page:
        for there, instead in here.items():
            line = line.replace(there, instead)
        done = subprocess.run(["bash", "-c", "set -o pipefail; " + line], cwd="page", env=env, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 0, (line, done)
    assert order(expect(0, "-n", "--model", CLIP_MODEL, "-o", "page/labels", "good/sub/turned.mp4")[0]) == []  # the last line's
    assert os.path.exists("page/labels/index.html") and os.path.exists("page/labels/all.jsonl"), os.listdir("page/labels")


def test_odd_names():
    names = [b"a\nb.mkv", b"\xff\xfe bytes.mkv", b"-dash.mkv", b"quote\"'`$(x).mkv", "Über 影片.mkv".encode(), b"100%.mkv", b"a#b?c.mkv"]
    os.mkdir("odd")
    for name in names:
        shutil.copy("good/sub/dot.mkv", os.path.join(b"odd", name))
    out, err = expect(0, "-o", "odd-labels", "-f", ALL_FORMATS, "--combined", "odd")
    outputs = os.listdir("odd-labels/videos")
    assert len(outputs) == 5 * len(names) and all(re.fullmatch(r"[\w.+-]+", n) and n[0] not in ".-" for n in outputs), outputs
    heads = of("video", lines("odd-labels/all.jsonl"))
    assert {h["frames"] for h in heads} == {5}
    uris = {h["uri"] for h in heads}
    assert {urllib.parse.unquote_to_bytes(u[7:]) for u in uris} == {os.path.join(os.getcwdb(), b"odd", n) for n in names}
    assert all("\n" not in line or line.count("vig-label: ") <= 1 for line in err.split("\n"))
    # again: each is recognised
    assert not labelled_now(expect(0, "-o", "odd-labels", "-f", ALL_FORMATS, "odd")[1])
    # from inside, where a name begins with a dash
    expect(0, "-o", "../odd-dash", "--", "-dash.mkv", cwd="odd")


# ---- errors ----

REASONS = {"half.mkv": r"it ends after \d\.\d s, but its header promises 6.0 s", "no-index.mp4": "no playable streams|streams without buffers",
           "secret.mp4": r"it is encrypted \(video/x-h264\)", "sound.ogv": "no video stream", "empty.mkv": "it is empty",
           "text.avi": "type of stream|text", "huge.y4m": ".", "nowhere.mkv": "cannot be read: No such file"}


def test_errors():
    """Each with its reason, labelled up to where it could be read; the others as ever; exit status."""
    out, err = expect(1, "-o", "errors", "--combined", "bad", "bad/nowhere.mkv", "foo://bar/film.mp4", "good/film.mkv", "/dev/null")
    heads = {os.path.basename(h["input"]): h for h in of("video", lines("errors/all.jsonl"))}
    for name, reason in REASONS.items():
        assert re.search(reason, heads[name]["error"]), (name, heads[name]["error"])
        assert "bad/%s: %s" % (name, heads[name]["error"]) in err, (name, err)
        assert not re.search(r"[a-z]+\.c[:(]", heads[name]["error"]), heads[name]["error"]
    assert "foo" in heads["film.mp4"]["error"] and "expected a file, found a device" in heads["null"]["error"]
    assert heads["film.mkv"]["error"] is None and heads["film.mkv"]["frames"] == 150
    half = lines(one("errors", "half", ".jsonl"))
    frames = of("frame", half)
    assert 30 < len(frames) < 150 and [f["time"] for f in frames] == [i / 25 for i in range(len(frames))]
    assert of("segment", half)[-1]["end"] == half[0]["duration"] == len(frames) / 25
    assert re.search(r"^failed +10$", out, re.M) and re.search(r"^labelled +1$", out, re.M), out


def test_errors_are_not_tried_again():
    """But for what cannot be read at all; with --retry-failed all are; earlier failures count in the exit status."""
    journal = read("errors/vig-label.journal")
    out, err = expect(1, "-o", "errors", "bad", "good/film.mkv")
    assert not labelled_now(err) and re.search(r"^done before +1$", out, re.M) and re.search(r"^failed +7$", out, re.M), out
    assert read("errors/vig-label.journal") == journal
    out, err = expect(0, "-n", "-o", "errors", "--retry-failed", "bad")
    assert len(order(out)) == 6, out


def test_fail_fast():
    out, err = expect(1, "-o", "fast", "--fail-fast", "-j", "1", "bad/empty.mkv", "good")
    assert len(os.listdir("fast/videos")) == 4 and "the same command goes on with the 6 inputs" in err, err
    expect(1, "-o", "fast", "bad/empty.mkv", "good")
    assert video("fast", "film")["frames"] == 150


def test_usage():
    for arguments, text in (((), "expected an INPUT"), (("--shard", "3/2", "x"), "--shard"), (("--shard", "0/2", "x"), "--shard"),
                            (("--shard", "1/2x", "x"), "--shard"), (("--format", "xml", "x"), "--format"), (("--sample-rate", "-1", "x"), "--sample-rate"),
                            (("--sample-rate", "fast", "x"), "--sample-rate"), (("--top-k", "0", "x"), "--top-k"),
                            (("--leave-threshold", "0.9", "x"), "--leave-threshold"), (("--set", "nonsense=1", "x"), "nonsense"),
                            (("--set", "clip-mode=maen", "x"), "clip-mode"), (("--unknown", "x"), "--unknown"),
                            (("--stall-timeout", "0", "x"), "--stall-timeout"), (("--manifest", "nowhere.list"), "nowhere.list"),
                            (("--merge", "nowhere"), "nowhere"), (("--model", "good/film.mkv", "good"), "good/film.mkv"),
                            (("--model", "nowhere.safetensors", "good"), "nowhere.safetensors"),
                            (("--output", "good/film.mkv/x", "good"), "good/film.mkv/x")):
        if "--output" not in arguments:
            arguments += ("--output", "usage")
        err = expect(2, *arguments)[1]
        assert text in err and err.startswith("vig-label: ") and err.count("\n") == 1 + ("--merge" in arguments), (arguments, err)


def test_version():
    out, err = expect(0, "--version")
    assert re.fullmatch(r"vig-label \d+\.\d+\.\d+\n", out) and not err, (out, err)


def test_what_stands_still():
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = "http://127.0.0.1:%d/film.mp4" % server.getsockname()[1]
        err = expect(1, "-o", "still", "--stall-timeout", "1", url, "good/clip2.webm")[1]
    assert "film.mp4: nothing has come of it for 1 seconds" in err, err
    assert video("still", "clip2")["error"] is None


def test_what_hangs():
    """A file whose opening never returns, as on a server that has gone: it is left alone, the rest is done."""
    if SANITIZER != "none":
        raise tap.Skip("a sanitizer has to be loaded first")
    shutil.copy("good/film.mkv", "hang-when-opened.mkv")
    out, err = expect(1, "-o", "hanging", "--stall-timeout", "1", "hang-when-opened.mkv", "good/clip2.webm",
                      env=dict(ENV, LD_PRELOAD=HANG))
    assert "hang-when-opened.mkv: it hangs and cannot be stopped" in err and re.search(r"^labelled +1$", out, re.M), (out, err)
    assert video("hanging", "hang")["error"] == "it hangs and cannot be stopped" and video("hanging", "clip2")["frames"] == 60


# ---- restart ----

def test_restart():
    arguments = ["-o", "again", "-f", ALL_FORMATS, "--combined", "good"]
    assert len(labelled_now(expect(0, *arguments)[1])) == 6
    before = killing.contents("again")
    assert labelled_now(expect(0, *arguments)[1]) == []
    # a torn last line, and a damaged one: that input is done again
    with open("again/vig-label.journal", "rb") as f:
        journal = f.read().splitlines(keepends=True)
    with open("again/vig-label.journal", "wb") as f:
        f.write(b"".join(journal[:2]) + b"{damage}\n" + b"".join(journal[3:5]) + journal[5][:40])
    assert len(labelled_now(expect(0, *arguments)[1])) == 2
    # an output that is gone
    os.unlink(one("again", "film", ".vtt"))
    assert labelled_now(expect(0, *arguments)[1]) == ["good/film.mkv"]
    # a file that is another now
    os.utime("good/film.mkv", (1, 1))
    assert labelled_now(expect(0, *arguments)[1]) == ["good/film.mkv"]
    # an option that matters; and back
    assert len(labelled_now(expect(0, "--sample-rate", "1", *arguments)[1])) == 6
    # (what is overwritten does not count from before the first byte, whatever comes between)
    with open("again/vig-label.journal") as f:
        entries = [json.loads(line) for line in f if line != "{damage}\n"]
    keys = [entry["key"] for entry in entries if entry["name"].startswith("film")]
    assert keys[-2] == "" and "" not in (keys[-1], keys[-3]) and keys[-1] != keys[-3], keys
    assert len(labelled_now(expect(0, *arguments)[1])) == 6
    assert len(labelled_now(expect(0, "--force", *arguments)[1])) == 6
    # one that does not
    assert labelled_now(expect(0, "--jobs", "1", *arguments)[1]) == []
    after = killing.contents("again")
    before.pop("vig-label.plan")
    after.pop("vig-label.plan")  # has the changed file's key
    assert before == after


def test_killed():
    """At random moments; in the end all is as if it had not been."""
    arguments = ["-f", ALL_FORMATS, "--combined", "-q", "good", "bad"]
    took, status = killing.seconds(command("-o", "undisturbed", *arguments), env=ENV)
    assert status == 1
    status, hits = killing.kill_until_done(command("-o", "killed", *arguments), 6, took, seed=7, env=ENV)
    assert status == 1 and hits > 0, (status, hits)
    assert killing.contents("killed") == killing.contents("undisturbed")
    print("# killed %d times" % hits)


def test_interrupted():
    """SIGINT: nothing half, the journal is whole, and it says how to go on."""
    os.makedirs("many", exist_ok=True)
    for i in range(30):
        os.link("good/film.mkv", "many/%d.mkv" % i)
    process = subprocess.Popen(command("-o", "interrupted", "many"), env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not labelled_now(process.stderr.readline()):  # one is finished
        pass
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 130 and re.search(r"stopped; the same command goes on with the \d+ inputs that are left", err), err
    names = os.listdir("interrupted/videos")
    assert not any(n.startswith(".") for n in names + os.listdir("interrupted")), names
    entries = lines("interrupted/vig-label.journal")
    assert 1 <= len(entries) < 30
    assert len(labelled_now(expect(0, "-o", "interrupted", "many")[1])) == 30 - len(entries)


def test_two_at_once():
    os.mkdir("locked")
    with open("locked/vig-label.journal", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        err = expect(2, "-o", "locked", "good")[1]
    assert "the only vig-label that writes into this folder" in err and err.count("\n") == 1, err
    assert os.listdir("locked/videos") == []
    expect(0, "-o", "locked", "good/sub")


def test_dry_run():
    out, err = expect(0, "-n", "-o", "dry", "good", "bad/empty.mkv")
    assert not os.path.exists("dry") and "7 inputs, 7 of them to be labelled" in out and "bad/empty.mkv: it is empty" in out, out
    assert "6 inputs, 0 of them to be labelled" in expect(0, "-n", "-o", "again", "-f", ALL_FORMATS, "good")[0]


# ---- shards ----

def test_shards():
    """Together they are the whole; what is missing is named."""
    arguments = ["-f", ALL_FORMATS, "good", "bad"]
    expect(1, "-o", "whole", "--combined", "-q", *arguments)
    seen = []
    for i in "123":
        run("-o", "shard" + i, "--shard", i + "/3", "-q", *arguments)
        seen += os.listdir("shard%s/videos" % i)
    assert sorted(seen) == sorted(os.listdir("whole/videos")) and len(set(seen)) == len(seen)
    expect(1, "--merge", "-o", "merged", "shard3", "shard1", "shard2")
    whole, merged = killing.contents("whole"), killing.contents("merged")
    whole.pop("vig-label.plan")
    assert whole == merged
    # the merged folder is one that a run can go on with
    assert labelled_now(run("-o", "merged", *arguments)[2]) == []
    # a shard that is missing, one that is not finished
    with open("shard1/vig-label.journal") as f:
        entries = f.read().splitlines(keepends=True)
    with open("shard1/vig-label.journal", "w") as f:
        f.writelines(entries[1:])
    out, err = expect(1, "--merge", "-o", "part", "shard1", "shard3", "nowhere")
    assert "shard 2/3 is missing" in err and ": not finished in shard1" in err and "nowhere" in err, err
    missing = len(os.listdir("shard2/videos")) // 5 + 1
    assert "%d of %d inputs are missing" % (missing, len(seen) // 5) in err, err
    # shards of something else
    run("-o", "other", "--shard", "2/3", "-q", "--top-k", "1", *arguments)
    err = expect(2, "--merge", "-o", "mixed", "shard1", "other")[1]
    assert "expected a shard of the same inputs, model and options" in err, err


def test_combined():
    parts = [read(one("whole", n, ".jsonl")) for n in ("clip2", "clip10", "film", "dot", "turned", "wide")]
    assert read("whole/all.jsonl").startswith(b"".join(parts))
    with open("whole/all.segments.csv", newline="") as f:
        rows = list(csv.reader(f))
    assert rows[0] == ["input", "start", "end", "label", "mean", "peak"] and rows.count(rows[0]) == 1
    tasks = json.loads(read("whole/all.labelstudio.json"))
    assert [t["data"]["input"] for t in tasks] == [h["input"] for h in of("video", lines("whole/all.jsonl"))]


# ---- what a person sees ----

def on_terminal(arguments, columns, then=None):
    """What is written to a terminal of that width; then: another width, set soon after."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command(*arguments), env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    text, end = b"", time.monotonic() + LIMIT
    while time.monotonic() < end:
        if select.select([master], [], [], 0.2)[0]:
            try:
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            text += part
            if then and b"\x1b" in text:
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, then, 0, 0))
                then = None
    os.close(master)
    assert process.wait(LIMIT) == 0
    return text.decode()


def test_bars():
    text = on_terminal(["-o", "bars", "many"], 90, 60)
    assert re.search(r"many/\d+\.mkv +\[[#.]{20}\] +\d+% 0:0\d of 0:06", text), text[:2000]
    assert re.search(r"\d+/30 \[[#.]{20}\] +\d+%  \d+ frames/s  [\d.]+x real time  ETA \S+  0 failed", text), text[:2000]
    assert "\x1b[J" in text and max(len(line) for line in re.split(r"[\r\n]|\x1b\[\d*[AJ]", text)) < 90


def test_plain_lines_and_quiet():
    out, err = expect(0, "-o", "plain", "good")
    assert "\x1b" not in out + err and len(labelled_now(err)) == 6
    for name in "inputs", "labelled", "failed", "done before", "frames", "video":
        assert re.search("^%s +\\S" % name, out, re.M), out
    assert expect(0, "-q", "-o", "quiet", "good") == ("", "")
    out, err = expect(1, "-q", "-o", "quiet", "good", "bad/empty.mkv")
    assert (out, err) == ("", "vig-label: bad/empty.mkv: it is empty\n")


make_media()
tap.main(globals())
