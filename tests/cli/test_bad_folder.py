"""A folder of one good and many bad slides: the good one is done, each bad one is a line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slides.hazards import HAZARDS, NOT_TEXT, make_hazard


@pytest.fixture
def folder(tmp_path: Path, demo_slide: Path) -> Path:
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in HAZARDS:
        make_hazard(slides, name)
    shutil.copy(demo_slide, slides / "good.svs")
    return slides


def test_one_good_slide_among_bad_ones_is_done(wsiparse: Callable, folder: Path, tmp_path: Path) -> None:
    said = wsiparse("run", folder, "-o", tmp_path / "results", "--engine", "classical", "--slide-mpp", "0.5", "-n", "1")
    assert said.code == 3
    assert said.out.count("\n") == 1
    assert "good.svs: done:" in said.out
    lines = [line for line in said.err.splitlines() if "error: " in line]
    assert len(lines) == len(HAZARDS)
    for name, (_, words) in HAZARDS.items():
        [line] = [line for line in lines if f"/{name}: " in line or f" {name}: " in line]
        assert words in line
    assert "good" in (tmp_path / "results" / "summary.csv").read_text(encoding="utf-8")
    assert len(list((tmp_path / "results" / "slides").iterdir())) == 1


@pytest.mark.parametrize("verb", ["info", "plan"])
def test_looking_at_such_a_folder_does_no_harm_either(verb: str, wsiparse: Callable, folder: Path) -> None:
    said = wsiparse(verb, folder, "--slide-mpp", "0.5")
    assert said.code == 3
    assert said.err.count("error: ") == len(HAZARDS)
    assert "good.svs" in said.out


def test_slides_whose_names_are_not_text_are_done_and_found_done(
    wsiparse: Callable, demo_slide: Path, tmp_path: Path
) -> None:
    try:
        shutil.copy(demo_slide, tmp_path / NOT_TEXT)
    except OSError:
        pytest.skip("this file system takes only names that are text")
    (tmp_path / NOT_TEXT.replace("caf", "bad")).write_bytes(b"x")
    run = ("run", tmp_path, "-o", tmp_path / "results", "--engine", "classical")
    said = wsiparse(*run)
    assert said.code == 3, said.err
    assert ": done:" in said.out
    assert said.err.count("error: ") == 1
    assert "already done" in wsiparse(*run).out
    assert wsiparse(*run, "--retry-failed").code == 1
    assert wsiparse("verify", tmp_path / "results").code == 0
    assert wsiparse("status", tmp_path / "results").code in (0, 3)
    assert "caf\\xe9" in (tmp_path / "results" / "summary.csv").read_text(encoding="utf-8")
