#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""vig-bench beside PyTorch: the work of tests/bench/vs-pytorch, which see."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

# What PyTorch is fastest with here: its threads stay where they are. OpenMP then binds this thread too, so what is
# started from it is given all processors back.
PROCESSORS = os.sched_getaffinity(0)
os.environ.setdefault("OMP_PROC_BIND", "true")
import numpy as np  # noqa: E402
import torch  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tools", "train"))
sys.path.insert(0, os.path.join(TOP, "tools"))
import vig_torch  # noqa: E402
import vig_weights  # noqa: E402

BUILD = os.path.join(TOP, "build", "engine")
ROUND_SECONDS = 1.5  # of measuring, each side, each round


def busy_seconds():
    """CPU time that the whole machine has spent so far."""
    user, nice, system, _, _, irq, softirq, *_ = (int(x) for x in open("/proc/stat").readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def our_seconds():
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def load_of_others(run):
    """(result of run(), cores that other processes used meanwhile)."""
    busy, ours, start = busy_seconds(), our_seconds(), time.monotonic()
    result = run()
    wall = time.monotonic() - start
    return result, max(0.0, (busy_seconds() - busy) - (our_seconds() - ours)) / wall


def on_all_processors():
    os.sched_setaffinity(0, PROCESSORS)


def ours_ms(args, path, precision, batch):
    out = subprocess.run([BUILD + "/vig-bench", "--model", path, "--device", "cpu", "--precision", precision,
                          "--batch", str(batch), "--size", str(args.size), "--threads", str(args.threads),
                          "--seconds", str(ROUND_SECONDS), "--json"], check=True, capture_output=True, text=True,
                         preexec_fn=on_all_processors)
    return json.loads(out.stdout)["median_ms"]


def torch_forward(model, x, precision):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return model(x)


def torch_ms(model, x, precision):
    for _ in range(2):
        torch_forward(model, x, precision)
    times, end = [], time.monotonic() + ROUND_SECONDS
    while time.monotonic() < end or len(times) < 5:
        start = time.perf_counter()
        torch_forward(model, x, precision)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def check(model, path, x, precision):
    """Both sides must compute the same thing before either is timed."""
    with tempfile.TemporaryDirectory() as tmp:
        np.save(tmp + "/in.npy", x.numpy())
        subprocess.run([BUILD + "/vig-infer", "--model", path, "--precision", precision, "--input", tmp + "/in.npy",
                        "--output", tmp + "/out.npy"], check=True, stdout=subprocess.DEVNULL)
        got = np.load(tmp + "/out.npy")
    want = torch_forward(model, x, precision).float().numpy()
    error = abs(got - want).max() / abs(want).max()
    limit = 1e-4 if precision == "fp32" else 6e-2
    if not error < limit:
        sys.exit(f"{precision}: logits differ by {error:.1e} of the largest (limit {limit:g}): nothing timed")
    return error


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", default="vig_t", choices=["vig_t", "vig_s", "vig_b"])
    ap.add_argument("--size", type=int, default=224)
    ap.add_argument("--batch", default="1,8")
    ap.add_argument("--rounds", type=int, default=9)
    ap.add_argument("--threads", type=int, default=0)
    ap.add_argument("--precision", default="fp32,bf16")
    ap.add_argument("--quiet", type=float, default=0.1, metavar="CORES",
                    help="a round in which other processes used more cores than that is thrown away (default 0.1)")
    ap.add_argument("--json", metavar="FILE")
    args = ap.parse_args()
    args.threads = args.threads or len(PROCESSORS)
    torch.set_num_threads(args.threads)

    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    print(f"{cpu}, {args.threads} threads; PyTorch {torch.__version__}; {args.model} {args.size}x{args.size}")
    print(f"{'':12}{'libvig ms':>18}{'PyTorch ms':>18}{'libvig/s':>10}{'PyTorch/s':>10}{'ratio':>7}   per image: median [min..max]")
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        path = tmp + "/model.safetensors"
        cfg = vig_weights.CONFIGS[args.model]
        vig_weights.checkpoint.write_model(path, vig_weights.tensors(cfg, 1), cfg)
        model, _ = vig_torch.load(path)
        for precision in args.precision.split(","):
            for batch in (int(b) for b in args.batch.split(",")):
                torch.manual_seed(0)
                x = torch.randn(batch, 3, args.size, args.size)
                error = check(model, path, x, precision)
                a, b, thrown = [], [], 0
                while len(a) < args.rounds and thrown < 3 * args.rounds:
                    (ours, theirs), others = load_of_others(
                        lambda: (ours_ms(args, path, precision, batch), torch_ms(model, x, precision)))
                    if others > args.quiet:
                        thrown += 1
                        continue
                    a.append(ours / batch)
                    b.append(theirs / batch)
                if not a:
                    sys.exit(f"never quiet: other processes used more than {args.quiet} cores in each of {thrown} rounds")
                ours, theirs = statistics.median(a), statistics.median(b)
                spread = lambda m, t: f"{m:.2f} [{min(t):.2f}..{max(t):.2f}]"
                print(f"{precision} batch {batch:<3}{spread(ours, a):>19}{spread(theirs, b):>18}{1e3 / ours:>9.1f}"
                      f"{1e3 / theirs:>10.1f}{theirs / ours:>7.2f}   {len(a)} rounds, {thrown} thrown away", flush=True)
                rows.append(dict(precision=precision, batch=batch, vig_ms=ours, torch_ms=theirs, ratio=theirs / ours,
                                 rounds=len(a), thrown_away=thrown, logits_error=float(error)))
    if args.json:
        with open(args.json, "w") as f:
            json.dump(dict(cpu=cpu, threads=args.threads, torch=torch.__version__, model=args.model, size=args.size,
                           results=rows), f, indent=1)


if __name__ == "__main__":
    main()
