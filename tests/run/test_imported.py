"""What other programs found becomes results that every command works on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import tifffile

from tests.imports import files
from wsiparse.choices import ExportFormat, words
from wsiparse.export.reading import read_objects
from wsiparse.results.folder import done_record
from wsiparse.slides.synthetic import paint_he, write_svs
from wsiparse.store.read import ObjectsReader
from wsiparse.types import ObjectTable
from wsiparse.viewer.index import ObjectIndex
from wsiparse.viewer.overlay import EMPTY_TILE
from wsiparse.viewer.source import find_shown
from wsiparse.viewer.view import View

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "demo.svs"
    write_svs(path, paint_he(*files.SIZE, seed=7).image)
    return path


def one(results: Path) -> Path:
    [folder] = (results / "slides").iterdir()
    return folder


def imported(wsiparse: Run, slide: Path, results: Path, *given: object) -> Any:
    done = wsiparse("import", *given, "--slide", slide, "-o", results)
    assert done.code == 0, done.err
    return done


def test_cells_of_qupath_become_results_that_every_command_works_on(wsiparse: Run, slide: Path, tmp_path: Path) -> None:
    polygons, results = files.outlines(), tmp_path / "r"
    path = files.qupath(tmp_path / "cells.geojson", polygons, nuclei=True)
    done = imported(wsiparse, slide, results, path)
    assert "20 Tumor, 20 Immune cells" in done.out
    assert "objects: imported from QuPath, not made here" in done.out
    folder = one(results)
    objects = read_objects(folder)
    assert objects["area_px"].sum() == pytest.approx(sum(p.area for p in polygons), abs=0.01)
    by_place = {p.centroid.coords[0]: p for p in polygons}
    nearest = shapely.STRtree([shapely.Point(c) for c in by_place])
    for k, shape in enumerate(objects.polygons()):
        polygon = list(by_place.values())[nearest.nearest(shape.centroid)]
        assert shapely.equals_exact(shape, polygon, 1e-6)
        assert objects["perimeter_um"][k] == pytest.approx(polygon.length * files.MPP)
    record = done_record(folder)
    assert record is not None
    [source] = record["imported"]["files"]
    assert (source["name"], source["program"], source["objects"]) == ("cells.geojson", "QuPath", 40)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "imported from QuPath, not made here" in page
    assert "whether the other program looked at all of it is not known" in page.replace("\n", " ")
    assert "the objects were imported, and how they were made is not known here" in page
    for command in (("verify", results), ("status", results), ("merge", results), ("report", results)):
        assert wsiparse(*command).code == 0, command
    assert wsiparse("verify", results).code == 0
    assert "1 done" in wsiparse("merge", results).out
    assert "already done" in imported(wsiparse, slide, results, path).out


@pytest.mark.parametrize("name", [name for name in words(ExportFormat) if name != "spatialdata"])
def test_every_format_holds_the_objects(name: str, wsiparse: Run, slide: Path, tmp_path: Path) -> None:
    for package in {"parquet": ("pyarrow",), "geoparquet": ("pyarrow",), "anndata": ("anndata",)}.get(name, ()):
        pytest.importorskip(package)
    path = files.qupath(tmp_path / "cells.geojson", files.outlines(12))
    imported(wsiparse, slide, tmp_path / "r", path, "--no-labels")
    told = wsiparse("export", tmp_path / "r", "--format", name)
    assert told.code == 0, told.err
    assert ("12 objects" in told.out) == (name != "ome-zarr")
    back = {"geojson": "cells.geojson.gz", "coco": "objects.coco.json", "geoparquet": "objects.geo.parquet"}.get(name)
    if back is not None:  # and what was exported can be imported again
        again = one(tmp_path / "r") / "exports" / back
        imported(wsiparse, slide, tmp_path / "again", again)
        a, b = (read_objects(one(tmp_path / r)) for r in ("r", "again"))
        assert sorted(a["area_px"].round(3)) == sorted(b["area_px"].round(3))
        assert a["class"].tolist() == b["class"].tolist()


def test_own_geojson_comes_back_as_it_was(wsiparse: Run, slide: Path, tmp_path: Path) -> None:
    ran = wsiparse("run", slide, "-o", tmp_path / "a", "--engine", "classical", "--scheduler", "serial", "--mpp", "1")
    assert ran.code == 0, ran.err
    before = one(tmp_path / "a")
    imported(wsiparse, slide, tmp_path / "b", before / "cells.geojson.gz")
    a, b = ObjectsReader(before / "objects.zarr"), ObjectsReader(one(tmp_path / "b") / "objects.zarr")
    was, now = a.table("cell"), b.table("cell")
    assert len(now) == len(was) > 20
    for column in ("coords", "ring_offsets", "polygon_offsets", "area_px", "first_px", "class_id"):
        assert np.array_equal(getattr(was, column), getattr(now, column)), column
    assert np.allclose(was.centroid, now.centroid)
    assert np.allclose(was.score, now.score, atol=1e-4)
    assert (b.frames["cell"].downsample, b.prompts[0].colour) == (a.frames["cell"].downsample, a.prompts[0].colour)
    first, second = (read_objects(one(tmp_path / r)) for r in "ab")
    assert first["id"].tolist() == second["id"].tolist()
    assert np.allclose(first["perimeter_um"], second["perimeter_um"])
    imported(wsiparse, slide, tmp_path / "c", before / "labels.ome.zarr")
    assert np.array_equal(ObjectsReader(one(tmp_path / "c") / "objects.zarr").table("cell").coords, was.coords)


def test_labels_of_a_tiff_have_their_pixels_and_the_viewer_shows_them(
    wsiparse: Run, slide: Path, tmp_path: Path
) -> None:
    labels = files.label_image()
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    imported(
        wsiparse,
        slide,
        tmp_path / "r",
        tmp_path / "labels.tif",
        "--name",
        "my tool",
        "--rename",
        "Unclassified=Nucleus",
    )
    folder = one(tmp_path / "r")
    reader = ObjectsReader(folder / "objects.zarr")
    assert reader.engine == "objects: imported from my tool, not made here"
    assert reader.count("cell") == len(np.unique(labels)) - 1
    assert int(reader.table("cell").area_px.sum()) == int((labels > 0).sum())
    assert len(ObjectIndex(reader, "cell").rows_in(0, 0, *files.SIZE)) == reader.count("cell")
    import zarr

    drawn = np.asarray(zarr.open_array(folder / "labels.ome.zarr" / "labels" / "cells" / "0", mode="r")[...])
    assert np.array_equal(drawn > 0, labels > 0)


def test_labels_of_free_outlines_hold_the_pixels_whose_centres_lie_in_them(
    wsiparse: Run, slide: Path, tmp_path: Path
) -> None:
    polygons = files.outlines()
    imported(wsiparse, slide, tmp_path / "r", files.coco(tmp_path / "a.json", polygons))
    import zarr

    folder = one(tmp_path / "r")
    drawn = np.asarray(zarr.open_array(folder / "labels.ome.zarr" / "labels" / "cells" / "0", mode="r")[...])
    x, y = np.meshgrid(np.arange(files.SIZE[0]) + 0.5, np.arange(files.SIZE[1]) + 0.5)
    expected = np.zeros(files.SIZE[::-1], np.int32)
    for k, shape in enumerate(read_objects(folder).polygons(), 1):
        expected[shapely.contains_xy(shape, x, y)] = k
    assert np.array_equal(drawn, expected)
    view = View(find_shown(tmp_path / "r"))  # outlines near, labels from afar
    for level in (0, view.overlay_pyramid.levels - 1):
        assert any(
            view.overlay_tile(1, level, column, row) != EMPTY_TILE
            for row, column in np.ndindex(*view.overlay_pyramid.grid(view.overlay_pyramid.exponent(level))[::-1])
        )


def test_points_are_counted_and_have_no_size(wsiparse: Run, slide: Path, tmp_path: Path) -> None:
    points = [[100 + 10 * k, 200.5] for k in range(20)]
    path = tmp_path / "points.geojson"
    path.write_text(json.dumps({"type": "MultiPoint", "coordinates": points}))
    done = imported(wsiparse, slide, tmp_path / "r", path, "--whole-slide")
    assert "20 points: they have no size" in done.err
    folder = one(tmp_path / "r")
    assert np.isnan(read_objects(folder)["area_um2"]).all()
    assert "These are points, without a size: <bdi>Unclassified</bdi>." in (folder / "report.html").read_text()
    numbers = json.loads((folder / "report.json").read_text())
    [row] = [row for row in numbers["rows"] if row["class"] == "Unclassified"]
    assert (row["n"], row["object_area_um2"], row["mean_area_um2"], row["area_percent"]) == (20, None, None, None)
    assert row["density_per_mm2"] == pytest.approx(20 / (640 * 512 * 0.25e-6))


def test_overlaps_and_what_lies_outside_the_regions_are_told(wsiparse: Run, slide: Path, tmp_path: Path) -> None:
    polygons = files.outlines()
    path = files.qupath(tmp_path / "a.geojson", [*polygons, *polygons[:3]])
    done = imported(wsiparse, slide, tmp_path / "r", path)
    assert "6 of 43 cells overlap another one; all are counted" in done.err
    roi = tmp_path / "roi.geojson"
    box = [[0, 0], [320, 0], [320, 512], [0, 512], [0, 0]]
    roi.write_text(json.dumps({"type": "Polygon", "coordinates": [box]}))
    done = imported(wsiparse, slide, tmp_path / "roi", files.qupath(tmp_path / "b.geojson", polygons), "--roi", roi)
    inside = sum(p.centroid.x < 320 for p in polygons)
    assert f"{len(polygons) - inside} objects outside the analysed regions, left out" in done.err
    assert len(read_objects(one(tmp_path / "roi"))) == inside


def test_coordinates_of_another_frame_are_noticed(wsiparse: Run, slide: Path, tmp_path: Path) -> None:
    write_svs(tmp_path / "corner.svs", _tissue_in_the_corner())
    small = [shapely.affinity.scale(p, 0.5, 0.5, origin=(0, 0)) for p in _outlines_in_the_corner()]
    path = files.qupath(tmp_path / "um.geojson", small)
    done = imported(wsiparse, tmp_path / "corner.svs", tmp_path / "r", path)
    assert re.search(r"only \d+ % of the objects lie in tissue, and \d+ % would with --unit um", done.err)
    numbers = json.loads((one(tmp_path / "r") / "report.json").read_text())
    assert any("--unit um" in note for note in numbers["slide"]["notes"])


def _outlines_in_the_corner() -> list[shapely.Polygon]:
    return [shapely.affinity.translate(p, 700, 700) for p in files.outlines(16)]


def _tissue_in_the_corner() -> Any:
    picture = np.full((1400, 1400, 3), 242, np.uint8)
    picture[700:1212, 700:1340] = paint_he(*files.SIZE, seed=7).image
    return picture


@pytest.mark.parametrize("text", ["", "[]", '{"features": [}'])
def test_what_cannot_be_imported_is_one_line_and_leaves_nothing(
    text: str, wsiparse: Run, slide: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.geojson").write_text(text)
    said = wsiparse("import", tmp_path / "a.geojson", "--slide", slide, "-o", tmp_path / "r")
    assert said.code == 1
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("error: ")
    assert not (tmp_path / "r").exists()


def test_results_that_are_there_are_not_replaced_unasked(wsiparse: Run, slide: Path, tmp_path: Path) -> None:
    first = files.qupath(tmp_path / "a.geojson", files.outlines(8))
    other = files.qupath(tmp_path / "b.geojson", files.outlines(9, seed=1))
    imported(wsiparse, slide, tmp_path / "r", first)
    said = wsiparse("import", other, "--slide", slide, "-o", tmp_path / "r")
    assert said.code == 1
    assert "holds other results of this slide" in said.err
    ran = wsiparse("run", slide, "-o", tmp_path / "r", "--engine", "classical", "--scheduler", "serial")
    assert ran.code == 1
    assert "holds results of other settings (objects: imported from QuPath, not made here" in ran.err
    assert len(read_objects(one(tmp_path / "r"))) == 8
    imported(wsiparse, slide, tmp_path / "r", other, "--overwrite")
    assert len(read_objects(one(tmp_path / "r"))) == 9


def test_the_order_of_files_changes_no_object(wsiparse: Run, slide: Path, tmp_path: Path) -> None:
    polygons = files.outlines()
    halves = [files.qupath(tmp_path / f"{k}.geojson", polygons[k::2]) for k in range(2)]
    tables: list[ObjectTable] = []
    for k, order in enumerate((halves, halves[::-1])):
        imported(wsiparse, slide, tmp_path / f"r{k}", *order, "--no-labels")
        tables.append(ObjectsReader(one(tmp_path / f"r{k}") / "objects.zarr").table("cell"))
    assert np.array_equal(tables[0].coords, tables[1].coords)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rename", "a"), "--rename 'a': OLD=NEW is needed"),
        (("--unit", "um", "--downsample", "2"), "--downsample is for coordinates in px"),
        (("--downsample", "0"), "not in the range"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    options: tuple[str, ...], message: str, wsiparse: Run, slide: Path, tmp_path: Path
) -> None:
    said = wsiparse("import", tmp_path / "a.json", "--slide", slide, "-o", tmp_path / "r", *options)
    assert said.code == 2
    assert message in said.err
