"""The script of the figures on the page, on a slide small enough for a test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT
from wsiparse.slides.synthetic import paint_he


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("sets")
    (root / "some").mkdir()
    image = Image.fromarray(paint_he(1400, 1400, seed=5, nuclei_per_mm2=3000).image)
    image.save(root / "slide.png", dpi=(50800, 50800))
    image.crop((300, 300, 700, 700)).save(root / "some" / "a_20x.png")
    script = ROOT / "scripts" / "evaluate_artefacts.py"
    arguments = ["--slides", root / "slide.png", "--tiles", root]
    run = subprocess.run(
        [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def figures(line: str) -> tuple[float, float]:
    found = re.search(r"recall ([\d.]+)  precision ([\d.]+)", line)
    assert found is not None, line
    return float(found[1]), float(found[2])


def test_ink_of_six_colours_and_focus_reach_their_bars(lines: list[str]) -> None:
    ink = [line for line in lines if " ink       120 um" in line]
    assert len(ink) == 6
    assert all(min(figures(line)) >= 0.9 for line in ink), ink
    soft = [line for line in lines if re.search(r"focus +(1\.5|2\.0|3\.0|6\.0) um", line)]
    assert len(soft) == 4
    assert all(min(figures(line)) >= 0.9 for line in soft), soft


def test_clean_tissue_is_not_lost(lines: list[str]) -> None:
    for line in lines:
        if " clean " in line:
            assert all(float(share) < 1 for share in re.findall(r"([\d.]+) %", line)), line


def test_a_slide_that_is_not_there_is_said_in_a_line(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "evaluate_artefacts.py"
    run = subprocess.run(
        [sys.executable, script, "--slides", tmp_path / "no.svs"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1
