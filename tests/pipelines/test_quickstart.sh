#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# pipelines/quickstart as a user runs it, and the example lines: test_quickstart.sh SOURCE
set -u
source=$1
. "$(dirname "$0")/tap.sh"
out=$source/out/test-quickstart
rm -rf -- "$out"
mkdir -p "$out"
trap 'rm -rf -- "$work" "$out"' EXIT
quickstart() { "$source/pipelines/quickstart" --out "$out" "$@" </dev/null; }

reel() {
  quickstart >"$work/reel" || return 1
  cat "$work/reel"
  grep -q "confidence" "$work/reel" && [ "$(wc -l <"$out/results.jsonl")" -gt 1000 ] &&
    tail -1 "$work/reel" | grep -Ex 'recognised [0-9]+ of [0-9]+ seconds \((7[6-9]|[89][0-9]|100)%\)'
}
check "the reel: more seconds are recognised than by the model of single frames, which gets 75%" reel
cp "$out/reel.mkv" "$work/reel.mkv"
segments() { # each fault of time is in it for four seconds
  "$source/pipelines/example" segments "$work/reel.mkv" >"$work/segments" || return 1
  cat "$work/segments"
  local fault; for fault in frozen flicker rolling shaking; do grep "vig-segment.*$fault" "$work/segments" || return 1; done
}
check "example segments" segments
mkdir -p "$work/a folder"
gst-launch-1.0 --quiet videotestsrc num-buffers=50 ! video/x-raw,width=320,height=240 ! x264enc ! matroskamux ! \
  filesink location="$work/a folder/a film.mkv" >&2
cp "$work/a folder/a film.mkv" "$out/film.mkv"
relative() { cd "$work" && quickstart "a folder/a film.mkv" && [ "$(wc -l <"$out/results.jsonl")" = 50 ]; }
check "a file outside the checkout, named relative to where one is" relative
uri() { cd / && quickstart "file://$work/a%20folder/a%20film.mkv"; }
check "a file URI" uri
missing() { ! quickstart "$work/nowhere.mkv" 2>"$work/err" && grep "nowhere.mkv: no such file" "$work/err"; }
check "a missing file" missing
help() { local s; for s in quickstart make-reel example; do "$source/pipelines/$s" --help | grep "pipelines/$s" || return 1; done; }
check "help" help
example() { "$source/pipelines/example" "$@" | grep -c vig-label; }
check "example changes" example changes "$out/film.mkv"
check "example sparse" example sparse "$out/film.mkv"
check "example record" example record "$out/film.mkv" "$out/copy.mkv"
finish
