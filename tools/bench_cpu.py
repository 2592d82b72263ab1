#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The work of tests/bench/cpu, which see: contenders in processes of their own, measured in turn, one at a time.

A contender of a point (model, size, batch) is tools/bench_worker.py, started once and stopped (SIGSTOP) while it is not its
turn, or a program that is started for each round (tools/bench_turns.py).
"""
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile

import numpy as np

import vig_weights
from bench_turns import (BUILD, MIN_ROUNDS, PEAK, TOOLS, TRIES, Missing, Products, Worker, begin, flops, met, parser, rounds,
                         run_json, watched)
from bench_worker import model_path

FIRST = "vig_t:224:1"  # the point that has everything
POINTS = FIRST + ",vig_t:224:8,vig_t:1024:1,vig_s:224:1,vig_t:448:1,vig_s:224:8,vig_s:448:1,vig_s:1024:1"
CLASS = {"vig_t": "deit_t", "vig_s": "deit_s"}  # the one of the same size
PEERS = ["torch-fp32", "torch-bf16", "ort-fp32", "ort-int8", "openvino-fp32", "openvino-bf16"]
COMPILED = ["torch-compiled-fp32", "torch-compiled-bf16"]  # a minute or two each: at FIRST only
# As on a machine that has no more than AVX2, also at FIRST only. Each runtime has a switch of its own.
AVX2 = {"VIG_CPU_MASK": "1", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"}
# Of the largest logit, from libvig's in fp32 (DeiT: from PyTorch's in fp32): whoever is further off is not timed.
LIMITS = {"fp32": 1e-3, "bf16": 6e-2, "int8": 0.25}
FRAME, PIPELINE_WINDOWS = "1920x1080", 8

# ---- contenders: also .key, .label, .model, .precision, .bytes; rounds in milliseconds of a batch ----------------------

def environment(isa, compiled=False):
    """torch.compile: what it builds lacks PyTorch's library of vector mathematics (SLEEF), and is kept for the next run."""
    env = {**os.environ, **(AVX2 if isa else {})}
    if compiled:
        env.update(LD_PRELOAD="libsleef.so.3", TORCHINDUCTOR_CACHE_DIR=BUILD + "/torch-compiled")
    return env


class Runtime(Worker):
    """A runtime with a model. engine: of bench_worker.ENGINES, with @avx2 behind it: as on a machine without more."""

    def __init__(self, engine, model, size, batch, args, folder):
        self.key, self.model, (engine, _, isa) = engine, model, engine.partition("@")
        self.precision = engine.rsplit("-", 1)[1]
        super().__init__([sys.executable, TOOLS + "/bench_worker.py", engine, model, str(size), str(batch), str(args.threads),
                          folder], environment(isa, "compiled" in engine))
        name = self.ready["ready"]
        self.label = name + (", AVX2 only" if isa and "avx2" not in name else "")
        self.bytes, self.logits = self.ready["bytes"], np.load(self.ready["logits"])


def products(key, label, precision, shapes, args, isa):
    return Products(key, label + (", AVX2 only" if isa else ""), precision, shapes, args.threads, environment(isa))


def products_of(model, size, batch):
    """The matrix products of a forward: [(count, rows, n, k)]."""
    if model in CLASS:
        d, side, half = vig_weights.CONFIGS[model]["embed_dim"], size // 16, (size - 7) // 8 + 1
        rows, wide = batch * side * side, vig_weights.checkpoint.mlp_width(d, 256)
        return [(1, batch * half * half, d // 2, 243), (1, rows, d, 9 * d // 2), (12, rows, 3 * d + 16, d),
                (12, rows, d, d), (12, rows, 2 * wide, d), (12, rows, d, wide), (1, batch, 1000, d)]
    d, heads = vig_weights.CONFIGS[model.replace("deit", "vig")]["embed_dim"], batch * 12
    tokens = (size // 16) ** 2 + 1
    rows = batch * tokens
    return [(1, rows, d, 768), (12, rows, 3 * d, d), (heads, tokens, tokens, d), (heads, tokens, d, tokens),
            (12, rows, d, d), (12, rows, 4 * d, d), (12, rows, d, 4 * d), (1, batch, 1000, d)]


# ---- a point ---------------------------------------------------------------------------------------------------------

def is_first(model, size, batch):
    return "%s:%d:%d" % (model, size, batch) == FIRST


def prepare(model, size, batch, folder, *kinds):
    """Input and models of a point. In a process of its own: PyTorch's threads do not belong in the one that measures."""
    done = subprocess.run([sys.executable, TOOLS + "/bench_prepare.py", model, str(size), str(batch), folder, *kinds],
                          capture_output=True, text=True)
    if done.returncode:
        print("  not exported: %s: %s" % (model, (done.stderr.strip().splitlines() or ["it failed"])[-1]))


def workers(engines, model, size, batch, args, folder):
    """Those whose logits are those of the first; the others are named."""
    right = []
    for engine in engines:
        try:
            worker = Runtime(engine, model, size, batch, args, folder)
        except Missing as e:
            print("  missing: %s, %s: %s" % (engine, model, e), flush=True)
            continue
        want = right[0].logits if right else worker.logits
        off = abs(worker.logits - want).max() / abs(want).max()
        if off < LIMITS[worker.precision]:
            right.append(worker)
        else:
            print("  not timed: %s %s, %s: %.1e of the largest logit off" % (worker.label, worker.precision, model, off))
            worker.end()
    return right


def contenders_of(model, size, batch, args, folder):
    """ViG and, through the same peers, the DeiT of its size class, all in one rotation; and oneDNN."""
    first = is_first(model, size, batch)
    peers = [e for e in PEERS + (COMPILED if first and not args.quick else []) if e.startswith(tuple(args.peers.split(",")))]
    ours = ["libvig-fp32", "libvig-bf16"] + (["libvig-fp32@avx2"] if first else [])
    avx2 = ["torch-fp32@avx2"] if first and "torch-fp32" in peers else []
    shapes, result = products_of(model, size, batch), []
    for isa in ("", "@avx2") if first else ("",):
        for precision in ("fp32", "bf16") if not isa else ("fp32",):
            name = "-" + precision + isa
            result.append(products("peak" + name, "oneDNN, 2048 x 2048 x 2048", precision, PEAK, args, isa))
            result.append(products("products" + name, "oneDNN, all its products alone", precision, shapes, args, isa))
    return (result + workers(ours + peers + avx2, model, size, batch, args, folder)
            + workers(peers, CLASS[model], size, batch, args, folder))


def rows_of(times, model, size, batch):
    """A row for each contender: ms an image, how far the windows are apart, GFLOP/s, share of the peak of its precision."""
    rows, peaks, ours = [], {}, {}
    for c, windows in times.items():
        if not windows:
            print("  never quiet: %s %s" % (c.label, c.precision))
            continue
        low, ms, high = (float(x) for x in np.percentile(windows, [25, 50, 75]))
        is_peak = c.key.startswith("peak")
        images, shapes = (1, PEAK) if is_peak else (batch, products_of(c.model or model, size, batch))
        rate = 1e-6 * flops(shapes) / ms
        isa = c.key.partition("@")[2]
        if is_peak:
            peaks[c.precision, isa] = rate
        ours[c.key] = ms / images
        rows.append(dict(key=c.key, who=c.label, model=c.model, precision=c.precision, ms=ms / images, low=low / images,
                         high=high / images, bytes=c.bytes, windows=len(windows), gflops=rate,
                         peak_share=rate / peaks[c.precision, isa] if (c.precision, isa) in peaks else None))
    for row in rows:
        row["ratio"] = None if row["key"].startswith("peak") else row["ms"] / ours.get("libvig-bf16", float("nan"))
    return rows


def print_rows(rows):
    print("  %-34s %-7s %-5s %10s %7s %9s %9s %9s %10s" % (
        "", "", "", "ms/image", "spread", "x libvig", "GFLOP/s", "of peak", "memory"))
    for r in rows:
        print("  %-34s %-7s %-5s %10.3f %6.1f%% %9s %9.0f %9s %10s" % (
            r["who"], r["model"], r["precision"], r["ms"], 100 * (r["high"] - r["low"]) / r["ms"],
            "" if r["ratio"] is None else "%.2f" % r["ratio"], r["gflops"],
            "" if r["peak_share"] is None else "%.0f%%" % (100 * r["peak_share"]),
            "" if r["bytes"] is None else "%.1f MB" % (1e-6 * r["bytes"])), flush=True)


def point(model, size, batch, args, folder):
    print("\n%s and %s, %dx%d, batch %d" % (model, CLASS[model], size, size, batch), flush=True)
    for name in (model, CLASS[model]):
        prepare(name, size, batch, folder, "--int8")
    contenders = contenders_of(model, size, batch, args, folder)
    try:
        times, thrown = rounds(contenders, args.point_seconds * (2 if is_first(model, size, batch) else 1), args)
    finally:
        for c in contenders:
            c.end()
    rows = rows_of(times, model, size, batch)
    print_rows(rows)
    print("  %d windows were thrown away because of other processes" % thrown)
    for name in (model, CLASS[model]):  # up to some hundred MB each
        for suffix in (".onnx", "-int8.onnx"):
            if os.path.exists(model_path(folder, name, size, batch, suffix)):
                os.remove(model_path(folder, name, size, batch, suffix))
    return dict(model=model, size=size, batch=batch, rows=rows, thrown=thrown, profile=profile(model, size, batch, args))


def vig_bench(model, args, *words, windows=1):
    return run_json([BUILD + "/engine/vig-bench", "--device", "cpu", "--random", model, "--threads", str(args.threads),
                     "--seconds", str(windows * args.seconds), "--peak", "0", "--json", *(str(w) for w in words)])


def profile(model, size, batch, args):
    """{precision: {operator: ms a batch}}: where our time goes. In runs of their own: they wait after every operator."""
    result = {}
    for precision in ("bf16", "fp32"):
        report = vig_bench(model, args, "--precision", precision, "--size", size, "--batch", batch, "--profile")["profile"]
        total = sum(report.values())
        print("  libvig %s, %.2f ms a batch with waiting, all layers: %s" % (precision, total, ", ".join(
            "%s %.2f (%.0f%%)" % (name, ms, 100 * ms / total) for name, ms in report.items() if ms > total / 200)), flush=True)
        result[precision] = report
    return result


# ---- pipelines -------------------------------------------------------------------------------------------------------

def pipelines(args, folder):
    """({name: frames a second}, ms of preprocessing): pictures of a camera's size, the same in each, ViG-T at 224."""
    print("\nvig_t 224x224 in a pipeline, %s NV12 in (videotestsrc's one picture again and again), frames/s" % FRAME, flush=True)
    prepare("vig_t", 224, 1, folder, "--camera")
    weights, onnx = folder + "/vig_t.safetensors", model_path(folder, "vig_t", 224, 1, "-camera.onnx")
    vig = "vigclassify model-file=%s precision=bf16 threads=%d" % (shlex.quote(weights), args.threads)
    peer = ("videoconvertscale n-threads=%d ! video/x-raw,format=RGB,width=224,height=224 ! onnxinference "
            "input-image-format=chw optimization-level=enable-all model-file=%s" % (args.threads, shlex.quote(onnx)))
    runs = {"vigclassify, bf16": lambda: launch(vig, PIPELINE_WINDOWS * args.seconds),
            "onnxinference, fp32": lambda: launch(peer, PIPELINE_WINDOWS * args.seconds),
            "libvig bf16, the engine alone": lambda: engine_alone(args, preprocess)}
    preprocess, rates, thrown = [], {name: [] for name in runs}, 0
    for _ in range(max(MIN_ROUNDS, args.rounds // 2)):
        for name, run in runs.items():
            for _ in range(TRIES):
                try:
                    rate, others = watched(run, [])
                except Missing as e:
                    print("  missing: %s: %s" % (name, e))
                    break
                if others <= args.quiet:
                    rates[name].append(rate)
                    break
                thrown += 1
    for name, windows in rates.items():
        if windows:
            low, middle, high = np.percentile(windows, [25, 50, 75])
            print("  %-34s %8.1f  [%.1f..%.1f]" % (name, middle, low, high), flush=True)
    print("  %d windows were thrown away because of other processes" % thrown)
    print("  preprocessing is %.3f ms of a frame" % statistics.median(preprocess))
    return {name: statistics.median(windows) for name, windows in rates.items() if windows}, statistics.median(preprocess)


def launch(classifier, seconds):
    """Frames a second of a pipeline with that in it, the first frame (which is prerolled) not counted."""
    first = played(classifier, 20)
    frames = max(20, int(seconds * 19 / first))
    return (frames - 1) / played(classifier, frames)


def played(classifier, frames):
    width, height = FRAME.split("x")
    words = ("gst-launch-1.0 -e videotestsrc num-buffers=1 pattern=smpte75 ! video/x-raw,format=NV12,width=%s,height=%s,"
             "framerate=25/1,colorimetry=bt709 ! imagefreeze num-buffers=%d ! %s ! fakesink sync=false" % (
                 width, height, frames, classifier))
    done = subprocess.run(shlex.split(words), capture_output=True, text=True)
    ended = [line for line in done.stdout.splitlines() if line.startswith("Execution ended after")]
    if done.returncode or not ended:
        raise Missing((done.stderr.strip().splitlines() or ["gst-launch-1.0 failed"])[0])
    hours, minutes, seconds = (float(x) for x in ended[0].split()[-1].split(":"))
    return 3600 * hours + 60 * minutes + seconds


def engine_alone(args, preprocess):
    """As a pipeline is measured: all frames over all of the time, for as long."""
    report = vig_bench("vig_t", args, "--precision", "bf16", "--frame", FRAME, windows=PIPELINE_WINDOWS)
    preprocess.append(report["preprocess_ms"])
    return report["frames_per_second"]


# ---- what was asked for ----------------------------------------------------------------------------------------------

class Figures:
    """The rows of all points, by point, contender and model."""

    def __init__(self, points):
        self.rows = {("%(model)s:%(size)d:%(batch)d" % p, r["key"], r["model"]): r for p in points for r in p["rows"]}

    def get(self, where, key, model=None):
        row = self.rows.get((where, key, where.split(":")[0] if model is None else model))
        return row["ms"] if row else None

    def best(self, where, model=None):
        """The fastest peer's row."""
        model = model or where.split(":")[0]
        return min((r for (w, key, m), r in self.rows.items() if w == where and m == model and not key.startswith("libvig")
                    and "@" not in key), key=lambda r: r["ms"], default=None)

    def at_peak(self, where, precision):
        """ms an image if all products ran at the measured peak and nothing else took time."""
        products, peak = (self.rows.get((where, key + "-" + precision, "")) for key in ("products", "peak"))
        return products and peak and products["ms"] * products["gflops"] / peak["gflops"]


def numbers(f, rates, preprocess):
    """(what, asked for, measured or None, with products at the peak and nothing else or None)"""
    t, t8, s, large = FIRST, "vig_t:224:8", "vig_s:224:1", "vig_t:1024:1"

    def times(what, asked, where, theirs, precision="bf16"):
        mine, floor = f.get(where, "libvig-" + precision), f.at_peak(where, precision)
        return (what, ">= %g" % asked, theirs and mine and theirs / mine, theirs and floor and theirs / floor)

    def best(what, asked, where, model):
        row = f.best(where, model)
        return times("%s (%s)" % (what, row["who"] + " " + row["precision"] if row else "no peer"), asked, where,
                     row and row["ms"])

    yield times("ViG-T bf16, batch 1, beside PyTorch bf16", 8, t, f.get(t, "torch-bf16"))
    yield times("  beside ONNX Runtime fp32", 9, t, f.get(t, "ort-fp32"))
    yield best("  beside the best peer's DeiT-T", 3, t, "deit_t")
    mine, alone = f.get(t, "libvig-bf16"), f.get(t, "products-bf16", "")
    yield ("  the frame beside its products in oneDNN alone", "<= 1.7", mine and alone and mine / alone, None)
    yield best("ViG-T bf16, batch 8, beside the best peer's ViG-T", 4, t8, "vig_t")
    yield best("  beside the best peer's DeiT-T", 1.6, t8, "deit_t")
    yield times("ViG-S bf16, batch 1, beside PyTorch bf16", 5, s, f.get(s, "torch-bf16"))
    yield times("ViG-T fp32, batch 1, beside PyTorch fp32", 3, t, f.get(t, "torch-fp32"), "fp32")
    yield times("  beside ONNX Runtime fp32", 2.4, t, f.get(t, "ort-fp32"), "fp32")
    yield best("ViG-T bf16 at 1024, beside the best peer's DeiT-T", 6, large, "deit_t")
    mine_at_1024 = f.rows.get((large, "libvig-bf16", "vig_t"))
    for whose, row in (("that one's", f.best(large, "deit_t")), ("ONNX Runtime's", f.rows.get((large, "ort-fp32", "deit_t")))):
        yield ("  its activation memory beside %s" % whose, "< 0.1",
               row and mine_at_1024 and mine_at_1024["bytes"] / row["bytes"], None)
    yield ("  time per token beside 224", "<= 1.15", mine and mine_at_1024 and mine_at_1024["ms"] / 4096 / (mine / 196), None)
    yield ("preprocessing %s NV12 to 224, share of ViG-T bf16" % FRAME, "< 0.15", preprocess and mine and preprocess / mine, None)
    vig, onnx, alone = (rates.get(k) for k in ("vigclassify, bf16", "onnxinference, fp32", "libvig bf16, the engine alone"))
    yield ("pipeline with vigclassify beside onnxinference", ">= 6", vig and onnx and vig / onnx, None)
    yield ("  beside the engine alone", ">= 0.95", vig and alone and vig / alone, None)


def summary(machine, points, rates, preprocess):
    print("\nAsked for (two cores with AVX-512 and AMX), and measured on %s" % machine)
    print("  %-90s %8s %9s  %s" % ("", "asked", "measured", "with all products at the measured peak, and nothing else"))
    result = []
    for what, asked, value, ceiling in numbers(Figures(points), rates, preprocess):
        if value is None:
            print("  %-90s %8s %9s" % (what, asked, "-"))
            continue
        print("  %-90s %8s %9.3g%s %s" % (what, asked, value, " " if met(asked, value) else "*",
                                         "" if ceiling is None else "%.3g" % ceiling))
        result.append(dict(what=what.strip(), asked=asked, measured=value, ceiling=ceiling, met=met(asked, value)))
    print("  *: not reached here; -: not measured in this run")
    return result


def parse():
    ap = parser(__doc__, 9, 0.5)
    ap.add_argument("--points", default=POINTS, metavar="MODEL:SIZE:BATCH,…")
    ap.add_argument("--peers", default="torch,ort,openvino", help="beginnings of names: torch,ort,openvino")
    ap.add_argument("--point-seconds", type=float, default=40,
                    help="no new round of a point after that (40; the first point: twice that)")
    ap.add_argument("--no-pipeline", action="store_true")
    args = ap.parse_args()
    if args.quick:
        args.points, args.rounds, args.seconds = FIRST, MIN_ROUNDS, 0.3
    args.threads = args.threads or len(os.sched_getaffinity(0))
    return args


def main():
    args = parse()
    machine = begin(args)
    print("Medians of windows in turns; spread: between their quartiles; x libvig: times libvig in bf16; of peak: of that\n"
          "precision's product of 2048 in oneDNN; memory: what a forward adds to the process")
    points, rates, preprocess = [], {}, None
    with tempfile.TemporaryDirectory() as folder:
        for words in args.points.split(","):
            model, size, batch = words.split(":")
            points.append(point(model, int(size), int(batch), args, folder))
        if not args.no_pipeline:
            rates, preprocess = pipelines(args, folder)
    asked = summary(machine, points, rates, preprocess)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(dict(machine=machine, points=points, pipelines=rates, preprocess_ms=preprocess, asked=asked), f, indent=1)


if __name__ == "__main__":
    main()
