#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Under ThreadSanitizer the tests of batcher and shared engines make it say nothing; and it finds a race that is planted.
#   tsan.sh BATCHER-TEST SHARED-TEST
set -u
batcher=$1 shared=$2 failed=0
export TSAN_OPTIONS=halt_on_error=0:exitcode=66
unset VIG_PLANT_RACE
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# an older ThreadSanitizer does not know where newer kernels put things
if "$batcher" -l 2>&1 | grep -q 'FATAL: ThreadSanitizer: unexpected memory mapping'; then
  echo "1..0 # SKIP this ThreadSanitizer does not run on this kernel (sysctl vm.mmap_rnd_bits=28 helps)"
  exit 0
fi
silent() { # NUMBER NAME PROGRAM
  if "$3" >"$log" 2>&1 && ! grep -q 'WARNING: ThreadSanitizer' "$log"; then
    echo "ok $1 - $2: no race"
  else
    failed=1; sed 's/^/# /' "$log" | head -80; echo "not ok $1 - $2: no race"
  fi
}
silent 1 batcher "$batcher"
silent 2 shared "$shared"
VIG_PLANT_RACE=1 "$batcher" -p /batcher/threads >"$log" 2>&1
if [ $? = 66 ] && grep -q 'WARNING: ThreadSanitizer: data race' "$log" && grep -q '#0 camera ' "$log"; then
  echo "ok 3 - a planted race is found"
else
  failed=1; sed 's/^/# /' "$log" | tail -40; echo "not ok 3 - a planted race is found"
fi
echo "1..3"
exit $failed
