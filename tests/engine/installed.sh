#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What `meson install` gives: installs into a DESTDIR, then uses it from outside the tree, as a stranger would. And what
# `meson devenv` gives without installing.
#   installed.sh BUILD PREFIX LIBDIR MODELDIR (relative to PREFIX) CHECKOUT
set -u
build=$1 prefix=$2 libdir=$3 modeldir=$4 checkout=$5 failed=0 n=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
at=$work/dest$prefix
point() { # NAME COMMAND...
  n=$((n + 1)) name=$1; shift
  if "$@" >"$work/log" 2>&1; then echo "ok $n - $name"; else failed=1; sed 's/^/# /' "$work/log" | tail -30; echo "not ok $n - $name"; fi
}
# in the installed prefix, with a registry of its own
inside() {
  env GST_REGISTRY="$work/registry" GST_REGISTRY_FORK=no GST_PLUGIN_PATH="$at/$libdir/gstreamer-1.0" \
    LD_LIBRARY_PATH="$at/$libdir" PATH="$at/bin:$PATH" "$@"
}
complete() {
  missing=0
  for f in "$libdir/gstreamer-1.0/libgstvig.so" "$libdir/libvig.so" "$libdir/libvig.so.0" "$libdir/pkgconfig/vig-1.0.pc" \
    include/gst-vig-1.0/vig/vig.h include/gst-vig-1.0/vig/engine.h include/gst-vig-1.0/vig/model.h \
    include/gst-vig-1.0/vig/frame.h include/gst-vig-1.0/vig/gla.h include/gst-vig-1.0/vig/shared.h include/gst-vig-1.0/vig/error.h bin/vig-infer bin/vig-bench bin/vig-gla \
    bin/vig-timeline bin/vig-cameras share/gst-vig/examples/vig-cameras.c share/gst-vig/examples/two-classifiers.py \
    bin/vig-convert-checkpoint \
    "$modeldir/camera-health.safetensors" "$modeldir/camera-health.md" \
    "$modeldir/camera-health-clip.safetensors" "$modeldir/camera-health-clip.md" share/licenses/gst-vig/LICENSE; do
    [ -e "$at/$f" ] || { echo "missing: $f"; missing=1; }
  done
  return $missing
}
program() { # compiled and run where nothing of the checkout is
  sed "s|^prefix=.*|prefix=$at|" "$at/$libdir/pkgconfig/vig-1.0.pc" >"$work/vig-1.0.pc"
  cat >"$work/program.c" <<'END'
#include <stdio.h>
#include <vig/vig.h>
int
main (int argc, char **argv)
{
  static guint8 pixels[64 * 64 * 3];
  const VigFrame frame = { .format = VIG_FORMAT_RGB, .width = 64, .height = 64, .data = { pixels }, .stride = { 192 } };
  float probabilities[1000];
  VigOutput output = { .probabilities = probabilities };
  VigRank best;
  g_autoptr (GError) error = NULL;
  g_autoptr (VigModel) model = vig_model_load (argv[1], &error);
  g_autoptr (VigEngine) engine = model ? vig_engine_new (model, NULL, &error) : NULL;
  if (!engine || !vig_engine_classify_frames (engine, &frame, 1, 0, &output, &error)) {
    fprintf (stderr, "%s\n", error->message);
    return 1;
  }
  vig_top_k (probabilities, vig_model_get_n_classes (model), 1, &best);
  printf ("label: %s\n", vig_model_get_label (model, best.index));
  return 0;
}
END
  cd "$work" || return 1
  flags=$(PKG_CONFIG_PATH=$work pkg-config --cflags --libs vig-1.0) || return 1
  # shellcheck disable=SC2086
  cc -Wall -Werror program.c -o program $flags && inside ./program "$at/$modeldir/camera-health.safetensors" >out || return 1
  cat out
  grep -q '^label: black$' out
}
soname() {
  readelf -d "$at/$libdir/libvig.so" | grep 'SONAME.*\[libvig.so.0\]'
}
plugin() {
  inside gst-inspect-1.0 vigclassify >"$work/inspect" || { cat "$work/inspect"; return 1; }
  grep -F "$at/$libdir/gstreamer-1.0/libgstvig.so" "$work/inspect" && grep -q model-file "$work/inspect"
}
not_blacklisted() {
  inside gst-inspect-1.0 vig && inside gst-inspect-1.0 --print-blacklist | grep 'Total count: 0'
}
infer() {
  inside vig-infer --model "$at/$modeldir/camera-health.safetensors" \
    --image "$checkout/tests/golden/data/preprocess/photo_500x375.png" --json | grep '"results":\[{'
}
uninstalled() {
  cd "$build" && env GST_REGISTRY="$work/registry-devenv" GST_REGISTRY_FORK=no meson devenv -C "$build" \
    gst-inspect-1.0 vigclassify >"$work/inspect" || { cat "$work/inspect"; return 1; }
  grep -F "$build/gst/libgstvig.so" "$work/inspect"
}
point "meson install" meson install -C "$build" --no-rebuild --destdir "$work/dest"
point "all files are there" complete
point "soname" soname
point "a program outside the tree" program
point "the plugin" plugin
point "no plugin is blacklisted" not_blacklisted
point "vig-infer" infer
point "meson devenv" uninstalled
echo "1..$n"
exit $failed
