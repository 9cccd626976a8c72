"""Every kind of file gives the outlines, classes and areas that are in it; bad ones give one line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import shapely.affinity
import tifffile
import zarr

from tests.imports import files
from wsiparse.coords import free_frame, is_free
from wsiparse.errors import ImportFileError
from wsiparse.imports.decide import Decided, decide
from wsiparse.imports.gather import Asked, Gathered, Target, Waiting, gather
from wsiparse.types import Box, ObjectTable

TARGET = Target("demo", "0f1e", files.SIZE, (files.MPP, files.MPP), Box(0, 0, *files.SIZE))
FREE = free_frame(files.SIZE, (files.MPP, files.MPP))


def taken(*paths: Path, target: Target = TARGET, **asked: Any) -> tuple[Gathered, Decided, ObjectTable]:
    how = Asked(**asked)
    with Waiting(paths[0].parent / "waiting") as waiting:
        found = gather(paths, target, how, waiting)
        decided = decide(found, how, target)
        table = ObjectTable.concat(list(waiting))
    return found, decided, table.take(np.arange(len(table)))


def shapes_of(table: ObjectTable) -> Any:
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, *table.ragged(FREE))


def classes_of(decided: Decided, table: ObjectTable) -> list[str]:
    return [decided.prompts[decided.class_of[k] - 1].class_name for k in table.class_id.tolist()]


WRITERS: dict[str, Callable[..., Path]] = {
    "a.geojson": files.qupath,
    "a.geojson.gz": files.qupath,
    "coco.json": files.coco,
    "cells.json": files.cellvit,
    "nuc.json": files.hovernet,
    "star.json": files.stardist,
    "a.ndjson": files.tiatoolbox,
    "a.parquet": files.geoparquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_outlines_and_classes_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    polygons = files.outlines()
    gathered, decided, table = taken(WRITERS[name](tmp_path / name, polygons))
    assert len(table) == len(polygons)
    assert shapely.equals_exact(shapes_of(table), np.array(polygons), 1e-6).all()
    assert table.area_px.sum() * 1e-4 == pytest.approx(sum(p.area for p in polygons), abs=1e-3)
    expected = {"star.json": ["Unclassified"], "nuc.json": ["type 1", "type 2"]}.get(name, list(files.CLASSES))
    assert classes_of(decided, table) == [expected[k % len(expected)] for k in range(len(polygons))]
    assert not gathered.counts.total()
    assert all(map(is_free, decided.frames.values()))
    assert {p.kind for p in decided.prompts} == {"cell"}


def test_colours_of_qupath_are_kept_whichever_way_it_writes_them(tmp_path: Path) -> None:
    path = files.qupath(tmp_path / "a.geojson", files.outlines(4))
    document = json.loads(path.read_text())
    document["features"][1]["properties"]["classification"] = {"name": "Immune cells", "colorRGB": -6268256}
    path.write_text(json.dumps(document["features"]))  # a bare list, as older versions wrote
    _, decided, _ = taken(path)
    assert {p.class_name: p.colour for p in decided.prompts} == {"Tumor": "#c80000", "Immune cells": "#a05aa0"}


@pytest.mark.parametrize(("outline", "share"), [("cell", 1.0), ("nucleus", 0.25)])
def test_a_cell_of_qupath_has_the_outline_that_is_asked_for(outline: str, share: float, tmp_path: Path) -> None:
    polygons = files.outlines()
    gathered, _, table = taken(files.qupath(tmp_path / "a.geojson", polygons, nuclei=True), outline=outline)
    assert len(table) == len(polygons)
    assert table.area_px.sum() * 1e-4 == pytest.approx(share * sum(p.area for p in polygons), rel=1e-3)
    assert bool(gathered.left) == (outline == "cell")


def test_annotations_are_regions_beside_detections_and_else_as_large_as_they_are(tmp_path: Path) -> None:
    cells = files.outlines(10)
    small = files.qupath(tmp_path / "small.geojson", cells, kind="annotation")
    large = files.qupath(tmp_path / "large.geojson", [shapely.box(10, 10, 300, 300)], kind="annotation")
    detections = files.qupath(tmp_path / "cells.geojson", cells)
    for paths, kinds in (((small,), {"cell"}), ((large,), {"region"}), ((large, detections), {"cell", "region"})):
        _, decided, _ = taken(*paths)
        assert {p.kind for p in decided.prompts} == kinds
        assert bool(decided.notes) == (len(paths) == 1)
    assert {p.class_name for p in decided.prompts} == {"Tumor", "Immune cells", "Tumor (region)"}
    _, decided, _ = taken(small, kind="region")
    assert {p.kind for p in decided.prompts} == {"region"}


def test_points_have_no_area_and_parts_become_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    square = [[[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]]]
    shapes = [
        {"type": "Point", "coordinates": [100.25, 50.5]},
        {"type": "MultiPoint", "coordinates": [[30, 30, 0], [40, 40]]},
        {"type": "MultiPolygon", "coordinates": [square, [[[30, 10], [40, 10], [40, 20], [30, 20], [30, 10]]]]},
        {"type": "LineString", "coordinates": [[0, 0], [1, 1]]},
        {"type": "GeometryCollection", "geometries": [{"type": "Polygon", "coordinates": square}]},
    ]
    features = [{"type": "Feature", "geometry": shape, "properties": {}} for shape in shapes]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    gathered, decided, table = taken(path)
    assert (table.area_px * 1e-4).tolist() == [0, 0, 0, 100, 100, 100]
    assert (table.centroid[0] * 0.01).tolist() == pytest.approx([100.25, 50.5], abs=0.01)
    assert gathered.counts["points"] == 3
    assert gathered.left["lines"] == 1
    assert decided.prompts[0].class_name == "Unclassified"


def test_outlines_that_cannot_be_counted_are_repaired_cut_or_left_out(tmp_path: Path) -> None:
    bow = [[100, 100], [120, 120], [120, 100], [100, 120], [100, 100]]
    over = [[-10, 10], [10, 10], [10, 30], [-10, 30], [-10, 10]]
    away = [[700, 10], [710, 10], [710, 30], [700, 10]]
    flat = [[50, 50], [60, 50], [50, 50], [50, 50]]
    whole = [[200, 200], [230, 200], [230, 230], [200, 230]]  # not closed
    path = tmp_path / "a.geojson"
    path.write_text(
        json.dumps({"type": "GeometryCollection", "geometries": [
            {"type": "Polygon", "coordinates": [ring]} for ring in (bow, over, away, flat, whole, whole, whole)
        ]})
    )  # fmt: skip
    gathered, _, table = taken(path)
    assert dict(gathered.counts) == {
        "crossing themselves": 1, "without an area": 1, "cut at the edge of the slide": 1, "off the slide": 1
    }  # fmt: skip
    assert (table.area_px * 1e-4).tolist() == [100, 100, 200, 900, 900, 900]
    assert shapely.is_valid(shapes_of(table)).all()


@pytest.mark.parametrize("kind", ["tif", "png", "zarr", "big-endian"])
def test_label_images_have_an_object_a_number_and_their_pixels_as_area(kind: str, tmp_path: Path) -> None:
    labels = files.label_image()
    path = tmp_path / f"labels.{kind if kind != 'big-endian' else 'tif'}"
    if kind == "png":
        from PIL import Image

        Image.fromarray(labels).save(path)
    elif kind == "zarr":
        zarr.save_array(path, labels)
    else:
        tifffile.imwrite(path, labels, byteorder=">" if kind == "big-endian" else "<", tile=(128, 128))
    _, decided, table = taken(path)
    assert len(table) == len(np.unique(labels)) - 1
    assert table.area_px.sum() * 1e-4 == (labels > 0).sum()
    assert decided.frames["cell"].downsample == (1.0, 1.0)


def test_a_smaller_label_image_is_placed_by_its_size_and_a_mask_falls_into_pieces(tmp_path: Path) -> None:
    size = (files.SIZE[0] // 4, files.SIZE[1] // 4)
    labels = files.label_image(6, size)
    tifffile.imwrite(tmp_path / "a.tif", labels)
    _, decided, table = taken(tmp_path / "a.tif")
    assert decided.frames["cell"].downsample == (4.0, 4.0)
    assert table.area_px.sum() * 1e-4 == 16 * (labels > 0).sum()
    mask = np.zeros(files.SIZE[::-1], np.uint8)
    mask[10:20, 10:20] = mask[40:50, 10:30] = 255
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    gathered, _, table = taken(tmp_path / "mask.tif")
    assert (table.area_px * 1e-4).tolist() == [100, 200]
    assert gathered.left.total() == 1


def test_run_lengths_of_coco_are_masks(tmp_path: Path) -> None:
    mask = np.zeros(files.SIZE[::-1], np.uint8)
    mask[100:110, 50:70] = 1
    mask[103:105, 55:60] = 0
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))) if flat[0] == 0 else None
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    path = files.coco(tmp_path / "a.json", files.outlines(1))
    document = json.loads(path.read_text())
    document["annotations"][0]["segmentation"] = {"size": list(mask.shape), "counts": counts}
    del document["annotations"][0]["bbox"]
    path.write_text(json.dumps(document))
    _, _, table = taken(path)
    assert (table.area_px * 1e-4).tolist() == [mask.sum()] == [190]


def test_coordinates_are_placed_by_what_is_known_of_them(tmp_path: Path) -> None:
    polygons = files.outlines(6)
    plain = files.qupath(tmp_path / "a.geojson", polygons)
    halved = [shapely.affinity.scale(p, 0.5, 0.5, origin=(0, 0)) for p in polygons]
    bounded = Target("demo", "0f1e", (900, 800), (0.5, 0.5), Box(100, 50, *files.SIZE))
    truth = polygons[0].centroid

    def first(*paths: Path, target: Target = TARGET, **asked: Any) -> list[float]:
        return (taken(*paths, target=target, **asked)[2].centroid[0] * 0.01).tolist()

    assert first(plain, target=bounded) == pytest.approx([truth.x + 100, truth.y + 50], abs=0.02)
    assert first(plain, target=bounded, coords="level0") == pytest.approx([truth.x, truth.y], abs=0.02)
    assert first(files.qupath(tmp_path / "b.geojson", halved), downsample=2.0) == pytest.approx(
        [truth.x, truth.y], abs=0.05
    )
    assert first(files.qupath(tmp_path / "um.geojson", halved), unit="um") == pytest.approx(
        [truth.x, truth.y], abs=0.05
    )
    small = files.coco(tmp_path / "c.json", halved, image=(320, 256))
    assert first(small) == pytest.approx([truth.x, truth.y], abs=0.05)
    whole = files.coco(tmp_path / "d.json", polygons)
    assert first(whole, target=bounded) == pytest.approx([truth.x + 100, truth.y + 50], abs=0.02)


def test_classes_can_be_called_otherwise(tmp_path: Path) -> None:
    path = files.hovernet(tmp_path / "a.json", files.outlines(6))
    _, decided, table = taken(path, renamed={"type 1": "Neoplastic", "type 2": "Neoplastic"})
    assert [(p.class_name, p.text) for p in decided.prompts] == [("Neoplastic", "Neoplastic cells")]
    assert classes_of(decided, table) == ["Neoplastic"] * 6
    with pytest.raises(ImportFileError, match="no class 'type 7' in the files, which have type 1, type 2"):
        taken(path, renamed={"type 7": "x"})


def of(text: str | bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "a.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def feature(coordinates: Any) -> str:
    return json.dumps(
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": coordinates}, "properties": {}}
    )


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absent": (lambda folder: folder / "no.json", "no such file"),
    "empty": (of(""), "an empty file"),
    "blank": (of(" \n"), "an empty file"),
    "cut": (of('{"type": "FeatureCollection", "features": [{"type": "Feat'), "not valid JSON at character"),
    "no JSON": (of("{x}"), "not valid JSON at character 2"),
    "XML": (of("<xml/>"), "XML, as ASAP"),
    "text": (of("hello"), "not JSON. Give"),
    "bytes": (of(b"\xff\xfe\xfd{"), "a.json: "),
    "pickle": (of(b"\x80\x04\x95"), "a Python pickle, which runs code"),
    "SQLite": (of(b"SQLite format 3\x00"), "an SQLite database"),
    "HDF5": (of(b"\x89HDF\r\n"), "an HDF5 file"),
    "of nothing": (of('{"a": 1, "b": []}'), r"JSON of no known kind \(its members: a, b\)"),
    "no objects": (of('{"type": "FeatureCollection", "features": []}'), "no objects in it"),
    "lines only": (of('{"type": "LineString", "coordinates": [[0, 0], [1, 1]]}'), r"no objects in it \(1 lines\)"),
    "numbers": (of("[1, 2]"), r"not GeoJSON \(int where a feature should be\)"),
    "not a number": (of(feature([[[1, 1], [float("nan"), 2], [3, 3]]])), "object 1 has a corner at nan, 2"),
    "infinite": (of(feature([[[1, 1], [5, 1e400], [3, 3]]])), "object 1 has a corner at 5, inf"),
    "words": (of(feature([[["a", 1], [2, 2], [3, 3]]])), "is no list of points"),
    "points without y": (of(feature([[[1], [2], [3]]])), "is no list of points"),
    "nested": (of("[" * 100_000), "nested too deeply"),
    "nested outline": (of(f'{{"type":"Feature","geometry":{"[" * 100_000}'), "nested too deeply"),
    "two documents": (of(feature([[[1, 1], [9, 1], [9, 9]]]) + "[]"), "not GeoJSON"),
    "off the slide": (of(feature([[[5000, 1], [5009, 1], [5009, 9]]])), "1 of 1 objects lie off the slide"),
    "of another slide": (
        of('{"type":"FeatureCollection","wsiparse":{"slide":"beef"},"features":[]}'),
        "of another slide",
    ),
    "cells of numbers": (of('{"cells": [1]}'), "cell 1 is a int where a cell should be"),
    "stars of numbers": (of('{"coord": [1]}'), "cell 1 is an outline that is no pair of lists"),
    "COCO of many": (
        of(json.dumps({"images": [{"id": 1, "file_name": "x.png"}, {"id": 2, "file_name": "y.png"}]})),
        "has 2 images, and none is called demo",
    ),
    "COCO of another size": (
        lambda folder: files.coco(folder / "a.json", files.outlines(2), image=(1000, 100)),
        "which is no smaller copy of the slide",
    ),
    "folder": (lambda folder: folder, "a folder that is no Zarr"),
    "colours": (
        lambda folder: (tifffile.imwrite(folder / "a.tif", np.zeros((64, 64, 3), np.uint8)), folder / "a.tif")[1],
        "no label image",
    ),
    "fractions": (
        lambda folder: (tifffile.imwrite(folder / "a.tif", np.zeros((64, 64), np.float32)), folder / "a.tif")[1],
        "no label image",
    ),
    "torn": (of(b"II*\x00\x08\x00"), "cannot be read as a label image"),
    "no Parquet": (of(b"PAR1xxxx"), "not a Parquet file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line(name: str, tmp_path: Path) -> None:
    write, expected = BAD[name]
    path = write(tmp_path)
    with pytest.raises(ImportFileError) as raised, Waiting(tmp_path / "waiting") as waiting:
        decide(gather([path], TARGET, Asked(), waiting), Asked(), TARGET)
    text = str(raised.value)
    assert re.search(expected, text), text
    assert "\n" not in text
    assert text.endswith(".")


def test_more_than_255_classes_are_refused(tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [5, 5]}, "properties": {"class": f"c{k}"}}
        for k in range(256)
    ]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(features))
    with pytest.raises(ImportFileError, match="more than 255 classes"):
        taken(path)


def test_objects_do_not_depend_on_how_the_text_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.qupath(tmp_path / "a.geojson", files.outlines(30))
    _, _, whole = taken(path)
    monkeypatch.setattr("wsiparse.imports.jsonstream._CHUNK", 7)
    monkeypatch.setattr("wsiparse.imports.found.BATCH", 3)
    _, _, cut = taken(path)
    assert np.array_equal(whole.coords, cut.coords)
    assert np.array_equal(whole.class_id, cut.class_id)
