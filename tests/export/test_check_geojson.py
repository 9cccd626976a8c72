from __future__ import annotations

import copy
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.export.check import MODULE, SCRIPT, check

SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
BOW_TIE = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
INNER = [[2, 2], [2, 4], [4, 4], [4, 2], [2, 2]]


def moved(ring: list[list[float]], x: float) -> list[list[float]]:
    return [[a + x, b] for a, b in ring]


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(number: int = 0) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"00000000-0000-5000-8000-{number:012x}",
        "geometry": polygon(SQUARE),
        "properties": {
            "objectType": "detection",
            "classification": {"name": "Nucleus", "color": [255, 0, 0]},
            "measurements": {"Area um^2": 25.0, "Count": 3},
            "metadata": {"wsiparse": "0.1.0"},
        },
    }


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def written(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def at(*keys: Any) -> Callable[[Any], Callable[[dict[str, Any]], None]]:
    """A change of one feature: the value below some keys."""

    def setter(value: Any) -> Callable[[dict[str, Any]], None]:
        def change(one: dict[str, Any]) -> None:
            for key in keys[:-1]:
                one = one.setdefault(key, {})
            one[keys[-1]] = value

        return change

    return setter


geometry, properties = at("geometry"), at("properties")
classification, measurements = at("properties", "classification"), at("properties", "measurements")

REFUSED = {
    "edges that cross": (geometry(polygon(BOW_TIE)), "invalid outline: Self-intersection"),
    "edges that cross at a corner": (
        geometry(polygon([[0, 0], [5, 5], [10, 10], [10, 0], [5, 5], [0, 10], [0, 0]])),
        "invalid outline: Ring Self-intersection",
    ),
    "a loop inside that crosses at its corner": (
        geometry(polygon([[0, 0], [10, 0], [10, 10], [0, 10], [0, 0], [4, 2], [2, 4], [0, 0]])),
        "invalid outline: Ring Self-intersection",
    ),
    "a hole outside its shell": (geometry(polygon(SQUARE, moved(INNER, 50))), "invalid outline: Hole lies outside"),
    "a hole across its shell": (geometry(polygon(SQUARE, moved(INNER, 7))), "invalid outline"),
    "holes that overlap": (geometry(polygon(SQUARE, INNER, moved(INNER, 1))), "invalid outline"),
    "overlapping parts": (
        geometry({"type": "MultiPolygon", "coordinates": [[SQUARE], [moved(SQUARE, 5)]]}),
        "invalid outline: Self-intersection",
    ),
    "nested parts": (geometry({"type": "MultiPolygon", "coordinates": [[SQUARE], [INNER]]}), "invalid outline: Nested"),
    "a ring that is not closed": (geometry(polygon(SQUARE[:-1])), "not closed"),
    "a ring of three positions": (geometry(polygon([[0, 0], [1, 1], [0, 0]])), "fewer than four"),
    "an outline without area": (geometry(polygon([[0, 0], [5, 0], [9, 0], [0, 0]])), "invalid outline|without area"),
    "a polygon without rings": (geometry({"type": "Polygon", "coordinates": [[]]}), "not pairs of numbers"),
    "no coordinates": (geometry({"type": "Polygon", "coordinates": []}), "no coordinates"),
    "a multipolygon of one part": (geometry({"type": "MultiPolygon", "coordinates": [[SQUARE]]}), "one part"),
    "a geometry collection": (geometry({"type": "GeometryCollection", "geometries": []}), "does not read"),
    "a circle": (geometry({"type": "Circle", "coordinates": [0, 0]}), "does not read"),
    "geometry null": (geometry(None), "geometry is null"),
    "geometry of text": (geometry("POLYGON"), "not an object"),
    "extra keys in the plane": (geometry({**polygon(SQUARE), "plane": {"z": 0, "t": 0, "x": 1}}), "plane"),
    "coordinates of text": (geometry(polygon([["0", "0"], ["1", "0"], ["1", "1"], ["0", "0"]])), "not pairs"),
    "coordinates null": (geometry(polygon([[None, 0], [1, 0], [1, 1], [None, 0]])), "not pairs"),
    "ragged positions": (geometry(polygon([[0, 0], [1], [1, 1], [0, 0]])), "differ in length"),
    "a single number as a position": (geometry({"type": "Point", "coordinates": [5]}), "not pairs"),
    "three decimals": (geometry({"type": "Point", "coordinates": [1.125, 2]}), "more than two decimals"),
    "three decimals far out": (geometry({"type": "Point", "coordinates": [123456.785, 2]}), "more than two decimals"),
    "id null": (at("id")(None), "id is null"),
    "id that is no UUID": (at("id")("cell-1"), "not a UUID"),
    "id that is a number": (at("id")(7), "not a UUID"),
    "properties null": (properties(None), "properties is null"),
    "properties of text": (properties("x"), "properties is not an object"),
    "name null": (at("properties", "name")(None), "name is null"),
    "name that is a number": (at("properties", "name")(3), "name is not a string"),
    "nucleusGeometry null": (at("nucleusGeometry")(None), "nucleusGeometry is null"),
    "nucleusGeometry that crosses itself": (at("nucleusGeometry")(polygon(BOW_TIE)), "invalid outline"),
    "an unknown object type": (at("properties", "objectType")("nucleus"), "objectType 'nucleus'"),
    "an object type null": (at("properties", "objectType")(None), "objectType is null"),
    "class without colour": (classification({"name": "X"}), "without color"),
    "class null": (classification(None), "classification is null"),
    "class of numbers": (classification(3), "neither a name nor an object"),
    "class name blank": (classification({"name": " ", "color": [1, 2, 3]}), "blank"),
    "class name blank as text": (classification(""), "blank"),
    "class name with a line break": (classification({"name": "A\nB", "color": [1, 2, 3]}), "line break"),
    "class name with a line break as text": (classification("A\nB"), "line break"),
    "class name missing": (classification({"color": [1, 2, 3]}), "blank"),
    "class names empty": (classification({"names": [], "color": [1, 2, 3]}), "not a list of names"),
    "class colour of two numbers": (classification({"name": "X", "color": [1, 2]}), "color"),
    "class colour out of range": (classification({"name": "X", "color": [1, 2, 256]}), "color"),
    "class colour of fractions": (classification({"name": "X", "color": [1, 2, 0.5]}), "color"),
    "isLocked of text": (at("properties", "isLocked")("yes"), "isLocked"),
    "measurements as a list": (measurements([{"name": "a", "value": 1}]), "measurements is not"),
    "a measurement of text": (measurements({"a": "1"}), "'a' is not a number"),
    "a measurement null": (measurements({"a": None}), "'a' is not a number"),
    "a measurement true": (measurements({"a": True}), "'a' is not a number"),
    "a nested measurement": (measurements({"a": {"b": 1}}), "'a' is not a number"),
    "metadata of numbers": (at("properties", "metadata")({"a": 1}), "metadata"),
    "metadata as a list": (at("properties", "metadata")(["a"]), "metadata"),
    "a type other than Feature": (at("type")("feature"), "type Feature"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_qupath_refuses_is_refused(tmp_path: Path, what: str) -> None:
    change, words = REFUSED[what]
    bad = feature(2)
    change(bad)
    report = check(written(tmp_path / "a.geojson", collection(feature(1), bad, feature(3))))
    assert report.refused == 1
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(report.problems[0])
    assert report.problems[0].startswith("feature 1: ")


TEXTS = {
    "NaN": (json.dumps(collection(feature(), feature(1))).replace("25.0", "NaN", 1), "NaN or Infinity"),
    "Infinity": (json.dumps(collection(feature())).replace("25.0", "-Infinity"), "NaN or Infinity"),
    "an infinite measurement": (json.dumps(collection(feature())).replace("25.0", "1e999"), "not finite"),
    "an infinite coordinate": (json.dumps(collection(feature())).replace("[10, 0]", "[1e999, 0]"), "not finite"),
    "one JSON value a line": (f"{json.dumps(feature(1))}\n{json.dumps(feature(2))}\n", "not FeatureCollection"),
    "collections one a line": (f"{json.dumps(collection())}\n{json.dumps(collection())}\n", "text goes on"),
    "an array": (json.dumps([feature()]), "an array"),
    "a lone feature": (json.dumps(feature()), "'Feature', not FeatureCollection"),
    "a lone geometry": (json.dumps(polygon(SQUARE)), "'Polygon', not FeatureCollection"),
    "no type": (json.dumps({"features": []}), "None, not FeatureCollection"),
    "no features": (json.dumps({"type": "FeatureCollection"}), "no features"),
    "features null": (json.dumps({"type": "FeatureCollection", "features": None}), "expected '\\['"),
    "nothing": ("", "empty"),
    "white space": (" \n", "empty"),
    "text": ("hello", "not valid JSON"),
    "cut in a feature": (json.dumps(collection(feature()))[:150], "ends in the middle"),
    "cut in a string": (json.dumps(collection(feature()))[:47], "ends in the middle"),
    "cut after a feature": (json.dumps(collection(feature()))[:-2], "the end of the file"),
    "a comma too many": (json.dumps(collection(feature()))[:-2] + ",]}", "a comma before"),
    "a comma too few": (json.dumps(collection(1, 2)).replace("1, 2", "1 2"), "expected ','"),
    "a feature that is a number": (json.dumps(collection(7)), "not an object"),
    "no geometry": (json.dumps(collection({"type": "Feature"})), "no geometry"),
    "the same id twice": (json.dumps(collection(feature(1), feature(2), feature(1))), "1 ids come twice.*000001"),
    "depth without end": ('{"type": "FeatureCollection", "x": ' + "[" * 100_000, "nested too deeply|middle"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_files_qupath_cannot_read_are_refused(tmp_path: Path, what: str) -> None:
    text, words = TEXTS[what]
    report = check(written(tmp_path / "a.geojson", text))
    assert report.refused >= 1
    with pytest.raises(AssertionError, match=words):
        raise AssertionError("; ".join(report.problems))


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    good = json.dumps(collection(feature())).encode()
    contents = {
        "latin.geojson": (good.replace(b"Nucleus", b"N\xfccleus"), "not UTF-8"),
        "plain.geojson.gz": (good, "not compressed"),
        "packed.geojson": (gzip.compress(good), "not called .gz"),
        "cut.geojson.gz": (gzip.compress(good)[:-20], "cannot be read"),
        "crc.geojson.gz": (gzip.compress(good)[:-8] + bytes(8), "cannot be read"),
    }
    for name, (data, words) in contents.items():
        (tmp_path / name).write_bytes(data)
        report = check(tmp_path / name)
        assert any(words in problem for problem in report.problems), (name, report.problems)
    assert check(tmp_path / "absent.geojson").refused == 1


ACCEPTED = {
    "as it is": at("type")("Feature"),
    "a hole": geometry(polygon(SQUARE, INNER)),
    "the other winding": geometry(polygon(SQUARE[::-1], INNER[::-1])),
    "a ring that touches itself": geometry(
        polygon([[0, 0], [5, 0], [5, 5], [10, 5], [10, 10], [5, 10], [5, 5], [0, 5], [0, 0]])
    ),
    "a ring that touches itself from inside": geometry(
        polygon([[0, 0], [10, 0], [10, 10], [0, 10], [0, 0], [2, 4], [4, 2], [0, 0]])
    ),
    "triangles that touch at a corner": geometry(polygon([[0, 0], [5, 5], [10, 0], [10, 10], [5, 5], [0, 10], [0, 0]])),
    "parts side by side": geometry({"type": "MultiPolygon", "coordinates": [[SQUARE], [moved(SQUARE, 50)]]}),
    "a point": geometry({"type": "Point", "coordinates": [1.25, -2.5]}),
    "points": geometry({"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}),
    "a line": geometry({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
    "lines": geometry({"type": "MultiLineString", "coordinates": [[[1, 2], [3, 4]], [[1, 3], [3, 5]]]}),
    "a plane": geometry({**polygon(SQUARE), "plane": {"c": -1, "z": 0, "t": 0}}),
    "two decimals far out": geometry({"type": "Point", "coordinates": [1234567.89, 0.07]}),
    "a class as text": classification("Tumour: Positive"),
    "class names": classification({"names": ["Tumour", "Positive"], "color": [0, 0, 0]}),
    "no properties": lambda one: one.pop("properties"),
    "no id": lambda one: one.pop("id"),
    "a cell with its nucleus": lambda one: (
        one.update(nucleusGeometry=polygon(INNER)),
        one["properties"].update(objectType="cell"),
    ),
    "a locked annotation": properties({"objectType": "annotation", "isLocked": True, "name": "ROI"}),
    "the old name of the type": properties({"type": "tile"}),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_qupath_accepts_is_accepted(tmp_path: Path, what: str) -> None:
    one = copy.deepcopy(feature(1))
    ACCEPTED[what](one)
    report = check(
        written(tmp_path / "a.geojson", {"comment": [1, {"a": None}], **collection(one, feature(2)), "z": 1})
    )
    assert report.problems == []
    assert report.features == 2


def test_types_classes_and_areas_are_counted(tmp_path: Path) -> None:
    other = feature(2)
    other["properties"] |= {"objectType": "annotation", "classification": "Tumour"}
    plain = {"type": "Feature", "geometry": polygon(SQUARE, INNER)}
    report = check(written(tmp_path / "a.geojson", collection(feature(1), other, plain, feature(3))))
    assert report.types == {"detection": 2, "annotation": 2}
    assert report.classes == {"Nucleus": 2, "Tumour": 1, "": 1}
    assert report.areas == {"Nucleus": 200, "Tumour": 100, "": 96}


def test_text_is_read_in_pieces_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.geojson", {**collection(*map(feature, range(5))), "number": 123456, "last": "é\\n"})
    for chunk in (1, 2, 7, 100):
        monkeypatch.setattr(MODULE, "CHUNK", chunk)
        report = check(path)
        assert (report.features, report.problems) == (5, [])


def test_shapes_are_tested_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = feature(9)
    bad["geometry"] = polygon(BOW_TIE)
    path = written(tmp_path / "a.geojson", collection(*map(feature, range(5)), bad, feature(6)))
    for batch in (1, 2, 3, 100):
        monkeypatch.setattr(MODULE, "BATCH", batch)
        report = check(path)
        assert [problem.split(":")[0] for problem in report.problems] == ["feature 5"]
        assert report.areas == {"Nucleus": 600}


def test_the_command_prints_a_line_a_file_and_exits_by_the_verdict(tmp_path: Path) -> None:
    good = written(tmp_path / "good.geojson", collection(feature(1)))
    bad = written(tmp_path / "bad.geojson", collection(*[{}] * 30))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
        )

    fine, mixed, usage = run(good), run(good, bad, "--problems", 3), run()
    assert (fine.returncode, mixed.returncode, usage.returncode) == (0, 1, 2)
    assert fine.stdout == (f"{good}: ok; 1 features: detection 1; area 100.00 px^2\n  Nucleus: 1, area 100.00 px^2\n")
    assert f"{bad}: REFUSED (30 problems)" in mixed.stdout
    assert mixed.stdout.count("feature ") == 3
    assert "and 27 more" in mixed.stdout
    assert "Example:" in run("--help").stdout
