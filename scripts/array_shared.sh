# What the array scripts of all batch systems share. scripts/array_scripts.py puts it into each of them, for a batch
# system starts a copy of its script, which finds no other file beside it.
read -ra wsiparse <<<"${WSIPARSE:-wsiparse}"
usage() { sed -n '/^# Slides on/,/^set -/s/^# \{0,1\}//p' "$0"; exit "$1"; }
die() { printf 'error: %s\n' "$*" >&2; exit 2; }

results_of() { # the value of -o among the arguments of `wsiparse run`
  local found=""
  while [ $# -gt 0 ]; do
    case "$1" in
      -o | --results-dir) found="${2:-}" ;;
      -o?*) found="${1#-o}" ;;
      --results-dir=*) found="${1#*=}" ;;
    esac
    shift
  done
  [ -n "$found" ] || die "no results folder: give -o RESULTS after --"
  printf '%s' "$found"
}

read_submission() { # TASKS [OPTIONS] -- ARGUMENTS: sets tasks, options, arguments, results, join_options
  tasks="${1:-}"
  [[ "$tasks" =~ $tasks_form ]] || die "submit TASKS: a number such as $tasks_example, not '$tasks'"
  shift
  options=() join_options=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
  [ $# -gt 1 ] || die "nothing to analyse: submit TASKS [$program OPTIONS] -- SLIDES... -o RESULTS"
  shift
  arguments=("$@")
  results="$(results_of "$@")"
  read -ra join_options <<<"${WSIPARSE_JOIN_OPTIONS:-}"
  # the environment of this checkout, where none is active
  command -v "${wsiparse[0]}" >/dev/null 2>&1 || PATH="$PATH:$(cd "$(dirname "$0")/.." && pwd)/.venv/bin"
  export PATH WSIPARSE_SHARD_COUNT="${tasks%%%*}"
  mkdir -p "$results/logs"
}

submitted() { # ARRAY JOIN: the numbers of both jobs
  printf 'array job %s (%s tasks), then job %s joins %s; look with: %s status %s\n' \
    "$1" "$WSIPARSE_SHARD_COUNT" "$2" "$results" "${wsiparse[*]}" "$results"
}

join() { # merge, and the report unless the merge failed altogether; the worse exit code of the two
  local code=0
  "${wsiparse[@]}" merge "$1" || code=$?
  if { [ "$code" -eq 0 ] || [ "$code" -eq 3 ]; } && "${wsiparse[@]}" report --help >/dev/null 2>&1; then
    "${wsiparse[@]}" report "$1" || code=$?
  fi
  exit "$code"
}

local_disk() { # a folder on this node that can be written to
  local disk
  for disk in "${WSIPARSE_LOCAL:-}" "${SLURM_TMPDIR:-}" "${TMPDIR:-}" /tmp; do
    if [ -d "$disk" ] && [ -w "$disk" ]; then break; fi
  done
  printf '%s' "$disk"
}

numba_cache() { # compiled code is loaded from it: a folder that nobody else can write to, kept for the next task
  local own
  own="$1/wsiparse-numba-$(id -u)"
  mkdir -m 700 "$own" 2>/dev/null || true
  if [ -O "$own" ] && [ ! -L "$own" ]; then printf '%s' "$own"; else mktemp -d -p "$1"; fi
}

prepare() { # JOB CORES TASK: the environment of a task and run_options, its own options of `wsiparse run`
  [ -n "$1" ] || usage 2
  local disk
  disk="$(local_disk)"
  run_options=(--shard auto)
  # one thread a core asked for; the libraries below would each start one per core of the node
  [ -z "$2" ] || run_options+=(--num-workers "$2")
  export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
  export HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
  NUMBA_CACHE_DIR="$(numba_cache "$disk")"
  export NUMBA_CACHE_DIR
  [ "${WSIPARSE_STAGE:-yes}" = no ] || run_options+=(--stage-dir "$disk")
  printf '%s: task %s of job %s on %s\n' "$(date -u +%FT%TZ)" "${3:--}" "$1" "$(hostname)"
}

main() {
  case "${1:-}" in
    "" | -h | --help) usage 0 ;;
    submit) shift; read_submission "$@"; submit ;;
    join) [ $# -eq 2 ] || die "join RESULTS"; join "$2" ;;
    *) work "$@" ;;
  esac
}
