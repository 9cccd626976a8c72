"""Other programs read our GeoJSON as its page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.store.tables import PROMPTS, regions
from wsiparse.coords import Frame
from wsiparse.export.geojson import OverlayFacts, write_centroids, write_geojson


def test_geopandas_reads_the_packed_file_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geopandas = pytest.importorskip("geopandas")
    page = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"`(geopandas\.read_file\([^`]+)`", page)
    monkeypatch.chdir(tmp_path)
    table = regions()
    written = write_geojson(
        Path("cells.geojson.gz"),
        [table],
        OverlayFacts(Frame(size=(640, 512), downsample=(1.0, 1.0), mpp=(0.5, 0.5)), PROMPTS, "f", "test"),
    )
    read = eval(line, {"geopandas": geopandas})
    assert len(read) == written.objects == len(table) > 0
    assert read.geometry.area.tolist() == pytest.approx(table.area_px.tolist())
    assert set(read["objectType"]) == {"detection"}


def test_points_of_regions_are_locked_and_those_of_cells_are_not(tmp_path: Path) -> None:
    import json

    for kind, locked in (("annotation", True), ("detection", None)):
        write_centroids(
            tmp_path / "a.geojson",
            [regions()],
            OverlayFacts(Frame(size=(640, 512), downsample=(1.0, 1.0), mpp=(0.5, 0.5)), PROMPTS, "f", "test"),
            object_type=kind,  # type: ignore[arg-type]
        )
        features = json.loads((tmp_path / "a.geojson").read_text())["features"]
        assert {f["properties"].get("isLocked") for f in features} == {locked}
        assert {"metadata" in f["properties"] for f in features} == {kind == "annotation"}
