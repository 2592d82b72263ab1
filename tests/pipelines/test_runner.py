#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tests/run must not count as passed what did not run."""
import os
import sys

import tap

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import runner

ALLOWED = [("kernels/variants", "/gla/*", "this machine has no *")]


def totals_of(stdout, result="OK", returncode=0, name="gst-vig:kernels+big / variants"):
    totals = runner.Totals()
    test = {"name": name, "stdout": stdout, "result": result, "returncode": returncode}
    runner.count(runner.BUILDS[0], "kernels", test, totals, ALLOWED)
    assert totals.failed == 0 or totals.failures
    return totals.passed, totals.failed, totals.skipped


def test_points_are_counted():
    assert totals_of("TAP version 14\n# x\nok 1 /a\nok 2 /b\n1..2\n") == (2, 0, 0)
    assert totals_of("1..2\nok 1 - a #1\nok 2 - b\n") == (2, 0, 0)


def test_failed_point():
    assert totals_of("ok 1 /a\nnot ok 2 /b\n1..2\n", "FAIL", 1) == (1, 1, 0)
    assert totals_of("not ok /b - ERROR:x.c:3:f\nBail out!\n", "ERROR", -6) == (0, 1, 0)


def test_crash_and_timeout():
    assert totals_of("ok 1 /a\n", "ERROR", -11) == (1, 1, 0)
    assert totals_of("ok 1 /a\n1..1\n", "ERROR", -11) == (1, 1, 0)
    assert totals_of("", "TIMEOUT", -15) == (0, 1, 0)


def test_nothing_ran():
    assert totals_of("", "OK") == (0, 1, 0)
    assert totals_of("1..0\n", "SKIP") == (0, 1, 0)


def test_fewer_points_than_planned():
    assert totals_of("1..3\nok 1 a\n") == (1, 1, 0)


def test_skips_need_their_line():
    assert totals_of("ok 1 /gla/amx # SKIP this machine has no amx\n1..1\n") == (0, 0, 1)
    assert totals_of("ok 1 /gla/amx # SKIP I do not feel like it\n1..1\n") == (0, 1, 0)
    assert totals_of("ok 1 /mlp/amx # SKIP this machine has no amx\n1..1\n") == (0, 1, 0)
    assert totals_of("1..0 # SKIP no network\n", "SKIP") == (0, 1, 0)


if __name__ == "__main__":
    tap.main(globals())
