# SPDX-License-Identifier: LGPL-2.1-or-later
# TAP for the tests written in shell: sourced. `check NAME COMMAND…` is one point; `finish` prints the plan.
points=0
check() {
  local name=$1; shift
  points=$((points + 1))
  if "$@" >"$work/output" 2>&1; then
    echo "ok $points - $name"
  else
    sed 's/^/# /' "$work/output"
    echo "not ok $points - $name"
  fi
}
finish() { echo "1..$points"; }
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
