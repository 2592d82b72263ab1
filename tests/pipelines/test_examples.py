# SPDX-License-Identifier: LGPL-2.1-or-later
"""The example applications as users run them: test_examples.py VIG_CAMERAS TWO_CLASSIFIERS PLUGIN_FOLDER MODEL SANITIZER"""
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import tempfile
import threading

import tap

CAMERAS, TWO, PLUGINS, MODEL = map(os.path.abspath, sys.argv[1:5])
SANITIZER = sys.argv[5]
DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs")
EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pipelines/example")
LIMIT = 100  # seconds until something hangs
ENDLESS = "testbin://video,pattern=smpte,caps=[video/x-raw,width=320,height=240,framerate=25/1]"

WORK = tempfile.TemporaryDirectory()
os.chdir(WORK.name)
PLAIN = dict(os.environ, GST_REGISTRY="plain-registry", GST_REGISTRY_FORK="no")
PLAIN.pop("GST_PLUGIN_PATH", None)
ENV = dict(PLAIN, GST_REGISTRY="registry", GST_PLUGIN_PATH=PLUGINS)


def launch(line):
    # without our plugin: one built with a sanitizer cannot be loaded into a program built without
    subprocess.run(["gst-launch-1.0", "--quiet", "--no-fault"] + line.split(), env=PLAIN, check=True,
                   stdout=subprocess.DEVNULL)


def make_media():
    source = "videotestsrc num-buffers=%d ! video/x-raw,width=320,height=240,framerate=25/1 ! x264enc ! matroskamux name=mux "
    launch(source % 40 + "! filesink location=one.mkv audiotestsrc num-buffers=70 ! vorbisenc ! mux.")
    os.rename("one.mkv", "one film.mkv")
    launch(source % 25 + "! filesink location=two.mkv")
    launch("audiotestsrc num-buffers=50 ! vorbisenc ! oggmux ! filesink location=sound.ogg")
    with open("text.txt", "w") as f:
        f.write("no video at all, but a line of text\n")
    # the registry is made here, once: looking into every plugin of the system leaks, which is not tested here
    subprocess.run([CAMERAS, "--model", MODEL, "nowhere.mkv"], env=dict(ENV, ASAN_OPTIONS="detect_leaks=0"),
                   stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)


def run(*arguments, env=ENV):
    """To its end, with nothing on stdin: status, lines of stdout, text of stderr."""
    done = subprocess.run(arguments, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def events(lines, source):
    return [line["event"] for line in lines if line.get("source") == source and "event" in line]


def results(lines, source):
    return [line for line in lines if line.get("source") == source and "event" not in line]


class Cameras:
    """A vig-cameras that goes on, with a watchdog; its lines are taken as they come."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([CAMERAS, "--model", MODEL] + list(arguments), env=ENV, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.queue, self.lines = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()
        self.watchdog = threading.Timer(LIMIT, self.process.kill)
        self.watchdog.start()

    def read(self):
        for line in self.process.stdout:
            self.queue.put(json.loads(line))
        self.queue.put(None)

    def wait_for(self, **fields):
        while True:
            line = self.queue.get(timeout=LIMIT)
            assert line is not None, "no line with %s, but an end after %s" % (fields, self.lines[-5:])
            self.lines.append(line)
            if all(line.get(k) == v for k, v in fields.items()):
                return line

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self):
        """The exit status; what else it said is in lines."""
        status = self.process.wait()
        self.watchdog.cancel()
        while (line := self.queue.get(timeout=LIMIT)) is not None:
            self.lines.append(line)
        self.process.stdin.close()
        self.process.stdout.close()
        return status


def test_cameras_to_the_end():
    status, lines, errors = run(CAMERAS, "--model", MODEL, "one film.mkv", "two.mkv", "file://%s/two.mkv" % os.getcwd())
    assert status == 0, errors
    for source, frames in (1, 40), (2, 25), (3, 25):
        found = results(lines, source)
        assert [round(r["pts"] * 25) for r in found] == list(range(frames)), (source, found[:3])
        assert all(r["label"] == "test-pattern" and 0.5 < r["confidence"] <= 1 and r["state"] == "fresh" for r in found)
        assert events(lines, source) == ["added", "ended"], events(lines, source)


def test_cameras_share_one_engine():
    env = dict(ENV, GST_DEBUG="vigclassify:4", GST_DEBUG_NO_COLOR="1")
    status, lines, errors = run(CAMERAS, "--model", MODEL, "two.mkv", "two.mkv", env=env)
    assert [n for n in (1, 2, 3, 4) if "used by %d," % n in errors] == [1, 2, 3], errors  # one that only holds it


def test_cameras_some_fail():
    status, lines, errors = run(CAMERAS, "--model", MODEL, "nowhere.mkv", "sound.ogg", "one film.mkv", "text.txt", "foo://bar")
    assert status == 0, errors
    assert events(lines, 3) == ["added", "ended"] and len(results(lines, 3)) == 40
    for source, text in (1, "nowhere.mkv"), (2, "no video stream"), (4, "type of stream"), (5, "foo"):
        assert events(lines, source) == ["added", "error"], (source, events(lines, source))
        message = [line["message"] for line in lines if line.get("source") == source and "message" in line]
        assert text in message[0], message


def test_cameras_come_and_go():
    cameras = Cameras(ENDLESS)
    cameras.wait_for(source=1, state="fresh")
    cameras.say("add " + ENDLESS)
    cameras.wait_for(source=2, state="fresh")
    cameras.say("remove 1")
    assert cameras.wait_for(source=1, event="removed")["frames"] > 0
    before = len(cameras.lines)
    cameras.say("add nowhere.mkv")
    cameras.say("add one film.mkv")
    cameras.wait_for(source=3, event="error")
    cameras.wait_for(source=4, event="ended")
    assert len(results(cameras.lines, 4)) == 40
    cameras.wait_for(source=2, state="fresh")
    assert not results(cameras.lines[before:], 1), "results of a source that was removed"
    cameras.say("remove 2")
    cameras.wait_for(source=2, event="removed")
    cameras.say("add one film.mkv")  # though there was none left
    cameras.wait_for(source=5, event="ended")
    cameras.process.stdin.close()
    assert cameras.end() == 0


def test_cameras_bad_commands():
    cameras = Cameras()
    for command in "remove 7", "remove", "add", "dance":
        cameras.say(command)
        cameras.wait_for(event="error")
    cameras.say("")
    cameras.process.stdin.close()
    assert cameras.end() == 0
    assert len(cameras.lines) == 4


def test_cameras_interrupted():
    for number in signal.SIGINT, signal.SIGTERM:
        cameras = Cameras(ENDLESS, ENDLESS)
        cameras.wait_for(source=1, state="fresh")
        cameras.wait_for(source=2, state="fresh")
        cameras.process.send_signal(number)
        assert cameras.end() == 0, number
        for source in 1, 2:
            assert events(cameras.lines, source) == ["added", "removed"]


def test_cameras_silent_source():
    status, lines, errors = run(CAMERAS, "--model", MODEL, "--patience", "2", "udp://127.0.0.1:0", "two.mkv")
    assert status == 0, errors
    assert events(lines, 1) == ["added", "error"] and events(lines, 2) == ["added", "ended"]


def test_cameras_arguments():
    for text, arguments in (("--model", ["two.mkv"]), ("text.txt", ["--model", "text.txt", "two.mkv"]),
                            ("--interval", ["--model", MODEL, "--interval", "0", "two.mkv"])):
        status, lines, errors = run(CAMERAS, *arguments)
        assert status != 0 and text in errors and not lines, (status, errors, lines)
    assert run(CAMERAS, "--model", MODEL) == (0, [], "")


def two(*arguments):
    if SANITIZER != "none":
        raise tap.Skip("Python cannot load a plugin that is built with a sanitizer")
    return run(sys.executable, TWO, *arguments)


def test_two_classifiers():
    status, lines, errors = two("one film.mkv", MODEL, MODEL)
    assert status == 0 and not errors, errors
    assert [round(line["pts"] * 25) for line in lines] == list(range(40))
    for i, line in enumerate(lines):
        first, second = line["first"], line["second"]
        assert first["state"] == "fresh" and len(first["top"]) == 1 and first["top"][0][0] == "test-pattern", line
        assert second["state"] == ("held" if i % 25 else "fresh") and len(second["top"]) == 3, line
        assert second["top"] == lines[i - i % 25]["second"]["top"] and second["top"][0] == lines[i - i % 25]["first"]["top"][0]


def test_two_classifiers_errors():
    for text, arguments in (("FILE|URI MODEL MODEL", []), ("text.txt", ["two.mkv", MODEL, "text.txt"]),
                            ("not found", ["nowhere.mkv", MODEL, MODEL])):
        status, lines, errors = two(*arguments)
        assert status != 0 and text in errors and not lines, errors


def test_two_classifiers_interrupted():
    if SANITIZER != "none":
        raise tap.Skip("Python cannot load a plugin that is built with a sanitizer")
    process = subprocess.Popen([sys.executable, TWO, ENDLESS, MODEL, MODEL], env=ENV, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(LIMIT, process.kill)
    watchdog.start()
    for _ in range(5):
        json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait() == 0
    watchdog.cancel()


def lines_of(page):
    with open(os.path.join(DOCS, page), encoding="utf-8") as f:
        return [line.strip() for line in f if line.startswith("    gst-launch-1.0 ")]


def test_clips_of_the_page():
    if SANITIZER != "none":
        raise tap.Skip("gst-launch cannot load a plugin that is built with a sanitizer")
    lines = [line for line in lines_of("vigclassify.md") if "clip-mode=" in line]
    assert len(lines) >= 3 and any("enter-threshold=" in line for line in lines), lines
    for line in lines:
        here = line.replace("video.mp4", "two.mkv").replace("models/camera-health.safetensors", MODEL)
        done = subprocess.run(shlex.split(here.replace("is-live=true", "is-live=true num-buffers=25")), env=ENV, text=True,
                              capture_output=True, timeout=LIMIT)
        assert done.returncode == 0 and "ERROR" not in done.stdout + done.stderr, (line, done.stdout, done.stderr)
        assert "vig-label" in done.stdout and ("vig-segment" in done.stdout) == ("enter-threshold=" in line), (line, done.stdout)


def example(*arguments, sink=None):
    """A line of pipelines/example, with this build's plugin."""
    if SANITIZER != "none":
        raise tap.Skip("gst-launch cannot load a plugin that is built with a sanitizer")
    env = dict(ENV, GST_PLUGIN_FEATURE_RANK=sink + ":MAX") if sink else ENV
    done = subprocess.run([EXAMPLE, *arguments], env=env, text=True, capture_output=True, timeout=LIMIT)
    assert done.returncode == 0 and "ERROR" not in done.stdout + done.stderr, (done.stdout, done.stderr)
    assert "vig-label" in done.stdout, done.stdout
    return done


def test_overlay_and_publish_of_the_pages():
    """Whole lines; what begins with … needs a broker, and is tested with one elsewhere."""
    if SANITIZER != "none":
        raise tap.Skip("gst-launch cannot load a plugin that is built with a sanitizer")
    os.makedirs("out", exist_ok=True)
    env = dict(ENV, GST_PLUGIN_FEATURE_RANK="fakevideosink:MAX")
    lines = lines_of("vigoverlay.md") + lines_of("vigpublish.md")
    assert len(lines) == 3, lines
    for line in lines:
        here = line.replace("out/annotated.mp4", "two.mkv").replace("video.mp4", "two.mkv").replace("models/camera-health.safetensors", MODEL)
        done = subprocess.run(shlex.split(here), env=env, text=True, capture_output=True, timeout=LIMIT)
        assert done.returncode == 0 and "ERROR" not in done.stdout + done.stderr, (line, done.stdout, done.stderr)
        if "vigpublish" in line:
            published = [json.loads(row) for row in done.stdout.splitlines()]
            assert len([row for row in published if row["type"] == "result"]) == 25, done.stdout
    assert os.path.getsize("out/00.png") > 100


def grey(path):
    """All frames of a file, as rows of bytes."""
    launch("filesrc location=%s ! decodebin ! videoconvert ! video/x-raw,format=GRAY8 ! filesink location=raw" % path)
    with open("raw", "rb") as f:
        return f.read()


def difference(a, b, x, y, width, height):
    """Mean of a rectangle of the last of frames of 320x240."""
    start = len(a) - 320 * 240
    at = [start + row * 320 + column for row in range(y, y + height) for column in range(x, x + width)]
    return sum(abs(a[i] - b[i]) for i in at) / len(at)


def test_overlay_play():
    example("play", "two.mkv", sink="fakevideosink")


def test_overlay_annotate():
    example("annotate", "two.mkv", "two.mp4")
    before, after = grey("two.mkv"), grey("two.mp4")
    assert len(before) == len(after) == 25 * 320 * 240
    assert difference(before, after, 8, 8, 170, 20) > 30  # its label
    assert difference(before, after, 8, 220, 300, 12) > 10  # and the timeline


make_media()
tap.main(globals())
