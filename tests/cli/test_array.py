"""A run in a job of an array does all it is given, unless it is told to share; no share is empty in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wsiparse.slides.synthetic import paint_he, write_svs

RUN = ("--engine", "classical", "--whole-slide", "-n", "1")
SLURM = {"ID": "3", "MIN": "1", "MAX": "4", "STEP": "1", "COUNT": "4"}
ARRAYS = {
    "slurm": {f"SLURM_ARRAY_TASK_{name}": value for name, value in SLURM.items()},
    "slurm, index only": {"SLURM_ARRAY_TASK_ID": "3"},
    "sge": {"SGE_TASK_ID": "3", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "9", "SGE_TASK_STEPSIZE": "1"},
    "pbs": {"PBS_ARRAY_INDEX": "3"},
    "torque": {"PBS_ARRAYID": "3"},
    "lsf": {"LSB_JOBINDEX": "3", "LSB_JOBINDEX_END": "9"},
}


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "slide_2.svs"
    write_svs(path, paint_he(224, 192, seed=2).image)
    return path


def done(results: Path) -> list[str]:
    return sorted(path.parent.name.partition("__")[0] for path in results.glob("slides/*/DONE.json"))


@pytest.mark.parametrize("system", ARRAYS)
def test_one_slide_a_task_is_analysed_whatever_the_task(
    wsiparse: Callable, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    for name, value in ARRAYS[system].items():
        monkeypatch.setenv(name, value)
    said = wsiparse("run", slide, "-o", tmp_path / "r", *RUN)
    assert said.code == 0
    assert done(tmp_path / "r") == ["slide_2"]
    assert said.err.count("--shard auto shares") == 1
    assert (tmp_path / "r" / "summary.csv").is_file()
    again = wsiparse("run", slide, "-o", tmp_path / "r", *RUN, "--shard", "none")
    assert (again.code, again.err) == (0, "")


@pytest.mark.parametrize("share", ["auto", "3/4"])
def test_an_empty_share_is_an_error_of_one_line(
    wsiparse: Callable, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str
) -> None:
    for name, value in ARRAYS["slurm"].items():
        monkeypatch.setenv(name, value)
    said = wsiparse("run", slide, "-o", tmp_path / "r", *RUN, "--shard", share)
    assert said.code == 3
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert "shard 3/4" in line
    assert "1 slide(s) for 4 jobs" in line


def test_an_array_with_more_tasks_than_slides_is_merged(wsiparse: Callable, slide: Path, tmp_path: Path) -> None:
    codes = [wsiparse("run", slide, "-o", tmp_path / "r", *RUN, "--shard", f"{k}/3").code for k in (1, 2, 3)]
    assert sorted(codes) == [0, 3, 3]
    assert wsiparse("merge", tmp_path / "r").code == 0
    assert done(tmp_path / "r") == ["slide_2"]
    assert "slide_2" in (tmp_path / "r" / "summary.csv").read_text(encoding="utf-8")


def test_auto_outside_of_an_array_does_everything_and_says_so(wsiparse: Callable, slide: Path, tmp_path: Path) -> None:
    said = wsiparse("run", slide, "-o", tmp_path / "r", *RUN, "--shard", "auto")
    assert said.code == 0
    assert "not a job of an array" in said.err
    assert done(tmp_path / "r") == ["slide_2"]


def test_what_failed_is_tried_again_by_its_own_share_and_the_others_have_nothing_to_do(
    wsiparse: Callable, slide: Path, tmp_path: Path
) -> None:
    assert wsiparse("run", slide, "-o", tmp_path / "r", *RUN).code == 0
    said = wsiparse("run", slide, "-o", tmp_path / "r", *RUN, "--retry-failed", "--shard", "2/2")
    assert said.code == 0
    assert "nothing to do" in said.out
