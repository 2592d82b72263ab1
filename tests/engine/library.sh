#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The library from outside: what it exports, and headers that stand alone.   library.sh LIBVIG ENGINE-FOLDER
set -u
lib=$1 engine=$2 failed=0 n=0
point() { # NAME COMMAND...
  n=$((n + 1)) name=$1; shift
  if out=$("$@" 2>&1); then echo "ok $n - $name"; else failed=1; echo "$out" | sed 's/^/# /'; echo "not ok $n - $name"; fi
}
exports_only_vig() {
  names=$(nm -D --defined-only "$lib" | awk '$2 == "T" || $2 == "D" || $2 == "B" || $2 == "R" { print $3 }')
  echo "$names" | grep -q '^vig_engine_new$' || { echo "vig_engine_new is missing"; return 1; }
  ! echo "$names" | grep -Ev '^vig_|^__(asan|ubsan|odr)_'
}
exports_all_declared() {
  nm -D --defined-only "$lib" | awk '{ print $3 }' >"$work/have"
  missing=$(cat "$engine"/vig/*.h | sed -n '/^VIG_API/s/ (.*//p' | sed 's/.*[ *]//' | grep -vxFf "$work/have")
  [ -z "$missing" ] || { echo "declared but not exported: $missing"; return 1; }
}
compiles() { # COMPILER STANDARD HEADER
  echo "#include <vig/$3>" >"$work/t.c"
  "$1" -std="$2" -x "$4" -Wall -Wextra -pedantic -Werror -fsyntax-only -I"$engine" $(pkg-config --cflags glib-2.0) "$work/t.c"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
point "exports vig_ alone" exports_only_vig
point "exports all that its headers declare" exports_all_declared
for header in consensus engine error frame gla model shared state vig window; do
  point "$header.h alone, C11" compiles cc c11 $header.h c
  point "$header.h alone, C++17" compiles c++ c++17 $header.h c++
done
echo "1..$n"
exit $failed
