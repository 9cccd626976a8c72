"""A slide on which no cell at all is found: never a silent zero, in no file and on no screen."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.report.test_slide_report import page_of

RUN = ("--engine", "classical", "--no-labels")
TOLD = "no cell at all was found on 0.357 mm2 (Other nuclei, Inflammatory cells): that is no finding"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.2 mm of tissue as dark as blood, and small pieces of the same."""
    made = tmp_path_factory.mktemp("dark")
    for name, edge in (("dark", 1200), ("small", 400)):
        image = np.full((edge + 200, edge + 200, 3), 243, np.float32)
        image[100 : edge + 100, 100 : edge + 100] = (120, 30, 40)
        image += np.random.default_rng(1).normal(0, 1, image.shape)
        tifffile.imwrite(
            made / f"{name}.tif",
            image.round().clip(0, 255).astype(np.uint8),
            tile=(256, 256),
            photometric="rgb",
            resolution=(20_000, 20_000),
            resolutionunit="CENTIMETER",
        )
    return made


@pytest.fixture(scope="module")
def regions(folder: Path) -> Path:
    """The tissue itself, 0.36 mm2; the run's area is within 1 % of it."""
    ring = [[100, 100], [1300, 100], [1300, 1300], [100, 1300], [100, 100]]
    area = {"type": "Polygon", "coordinates": [ring]}
    path = folder / "dark.geojson"
    path.write_text(json.dumps({"type": "Feature", "geometry": area, "properties": {}}), encoding="utf-8")
    return path


def test_zero_is_told_in_log_report_tables_and_at_the_end_and_again_when_it_is_done_already(
    wsiparse: Callable, folder: Path, regions: Path, tmp_path: Path
) -> None:
    ask = ("--prompt", "nuclei", "--prompt", "inflammatory cells")
    for _ in range(2):
        said = wsiparse("run", folder / "dark.tif", "-o", tmp_path, "--roi", regions, *RUN, *ask)
        assert said.code == 0
        assert TOLD in said.err
    (slide,) = (tmp_path / "slides").iterdir()
    log = (slide / "log.txt").read_text(encoding="utf-8")
    assert f"WARNING {TOLD}" in log
    # dark blood is no ink: all of it would be
    assert "more than 50% of the tissue looks like ink: this is not believed" in log
    for table in (slide / "counts.csv", tmp_path / "summary.csv"):
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["n"] for row in rows} == {"0"}
        assert {row["verdict"] for row in rows} == {"no cell at all"}
    text = page_of(slide / "report.html").text
    assert "No cell at all was found on 0.357 mm\N{SUPERSCRIPT TWO} (Other nuclei, Inflammatory cells)" in text
    assert "no finding: see the warnings above" in text
    assert "No cell at all was found" in page_of(tmp_path / "report.html").text
    with gzip.open(slide / "centroids.geojson.gz", "rt") as file:
        assert json.load(file)["features"] == []


def test_where_nuclei_were_not_asked_for_it_is_said_to_ask_for_them(
    wsiparse: Callable, folder: Path, tmp_path: Path
) -> None:
    said = wsiparse("run", folder / "dark.tif", "-o", tmp_path, *RUN, "--prompt", "inflammatory cells")
    assert said.code == 0
    assert "no cell at all was found on" in said.err
    assert "Ask for them too (--prompt nuclei" in said.err


def test_a_small_piece_without_cells_is_no_news(wsiparse: Callable, folder: Path, tmp_path: Path) -> None:
    said = wsiparse("run", folder / "small.tif", "-o", tmp_path, *RUN)
    assert said.code == 0
    assert "no cell at all" not in said.err
    assert "0 " in said.out
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as file:
        assert {row["verdict"] for row in csv.DictReader(file) if row["class"] != "All cells"} == {"not found"}
