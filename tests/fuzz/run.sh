#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs a fuzz target on its seeds, then for SECONDS (default 20) on what it makes of them. What crashes it is kept in
# the current folder.   run.sh TARGET CORPUS DICTIONARY [SECONDS]
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
point() { # NUMBER NAME COMMAND...
  number=$1 name=$2; shift 2
  if "$@" >"$work/log" 2>&1; then
    sed -n 's/^Done /# Done /p; s/^Executed /# Executed /p' "$work/log" | tail -1
    echo "ok $number - $name"
  else
    sed 's/^/# /' "$work/log" | tail -40
    echo "not ok $number - $name"
    exit 1
  fi
}
echo 1..2
point 1 seeds "$1" -rss_limit_mb=2048 "$2"/*
mkdir "$work/new"
point 2 fuzz "$1" -max_total_time="${4-20}" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -dict="$3" "$work/new" "$2"
