# SPDX-License-Identifier: LGPL-2.1-or-later
"""Contenders measured in turns, what tests/bench/cpu and tests/bench/gla share.

A contender has .pids, .round(seconds) -> milliseconds, .end(). A window is one contender's round. It is thrown away and
measured again when, meanwhile, other processes (or the host: steal) took more than --quiet cores.
"""
import argparse
import atexit
import json
import os
import signal
import statistics
import subprocess
import sys
import time

TOOLS = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(os.path.dirname(TOOLS), "build")
TRIES = 4       # windows for each one wanted
MIN_ROUNDS = 3  # of a point, also past its time
TICKS = os.sysconf("SC_CLK_TCK")


# ---- the machine -----------------------------------------------------------------------------------------------------

def machine_name(threads):
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        info = dict(map(str.strip, line.split(":", 1)) for line in f if ":" in line)
    has = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in info.get("flags", "").split()]
    return "%s, %d threads (%s)" % (info.get("model name", "a machine without a name"), threads, " ".join(has))


def machine_seconds():
    """CPU time that all processes have spent, and that the host has taken away."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _, _, irq, softirq, steal, *_ = (int(x) for x in f.readline().split()[1:])
    return (user + nice + system + irq + softirq + steal) / TICKS


def own_seconds(pids):
    """CPU time of this process, what it has waited for, and the living processes `pids`."""
    t = os.times()
    total = t.user + t.system + t.children_user + t.children_system
    for pid in pids:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
            total += sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:15]) / TICKS
    return total


def watched(run, pids):
    """(result of run(), cores that others used meanwhile)."""
    busy, own, start = machine_seconds(), own_seconds(pids), time.monotonic()
    result = run()
    wall = time.monotonic() - start
    return result, ((machine_seconds() - busy) - (own_seconds(pids) - own)) / wall


# ---- contenders ------------------------------------------------------------------------------------------------------

class Missing(Exception):
    pass


class Worker:
    """A process that says what it is and then answers rounds, a line of JSON each way (bench_worker.py); stopped while it is
    not its turn."""

    def __init__(self, command, env=None):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        text=True, env=env)
        atexit.register(self.process.kill)  # a stopped one would stay
        self.pids = [self.process.pid]
        self.ready = self.answer()
        self.process.send_signal(signal.SIGSTOP)

    def answer(self):
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"missing": "it ended without a word"}
        if "missing" in answer:
            self.end()
            raise Missing(answer["missing"])
        return answer

    def ask(self, **words):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def round(self, seconds):
        return statistics.median(self.ask(seconds=seconds)["ms"])

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


def run_json(command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise Missing(done.stderr.strip())
    return json.loads(done.stdout)


PEAK = [(1, 2048, 2048, 2048)]  # the products that the machine's peak is measured with


def flops(shapes):
    return sum(2 * count * rows * n * k for count, rows, n, k in shapes)


class Products:
    """oneDNN alone, bench-products. shapes: [(count, rows, n, k)]"""
    model, pids, bytes = "", [], None

    def __init__(self, key, label, precision, shapes, threads, env=None):
        self.key, self.label, self.precision = key, label, precision
        self.shapes = ["%dx%dx%dx%d" % shape for shape in shapes]
        self.env = {**(env or os.environ), "OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "true"}

    def round(self, seconds):
        return run_json([BUILD + "/tests/bench/bench-products", self.precision, str(seconds), *self.shapes], self.env)["ms"]

    def end(self):
        pass


def rounds(contenders, time_left, args):
    """{contender: [ms of each quiet window]}, and how many windows were thrown away. Whoever began ends next. A contender
    that is `slow` has the first round alone."""
    times, thrown, everyone = {c: [] for c in contenders}, 0, {pid for c in contenders for pid in c.pids}
    end = time.monotonic() + time_left
    for r in range(args.rounds):
        if r >= MIN_ROUNDS and time.monotonic() > end:
            break
        for c in contenders if r % 2 == 0 else contenders[::-1]:
            for _ in range(TRIES if not r or not getattr(c, "slow", False) else 0):
                ms, others = watched(lambda: c.round(args.seconds), everyone)
                if others <= args.quiet:
                    times[c].append(ms)
                    break
                thrown += 1
    return times, thrown


# ---- the command -----------------------------------------------------------------------------------------------------

def parser(description, rounds_wanted, seconds):
    ap = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=rounds_wanted, help="of each point at most (%d)" % rounds_wanted)
    ap.add_argument("--seconds", type=float, default=seconds, help="of a window (%g)" % seconds)
    ap.add_argument("--threads", type=int, default=0, help="of everybody (one a core)")
    ap.add_argument("--quiet", type=float, default=0.1, metavar="CORES")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--json", metavar="FILE")
    return ap


def begin(args):
    """Prints the machine, and gives its name."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # through atexit
    machine = machine_name(args.threads)
    print("%s, load %.2f, %s" % (machine, os.getloadavg()[0], time.strftime("%F", time.gmtime())))
    return machine


# ---- what was asked for ----------------------------------------------------------------------------------------------

def met(asked, value):
    sign, limit = asked.split()
    return {">=": value >= float(limit), "<=": value <= float(limit), "<": value < float(limit)}[sign]
