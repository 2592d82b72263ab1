#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What nvcc made of the kernels: a TAP point for each file and architecture, with registers and spills of each kernel.

    compiled.py MODULE ARCHITECTURES LOG...    (LOG: of kernels/cuda/compile.sh; ARCHITECTURES: 75,90)

And of the module: it shows one function, needs neither the driver nor a CUDA library to be loaded, and where there is
no GPU it says so."""
import ctypes
import os
import re
import subprocess
import sys

HOST_ONLY = ["gla_run", "matmul", "pipe"]  # files without a kernel
# Bytes stored by one kernel: ours fit their registers, but for the token-by-token form of gated linear attention, which
# ptxas likes to hold to 128 registers; norm_dwconv, to 64 from 10.0 on; and gla_mix on 10.0, three blocks to a multiprocessor.
MAY_SPILL = {("recurrent", ""): 32, ("norm_dwconv", "100"): 16, ("norm_dwconv", "120"): 16, ("gla_mix", "100"): 8}
ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)'")
SPILL = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")

points = 0
failed = False


def point(ok, name, lines=()):
    global points, failed
    points += 1
    failed |= not ok
    for line in lines:
        print("# " + line)
    print("%sok %d - %s" % ("" if ok else "not ", points, name))


def kernels_of(log):
    """{architecture: [(kernel, registers, bytes spilled)]}"""
    found, entry, spilled = {}, None, 0
    with open(log) as f:
        for line in f:
            if m := ENTRY.search(line):
                entry = m.groups()
            elif m := SPILL.search(line):
                spilled = int(m.group(1))
            elif entry and (m := REGISTERS.search(line)):
                found.setdefault(entry[1], []).append((entry[0], int(m.group(1)), spilled))
                entry = None
    return found


def check_log(log, archs):
    name = os.path.basename(log).removesuffix(".log")
    found = kernels_of(log)
    for arch in archs:
        kernels = found.get(arch, [])
        worst = max((k[2] for k in kernels), default=0)
        fits = all(k[2] <= max((n for (part, on), n in MAY_SPILL.items() if part in k[0] and on in ("", arch)), default=0)
                   for k in kernels)
        point((bool(kernels) or name in HOST_ONLY) and fits,
              "%s sm_%s: %d kernels, at most %d registers, %d bytes spilled"
              % (name, arch, len(kernels), max((k[1] for k in kernels), default=0), worst),
              ["%s: %d registers, %d bytes spilled" % k for k in kernels])


def check_module(module):
    shown = subprocess.check_output(["nm", "-D", "--defined-only", module], text=True).split()[2::3]
    point(shown == ["vig_kernels_cuda_open"], "shows vig_kernels_cuda_open alone", shown)
    dynamic = subprocess.check_output(["readelf", "-d", module], text=True)
    needed = re.findall(r"NEEDED.*\[(.*)\]", dynamic)
    point(not any(re.match(r"libcu|libnv", n) for n in needed), "needs no CUDA library", needed)
    opener = ctypes.CDLL(os.path.abspath(module)).vig_kernels_cuda_open
    opener.restype = ctypes.c_void_p
    why = ctypes.c_char_p()
    opened = opener(0, ctypes.byref(why))
    reason = (why.value or b"").decode()
    point(bool(opened) or re.match("expected an NVIDIA driver|cudaError", reason) is not None,
          "opens a GPU or says why not", [reason])


def main():
    module, archs, logs = sys.argv[1], sys.argv[2].split(","), sys.argv[3:]
    for log in logs:
        check_log(log, archs)
    check_module(module)
    print("1..%d" % points)
    return failed


sys.exit(main())
