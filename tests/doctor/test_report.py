"""The report as a whole, and the self-test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wsiparse.doctor import examine
from wsiparse.doctor.check import Check, note, problem
from wsiparse.doctor.selftest import self_test


def test_a_whole_examination_of_this_machine_finds_no_problem(tmp_path: Path) -> None:
    checks = list(examine(tmp_path / "results", {}, offline=True))
    assert [check for check in checks if check.state == "problem"] == []
    names = [check.name for check in checks]
    for name in ("python", "packages", "openslide", "tiffslide", "imagecodecs", "embedded", "biomedparse", "hub",
                 "torch", "gpu", "network", "cores", "memory", "results", "temporary", "compile cache", "hub cache",
                 "scheduler", "self-test"):  # fmt: skip
        assert name in names
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def doctor(wsiparse: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable:
    from wsiparse.cli import main

    monkeypatch.setitem(main.COMMANDS, "doctor", ("doctor", "Check this machine."))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: wsiparse("doctor", "--offline", "--no-self-test", *arguments)


def test_the_command_ends_with_0_when_nothing_stops_wsiparse(doctor: Callable) -> None:
    said = doctor()
    assert said.code == 0, said.out
    assert "no problems" in said.out.splitlines()[-1]


def test_the_command_ends_with_1_and_a_remedy_when_something_does(doctor: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = doctor(tmp_path / "file")
    assert said.code == 1
    lines = said.out.splitlines()
    [at] = [k for k, line in enumerate(lines) if line.startswith("problem")]
    assert "creating a file" in lines[at]
    assert lines[at + 1].lstrip().startswith("-> ")
    assert lines[-1].endswith("notes")
    assert " 1 problems" in lines[-1]


def test_the_command_tells_everything_as_json_too(doctor: Callable) -> None:
    said = doctor("--json")
    assert said.code == 0
    checks = json.loads(said.out)
    assert {"name", "state", "found", "todo"} == set(checks[0])
    assert {check["state"] for check in checks} <= {"ok", "note", "problem"}


def test_a_check_says_what_to_do_when_and_only_when_there_is_something_to_do() -> None:
    with pytest.raises(ValueError, match="what to do"):
        problem("a", "b", "")
    with pytest.raises(ValueError, match="what to do"):
        Check("a", "ok", "b", "c")
    with pytest.raises(ValueError, match="one line"):
        Check("a", "note", "b\nc")
    assert note("a", "b\n c").found == "b c"


def test_the_self_test_finds_what_was_painted() -> None:
    check = self_test()
    assert check.state == "ok", check.found


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: out\nof memory"), ImportError("libGL"), MemoryError()])
def test_a_self_test_that_fails_says_how(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("wsiparse.run.pipeline.analyse", fail)
    check = self_test()
    assert check.state == "problem"
    assert type(error).__name__ in check.found


def test_a_self_test_that_finds_too_little_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        cells = ()

    monkeypatch.setattr("wsiparse.run.pipeline.analyse", lambda *_: Nothing)
    check = self_test()
    assert check.state == "problem"
    assert "0 nuclei found" in check.found
