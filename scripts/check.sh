#!/usr/bin/env bash
# The whole gate: sets up .venv with the test extra, then ruff, mypy, import contracts, tests.
#
#   scripts/check.sh                 everything but the tests marked nightly
#   scripts/check.sh --all           those too: hours
#   scripts/check.sh tests/slides    the linters and these tests only
#
# Safe to run again: what is there already is kept. System packages that some tests want are installed by .ci/run;
# without them those tests skip and say so.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$root/scripts/lib.sh"
case "${1:-}" in -h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;; esac
cd "$root"
marks=(-m "not nightly")
if [ "${1:-}" = --all ]; then marks=(); shift; fi
make_environment test
bin="$root/.venv/bin"

say "ruff format --check"
"$bin/ruff" format --check .
say "ruff check"
"$bin/ruff" check .
say "mypy --strict on the package"
"$bin/mypy"
say "import contracts"
"$bin/lint-imports" --no-cache
say "shell scripts parse"
for script in scripts/*.sh scripts/*.sbatch .ci/run; do bash -n "$script"; done
say "kernels without the compiler"
NUMBA_DISABLE_JIT=1 "$bin/python" -m pytest -q -m "kernels and not slow" tests
say "pytest"
# the whole in two processes, each file in one of them; what was asked for by name as it was asked for
[ $# -gt 0 ] || set -- -n 2 --dist loadfile --no-loadscope-reorder
"$bin/python" -m pytest -q --durations=40 ${marks[@]+"${marks[@]}"} "$@"
