from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from wsiparse.cli.main import COMMANDS

#: What takes long to import and is not needed to complete a word.
HEAVY = {"torch", "dask", "numba", "zarr", "numpy", "scipy", "pydantic", "tqdm"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `wsiparse` of this checkout, to be put on a PATH; it tells the modules it imported when asked to."""
    path = tmp_path_factory.mktemp("bin") / "wsiparse"
    path.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from wsiparse.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    if 'TELL_MODULES' in os.environ:\n"
        "        open(os.environ['TELL_MODULES'], 'w').write(' '.join(sys.modules))\n"
    )
    path.chmod(0o755)
    return path


def call(program: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    everything = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", **environment}
    return subprocess.run([program], env=everything, capture_output=True, text=True, check=True)


def completed(program: Path, line: str, **environment: str) -> list[str]:
    """What is offered for the last word of a line."""
    words = line.split(" ")
    facts = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_WSIPARSE_COMPLETE": "bash_complete"}
    return [offer.partition(",")[2] for offer in call(program, **facts, **environment).stdout.split()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_help_tells_a_line_for_each_shell_that_prints_a_script(
    shell: str, program: Path, wsiparse: Callable
) -> None:
    said = wsiparse("--help").out
    (value,) = re.findall(rf"^ +{shell} .*_WSIPARSE_COMPLETE=(\w+) wsiparse", said, re.MULTILINE)
    script = call(program, _WSIPARSE_COMPLETE=value).stdout
    assert f"_WSIPARSE_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_after_the_line_of_the_help(program: Path, wsiparse: Callable) -> None:
    (line,) = re.findall(r"^ +bash +(.+)$", wsiparse("--help").out, re.MULTILINE)
    script = (
        f"{line}\n"
        "complete -p wsiparse\n"
        "COMP_WORDS=(wsiparse run --sch); COMP_CWORD=2\n"
        "_wsiparse_completion wsiparse\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-eu", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["complete -o nosort -F _wsiparse_completion wsiparse", "--scheduler"]


def test_commands_options_and_choices_are_completed(program: Path) -> None:
    assert completed(program, "wsiparse ") == list(COMMANDS)
    assert completed(program, "wsiparse run --pro") == ["--prompt"]
    assert {"--prompt", "--roi", "--engine", "--scheduler"} < set(completed(program, "wsiparse run --"))
    assert completed(program, "wsiparse run --engine em") == ["embedded"]
    assert "geojson" in completed(program, "wsiparse export --format ")


@pytest.mark.parametrize("name", COMMANDS)
def test_completing_loads_nothing_slow(name: str, program: Path, tmp_path: Path) -> None:
    told = tmp_path / "modules"
    offered = completed(program, f"wsiparse {name} --", TELL_MODULES=str(told))
    assert "--help" in offered
    loaded = {module.partition(".")[0] for module in told.read_text(encoding="utf-8").split()}
    assert "click" in loaded
    assert not loaded & HEAVY
