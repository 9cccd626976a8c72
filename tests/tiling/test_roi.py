from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import RoiError
from wsiparse.tiling import parse_regions, read_regions, read_roi
from wsiparse.tiling.geometry import polygonal

SIZE = (1000, 800)
SQUARE = [[[10, 10], [110, 10], [110, 60], [10, 60], [10, 10]]]


def feature(geometry: dict[str, object] | None, **properties: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "id": "b7",
        "geometry": geometry,
        "properties": {"objectType": "annotation", **properties},
    }


def polygon(rings: object = SQUARE) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": rings}


def write(folder: Path, document: object) -> Path:
    path = folder / "roi.geojson"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "document",
    [
        polygon(),
        feature(polygon()),
        {"type": "FeatureCollection", "features": [feature(polygon())]},
        [feature(polygon())],
        {"type": "MultiPolygon", "coordinates": [SQUARE]},
        {"type": "GeometryCollection", "geometries": [polygon(), {"type": "Point", "coordinates": [1, 1]}]},
        polygon([[[10, 10, 7], [110, 10, 7], [110, 60, 7], [10, 60, 7], [10, 10, 7]]]),
        polygon([SQUARE[0][:-1]]),
        polygon([SQUARE[0][::-1]]),
    ],
)
def test_every_shape_of_geojson_gives_the_same_polygon(document: object, tmp_path: Path) -> None:
    roi = read_roi(write(tmp_path, document), SIZE)
    assert roi.equals(shapely.box(10, 10, 110, 60))
    assert roi.is_valid


def test_holes_and_several_polygons_are_kept(tmp_path: Path) -> None:
    hole = [[30, 20], [30, 40], [60, 40], [60, 20], [30, 20]]
    far = polygon([[[500, 500], [600, 500], [600, 600], [500, 500]]])
    roi = read_roi(
        write(tmp_path, {"type": "FeatureCollection", "features": [feature(polygon([*SQUARE, hole])), feature(far)]}),
        SIZE,
    )
    assert roi.area == 5000 - 600 + 5000
    assert roi.geom_type == "MultiPolygon"


def test_overlapping_annotations_count_once(tmp_path: Path) -> None:
    shifted = polygon((np.array(SQUARE) + [50, 0]).tolist())
    assert read_roi(write(tmp_path, [feature(polygon()), feature(shifted)]), SIZE).area == 150 * 50


def test_qupath_class_names_come_along(tmp_path: Path) -> None:
    document = [
        feature(polygon(), classification={"name": "Tumor", "color": [200, 0, 0]}),
        feature(polygon(), classification={"names": ["Stroma"], "name": "Stroma"}, name="left"),
        feature(polygon(), name="Region 3"),
        feature(polygon(), classification="Necrosis"),
        feature(polygon()),
        polygon(),
    ]
    regions = read_regions(write(tmp_path, document)).regions
    assert [r.class_name for r in regions] == ["Tumor", "Stroma", "Region 3", "Necrosis", "", ""]


def test_what_has_no_area_is_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = [
        feature({"type": "Point", "coordinates": [1, 2]}),
        feature({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
        feature(polygon([[[5, 5], [5, 5], [5, 5], [5, 5]]])),
        feature(polygon([])),
        feature(None),
        feature(polygon()),
    ]
    path = write(tmp_path, document)
    assert read_regions(path).skipped == 4
    with caplog.at_level(logging.WARNING):
        read_roi(path, SIZE)
    assert "4 geometries without area skipped" in caplog.text


def test_a_bow_tie_is_made_valid_and_keeps_its_area(tmp_path: Path) -> None:
    roi = read_roi(write(tmp_path, polygon([[[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]])), SIZE)
    assert roi.is_valid
    assert roi.area == pytest.approx(5000)


def test_the_offset_moves_qupath_coordinates_into_the_slide(tmp_path: Path) -> None:
    roi = read_roi(write(tmp_path, polygon()), SIZE, offset=(300, 200))
    assert roi.bounds == (310, 210, 410, 260)


def test_what_reaches_past_the_slide_is_cut(tmp_path: Path) -> None:
    roi = read_roi(write(tmp_path, polygon([[[-50, -50], [1500, -50], [1500, 400], [-50, 400], [-50, -50]]])), SIZE)
    assert roi.equals(shapely.box(0, 0, 1000, 400))


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "roi.geojson"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(polygon()).encode())
    assert read_roi(path, SIZE).area == 5000


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("", "not valid GeoJSON"),
        ("{", "not valid GeoJSON"),
        ("x,y\n1,2\n", "not valid GeoJSON"),
        ("[" * 100_000, "not valid GeoJSON|nested too deeply"),
        ("null", "not GeoJSON"),
        ("3", "not GeoJSON"),
        ("{}", "not GeoJSON"),
        ('{"type": "Topology"}', "not GeoJSON, an object of type 'Topology'|not valid GeoJSON"),
        ('{"type": "FeatureCollection"}', "without a list of features"),
        ('{"type": "FeatureCollection", "features": 5}', "without a list of features|not valid GeoJSON"),
        ('{"type": "FeatureCollection", "features": []}', "no polygon in it"),
        ({"type": "Point", "coordinates": [1, 2]}, "no polygon in it .only 1 geometries without area"),
        (polygon([[[0, 0], [float("nan"), 5], [5, 5], [0, 0]]]), "not a finite number|not JSON compliant"),
        (polygon([[[0, 0], [float("inf"), 5], [5, 5], [0, 0]]]), "not a finite number|not JSON compliant"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1e999, 5], [5, 5], [0, 0]]]}', "finite|not JSON compliant"),
        (polygon([[0, 0], [1, 1], [2, 0]]), "malformed coordinates|not valid GeoJSON"),
        (polygon([[["a", "b"], ["c", "d"], ["e", "f"]]]), "malformed coordinates|not valid GeoJSON"),
        (polygon(None), "malformed coordinates|no polygon|not valid GeoJSON"),
        (polygon([[[1], [2], [3], [1]]]), "malformed coordinates|not valid GeoJSON"),
        (
            polygon([[[2000, 2000], [2100, 2000], [2100, 2100], [2000, 2000]]]),
            "outside the slide, it spans x 2000-2100",
        ),
        (polygon([[[-9, -9], [0, -9], [0, 0], [-9, 0], [-9, -9]]]), "outside the slide"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(document: object, words: str, tmp_path: Path) -> None:
    path = write(tmp_path, document)
    with pytest.raises(RoiError, match=words) as caught:
        read_roi(path, SIZE)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert text.endswith(".")


def test_a_missing_or_unreadable_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RoiError, match="no such region-of-interest file"):
        read_roi(tmp_path / "absent.geojson", SIZE)
    with pytest.raises(RoiError, match="cannot be read"):
        read_roi(tmp_path, SIZE)
    (tmp_path / "roi.geojson.gz").write_bytes(b"\x1f\x8b\x08\0\0\xff\xfe")
    with pytest.raises(RoiError, match="cannot be unpacked"):
        read_roi(tmp_path / "roi.geojson.gz", SIZE)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["Feature", "Polygon", "Point"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["type", "coordinates", "features", "geometry", "geometries", "properties"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_no_json_is_more_than_a_roi_error(document: object) -> None:
    try:
        regions = parse_regions(json.dumps(document), "x.geojson").regions
    except RoiError:
        return
    assert all(r.geometry.is_valid and r.geometry.area > 0 for r in regions)


def test_the_polygonal_part_of_a_mixed_geometry_is_its_areas() -> None:
    mixed = shapely.GeometryCollection(
        [shapely.Point(1, 1), shapely.box(0, 0, 2, 2), shapely.LineString([(0, 0), (9, 9)])]
    )
    assert polygonal(mixed).equals(shapely.box(0, 0, 2, 2))
    assert polygonal(shapely.Point(1, 1)).is_empty


@pytest.mark.parametrize("name", ["Ignore*", "ignore", "Exclude", " Artefact ", "ARTIFACTS"])
def test_regions_of_some_classes_are_left_out(name: str, tmp_path: Path) -> None:
    outer = [[[0, 0], [200, 0], [200, 100], [0, 100], [0, 0]]]
    left_out = feature(polygon(), classification={"name": name})
    roi = read_roi(write(tmp_path, [feature(polygon(outer), classification={"name": "Tumor"}), left_out]), SIZE)
    assert roi.area == 200 * 100 - 100 * 50
    assert read_roi(write(tmp_path, [left_out]), SIZE).area == SIZE[0] * SIZE[1] - 100 * 50


def test_a_region_of_interest_that_is_left_out_altogether_is_an_error(tmp_path: Path) -> None:
    both = [feature(polygon()), feature(polygon(), classification={"name": "Ignore*"})]
    with pytest.raises(RoiError, match="everything in it is left out"):
        read_roi(write(tmp_path, both), SIZE)
