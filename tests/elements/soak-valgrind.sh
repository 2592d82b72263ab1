#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# A short soak under valgrind: no bad access, no block that nothing points to any more.  soak-valgrind.sh SOAK [OPTION]...
set -u
here=$(dirname "$0")
glib=$(pkg-config --variable=prefix glib-2.0)/share/glib-2.0/valgrind/glib.supp
echo 1..1
if ! command -v valgrind >/dev/null; then
  echo "ok 1 - valgrind # SKIP valgrind is not installed"
# VIG_CPU_MASK: the scalar kernels. What oneDNN generates at run time loses valgrind's account of the registers it saves, after
# which everything counts as uninitialised; the kernels have the sanitizers.
elif VIG_CPU_MASK=0 G_SLICE=always-malloc valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
  --show-leak-kinds=definite --suppressions="$glib" --suppressions="$here/valgrind.supp" "$@" >&2; then
  echo "ok 1 - valgrind"
else
  echo "not ok 1 - valgrind"
  exit 1
fi
