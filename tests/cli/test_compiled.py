"""A folder for compiled code where the usual ones are read-only, and one line when something is compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from tests.conftest import ROOT
from wsiparse.cli import compiled
from wsiparse.cli.compiled import provide_compile_cache, telling_compilation
from wsiparse.errors import OutputError
from wsiparse.machine import compile_cache_folders

SETPRIV = shutil.which("setpriv")


def test_nothing_is_changed_where_a_usual_folder_can_be_written_to(tmp_path: Path) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "HOME": "/nonexistent"}
    assert provide_compile_cache(environment) is None
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path)


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only folders below the temporary one may be written to."""
    monkeypatch.setattr(compiled, "may_write", lambda folder: tmp_path in (folder, *folder.parents))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_of_the_user_s_own_is_taken_and_kept(read_only: Path) -> None:
    environment = {"HOME": "/nonexistent"}
    line = provide_compile_cache(environment)
    folder = Path(environment["NUMBA_CACHE_DIR"])
    assert line is not None
    assert str(folder) in line
    assert "\n" not in line
    assert folder.parent == read_only
    assert folder.stat().st_mode & 0o777 == 0o700
    again = {"HOME": "/nonexistent"}
    provide_compile_cache(again)
    assert again == environment | {"NUMBA_CACHE_DIR": str(folder)}


def test_a_folder_that_others_can_write_to_is_not_trusted(read_only: Path) -> None:
    planted = read_only / f"wsiparse-numba-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    environment: dict[str, str] = {}
    provide_compile_cache(environment)
    assert Path(environment["NUMBA_CACHE_DIR"]) != planted
    planted.rmdir()
    (read_only / "elsewhere").mkdir()
    planted.symlink_to(read_only / "elsewhere")
    provide_compile_cache(environment := {})
    assert Path(environment["NUMBA_CACHE_DIR"]) != planted


def test_without_any_folder_it_is_one_line(read_only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(read_only / "absent"))
    with pytest.raises(OutputError, match="Set NUMBA_CACHE_DIR"):
        provide_compile_cache({})


def test_the_folders_are_asked_in_numba_s_order(tmp_path: Path) -> None:
    first, code, *rest = compile_cache_folders({"NUMBA_CACHE_DIR": str(tmp_path), "HOME": "/home/x"})
    assert first == tmp_path
    assert code == ROOT / "wsiparse"
    assert all("/home/x" in str(folder) for folder in rest)


@pytest.mark.skipif(
    SETPRIV is None or os.geteuid() != 0, reason="needs root and setpriv (util-linux) to become somebody else"
)
def test_an_installation_that_cannot_be_written_to_works() -> None:
    """As nobody, without a home: Numba would find no folder and end the import of the kernels."""
    probe = (
        "from wsiparse.cli.compiled import provide_compile_cache; import os; "
        "print(provide_compile_cache(os.environ)); import wsiparse.objects.kernels"
    )
    with tempfile.TemporaryDirectory() as temporary:  # tmp_path is closed to others
        Path(temporary).chmod(0o777)
        environment = {"HOME": "/nonexistent", "TMPDIR": temporary, "PATH": os.environ["PATH"]}
        become = [str(SETPRIV), "--reuid=65534", "--regid=65534", "--clear-groups"]
        said = subprocess.run(
            [*become, sys.executable, "-c", probe],
            env=environment,
            cwd="/",
            text=True,
            capture_output=True,
            check=False,
        )
    if "Permission denied" in said.stderr:
        pytest.skip("this Python is closed to others")
    if "ModuleNotFoundError: No module named 'wsiparse'" in said.stderr:
        pytest.skip("this checkout is closed to others")
    assert said.returncode == 0, said.stderr
    assert "compiled code is kept in" in said.stdout


def test_compiling_is_told_once_and_what_is_there_already_is_not() -> None:
    @njit
    def doubled(x: np.ndarray) -> np.ndarray:
        return x + x

    said: list[str] = []
    with telling_compilation(said.append):
        doubled(np.zeros(3))
        doubled(np.zeros((3, 3)))
    assert len(said) == 1
    assert said[0].startswith("compiling, once")
    said.clear()
    with telling_compilation(said.append):
        doubled(np.ones(3))
    assert said == []
