from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from wsiparse.errors import RoiError
from wsiparse.measure.truth import SlideFacts, read_truth, truth_file

SLIDE = SlideFacts(("a__0a1b2c3d", "a.svs", "a"), (800, 600), (0.5, 0.5))


def feature(geometry: dict[str, Any], name: str = "", kind: str = "annotation", **more: Any) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": kind}
    if name:
        properties["classification"] = {"name": name}
    return {"type": "Feature", "geometry": geometry, "properties": properties, **more}


def square(x: float, y: float, side: float) -> dict[str, Any]:
    return dict(shapely.geometry.mapping(shapely.box(x, y, x + side, y + side)))


def point(x: float, y: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [x, y]}


def written(folder: Path, features: list[dict[str, Any]], name: str = "a.geojson") -> Path:
    path = folder / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_points_outlines_detections_and_fields_of_qupath(tmp_path: Path) -> None:
    cell = feature(square(80, 80, 30), "Tumor: Positive", "cell", nucleusGeometry=square(90, 90, 10))
    points = {"type": "MultiPoint", "coordinates": [[10, 10], [20, 20]]}
    path = written(
        tmp_path,
        [
            feature(square(0, 0, 400), "Region*"),
            feature(square(500, 0, 200)),
            feature(square(0, 450, 120), "Stroma"),
            feature(square(50, 50, 12), "Tumor"),
            feature(points, "Immune cells"),
            feature(square(60, 60, 12), "", "detection"),
            cell,
            feature(point(30, 30), "Ignore*"),
            feature({"type": "LineString", "coordinates": [[0, 0], [9, 9]]}),
            feature({**point(5, 5), "plane": {"z": 1}}, "Tumor"),
        ],
    )
    truth = read_truth(path, SLIDE)
    assert truth.names == ("Tumor", "Immune cells", "Immune cells", "", "Tumor: Positive")
    np.testing.assert_allclose(truth.points, [[56, 56], [10, 10], [20, 20], [66, 66], [95, 95]])
    assert [shape is None for shape in truth.shapes] == [False, True, True, False, False]
    assert [(name, shape.area) for name, shape in truth.fields] == [("field 1", 160000.0), ("field 2", 40000.0)]
    assert [name for name, _ in truth.regions] == ["Stroma"]
    assert truth.notes == (f"{path}: 3 features are neither nuclei nor areas and are left aside",)
    assert not truth.outlined


def test_fields_that_overlap_are_one_and_ignored_areas_are_taken_out(tmp_path: Path) -> None:
    parts = [square(0, 0, 200), square(100, 0, 200)]
    truth = read_truth(
        written(tmp_path, [*(feature(s, "Region*") for s in parts), feature(square(0, 0, 50), "Ignore*")]), SLIDE
    )
    assert [shape.area for _, shape in truth.fields] == [300 * 200 - 50 * 50]


def test_coordinates_of_qupath_begin_at_the_bounds(tmp_path: Path) -> None:
    moved = SlideFacts(SLIDE.names, SLIDE.size, SLIDE.mpp, (100, 50))
    truth = read_truth(written(tmp_path, [feature(point(1, 2), "a"), feature(square(0, 0, 200), "Region*")]), moved)
    np.testing.assert_allclose(truth.points, [[101, 52]])
    assert truth.fields[0][1].bounds == (100, 50, 300, 250)


def test_a_packed_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(gzip.compress(written(tmp_path, [feature(point(1, 2), "a")], "x.json").read_bytes()))
    assert read_truth(path, SLIDE).names == ("a",)


def test_labels_of_the_whole_slide_at_another_scale(tmp_path: Path) -> None:
    labels = np.zeros((300, 400), np.uint16)
    labels[10:20, 10:20], labels[40:44, 40:44], labels[50:54, 50:54] = 7, 9, 9
    Image.fromarray(labels).save(tmp_path / "a.label.png")
    (tmp_path / "a.types.json").write_text('{"7": 2, "9": "Tumor"}')
    truth = read_truth(tmp_path / "a.label.png", SLIDE)
    assert truth.whole
    assert truth.names == ("inflammatory cells", "Tumor")
    np.testing.assert_allclose(truth.points, [[30, 30], [94, 94]])
    assert [shape.area for shape in truth.shapes] == [400, 128]


def test_lists_of_points(tmp_path: Path) -> None:
    (tmp_path / "a.points.json").write_text("[[10, 20, 3], [30, 40, 0]]")
    truth = read_truth(tmp_path / "a.points.json", SLIDE)
    assert (truth.points.tolist(), truth.names) == ([[10, 20], [30, 40]], ("epithelial cells", ""))
    (tmp_path / "b.csv").write_text("X_um;Y_um;Class\n5;10;Tumor\n")
    truth = read_truth(tmp_path / "b.csv", SLIDE)
    assert (truth.points.tolist(), truth.names) == ([[10, 20]], ("Tumor",))


def test_files_are_found_by_the_names_of_a_slide(tmp_path: Path) -> None:
    assert truth_file(tmp_path, SLIDE) is None
    (tmp_path / "a.points.json").write_text("[]")
    assert truth_file(tmp_path, SLIDE) == tmp_path / "a.points.json"
    (tmp_path / "a.geojson").write_text("[]")
    with pytest.raises(RoiError, match=r"two files of annotations for a, a\.geojson and a\.points\.json\. Keep one"):
        truth_file(tmp_path, SLIDE)
    (tmp_path / "a__0a1b2c3d.geojson").write_text("[]")
    assert truth_file(tmp_path, SLIDE) == tmp_path / "a__0a1b2c3d.geojson"
    with pytest.raises(RoiError, match="no such folder or file of annotations"):
        truth_file(tmp_path / "none", SLIDE)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.geojson", "", "the file is empty"),
        ("a.geojson", "<Annotations/>", "XML, as ASAP"),
        ("a.geojson", '{"type": "Topology"}', "not a GeoJSON feature (type 'Topology')"),
        ("a.geojson", json.dumps(feature({"type": "Point", "coordinates": ["x", 2]})), "malformed coordinates"),
        ("a.geojson", json.dumps(feature(point(float("nan"), 2))), "is no place on a slide"),
        ("a.geojson", json.dumps(feature(point(5000, 9000))), "1 of 1 annotated nuclei lie off the slide"),
        ("a.points.json", '{"a": 1}', "no list of [x, y, class]"),
        ("a.points.json", "[[1, 2, 17]]", "a class of number 17"),
        ("a.csv", "a,b\n1,2\n", "columns x, y and class are needed"),
        ("a.csv", "x,y,class\n1,zwei,T\n", "line 2: x and y are no numbers"),
        ("a.label.png", "no picture", "cannot be read as a label image"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RoiError) as error:
        read_truth(tmp_path / name, SLIDE)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert str(tmp_path / name) in str(error.value)


def test_a_label_image_of_another_shape_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((300, 300), np.uint16)).save(tmp_path / "a.label.png")
    with pytest.raises(RoiError, match="300 x 300 px have not the shape of the slide"):
        read_truth(tmp_path / "a.label.png", SLIDE)
