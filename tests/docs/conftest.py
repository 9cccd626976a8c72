from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.imports.files import outlines, qupath
from wsiparse.cli.main import main
from wsiparse.slides.synthetic import paint_he, write_svs


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything the pages' commands name: slides, a list, regions, tables, and results of one run."""
    place = tmp_path_factory.mktemp("pages")
    picture = paint_he(320, 256, seed=7).image
    (place / "slides").mkdir()
    write_svs(place / "slides" / "slide.svs", picture)
    shutil.copy(place / "slides" / "slide.svs", place)
    write_svs(place / "old_scan.svs", picture, mpp=None)
    (place / "slides.csv").write_text("slide,mpp,roi,patient\nold_scan.svs,0.5,,7\n", encoding="ascii")
    (place / "patients.csv").write_text("slide,case,response,sTIL\nslide.svs,7,yes,20\n", encoding="ascii")
    ring = [[60, 60], [260, 60], [260, 200], [60, 200], [60, 60]]
    region = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Tumor"}},
    }
    for path in (place / "regions.geojson", place / "annotations" / "slide.geojson"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [region]}), encoding="ascii")
    qupath(place / "cells.geojson", outlines(6))
    shutil.copytree(ROOT / "configs", place / "configs")
    with pytest.raises(SystemExit) as stop:
        main(["run", str(place / "slides"), "-o", str(place / "results")])
    assert not stop.value.code
    shutil.copytree(place / "results", place / "other_results")
    (place / "truth").mkdir()
    (place / "truth" / "slide.points.csv").write_text("x,y,class\n150,120,Tumor\n", encoding="ascii")
    return place


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `finished` for one test, as the current folder."""
    copy = tmp_path / "place"
    shutil.copytree(finished, copy)
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def results(place: Path) -> Callable[[], Path]:
    """The folder of the one slide's results."""
    return lambda: next((place / "results" / "slides").iterdir())
