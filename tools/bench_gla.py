#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The work of tests/bench/gla, which see: contenders in processes of their own, measured in turn, one at a time.

Ours is tests/bench/bench-gla, one process for each way of running; each family of peers is one tools/bench_gla_peer.py for all
points. All tensors are [batch, heads, tokens, channels], dense, but for flash-linear-attention's, which it wants with the
tokens first.
"""
import argparse
import json
import os
import sys
import time

import numpy as np

from bench_turns import BUILD, PEAK, TOOLS, Missing, Products, Worker, begin, flops, met, parser, rounds

BENCH = BUILD + "/tests/bench/bench-gla"
LIMITS = {"fp32": 1e-5, "bf16": 1e-2}  # ours, of the largest output
DIRECTIONS = {"forward": "causal attention", "both": "full attention"}
FAMILIES = {"torch": "PyTorch", "fla": "flash-linear-attention", "original": "the original Triton kernels"}
ASKED, ASKED_TIMES = "64/64", 5  # the dk/dv that numbers were asked for: a peer may take longer there
FLAT, FLAT_ROUNDS, FLAT_SECONDS = 1024, 25, 30  # tokens from which on one should cost the same: a few percent, below the noise
SEQUENCES = 64    # of a decode step
LARGE = 1 << 29   # bytes of the stream that memory is measured with


# ---- contenders: .key, .label, .direction, .precision, .bytes, .slow; .pids, .round(seconds) -> ms, .end() ----------------

class Ours(Worker):
    """vig/gla.h; more: words for bench-gla. form: unless it is auto."""
    slow = False

    def __init__(self, args, key, direction, precision, shape, *more, form="auto", heads_first=True):
        super().__init__([BENCH, "--device", args.device, "--threads", str(args.threads), "--form", form, "--precision",
                          precision, "--directions", direction, *(["--heads-first"] if heads_first else []), *more,
                          *(word for name, n in shape.items() for word in ("--" + name, str(n)))])
        if not self.ready["error"] < LIMITS[precision]:
            self.end()
            raise Missing("%.1e of the largest output off" % self.ready["error"])
        self.key, self.direction, self.precision = key, direction, precision
        self.label = "%s, %s" % (self.ready["ready"], self.ready["form"])
        self.bytes, self.moved, self.error = self.ready["workspace"], self.ready["moved"], self.ready["error"]


class Stream(Worker):
    """Memory, read and written once."""
    key = label = "memory"
    direction = precision = ""
    bytes, slow = None, False

    def __init__(self, args, size):
        super().__init__([BENCH, "--threads", str(args.threads), "--stream", str(size)])
        self.moved = self.ready["moved"]


class Way:
    """One way of a peer, whose process serves all its ways."""

    def __init__(self, worker, family, way, found):
        self.worker, self.way, self.pids, self.key = worker, way, worker.pids, family + "-" + way
        self.direction, _, self.precision = way.partition("-")
        self.label = "%s (%s)" % (worker.ready["ready"], found["label"])
        self.bytes, self.slow = found.get("bytes"), found.get("ms", 0) > 1e3

    def round(self, seconds):
        return float(np.median(self.worker.ask(seconds=seconds, way=self.way)["ms"]))

    def end(self):
        pass  # the process is for all points


def peers_of(args):
    """{family: process}; who is not there is named."""
    result = {}
    for family, name in FAMILIES.items():
        try:
            result[family] = Worker([sys.executable, TOOLS + "/bench_gla_peer.py", family, args.device, str(args.threads)])
        except Missing as e:
            print("missing: %s: %s" % (name, e), flush=True)
    return result


def started(make, *words, **more):
    """[a contender], or [] with the reason printed."""
    try:
        return [make(*words, **more)]
    except Missing as e:
        print("  missing: libvig %s: %s" % (" ".join(str(w) for w in words[1:]), e), flush=True)
        return []


def ways_of(args, peers, shape):
    longest = args.longest * (ASKED_TIMES if "%(dk)d/%(dv)d" % shape == ASKED else 1)
    result = []
    for family, worker in peers.items():
        for way, found in worker.ask(shape=shape, longest=longest)["ways"].items():
            if "missing" in found:
                print("  missing: %s %s: %s" % (worker.ready["ready"], way, found["missing"]), flush=True)
            else:
                result.append(Way(worker, family, way, found))
    return result


def shape_of(args, tokens, dk, dv, **more):
    return {**dict(batch=args.batch, heads=args.heads, tokens=tokens, dk=dk, dv=dv), **more}


def measured(contenders, args):
    """{contender: (ms, low, high)} of those that had a quiet window."""
    try:
        times, thrown = rounds(contenders, args.point_seconds, args)
    finally:
        for c in contenders:
            c.end()
    for c, windows in times.items():
        if not windows:
            print("  never quiet: %s %s %s" % (c.label, c.direction, c.precision))
    if thrown:
        print("  %d windows were thrown away because of other processes" % thrown)
    return {c: tuple(float(x) for x in np.percentile(windows, [50, 25, 75])) for c, windows in times.items() if windows}


# ---- the machine -----------------------------------------------------------------------------------------------------

def machine_limits(args, peers):
    """({precision: GFLOP/s}, GB/s)"""
    if args.device != "cpu":
        ways = peers["torch"].ask(shape=None)["ways"] if "torch" in peers else {}
        contenders = [Way(peers["torch"], "torch", name, found) for name, found in ways.items()]
        amounts = {c: int(ways[c.way]["label"]) for c in contenders}
    else:
        contenders = [Products("peak-" + p, "oneDNN", p, PEAK, args.threads) for p in ("bf16", "fp32")]
        for c in contenders:
            c.direction = ""
        amounts = {c: flops(PEAK) for c in contenders}
        stream = Stream(args, LARGE)
        contenders.append(stream)
        amounts[stream] = stream.moved
    rates = {c.key.split("-", 1)[-1]: 1e-6 * amounts[c] / ms for c, (ms, _, _) in measured(contenders, args).items()}
    peaks, memory = {p: rates[k] for p in ("bf16", "fp32") for k in rates if k.endswith(p)}, rates.get("memory")
    print("This machine: products of %s; memory read and written at %s" % (
        ", ".join("%s %.0f GFLOP/s" % peak for peak in peaks.items()), "%.1f GB/s" % memory if memory else "an unknown rate"))
    return peaks, memory


# ---- a point ---------------------------------------------------------------------------------------------------------

def arithmetic(key, direction, shape):
    """Floating-point operations that cannot be avoided: gated linear attention writes a product k v^T to the state and reads it
    once a token and direction; attention compares every pair of tokens that it may, and adds up as many values."""
    heads = shape["batch"] * shape["heads"] * shape["tokens"]
    if key.startswith("torch"):
        return 2 * heads * (shape["dk"] + shape["dv"]) * (shape["tokens"] + 1) / (2 if direction == "forward" else 1)
    return 4 * heads * shape["dk"] * shape["dv"] * (2 if direction == "both" else 1)


def rows_of(times, shape, limits):
    peaks, memory = limits
    ours = {(c.direction, c.precision): ms for c, (ms, _, _) in times.items() if c.key == "libvig"}
    moved = {(c.direction, c.precision): c.moved for c in times if c.key == "libvig"}  # by everybody; attention has no gates
    result = []
    for c, (ms, low, high) in times.items():
        way = c.direction, c.precision
        rate = 1e-6 * arithmetic(c.key, c.direction, shape) / ms
        gates = 4 * shape["batch"] * shape["heads"] * shape["tokens"] * shape["dk"] * (2 if c.direction == "both" else 1)
        amount = getattr(c, "moved", moved.get(way, 0)) - (gates if c.key.startswith("torch") else 0)
        result.append(dict(
            key=c.key, who=c.label, direction=c.direction, precision=c.precision, ms=ms, low=low, high=high, bytes=c.bytes,
            ns_per_token=1e6 * ms / (shape["batch"] * shape["tokens"]), ratio=ms / ours[way] if way in ours else None,
            bandwidth_share=1e-6 * amount / ms / memory if memory and amount > 0 else None,
            peak_share=rate / peaks[c.precision] if c.precision in peaks else None, off=getattr(c, "error", None)))
    return sorted(result, key=lambda row: (row["precision"], row["direction"] == "both"))  # stable: ours first


def share(value):
    return "" if value is None else "%.1f%%" % (100 * value)


def print_rows(rows):
    print("  %-40s %-8s %-5s %10s %7s %9s %10s %9s %8s %9s" % (
        "", "", "", "ms", "spread", "x libvig", "ns/token", "of memory", "of peak", "memory"))
    for r in rows:
        print("  %-40s %-8s %-5s %10.3f %6.1f%% %9s %10.0f %9s %8s %9s" % (
            r["who"], r["direction"], r["precision"], r["ms"], 100 * (r["high"] - r["low"]) / r["ms"],
            "" if r["ratio"] is None else "%.2f" % r["ratio"], r["ns_per_token"], share(r["bandwidth_share"]),
            share(r["peak_share"]), "" if r["bytes"] is None else "%.1f MB" % (1e-6 * r["bytes"])), flush=True)


def point(args, peers, limits, dk, dv, tokens):
    shape = shape_of(args, tokens, dk, dv)
    print("\ndk %d, dv %d, %d tokens, %d x %d heads" % (dk, dv, tokens, args.batch, args.heads), flush=True)
    ours = [c for precision in ("bf16", "fp32") for direction in DIRECTIONS
            for c in started(Ours, args, "libvig", direction, precision, shape)]
    rows = rows_of(measured(ours + ways_of(args, peers, shape), args), shape, limits)
    print_rows(rows)
    return dict(shape, rows=rows)


# ---- more about ours -------------------------------------------------------------------------------------------------

def forms(args, limits):
    """Forms, and layouts, beside each other: 8 heads as above, and one head alone."""
    result = []
    for heads, tokens in ((args.heads, args.lengths[-1] // 4), (1, args.lengths[-1])):
        shape = shape_of(args, tokens, 64, 64, batch=1, heads=heads)
        print("\nForms: dk 64, dv 64, %d tokens, %d heads, forward, bf16" % (tokens, heads), flush=True)
        contenders = [c for form in ("auto", "tokens", "chunks", "split")
                      for c in started(Ours, args, form, "forward", "bf16", shape, form=form)]
        contenders += started(Ours, args, "tokens first", "forward", "bf16", shape, heads_first=False)
        rows = rows_of(measured(contenders, args), shape, limits)
        for row in rows:
            print("  %-14s %-34s %10.3f ms  %8s of memory" % (row["key"], row["who"], row["ms"], share(row["bandwidth_share"])))
        result.append(dict(shape, rows=rows))
    return result


def flat(args):
    """Lengths beside each other, in turns, for points that lie minutes apart find the machine in different moods:
    {direction: a token's most beside that of FLAT tokens}"""
    lengths = [n for n in args.lengths if n >= FLAT]
    if args.device != "cpu" or len(lengths) < 2 or lengths[0] != FLAT:
        return {}
    print("\nTime a token: dk/dv %s, %d heads, bf16, ns (beside %d tokens)" % (ASKED, args.heads, FLAT), flush=True)
    result = {}
    for direction in DIRECTIONS:
        contenders = {n: c for n in lengths for c in started(
            Ours, args, str(n), direction, "bf16", shape_of(args, n, *(int(x) for x in ASKED.split("/"))))}
        times = measured(list(contenders.values()), argparse.Namespace(
            **{**vars(args), "rounds": FLAT_ROUNDS, "point_seconds": FLAT_SECONDS}))
        each = {n: 1e6 * times[c][0] / (n * args.batch) for n, c in contenders.items() if c in times}
        if FLAT in each and len(each) > 1:
            result[direction] = max(ns for n, ns in each.items() if n != FLAT) / each[FLAT]
            print("  %-8s %s" % (direction, ", ".join("%d: %.0f (%.2f)" % (n, ns, ns / each[FLAT]) for n, ns in each.items())), flush=True)
    return result


def decode(args):
    """A step of many sequences beside reading and writing their states: {"dk/dv": ratio}"""
    print("\nOne decode step of %d sequences of %d heads, bf16, beside reading and writing their states once" % (
        SEQUENCES, args.heads), flush=True)
    result = {}
    for dk, dv in args.shapes:
        shape = shape_of(args, 1, dk, dv, batch=SEQUENCES)
        step = started(Ours, args, "libvig", "forward", "bf16", shape, "--states")
        if not step or args.device != "cpu":
            continue
        floor = Stream(args, 4 * SEQUENCES * args.heads * dk * dv)
        times = measured([step[0], floor], args)
        if len(times) == 2:
            result["%d/%d" % (dk, dv)] = ratio = times[step[0]][0] / times[floor][0]
            print("  %3d/%-3d  %s %.3f ms, states (%.1f MB) %.3f ms: %.2f" % (
                dk, dv, step[0].label, times[step[0]][0], 5e-7 * floor.moved, times[floor][0], ratio), flush=True)
    return result


# ---- all points together ---------------------------------------------------------------------------------------------

class Figures:
    def __init__(self, points):
        self.points = {("%d/%d" % (p["dk"], p["dv"]), p["tokens"]): p["rows"] for p in points}

    def row(self, shape, tokens, direction, precision, key="libvig"):
        return next((r for r in self.points.get((shape, tokens), []) if r["direction"] == direction
                     and r["precision"] == precision and r["key"].startswith(key)), None)

    def get(self, *where, what="ms"):
        row = self.row(*where)
        return row[what] if row else None

    def ratio(self, shape, tokens, direction, precision, key):
        row = self.row(shape, tokens, direction, precision, key)
        return row["ratio"] if row else None


def table(points):
    """Markdown."""
    f = Figures(points)
    print("\n| dk/dv | tokens | forward, bf16 | ns a token | of memory | of peak | PyTorch causal, bf16 / fp32 | both, bf16 "
          "| PyTorch full, bf16 / fp32 | forward, fp32 | both, fp32 |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")

    def ms(where, *way):
        value = f.get(*where, *way)
        return "–" if value is None else "%.3g ms" % value

    def times(where, direction):  # theirs, as a multiple of ours of bf16
        theirs, mine = (f.get(*where, direction, p, "torch") for p in ("bf16", "fp32")), f.get(*where, direction, "bf16")
        return " / ".join("–" if ms is None else "%.3gx" % (ms / mine) for ms in theirs)

    for where in f.points:
        forward = f.row(*where, "forward", "bf16")
        if not forward or not f.row(*where, "both", "bf16"):
            continue
        print("| %s | %d | %s | %.0f | %s | %s | %s | %s | %s | %s | %s |" % (
            *where, ms(where, "forward", "bf16"), forward["ns_per_token"], share(forward["bandwidth_share"]),
            share(forward["peak_share"]), times(where, "forward"), ms(where, "both", "bf16"), times(where, "both"),
            ms(where, "forward", "fp32"), ms(where, "both", "fp32")))


def numbers(f, flatness, decoded, device):
    """(what, asked for, measured or None)"""
    shape = ASKED

    def sdpa(tokens, asked, precision="bf16"):
        for direction, name in DIRECTIONS.items():
            mine, theirs = f.get(shape, tokens, direction, "bf16"), f.get(shape, tokens, direction, precision, "torch")
            yield ("%s, %d tokens, bf16, beside PyTorch's %s in %s" % (direction, tokens, name, precision), ">= %g" % asked,
                   mine and theirs and theirs / mine)

    def halves(tokens):
        one, two = (f.get(shape, tokens, d, "bf16") for d in DIRECTIONS)
        return ("both directions in one call beside one, %d tokens, bf16 (asked of a GPU)" % tokens, "<= 1.3",
                one and two and two / one)

    if device != "cpu":
        for tokens in (1024, 4096, 16384):
            yield from sdpa(tokens, 1)
        for tokens in (512, 1024, 4096):
            yield ("forward, %d tokens, beside flash-linear-attention" % tokens, ">= 1.5",
                   f.ratio(shape, tokens, "forward", "bf16", "fla"))
        yield halves(4096)
        reached = f.get(shape, 4096, "forward", "bf16", what="bandwidth_share")
        yield ("forward, 4096 tokens, beside the memory's floor", "<= 2", reached and 1 / reached)
    else:
        for precision in ("bf16", "fp32"):
            yield from sdpa(1024, 4, precision)
            yield from sdpa(16384, 30, precision)
        for direction in DIRECTIONS:
            yield ("%s, time a token of more than %d: most beside that of %d" % (direction, FLAT, FLAT), "<= 1.1", flatness.get(direction))
        yield halves(1024)
        yield halves(16384)
    yield ("decode step of %d sequences, 64/64, beside its states" % SEQUENCES, "<= 1.5", decoded.get(shape))


def summary(machine, points, flatness, decoded, device):
    print("\nAsked for (dk 64, dv 64), and measured on %s" % machine)
    result = []
    for what, asked, value in numbers(Figures(points), flatness, decoded, device):
        print("  %-80s %8s %9s" % (what, asked, "-" if value is None else "%.3g%s" % (value, "" if met(asked, value) else "*")))
        if value is not None:
            result.append(dict(what=what, asked=asked, measured=value, met=met(asked, value)))
    print("  *: not reached here; -: not measured in this run. Beside fp32 nothing was asked: in bf16 PyTorch may be the slower.")
    return result


COLOURS = {"forward": "#1b6ca8", "both": "#c0392b"}


def plot(path, machine, points, args):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    shapes, f = ["%d/%d" % s for s in args.shapes], Figures(points)
    figure, grid = pyplot.subplots(-(-len(shapes) // 2), min(2, len(shapes)), figsize=(11, 4.2 * -(-len(shapes) // 2) + 0.6),
                                   squeeze=False, sharex=True)
    for shape, axes in zip(shapes, grid.flat):
        for key, mark, width in (("libvig", "o", 2), ("torch", "s", 1), ("fla", "^", 1), ("original", "v", 1)):
            for precision, style in (("bf16", "-"), ("fp32", "--")):
                for direction, colour in COLOURS.items():
                    at = [(n, f.get(shape, n, direction, precision, key)) for n in args.lengths]
                    at = [(n, ms) for n, ms in at if ms]
                    name = direction if key != "torch" else DIRECTIONS[direction]
                    who = {"libvig": "libvig", "torch": "PyTorch"}.get(key, key)
                    if at:
                        axes.plot(*zip(*at), style, marker=mark, markersize=4, linewidth=width, color=colour,
                                  alpha=1 if key == "libvig" else 0.55, label="%s, %s, %s" % (who, name, precision))
        axes.set(xscale="log", yscale="log", title="dk %s, dv %s" % tuple(shape.split("/")), ylabel="ms")
        axes.set_xticks(args.lengths, [str(n) for n in args.lengths])
        axes.minorticks_off()
        axes.grid(True, color="#dddddd", linewidth=0.6)
    for axes in grid[-1]:
        axes.set_xlabel("tokens")
    lines = {}
    for axes in grid.flat:
        lines.update(reversed(pair) for pair in zip(*axes.get_legend_handles_labels()))
    figure.suptitle("Gated linear attention beside attention: %d x %d heads\n%s" % (args.batch, args.heads, machine), fontsize=10)
    figure.legend(lines.values(), lines.keys(), loc="lower center", ncol=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.035 * -(-len(lines) // 4) + 0.01, 1, 1))
    figure.savefig(path, dpi=110)


# ---- the command -----------------------------------------------------------------------------------------------------

def parse():
    ap = parser(__doc__, 5, 0.15)
    ap.add_argument("--shapes", default="32/64,64/64,128/128,128/256", metavar="DK/DV,…")
    ap.add_argument("--lengths", metavar="TOKENS,…", help="196,1024,4096,16384,65536; on a GPU 512 as well")
    ap.add_argument("--heads", type=int, default=0, help="8; on a GPU 64")
    ap.add_argument("--batch", type=int, default=1)
    ap.add_argument("--device", default="cpu", help="cpu or cuda")
    ap.add_argument("--longest", type=float, default=12, metavar="SECONDS",
                    help="of a peer's call: what takes longer is left out (12; dk/dv 64/64: five times that)")
    ap.add_argument("--point-seconds", type=float, default=8, help="no new round of a point after that (8)")
    ap.add_argument("--plot", metavar="FILE.png")
    args = ap.parse_args()
    if args.quick:
        args.shapes, args.lengths, args.rounds = "64/64", args.lengths or "196,1024,4096", 3
    gpu = args.device != "cpu"
    args.lengths = [int(n) for n in (args.lengths or ("196,512," if gpu else "196,") + "1024,4096,16384,65536").split(",")]
    args.shapes = [tuple(int(n) for n in shape.split("/")) for shape in args.shapes.split(",")]
    args.heads = args.heads or (64 if gpu else 8)
    args.threads = args.threads or len(os.sched_getaffinity(0))
    return args


def main():
    args = parse()
    machine, start = begin(args), time.monotonic()
    print("Medians of windows in turns; spread: between their quartiles; x libvig: times libvig in the same direction and\n"
          "precision; of memory: bytes moved once over what this machine moves; of peak: of that precision's large product;\n"
          "memory: beyond inputs and outputs. Everybody's results were checked first; who takes over a second ran once.")
    peers = peers_of(args)
    limits = machine_limits(args, peers)
    points = [point(args, peers, limits, dk, dv, tokens) for dk, dv in args.shapes for tokens in args.lengths]
    for worker in peers.values():
        worker.end()
    by_form, flatness, decoded = forms(args, limits), flat(args), decode(args)
    table(points)
    asked = summary(machine, points, flatness, decoded, args.device)
    print("  %.1f minutes" % ((time.monotonic() - start) / 60))
    if args.plot:
        plot(args.plot, machine, points, args)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(dict(machine=machine, peaks=limits[0], memory=limits[1], points=points, forms=by_form, flat=flatness,
                           decode=decoded, asked=asked), f, indent=1)


if __name__ == "__main__":
    main()
