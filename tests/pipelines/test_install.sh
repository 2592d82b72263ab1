#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What meson install puts down works by itself: test_install.sh BUILD SOURCE PREFIX LIBDIR
set -u
build=$1 source=$2
. "$(dirname "$0")/tap.sh"
unset LD_LIBRARY_PATH # meson names the build folder there
prefix=$work/dest$3 lib=$work/dest$3/$4
share=$prefix/share/gst-vig include=$prefix/include/gst-vig-1.0

is_there() { local f; for f in "$@"; do [ -s "$f" ] || { echo "$f is missing"; return 1; }; done; }
check "meson install" env DESTDIR="$work/dest" meson install -C "$build" --no-rebuild --quiet
check "plugin, library, headers, tools, model, licence" is_there "$lib/gstreamer-1.0/libgstvig.so" "$lib/libvig.so" \
  "$lib/pkgconfig/vig-1.0.pc" "$include/vig/vig.h" "$prefix/bin/vig-infer" "$prefix/bin/vig-bench" \
  "$prefix/bin/vig-timeline" "$prefix/bin/vig-convert-checkpoint" "$share/LICENSE" \
  "$share/models/camera-health.safetensors" "$share/models/camera-health.md"

soname() { readelf -d "$lib/libvig.so" | grep -q 'SONAME.*\[libvig\.so\.[0-9]*\]'; }
check "libvig has a soname" soname
symbols() { nm -D --defined-only "$lib/libvig.so" | grep vig_engine_new && ! nm -D --defined-only "$lib/libvig.so" | awk '$2 ~ /[A-Z]/ { print $3 }' | grep -v '^vig_'; }
check "libvig exports nothing but vig_*" symbols
no_build_path() {
  readelf -d "$lib/libvig.so" "$lib/gstreamer-1.0/libgstvig.so" "$prefix/bin/vig-infer" >"$work/dynamic" && ! grep -F "$build" "$work/dynamic"
}
check "no path of the build folder is left" no_build_path

program() {
  cp "$source/tests/pipelines/outside.c" "$work/" && cd "$work" &&
    cc -Wall -Werror outside.c -o outside \
      $(PKG_CONFIG_SYSROOT_DIR=$work/dest PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --cflags --libs vig-1.0) \
      $(pkg-config --cflags --libs glib-2.0) &&
    LD_LIBRARY_PATH=$lib ./outside "$share/models/camera-health.safetensors" | grep -x black
}
check "a program outside the tree sees that black is black" program
each_header() {
  local h
  for h in "$include"/vig/*.h; do
    echo "#include <vig/${h##*/}>" | cc -Wall -Werror -fsyntax-only -x c - -I"$include" $(pkg-config --cflags glib-2.0) || return 1
  done
}
check "each header compiles alone" each_header

export GST_REGISTRY=$work/registry GST_REGISTRY_FORK=no GST_PLUGIN_PATH=$lib/gstreamer-1.0 GST_PLUGIN_SYSTEM_PATH=
inspect() { gst-inspect-1.0 vigclassify | grep "Filename.*$lib/gstreamer-1.0/libgstvig.so"; }
check "gst-inspect finds the installed plugin" inspect
blacklist() { gst-inspect-1.0 vig && gst-inspect-1.0 --print-blacklist | grep "Total count: 0"; }
check "the plugin is not blacklisted" blacklist
unset GST_PLUGIN_PATH GST_PLUGIN_SYSTEM_PATH
devenv() { GST_REGISTRY=$work/registry2 meson devenv -C "$build" gst-inspect-1.0 vigclassify | grep "Filename.*$build/gst/"; }
check "meson devenv finds the built plugin" devenv
devenv_tools() { meson devenv -C "$build" sh -c 'vig-infer --help && vig-timeline --help'; }
check "meson devenv finds the tools" devenv_tools
finish
