#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The inner half of tests/run: configures, builds and runs the tests of each build, and counts their TAP points."""
import argparse
import collections
import fnmatch
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TAIL = 30  # lines of output shown of a failed test

Build = collections.namedtuple("Build", "folder options env left_out")
STRICT = ["-Dwarning_level=3", "-Dwerror=true"]
BUILDS = [
    # of the architectures that CUDA is compiled for, where nvcc is there, the oldest and one that has everything
    Build("build", ["-Dbuildtype=release", "-Dcuda-archs=75,90"] + STRICT, {}, []),
    # The suite "big" (the large models' goldens) would take an hour under the sanitizers.
    Build("build-asan", ["-Dbuildtype=debugoptimized", "-Db_sanitize=address,undefined", "-Dcuda=disabled"] + STRICT, {},
          ["big"]),
    Build("build-fuzz", ["-Dbuildtype=debugoptimized", "-Db_sanitize=address,undefined", "-Db_lundef=false",
                         "-Dcuda=disabled", "-Dtests=false", "-Dfuzz=true"] + STRICT, {"CC": "clang"}, []),
]
SANITIZER_ENV = {
    # Not detect_stack_use_after_return: gcc 14's fake stack loses the 64-byte alignment that AVX-512 code counts on.
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "LSAN_OPTIONS": "suppressions=%s/tests/lsan.supp:print_suppressions=0" % ROOT,
    "G_SLICE": "always-malloc",
}
# Folders of tests/ that must have run at least one point somewhere.
SUITES = ["kernels", "cuda", "engine", "golden", "elements", "pipelines", "fuzz"]


class Totals:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []  # (where, why, output)
        self.suites = collections.Counter()


def allowed_skips():
    rows = []
    with open(os.path.join(ROOT, "tests", "allowed-skips")) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                rows.append(tuple(part.strip() for part in line.split("|", 2)))
    return rows


POINT = re.compile(r"^(not )?ok\b(?:\s+\d+)?(?:\s+-)?\s*(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)(?:\s*#\s*skip\w*\s*(.*))?$", re.I)


def tap_points(text):
    """[(ok, name, skip reason or None)] of a TAP text, and the number its plan promises (None: it has no plan).

    "1..0 # SKIP why" is one skipped point; "# TODO why" counts as a skip."""
    points, planned = [], None
    for line in text.splitlines():
        plan, point = PLAN.match(line), POINT.match(line)
        if plan and int(plan.group(1)) == 0 and plan.group(2) is not None:
            return [(True, "all", plan.group(2))], 1
        if plan:
            planned = int(plan.group(1))
        elif point:
            name, _, directive = point.group(2).partition(" #")
            skip = re.match(r"\s*(?:skip|todo)\w*\s*(.*)", directive, re.I)
            points.append((not point.group(1), name.strip(), skip.group(1).strip() if skip else None))
    return points, planned


def suites_of(test):
    return [s.split(":")[-1] for s in test["suite"]]


def log_names(test):
    """The two ways in which meson's log may name a test: in full, or without suites where there is but one."""
    return ["%s:%s / %s" % (test["suite"][0].split(":")[0], "+".join(suites_of(test)), test["name"]), test["name"]]


def count(build, suite, test, totals, allowed):
    """Adds one test of meson's log to the totals."""
    full = suite + "/" + test["name"].rpartition(" / ")[2]
    where = "%s: %s" % (build.folder, full)
    output = test.get("stdout") or ""
    errors = test.get("stderr") or ""
    points, plan = tap_points(output)

    for ok, point, skip in points:
        if not ok:
            totals.failed += 1
        elif skip is None:
            totals.passed += 1
        elif any(fnmatch.fnmatch(full, t) and fnmatch.fnmatch(point, p) and fnmatch.fnmatch(skip, r) for t, p, r in allowed):
            totals.skipped += 1
        else:
            totals.failed += 1
            totals.failures.append((where, "%s: skipped, which tests/allowed-skips does not list: %s" % (point, skip), ""))
    totals.suites[suite] += len(points)

    bad = [p for ok, p, _ in points if not ok]
    if bad:
        why = "failed: " + ", ".join(bad)
    elif not points:
        why = "ran no test (%s)" % test["result"].lower()
    elif plan is not None and plan != len(points) and test["result"] in ("OK", "SKIP"):
        why = "ran %d points of the %d it planned" % (len(points), plan)
    elif test["result"] not in ("OK", "SKIP"):
        why = "%s after %d points, exit status %s" % (test["result"].lower(), len(points), test.get("returncode"))
    else:
        return
    if not bad:
        totals.failed += 1
    totals.failures.append((where, why, "\n".join((output + "\n" + errors).strip().splitlines()[-TAIL:])))


def call(command, env, quiet=False):
    """Runs a command; a quiet one shows its output only when it fails."""
    print("+ " + " ".join(command), flush=True)
    output = subprocess.PIPE if quiet else None
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT, text=True)
    if done.returncode and quiet:
        print(done.stdout)
    return done.returncode == 0


def configure(build, env):
    setup = ["meson", "setup", build.folder] + build.options
    if not os.path.exists(os.path.join(ROOT, build.folder, "build.ninja")):
        return call(setup, env, True)
    # a folder configured by hand, or by another compiler, may not take the options: begin again
    return call(setup + ["--reconfigure"], env, True) or call(setup + ["--wipe"], env, True)


def run(build, suites, totals, allowed):
    env = dict(os.environ, **build.env)
    if not configure(build, env) or not call(["ninja", "-C", build.folder], env):
        totals.failed += 1
        totals.failures.append((build.folder, "does not build (see above)", ""))
        return
    tests = json.loads(subprocess.check_output(["meson", "introspect", "--tests", build.folder], cwd=ROOT, env=env))
    tests = [t for t in tests if not suites or set(suites_of(t)) & set(suites)]
    left_out = [t["name"] for t in tests if set(suites_of(t)) & set(build.left_out)]
    if left_out:
        print("%s: left out because they take too long there: %s" % (build.folder, ", ".join(left_out)))
    if len(left_out) == len(tests):
        return
    log = os.path.join(ROOT, build.folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    command = ["meson", "test", "-C", build.folder, "--no-rebuild"]
    # meson's limits are those of an idle machine; a shared one may be several times slower
    command += ["--timeout-multiplier=%d" % (12 if "asan" in build.folder else 4)]
    command += ["--no-suite=" + s for s in build.left_out] + ["--suite=" + s for s in suites]
    if "asan" in build.folder:
        env.update(SANITIZER_ENV)
    call(command, env)
    seen = 0
    suite = {log_name: suites_of(t)[0] for t in tests for log_name in log_names(t)}
    if os.path.exists(log):
        with open(log) as f:
            for line in f:
                test = json.loads(line)
                count(build, suite[test["name"]], test, totals, allowed)
                seen += 1
    if seen != len(tests) - len(left_out):
        totals.failed += 1
        totals.failures.append((build.folder, "meson ran %d of %d tests" % (seen, len(tests) - len(left_out)), ""))


def main():
    parser = argparse.ArgumentParser(prog="tests/run")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--suite", action="append", default=[], choices=SUITES)
    args = parser.parse_args()
    start = time.monotonic()
    totals, allowed = Totals(), allowed_skips()
    for build in BUILDS[:1] if args.quick else BUILDS:
        run(build, args.suite, totals, allowed)
    for suite in args.suite or SUITES:
        if not totals.suites[suite] and not (args.quick and suite == "fuzz"):
            totals.failed += 1
            totals.failures.append(("tests/" + suite, "no test ran", ""))

    for where, why, output in totals.failures:
        print("\nFAILED %s: %s" % (where, why))
        for line in output.splitlines():
            print("    " + line)
    print("\n%d s" % (time.monotonic() - start))
    print("%d passed, %d failed, %d skipped" % (totals.passed, totals.failed, totals.skipped))
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
