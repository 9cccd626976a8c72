from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import shapely.geometry

from tests.qupath.bench import Bench, image

RING = "POLYGON ((20 20, 400 20, 400 300, 20 300, 20 20), (100 100, 100 200, 200 200, 200 100, 100 100))"
TWO = "MULTIPOLYGON (((0 0, 150 0, 150 500, 0 500, 0 0)), ((420 10, 630 10, 630 500, 420 250, 420 10)))"
ANNOTATIONS = [
    {"type": "annotation", "wkt": RING, "class": "Tumor", "name": "a, quoted"},
    {"type": "annotation", "wkt": TWO},
    {"type": "annotation", "wkt": "LINESTRING (0 0, 600 500)", "class": "Tumor"},
]
MPP = (0.5, 0.25)


@pytest.fixture(scope="module")
def cells(slide_folder: Path) -> list[tuple[str, Any]]:
    """Class and polygon of every cell of the demo slide."""
    document = json.loads(gzip.decompress((slide_folder / "cells.geojson.gz").read_bytes()))
    return [
        (f["properties"]["classification"]["name"], shapely.geometry.shape(f["geometry"])) for f in document["features"]
    ]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_counts_inside_annotations_equal_those_of_shapely(
    bench: Bench, results: Path, cells: list[tuple[str, Any]], tmp_path: Path
) -> None:
    picture = image(objects=ANNOTATIONS, mpp=list(MPP))
    tile = {"type": "tile", "wkt": "POLYGON ((30 30, 40 30, 40 40, 30 40, 30 30))"}
    picture["objects"] = [*ANNOTATIONS, tile]  # a tile is no cell
    steps = [
        {"script": "import_overlay", "args": [str(results)], "open": 0},
        {"script": "count_by_annotation", "args": [f"out={tmp_path}/all.csv", "measurements=true"], "open": 0},
        {"script": "count_by_annotation", "args": [f"out={tmp_path}/tables", "class=Tumor"], "open": 0},
    ]
    _, everything, tumor = bench.run(tmp_path, [picture], steps)
    assert everything["error"] is None
    rows = table(tmp_path / "all.csv")
    assert len(rows) == 2  # a line has no inside
    classes = sorted({name for name, _ in cells})
    assert len(classes) == 2
    for row, annotation in zip(rows, ANNOTATIONS[:2], strict=True):
        shape = shapely.from_wkt(annotation["wkt"])
        inside = Counter(name for name, cell in cells if shape.covers(cell.centroid))
        area = shape.area * MPP[0] * MPP[1] / 1e6
        assert 0 < inside.total() < len(cells)
        assert int(row["detections"]) == inside.total()
        assert float(row["area_mm2"]) == pytest.approx(area, abs=1e-6)
        assert float(row["per_mm2"]) == pytest.approx(inside.total() / area, abs=0.01)
        for name in classes:
            assert int(row[name]) == inside[name]
            assert float(row[f"{name} per_mm2"]) == pytest.approx(inside[name] / area, abs=0.01)
        measured = next(o for o in everything["images"][0]["objects"] if o["id"] == row["id"])["measurements"]
        assert measured == {f"wsiparse count {name}": inside[name] for name in classes}
    assert rows[0]["annotation"] == "a, quoted"
    assert rows[0]["annotation class"] == "Tumor"
    assert f"2 annotations, {len(cells)} detections of 2 classes" in everything["printed"]
    assert everything["images"][0]["measurements_changed"] == 2
    (written,) = (tmp_path / "tables").iterdir()
    assert written.name.startswith("demo__")
    assert table(written) == rows[:1]
    assert tumor["images"][0]["measurements_changed"] == 2  # no more than before


def test_selected_annotations_are_counted_alone_and_without_pixel_size_there_are_no_densities(
    bench: Bench, results: Path, cells: list[tuple[str, Any]], tmp_path: Path
) -> None:
    picture = image(objects=[ANNOTATIONS[0], {**ANNOTATIONS[1], "selected": 1}])
    del picture["mpp"]
    steps = [
        {"script": "import_overlay", "args": [str(results)], "open": 0},
        {"script": "count_by_annotation", "args": [f"out={tmp_path}/some.csv"], "open": 0},
    ]
    _, counted = bench.run(tmp_path, [picture], steps)
    (row,) = table(tmp_path / "some.csv")
    shape = shapely.from_wkt(TWO)
    assert int(row["detections"]) == sum(shape.covers(cell.centroid) for _, cell in cells)
    assert row["area_mm2"] == row["per_mm2"] == ""
    assert "no pixel size" in counted["printed"]


def grid_of(cells: list[tuple[str, Any]], tile_um: float) -> dict[tuple[int, int], Counter[str]]:
    """Cells by tile (column, row) and class."""
    found: dict[tuple[int, int], Counter[str]] = {}
    for name, cell in cells:
        place = (int(cell.centroid.x * MPP[0] // tile_um), int(cell.centroid.y * MPP[1] // tile_um))
        found.setdefault(place, Counter())[name] += 1
    return found


@pytest.mark.parametrize("version", [{"detections_keep_no_metadata": 1}, {}], ids=["0.5", "0.6"])
def test_the_density_grid_equals_a_histogram_and_replaces_itself(
    bench: Bench, results: Path, cells: list[tuple[str, Any]], tmp_path: Path, version: dict[str, Any]
) -> None:
    tile_um = 50.0
    foreign = {"type": "tile", "wkt": "POLYGON ((30 30, 40 30, 40 40, 30 40, 30 30))"}
    grid = {"script": "density_grid", "args": [f"tile={tile_um:g}", f"out={tmp_path}/grid.csv"], "open": 0}
    steps = [{"script": "import_overlay", "args": [str(results)], "open": 0}, grid, grid]
    steps += [{"script": "density_grid", "args": ["tile=100", "tiles=false"], "open": 0}, steps[0]]
    _, first, second, counted, again = bench.run(tmp_path, [image(objects=[foreign], mpp=list(MPP))], steps, **version)
    assert first["error"] is None
    expected = grid_of(cells, tile_um)
    assert len(expected) > 8
    rows = table(tmp_path / "grid.csv")
    places = [(round(float(r["x_um"]) / tile_um), round(float(r["y_um"]) / tile_um)) for r in rows]
    assert places == sorted(expected, key=lambda place: (place[1], place[0]))
    tiles = [o for o in second["images"][0]["objects"] if o.get("name") == "wsiparse grid"]
    assert len(tiles) == len(rows)
    for row, place, tile in zip(rows, places, tiles, strict=True):
        # tiles of the last row and column end where the image (320 x 128 um) ends
        size = [min(tile_um, limit - k * tile_um) for k, limit in zip(place, (640 * MPP[0], 512 * MPP[1]), strict=True)]
        area = size[0] * size[1] / 1e6
        counts = expected[place]
        assert int(row["detections"]) == counts.total()
        assert float(row["area_mm2"]) == pytest.approx(area, abs=1e-6)
        assert tile["measurements"] == pytest.approx(
            {
                "Detections": counts.total(),
                "Detections per mm^2": counts.total() / area,
                **{f"{name} per mm^2": counts[name] / area for name in {n for n, _ in cells}},
            }
        )
        corner = np.array(place) * tile_um / MPP
        assert shapely.bounds(shapely.from_wkt(tile["wkt"])) == pytest.approx(
            [*corner, *(corner + np.array(size) / MPP)]
        )
    assert f"{len(rows)} earlier tiles replaced" in second["printed"]
    assert first["images"][0]["count"] == second["images"][0]["count"] == len(cells) + len(rows) + 1
    assert counted["images"] == second["images"]  # tiles=false changes nothing
    # fresh cells make the grid a thing of the past
    assert again["images"][0]["count"] == len(cells) + 1


def test_a_grid_needs_a_tile_with_an_area(bench: Bench, tmp_path: Path) -> None:
    steps = [{"script": "density_grid", "args": [f"tile={t}"], "open": 0} for t in ("0", "-3", "NaN", "Infinity")]
    for state in bench.run(tmp_path, [image()], steps):
        assert state["error"].startswith("IllegalArgumentException: A tile of")


def test_a_grid_needs_a_pixel_size(bench: Bench, tmp_path: Path) -> None:
    picture = image()
    del picture["mpp"]
    (state,) = bench.run(tmp_path, [picture], [{"script": "density_grid", "args": [], "open": 0}])
    assert state["error"].startswith("IllegalStateException: demo.svs: no pixel size")
