# SPDX-License-Identifier: LGPL-2.1-or-later
"""TAP for the tests written in Python: runs the test_* functions of the calling script, one point each."""
import sys
import traceback


class Skip(Exception):
    pass


def main(scope):
    tests = [(name, f) for name, f in scope.items() if name.startswith("test_")]
    print("1..%d" % len(tests))
    failed = 0
    for i, (name, test) in enumerate(tests, 1):
        try:
            test()
            print("ok %d - %s" % (i, name), flush=True)
        except Skip as why:
            print("ok %d - %s # SKIP %s" % (i, name, why), flush=True)
        except Exception:
            failed += 1
            print("# " + traceback.format_exc().rstrip().replace("\n", "\n# "))
            print("not ok %d - %s" % (i, name), flush=True)
    sys.exit(1 if failed else 0)
