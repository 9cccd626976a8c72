#!/usr/bin/env bash
# Fetch the Groovy 4 library that compiles qupath_scripts/ in the tests, into .tools/groovy (not part of the project).
#
#   scripts/fetch_groovy.sh
#
# Debian's groovy package is older than QuPath's; the npm package npm-groovy-lint carries the right one. Safe to run
# again: what is there is kept.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$root/scripts/lib.sh"
case "${1:-}" in -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
package=npm-groovy-lint@16.2.0
folder="$root/.tools/groovy"
if ls "$folder"/groovy-4.*.jar >/dev/null 2>&1; then
  say "Groovy is there already: $folder"
  exit 0
fi
command -v npm >/dev/null 2>&1 || die "npm is not installed. Debian/Ubuntu: apt-get install npm"
mkdir -p "$folder"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
say "fetching $package"
(cd "$work" && npm pack --silent "$package" >/dev/null && tar -xzf npm-groovy-lint-*.tgz)
cp "$work"/package/lib/java/groovy/lib/groovy-4.*.jar "$folder/"
say "done: $(ls "$folder")"
