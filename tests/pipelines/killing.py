# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that are killed while they work, and what they leave."""
import os
import random
import signal
import subprocess
import time


def contents(folder):
    """Of every file below it but journals, which say the same in the order in which things came to an end."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            if name != "vig-label.journal":
                with open(os.path.join(base, name), "rb") as f:
                    found[os.path.relpath(os.path.join(base, name), folder)] = f.read()
    return found


def killed(command, seconds, **options):
    """SIGKILL after so long. Returns whether it came in time."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def kill_until_done(command, kills, longest, seed, **options):
    """Kills it at that many random moments of up to longest seconds after each start, then lets it end. Returns its exit
    status and how often the kill came in time."""
    dice, hits = random.Random(seed), 0
    for _ in range(kills):
        hits += killed(command, dice.uniform(0, longest), **options)
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options).returncode, hits


def seconds(command, **options):
    start = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, **options)
    return time.monotonic() - start, done.returncode
