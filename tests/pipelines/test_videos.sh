#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Odd and broken videos, and the leaks tracer: test_videos.sh VIG_TIMELINE PLUGIN_FOLDER MODEL SANITIZER
set -u
timeline=$(realpath -- "$1") model=$3 sanitizer=$4
. "$(dirname "$0")/tap.sh"
cd "$work"
export GST_REGISTRY=$work/registry GST_REGISTRY_FORK=no GST_PLUGIN_PATH=$2

# Without our plugin: one built with a sanitizer cannot be loaded into a program built without.
launch() { env -u GST_PLUGIN_PATH GST_REGISTRY="$work/plain-registry" gst-launch-1.0 --quiet --no-fault "$@" >/dev/null || echo "# gst-launch failed: $*"; }
source="videotestsrc pattern=smpte"
launch $source num-buffers=150 ! video/x-raw,width=320,height=240,framerate=25/1 ! x264enc ! matroskamux name=mux ! \
  filesink location="a whole video.mkv" audiotestsrc num-buffers=200 ! vorbisenc ! mux.
launch audiotestsrc num-buffers=50 ! vorbisenc ! oggmux ! filesink location=sound.ogg
launch $source num-buffers=5 ! video/x-raw,format=I420,width=1,height=1 ! matroskamux ! filesink location=small.mkv
launch $source num-buffers=5 ! video/x-raw,width=8192,height=64 ! jpegenc ! matroskamux ! filesink location=wide.mkv
launch $source num-buffers=100 ! video/x-raw,width=320,height=240 ! x264enc ! mp4mux ! filesink location=whole.mp4
size=$(stat -c %s "a whole video.mkv")
head -c $((size / 2)) "a whole video.mkv" >half.mkv
head -c 3000 whole.mp4 >no-index.mp4
echo "no video at all, but a line of text" >text.txt
: >empty.mkv

# The registry is made here, once: looking into every plugin of the system leaks, which is not what this test is about.
ASAN_OPTIONS=${ASAN_OPTIONS-}:detect_leaks=0 "$timeline" --model "$model" nowhere.mkv >/dev/null 2>&1

# run STATUS FRAMES FILE [TEXT]: exit status, results (a number or "some") and a message that says TEXT
run() {
  rm -f results.jsonl
  timeout 100 "$timeline" --model "$model" --results results.jsonl "$3" >out 2>err
  local status=$? n
  cat out err
  n=$(cat results.jsonl 2>/dev/null | wc -l)
  echo "exit status $status, $n results"
  [ $status = "$1" ] || return 1
  if [ "$2" = some ]; then [ "$n" -gt 0 ]; else [ "$n" = "$2" ]; fi || return 1
  [ -z "${4-}" ] || grep -q -- "$4" err
}
check "a whole video, with sound and a name with spaces" run 0 150 "a whole video.mkv"
check "cut in the middle: the results so far, and an error" run 1 some half.mkv "ends after .* header promises 6.0 s"
check "an MP4 without its index" run 1 0 no-index.mp4 "no-index.mp4: "
check "no video stream" run 1 0 sound.ogg "no video stream"
check "1x1" run 0 5 small.mkv
check "8192x64" run 0 5 wide.mkv
check "text" run 1 0 text.txt "text"
check "an empty file" run 1 0 empty.mkv "empty.mkv: "
check "a missing file" run 1 0 nowhere.mkv "no such file"
check "an unknown protocol" run 1 0 foo://bar "foo"
bad_model() { model=text.txt run 1 0 whole.mp4 "text.txt"; }
check "a model that is none" bad_model
no_results() { ! "$timeline" --model "$model" --results nowhere/results.jsonl whole.mp4 2>err && grep "nowhere/results.jsonl" err; }
check "results that cannot be written" no_results

json() {
  "$timeline" --model "$model" --results r.jsonl --top-k 3 "a whole video.mkv" >/dev/null &&
    python3 - r.jsonl <<'PY'
import json, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
assert [round(l["pts"] * 25) for l in lines] == list(range(150)), lines[:3]
for l in lines:
    assert len(l["top"]) == 3 and l["top"][0] == {"label": l["label"], "confidence": l["confidence"]}, l
    c = [t["confidence"] for t in l["top"]]
    assert c == sorted(c, reverse=True) and 0 <= c[-1] and c[0] <= 1
PY
}
check "JSON lines" json
truth() {
  echo '[{"start": 0, "end": 3, "label": "test-pattern"}, {"start": 3, "end": 6, "label": "no such label"}]' >truth.json
  "$timeline" --model "$model" --truth truth.json "a whole video.mkv" | tail -1 | grep -x "recognised 3 of 6 seconds (50%)"
}
check "seconds recognised" truth

leaks() {
  GST_TRACERS='leaks(stack-traces-flags=full)' GST_DEBUG=GST_TRACER:7 G_DEBUG=fatal-warnings \
    gst-launch-1.0 filesrc location="$1" ! decodebin ! videoconvert ! vigclassify model-file="$model" ! fakesink
}
# (with a sanitizer its own leak check, at the end of each run above, says the same)
[ "$sanitizer" != none ] || check "the leaks tracer finds nothing" leaks "a whole video.mkv"
finish
