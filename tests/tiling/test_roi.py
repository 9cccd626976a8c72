from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from wsiparse.errors import RoiError
from wsiparse.tiling import off_slide, parse_regions, read_regions, union_on_slide
from wsiparse.tiling.geometry import polygonal


def read_roi(path: Path, size: tuple[int, int], offset: tuple[float, float] = (0.0, 0.0)) -> BaseGeometry:
    """What is analysed of a slide with a region file."""
    found = read_regions(path, offset=offset)
    off_slide(found, size, str(path))
    return union_on_slide(found, size, str(path))


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


def test_what_has_no_area_is_skipped_and_counted(tmp_path: Path) -> None:
    document = [
        feature({"type": "Point", "coordinates": [1, 2]}),
        feature({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
        feature(polygon([[[5, 5], [5, 5], [5, 5], [5, 5]]])),
        feature(polygon([])),
        feature(None),
        feature(polygon()),
    ]
    found = read_regions(write(tmp_path, document))
    assert found.skipped == 4
    assert any("4 geometries without area skipped" in note for note in found.notes)


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
        ({"type": "Point", "coordinates": [1, 2]}, "no polygon in it .only 1 geometry without area"),
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


def collection(*features: dict[str, object]) -> dict[str, object]:
    return {"type": "FeatureCollection", "features": list(features)}


@pytest.mark.parametrize("kind", ["detection", "cell", "tile", "PathDetectionObject", "Cell"])
@pytest.mark.parametrize("member", ["objectType", "object_type", "type", "id"])
def test_objects_are_no_regions_whichever_way_their_type_is_told(kind: str, member: str, tmp_path: Path) -> None:
    far = [[[500, 500], [600, 500], [600, 600], [500, 500]]]
    if member == "id" and not kind.startswith("Path"):
        return
    one = {"type": "Feature", "geometry": polygon(far), "properties": {}}
    (one if member == "id" else one["properties"])[member] = kind  # type: ignore[index]
    found = read_regions(write(tmp_path, collection(feature(polygon()), one, one)))
    assert [r.geometry.area for r in found.regions] == [5000]
    assert found.notes == ("2 detections, cells or tiles skipped: they are objects, not regions",)


def test_a_file_of_objects_only_is_refused_with_their_number(tmp_path: Path) -> None:
    cell = {"type": "Feature", "geometry": polygon(), "nucleusGeometry": polygon(), "properties": {}}
    with pytest.raises(RoiError, match="only 1 detection, cell or tile skipped"):
        read_regions(write(tmp_path, [cell]))


def test_what_says_nothing_or_something_unknown_is_an_annotation(tmp_path: Path) -> None:
    bare = {"type": "Feature", "geometry": polygon()}
    odd = feature(polygon(), objectType="my own", isLocked=True, color=-1, metadata={"a": "b"})
    assert len(read_regions(write(tmp_path, [bare, odd, {**bare, "properties": None}])).regions) == 3


def test_missing_cores_of_a_microarray_are_left_aside(tmp_path: Path) -> None:
    cores = [
        feature(polygon(), objectType=kind, name=name, isMissing=missing)
        for kind, name, missing in (("tmaCore", "A-1", False), ("tmaCore", "A-2", True), ("TMACoreObject", "B-1", True))
    ]
    found = read_regions(write(tmp_path, cores))
    assert [r.class_name for r in found.regions] == ["A-1"]
    assert found.notes == ("2 TMA cores skipped that are marked as missing",)


def test_regions_of_another_plane_are_left_aside_and_told(tmp_path: Path) -> None:
    planes = [{"c": -1, "z": 0, "t": 0}, {"c": -1, "z": 2, "t": 0}, {"z": 0, "t": 1}, {"c": 3}]
    found = read_regions(write(tmp_path, [feature({**polygon(), "plane": plane}) for plane in planes]))
    assert len(found.regions) == 2
    assert "2 regions skipped that are drawn on another plane" in found.notes[0]
    with pytest.raises(RoiError, match="1 region skipped that is drawn on another plane"):
        read_regions(write(tmp_path, feature({**polygon(), "plane": {"z": 5}})))


def test_the_children_of_a_hierarchy_are_read_too(tmp_path: Path) -> None:
    inner = feature(polygon(), classification={"name": "Tumor"})
    cell = feature(polygon())
    cell["properties"]["objectType"] = "cell"  # type: ignore[index]
    root = feature(None, childObjects=[feature(polygon(), childObjects=[inner, cell])])
    root["properties"]["objectType"] = "root"  # type: ignore[index]
    found = read_regions(write(tmp_path, root))
    assert [r.class_name for r in found.regions] == ["", "Tumor"]
    assert len(found.notes) == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "null", '"NaN"', "1e999"])
def test_numbers_that_are_none_among_measurements_do_not_matter(value: str, tmp_path: Path) -> None:
    text = json.dumps(feature(polygon(), measurements={"Area": ""})).replace('""', value)
    assert read_roi(write(tmp_path, text), SIZE).area == 5000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_encoding_is_read(encoding: str, tmp_path: Path) -> None:
    text = json.dumps(feature(polygon(), name="M\u00fcller"), indent=1, ensure_ascii=False).replace("\n", "\r\n")
    (tmp_path / "roi.geojson").write_bytes(text.encode(encoding))
    assert read_regions(tmp_path / "roi.geojson").regions[0].class_name == "M\u00fcller"


def test_packed_files_are_read_whatever_they_are_called(tmp_path: Path) -> None:
    data = json.dumps(polygon()).encode()
    (tmp_path / "a.geojson").write_bytes(gzip.compress(data))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as folder:
        folder.writestr("x/a.GeoJSON", data)
        folder.writestr("__MACOSX/x/._a.geojson", b"\0\1")
    for name in ("a.geojson", "b.zip"):
        assert read_roi(tmp_path / name, SIZE).area == 5000
    with zipfile.ZipFile(tmp_path / "b.zip", "a") as folder:
        folder.writestr("y.json", data)
    with pytest.raises(RoiError, match=r"2 GeoJSON files in it, one is needed\. Unpack it, and give the folder"):
        read_regions(tmp_path / "b.zip")


def test_damaged_packed_files_are_one_clear_line(tmp_path: Path) -> None:
    packed = gzip.compress(json.dumps(feature(polygon(), name="x" * 500)).encode())
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as folder:
        folder.writestr("a.geojson", json.dumps(polygon()))
    zipped = (tmp_path / "whole.zip").read_bytes()
    damaged = [packed[:-9], packed[:20], packed[:30] + b"\0\0\0" + packed[33:]]
    damaged += [zipped[:60], zipped[:45] + b"##" + zipped[47:]]
    for k, data in enumerate(damaged):
        (tmp_path / f"{k}.geojson").write_bytes(data)
        with pytest.raises(RoiError, match=r"cannot be unpacked|not valid GeoJSON|not a text file") as caught:
            read_regions(tmp_path / f"{k}.geojson")
        assert "\n" not in str(caught.value)


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsiparse.tiling.roi._MOST_BYTES", 1 << 21)
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(b" " * (1 << 24)))
    with pytest.raises(RoiError, match=r"GB of text\. Export annotations only"):
        read_regions(tmp_path / "a.geojson.gz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  \n", "the file is empty"),
        ("<?xml version='1.0'?><ASAP_Annotations/>", "XML, as ASAP, ImageScope and HALO write"),
        (json.dumps(polygon()) + "\n" + json.dumps(polygon()) + "\n", "several documents in one file"),
        ('{"images": [], "annotations": []}', "without a type .its members: images, annotations."),
        ('{"type": "Feature", "geometry": {"rings": []}, "properties": {}}', "its members: rings"),
        ('{"type": "FeatureCollection", "features": [7]}', "a int where an object should be"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1e200, 0], [5, 5], [0, 0]]]}', "coordinate of 1e.200"),
    ],
)
def test_what_other_programs_write_is_named(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(RoiError, match=words):
        read_regions(write(tmp_path, text))


def test_numbers_as_text_and_points_of_different_length_are_read(tmp_path: Path) -> None:
    ring = [["10", "10"], [110, 10, 7], [110, 60], [10, 60], [10, 10]]
    assert read_roi(write(tmp_path, {**polygon([ring]), "crs": {"type": "name"}}), SIZE).area == 5000


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((100, 100, 700, 700), None),
        ((900, 100, 1090, 700), "47 % of the regions' area lies off the slide, it spans x 900-1090, y 100-700"),
        ((900, 100, 1200, 700), "mostly .66 %. outside the slide, it spans"),
        ((-300, -300, 40, 40), "mostly .[0-9]+ %. outside"),
        ((5000, 5000, 5100, 5100), "outside the slide, it spans x 5000-5100"),
        ((-5, -5, 1005, 805), "2 % of the regions' area"),
        ((-1, -1, 1001, 801), None),
    ],
)
def test_the_share_that_lies_off_the_slide_is_told_and_past_half_refused(
    box: tuple[int, ...], words: str | None, tmp_path: Path
) -> None:
    path = write(tmp_path, polygon([list(shapely.box(*box).exterior.coords)]))
    found = read_regions(path)
    if words is not None and "outside" in words:
        with pytest.raises(RoiError, match=words):
            off_slide(found, SIZE, str(path))
        return
    told = off_slide(found, SIZE, str(path))
    assert told == () if words is None else words in told[0]


def test_what_is_left_out_may_reach_past_the_slide(tmp_path: Path) -> None:
    far = polygon([[[500, 500], [9000, 500], [9000, 9000], [500, 500]]])
    both = [feature(polygon()), feature(far, classification={"name": "Ignore*"})]
    assert off_slide(read_regions(write(tmp_path, both)), SIZE, "x") == ()
    with pytest.raises(RoiError, match=r"mostly .[0-9]+ %. outside"):
        off_slide(read_regions(write(tmp_path, both[1:])), SIZE, "x")
