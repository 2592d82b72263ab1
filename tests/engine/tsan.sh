#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The batcher's test under ThreadSanitizer: it says nothing, and it finds a race that is planted.   tsan.sh PROGRAM
set -u
program=$1 failed=0
export TSAN_OPTIONS=halt_on_error=0:exitcode=66
unset VIG_PLANT_RACE
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if "$program" >"$log" 2>&1 && ! grep -q 'WARNING: ThreadSanitizer' "$log"; then
  echo "ok 1 - no race"
else
  failed=1; sed 's/^/# /' "$log" | head -80; echo "not ok 1 - no race"
fi
VIG_PLANT_RACE=1 "$program" -p /batcher/threads >"$log" 2>&1
if [ $? = 66 ] && grep -q 'WARNING: ThreadSanitizer: data race' "$log" && grep -q '#0 camera ' "$log"; then
  echo "ok 2 - a planted race is found"
else
  failed=1; sed 's/^/# /' "$log" | tail -40; echo "not ok 2 - a planted race is found"
fi
echo "1..2"
exit $failed
