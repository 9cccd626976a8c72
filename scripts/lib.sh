# Shared by quickstart.sh and check.sh: find Python, make the virtual environment, install the project.
# Sourced, not run. Expects $root (the checkout).

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

find_python() {
  for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
    [ -n "$candidate" ] || continue
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  die "no Python 3.11 or newer found. Install one (Debian/Ubuntu: apt-get install python3 python3-pip; macOS: brew install python) or set PYTHON=/path/to/python3."
}

# make_environment EXTRA: .venv with the project (editable) and its EXTRA ("" or "test"); does nothing when up to date.
make_environment() {
  local extra="$1" python venv="$root/.venv" stamp want
  python="$(find_python)"
  stamp="$venv/.wsiparse-${extra:-run}"
  want="$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum) $("$python" --version)"
  if [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
    say "environment $venv is up to date"
    return 0
  fi
  if ! [ -x "$venv/bin/python" ]; then
    say "making the environment $venv with $("$python" --version)"
    # Debian ships venv without ensurepip unless python3-venv is installed: then the outer pip fills the environment.
    "$python" -m venv "$venv" >/dev/null 2>&1 || "$python" -m venv --clear --without-pip "$venv" ||
      die "cannot make a virtual environment. Debian/Ubuntu: apt-get install python3-venv"
  fi
  local pip=("$venv/bin/python" -m pip)
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || pip=("$python" -m pip --python "$venv/bin/python")
  say "installing wsiparse${extra:+ with the '$extra' extra} (versions of constraints.txt; a few minutes the first time)"
  "${pip[@]}" install --quiet --disable-pip-version-check --constraint "$root/constraints.txt" \
    --editable "$root${extra:+[$extra]}" || die "installation failed; the lines above say why"
  printf '%s' "$want" >"$stamp"
}
