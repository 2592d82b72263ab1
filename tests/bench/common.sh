# Sourced by the programs here, from which nothing is a test: enters the build root and says what machine it is.
self=$(realpath "$0")
top=$(cd "$(dirname "$self")/../.." && pwd)
cd "$top"
if [ -z "${VIG_BENCH_INSIDE:-}" ]; then
  export VIG_BENCH_INSIDE=1
  exec tools/devroot "$self" "$@"
fi
[ -d build ] || meson setup build --buildtype=release >/dev/null
echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) CPUs, load $(cut -d' ' -f1 /proc/loadavg), $(date -u +%F)"
# bench PROGRAM ARG…: builds it and what it needs, and runs it
bench() {
  ninja -C build --quiet gst/libgstvig.so "tests/bench/$1"
  meson devenv -C build -w "$top" "build/tests/bench/$@"
}
