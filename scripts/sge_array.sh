#!/usr/bin/env bash
#$ -N wsiparse
#$ -S /bin/bash
#$ -cwd
#$ -V
#$ -j y
#$ -r y
#$ -notify
#$ -pe smp 4
#$ -l h_rt=12:00:00,s_rt=11:58:00
# Slides on Grid Engine: an array of tasks, each with its share of the slides, then one job that joins what they made.
#
#   scripts/sge_array.sh submit TASKS [QSUB OPTIONS] -- SLIDES... -o RESULTS [OPTIONS of wsiparse run]
#
#   scripts/sge_array.sh submit 64 -pe threads 8 -l gpu=1 -tc 8 -- slides/ -o results --prompt nuclei
#
# submits both from the folder it is called in and prints their numbers; the logs go to RESULTS/logs. What the options
# do not say is taken from the #$ lines above; the name of the parallel environment (smp) and of the memory limit differ
# from site to site. By hand:
#
#   qsub -t 1-64 scripts/sge_array.sh slides/ -o results
#   qsub -hold_jid JOB scripts/sge_array.sh join results
#
# At its soft time limit (s_rt) a task publishes what is finished and goes back into the queue, where it goes on from
# there, as one that has lost its node does; told to go by qdel it publishes and ends with exit code 143. Exit code 3
# says that some slides failed: trying again as such would not help, so nothing does.
#
# Environment, all optional: WSIPARSE (the command, "apptainer exec --nv wsiparse.sif wsiparse" for one; default
# wsiparse), WSIPARSE_LOCAL (node-local folder; default TMPDIR or /tmp), WSIPARSE_STAGE=no (read slides where they
# are), WSIPARSE_JOIN_OPTIONS (qsub options of the second job, after those of the array).
set -euo pipefail
program=QSUB tasks_form='^[1-9][0-9]*$' tasks_example=64

# >>> array_shared.sh: change it there, then run scripts/array_scripts.py
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
# <<< array_shared.sh

submit() {
  local array join
  array="$(qsub -terse -t "1-$tasks" -o "$results/logs/" ${options[@]+"${options[@]}"} "$0" "${arguments[@]}")"
  array="${array%%.*}" # -terse says 7.1-64:1
  # -hold_jid: whatever became of the tasks, which is for the joining job to say
  join="$(qsub -terse -hold_jid "$array" -o "$results/logs/" \
    ${options[@]+"${options[@]}"} ${join_options[@]+"${join_options[@]}"} "$0" join "$results")"
  submitted "$array" "$join"
}

work() {
  local child code signalled again=no
  prepare "${JOB_ID:-}" "${NSLOTS:-}" "${SGE_TASK_ID:--} (turn $((${RESTARTED:-0} + 1)))"
  # Grid Engine gives notice by SIGUSR1 (soft limit, suspension) and SIGUSR2 (about to be killed), to every process of
  # the task; the default action of both is to end it. So wsiparse ignores them and gets the one SIGTERM it knows what
  # to do with from here. Arguments of the caller come last, so that they win.
  (trap '' USR1 USR2; exec "${wsiparse[@]}" run "${run_options[@]}" "$@") &
  child=$!
  trap 'signalled=yes; again=yes; kill -TERM "$child" 2>/dev/null || true' USR1
  trap 'signalled=yes; again=no; kill -TERM "$child" 2>/dev/null || true' USR2
  trap 'signalled=yes; again=no' TERM # wsiparse has had it too
  while :; do # a signal ends the wait before the child has ended
    signalled=no code=0
    wait "$child" || code=$?
    [ "$signalled" = yes ] || break
  done
  # 99 asks Grid Engine for another turn
  if [ "$code" -eq 143 ] && [ "$again" = yes ]; then code=99; fi
  exit "$code"
}

main "$@"
