#!/usr/bin/env bash
# Fetch OpenSeadragon, the picture library of `wsiparse view`, from npm into wsiparse/viewer/static/vendor (not part of
# the project; wheels built afterwards carry it).
#
#   scripts/build_viewer.sh
#
# The package is compared with the SHA-512 below before anything is taken out of it. Safe to run again: what is there
# is kept.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$root/scripts/lib.sh"
case "${1:-}" in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
version=6.1.1
integrity=g4iKe2q8B642SaBT3+x4ZF3/8b1TxPPydyjmtrOLgDrlYWMKd9ZXM+1Cb/xa9DVySkvs/7l6HR1nHKfD5F3Tsw==
folder="$root/wsiparse/viewer/static/vendor"
if [ -f "$folder/openseadragon.min.js" ] && [ -f "$folder/LICENSE.txt" ] &&
  [ "$(cat "$folder/VERSION" 2>/dev/null)" = "$version" ]; then
  say "OpenSeadragon $version is there already: $folder"
  exit 0
fi
command -v npm >/dev/null 2>&1 || die "npm is not installed. Debian/Ubuntu: apt-get install npm"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
say "fetching openseadragon@$version"
(cd "$work" && npm pack --silent "openseadragon@$version" >/dev/null) || die "npm could not fetch openseadragon@$version"
archive="$work/openseadragon-$version.tgz"
sha512='const { createHash } = require("crypto"), { readFileSync } = require("fs");
  process.stdout.write(createHash("sha512").update(readFileSync(process.argv[1])).digest("base64"));'
found="$(node -e "$sha512" "$archive")"
[ "$found" = "$integrity" ] || die "openseadragon-$version.tgz is not the expected one: sha512 $found"
tar -xzf "$archive" -C "$work"
mkdir -p "$folder"
cp "$work/package/build/openseadragon/openseadragon.min.js" "$work/package/LICENSE.txt" "$folder/"
printf '%s' "$version" >"$folder/VERSION"
say "done: $folder"
