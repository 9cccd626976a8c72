"""Nuclei against the pixel size, through the whole program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from wsiparse.run import scale_check
from wsiparse.slides.synthetic import paint_he, write_svs

RUN = ("--engine", "embedded", "--no-labels", "-n", "1")
SLIDES = Path("../shared/data/slides")


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 0.5 um per px whose file does not say so."""
    path = tmp_path_factory.mktemp("slides") / "lacks.svs"
    write_svs(path, paint_he(640, 640, seed=3).image, mpp=None)
    return path


def test_a_slide_without_size_is_told_what_its_nuclei_look_like(
    painted: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    said = wsiparse("run", painted, "-o", tmp_path / "r", *RUN)
    assert said.code == 1
    assert "no usable microns-per-pixel" in said.err
    assert "Its nuclei look" in said.err
    given = float(said.err.partition("pass --slide-mpp ")[2].split()[0])
    assert given == pytest.approx(0.5, rel=0.3)
    assert said.err.count("\n") == 1


def test_info_estimates_whatever_the_file_says(painted: Path, wsiparse: Callable) -> None:
    for size in ((), ("--override-mpp", "2")):
        said = wsiparse("info", painted, "--estimate-mpp", "--json", *size)
        (fact,) = json.loads(said.out)
        assert fact["mpp_estimate"]["mpp"] == pytest.approx(0.5, rel=0.3)
    assert "nuclei     look" in wsiparse("info", painted, "--estimate-mpp").out
    assert "nuclei" not in wsiparse("info", painted).out


@pytest.mark.parametrize("factor", [2, 1 / 2, 1 / 2.54])
def test_a_size_that_nuclei_contradict_is_flagged(
    factor: float, painted: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    said = wsiparse("run", painted, "-o", tmp_path / "r", *RUN, "--override-mpp", str(round(0.5 * factor, 3)))
    assert said.code == 0
    assert "notice: lacks.svs: nuclei look like pixels of" in said.err
    (folder,) = (tmp_path / "r" / "slides").iterdir()
    assert "nuclei look like pixels of" in (folder / "log.txt").read_text(encoding="utf-8")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert any("nuclei look like pixels of" in line for line in report["limits"]["warnings"])


def test_the_right_size_is_not_flagged(painted: Path, wsiparse: Callable, tmp_path: Path) -> None:
    said = wsiparse("run", painted, "-o", tmp_path / "r", *RUN, "--slide-mpp", "0.5")
    assert said.code == 0
    assert "nuclei look like" not in said.err


def test_metadata_that_contradict_each_other_and_the_nuclei_stop_the_slide(wsiparse: Callable, tmp_path: Path) -> None:
    path = tmp_path / "twice.svs"
    write_svs(path, paint_he(640, 640, seed=3).image, mpp="1.0")  # its objective of 20x means 0.5
    said = wsiparse("run", path, "-o", tmp_path / "r", *RUN)
    assert said.code == 1
    assert "nuclei look like pixels of" in said.err
    assert "does not fit the objective of 20x" in said.err
    assert not list((tmp_path / "r").glob("slides/*/DONE.json"))
    assert wsiparse("run", path, "-o", tmp_path / "r", *RUN, "--override-mpp", "0.5").code == 0


def test_engines_that_cannot_tell_are_not_asked(painted: Path, wsiparse: Callable, tmp_path: Path) -> None:
    said = wsiparse("run", painted, "-o", tmp_path / "r", "--engine", "classical", "--slide-mpp", "0.25")
    assert said.code == 0
    assert "nuclei look like" not in said.err
    assert scale_check.MOST_OFF < 2
