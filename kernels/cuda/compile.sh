#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Compiles one .cu file; what ptxas says of registers and spills goes to LOG.   compile.sh LOG NVCC ARGUMENT...
log=$1; shift
"$@" -Xptxas=-v >"$log" 2>&1
status=$?
if [ $status -ne 0 ]; then cat "$log" >&2; else grep -v -e '^ptxas info' -e '^ *[0-9]* bytes stack frame' "$log" >&2; fi
exit $status
