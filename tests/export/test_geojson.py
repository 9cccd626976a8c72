from __future__ import annotations

import gzip
import json
import math
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.export.check import check
from tests.reference import writing as reference
from tests.store.tables import ENGINE, FRAME, PROMPTS, blobs, masks, regions, table_of
from tests.test_atomic import files_up_to, names_in
from wsiparse.atomic import sha256_file
from wsiparse.coords import Frame, um2_per_px
from wsiparse.errors import OutputError, RoiError
from wsiparse.export import deflate, features
from wsiparse.export.geojson import GeojsonSummary, OverlayFacts, write_centroids, write_geojson
from wsiparse.machine import own_version
from wsiparse.store.measure import measure
from wsiparse.tiling import read_regions
from wsiparse.types import ObjectTable, Prompt, PromptSet

CELLS = blobs()
PRINT = "0f1e"


def _facts(changes: dict[str, Any]) -> tuple[OverlayFacts, dict[str, Any]]:
    own = {name: changes[name] for name in changes if name in OverlayFacts.__slots__}
    return replace(OverlayFacts(FRAME, PROMPTS, PRINT, ENGINE), **own), {
        name: value for name, value in changes.items() if name not in own
    }


def write(path: Path, tables: Iterable[ObjectTable] = (CELLS,), **changes: Any) -> GeojsonSummary:
    of, rest = _facts(changes)
    return write_geojson(path, tables, of, **rest)


def centroids(path: Path, tables: Iterable[ObjectTable] = (CELLS,), **changes: Any) -> GeojsonSummary:
    of, rest = _facts(changes)
    return write_centroids(path, tables, of, **rest)


def read(path: Path) -> Any:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def polygons_in(path: Path) -> NDArray[Any]:
    return np.array([shapely.geometry.shape(f["geometry"]) for f in read(path)["features"]], dtype=object)


def expected(table: ObjectTable, frame: Frame, *, points: bool = False, **changes: Any) -> list[dict[str, Any]]:
    found = measure(table, PROMPTS, um2_per_px(frame))
    given: dict[str, Any] = {
        "names": reference.ids(table, PROMPTS, PRINT),
        "measurements": [dict(zip(found.names, row, strict=True)) for row in found.values.tolist()],
        "decimals": {} if points else dict(zip(found.names, found.decimals.tolist(), strict=True)),
        "object_type": "detection",
        "locked": False,
        "offset": (0, 0),
        **changes,
    }
    cells = given["object_type"] == "detection"
    given["metadata"] = {} if cells else {"wsiparse": own_version(), "engine": ENGINE}
    return reference.features(table, frame=frame, prompts=PROMPTS, points=points, **given)


frames = st.builds(
    lambda x, y: Frame((2**31, 2**31), (x, y), (0.25 * x, 0.25 * y)),
    st.floats(0.01, 300, allow_nan=False),
    st.sampled_from([1.0, 2.0, 1.0 / 3, 4.0321, 0.02]),
)


@given(
    masks(),
    frames,
    st.tuples(st.integers(0, 2**30), st.integers(0, 2**30)),
    st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)),
    st.booleans(),
)
@settings(max_examples=60)
def test_the_text_reads_as_the_same_features_that_the_json_module_writes(
    tmp_path_factory: pytest.TempPathFactory,
    mask: NDArray[np.bool_],
    frame: Frame,
    origin: tuple[int, int],
    offset: tuple[int, int],
    regional: bool,
) -> None:
    path = tmp_path_factory.mktemp("geojson") / "a.geojson"
    table = table_of(mask, origin=origin)
    kind = {"object_type": "annotation" if regional else "detection", "locked": regional}
    summary = write(path, [table], frame=frame, offset=offset, **kind)
    assert read(path)["features"] == expected(table, frame, offset=offset, **kind)
    assert (summary.objects, summary.dropped, summary.paths) == (len(table), 0, (path,))
    assert summary.text_bytes == path.stat().st_size
    centroids(path, [table], frame=frame, offset=offset)
    assert read(path)["features"] == expected(table, frame, offset=offset, points=True)


def test_an_object_without_a_number_has_no_such_measurement(tmp_path: Path) -> None:
    """QuPath wants numbers: what is unknown is left out, wherever it stands among the others."""
    score = np.where(np.arange(len(CELLS)) % 2, np.linspace(0, 1, len(CELLS)), np.nan).astype(np.float32)
    od = np.where(np.arange(len(CELLS)) % 3, CELLS.mean_od, np.nan).astype(np.float32)
    table = replace(CELLS, recognition=score, mean_od=od)
    write(tmp_path / "a.geojson", [table])
    assert b"NaN" not in (tmp_path / "a.geojson").read_bytes()
    assert check(tmp_path / "a.geojson").problems == []
    features = read(tmp_path / "a.geojson")["features"]
    assert features == expected(table, FRAME)
    found = [feature["properties"]["measurements"] for feature in features]
    assert ["Recognition score" in m for m in found] == np.isfinite(score).tolist()
    assert ["Mean OD" in m for m in found] == np.isfinite(od).tolist()


def test_scores_that_only_some_batches_have_give_the_same_text_as_one_batch(tmp_path: Path) -> None:
    score = np.full(len(CELLS), np.nan, np.float32)
    score[20:25] = 0.75
    table = replace(CELLS, recognition=score)
    write(tmp_path / "a.geojson", [table])
    write(tmp_path / "b.geojson", [table.take(rows) for rows in np.array_split(np.arange(len(table)), 7)])
    assert sha256_file(tmp_path / "a.geojson") == sha256_file(tmp_path / "b.geojson")


def test_coordinates_inside_and_outside_the_kept_table_give_the_same_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Frame((4096, 96), (1.37, 2.0), (0.5, 0.5))
    write(tmp_path / "a.geojson", frame=frame)
    write(tmp_path / "b.geojson", frame=replace(frame, size=(40, 40)))
    monkeypatch.setattr(features, "_TABLE_ROWS", 100)
    write(tmp_path / "c.geojson", frame=frame)
    assert len({sha256_file(tmp_path / f"{name}.geojson") for name in "abc"}) == 1


def test_every_file_passes_the_conformance_check_with_its_area(tmp_path: Path) -> None:
    area = int(CELLS.area_px.sum()) * 4
    write(tmp_path / "cells.geojson.gz")
    report = check(tmp_path / "cells.geojson.gz")
    assert report.problems == []
    assert report.types == {"detection": len(CELLS)}
    assert sum(report.areas.values()) == area
    assert set(report.classes) == {PROMPTS[0].class_name, PROMPTS[2].class_name}
    write(tmp_path / "regions.geojson.gz", [regions()], object_type="annotation", locked=True)
    assert check(tmp_path / "regions.geojson.gz").problems == []
    centroids(tmp_path / "centroids.geojson.gz")
    assert check(tmp_path / "centroids.geojson.gz").problems == []


def test_regions_of_ours_are_regions_of_interest_and_cells_are_not(tmp_path: Path) -> None:
    write(tmp_path / "regions.geojson.gz", [regions()], object_type="annotation", locked=True)
    found = read_regions(tmp_path / "regions.geojson.gz")
    assert {r.class_name for r in found.regions} == {PROMPTS[1].class_name}
    assert sum(r.geometry.area for r in found.regions) == pytest.approx(int(regions().area_px.sum()) * 4)
    write(tmp_path / "cells.geojson.gz")
    with pytest.raises(RoiError, match=f"no polygon in it .only {len(CELLS)} detections, cells or tiles skipped"):
        read_regions(tmp_path / "cells.geojson.gz")


@given(masks(20), st.floats(0.01, 5), st.booleans())
@settings(max_examples=60)
def test_no_outline_breaks_by_rounding(
    tmp_path_factory: pytest.TempPathFactory, mask: NDArray[np.bool_], factor: float, simplify: bool
) -> None:
    path = tmp_path_factory.mktemp("geojson") / "a.geojson"
    table = table_of(mask, origin=(200, 7))
    frame = Frame((400, 400), (factor, factor * 1.01), (0.5, 0.5))
    summary = write(path, [table], frame=frame, simplify=simplify, offset=(-100_000, 0))
    assert (summary.objects, summary.dropped) == (len(table), 0)
    assert check(path).problems == []


def test_touching_corners_and_holes_survive(tmp_path: Path) -> None:
    mask = np.array([list(row) for row in ("11110", "10011", "10101", "11011", "01110")]) == "1"
    table = table_of(mask)
    write(tmp_path / "a.geojson", [table])
    assert check(tmp_path / "a.geojson").problems == []
    assert shapely.area(polygons_in(tmp_path / "a.geojson")).sum() == 4 * mask.sum()


def test_objects_that_collapse_under_rounding_are_left_out_and_counted(tmp_path: Path) -> None:
    frame = Frame((10_000, 10_000), (0.002, 0.002), (0.001, 0.001))
    table = ObjectTable.concat([table_of(np.ones((2, 2), bool)), table_of(np.ones((20, 20), bool), origin=(500, 0))])
    summary = write(tmp_path / "a.geojson", [table], frame=frame)
    assert (summary.objects, summary.dropped) == (1, 1)
    report = check(tmp_path / "a.geojson")
    assert (report.features, report.problems) == (1, [])
    nothing = write(tmp_path / "b.geojson", [table.take(np.array([0]))], frame=frame)
    assert (nothing.objects, nothing.dropped) == (0, 1)
    assert read(tmp_path / "b.geojson")["features"] == []


def test_simplified_outlines_have_fewer_corners_hardly_another_area_and_the_same_numbers(tmp_path: Path) -> None:
    table = table_of(np.hypot(*np.mgrid[-30:31, -30:31]) < 29.3)
    write(tmp_path / "full.geojson", [table])
    write(tmp_path / "simple.geojson", [table], simplify=True)
    (full,), (simple,) = (read(tmp_path / f"{name}.geojson")["features"] for name in ("full", "simple"))
    assert full["id"] == simple["id"]
    assert full["properties"] == simple["properties"]
    corners = [len(f["geometry"]["coordinates"][0]) for f in (full, simple)]
    areas = [float(shapely.area(polygons_in(tmp_path / f"{name}.geojson"))[0]) for name in ("full", "simple")]
    assert corners[1] < 0.8 * corners[0]
    assert math.isclose(*areas, rel_tol=0.01)


def test_bytes_do_not_depend_on_how_objects_are_cut_into_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = set()
    for rows, limit in ((1, 1 << 18), (7, 1 << 18), (46, 50), (46, 1 << 18)):
        monkeypatch.setattr(features, "_SLICE_VERTICES", limit)
        monkeypatch.setattr(deflate, "_BLOCK", 1000)
        path = tmp_path / f"{rows}-{limit}.geojson.gz"
        write(path, (CELLS.take(np.arange(i, min(i + rows, 46))) for i in range(0, 46, rows)))
        sums.add(sha256_file(path))
    assert len(sums) == 1


def test_the_gzip_header_names_no_time_and_no_file(tmp_path: Path) -> None:
    write(tmp_path / "a.geojson.gz")
    assert (tmp_path / "a.geojson.gz").read_bytes()[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_without_isal_the_text_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.geojson.gz")
    monkeypatch.setitem(__import__("sys").modules, "isal", None)
    assert deflate._library() == (zlib, 6)
    write(tmp_path / "b.geojson.gz")
    assert read(tmp_path / "a.geojson.gz") == read(tmp_path / "b.geojson.gz")


@pytest.mark.parametrize(("part_rows", "sizes"), [(46, [46]), (45, [45, 1]), (20, [20, 20, 6]), (23, [23, 23])])
def test_parts_hold_at_most_so_many_objects_and_together_all(tmp_path: Path, part_rows: int, sizes: list[int]) -> None:
    summary = write(
        tmp_path / "cells.geojson.gz", [CELLS.take(np.arange(30)), CELLS.take(np.arange(30, 46))], part_rows=part_rows
    )
    expected_names = [f"cells.part{i:03d}.geojson.gz" for i in range(1, len(sizes) + 1)]
    assert [p.name for p in summary.paths] == (expected_names if len(sizes) > 1 else ["cells.geojson.gz"])
    assert names_in(tmp_path) == sorted(p.name for p in summary.paths)
    parts = [read(path) for path in summary.paths]
    assert [len(part["features"]) for part in parts] == sizes
    assert [part["wsiparse"]["part"] for part in parts] == list(range(1, len(sizes) + 1))
    assert [f for part in parts for f in part["features"]] == expected(CELLS, FRAME)
    assert all(check(path).problems == [] for path in summary.paths)


def test_files_of_an_earlier_export_go_when_fewer_are_written(tmp_path: Path) -> None:
    (tmp_path / "cells.parts.geojson.gz").write_text("not ours")
    write(tmp_path / "cells.geojson.gz", part_rows=10)
    assert len(names_in(tmp_path)) == 6
    write(tmp_path / "cells.geojson.gz", part_rows=30)
    assert len(names_in(tmp_path)) == 3
    write(tmp_path / "cells.geojson.gz")
    assert names_in(tmp_path) == ["cells.geojson.gz", "cells.parts.geojson.gz"]


def test_no_objects_make_an_empty_collection(tmp_path: Path) -> None:
    for tables in ([], [ObjectTable()]):
        summary = write(tmp_path / "cells.geojson", tables)
        assert (summary.objects, summary.paths) == (0, (tmp_path / "cells.geojson",))
        assert read(tmp_path / "cells.geojson")["features"] == []
        assert check(tmp_path / "cells.geojson").problems == []


def test_a_collection_says_what_wrote_it_and_where_its_coordinates_start(tmp_path: Path) -> None:
    write(tmp_path / "cells.geojson", offset=(300, 4000))
    facts = read(tmp_path / "cells.geojson")["wsiparse"]
    assert facts["engine"] == ENGINE
    assert facts["slide"] == PRINT
    assert facts["origin"] == [300, 4000]


def test_ids_are_those_of_the_objects_in_every_file(tmp_path: Path) -> None:
    write(tmp_path / "a.geojson", offset=(1, 2))
    centroids(tmp_path / "b.geojson")
    names = [str(name) for name in reference.ids(CELLS, PROMPTS, PRINT)]
    for name in "ab":
        assert [f["id"] for f in read(tmp_path / f"{name}.geojson")["features"]] == names
    assert all(uuid.UUID(name).version == 5 for name in names)


def test_numbers_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    score = CELLS.score.copy()
    score[3] = np.nan
    write(tmp_path / "a.geojson", [replace(CELLS, score=score)])
    found = [f["properties"]["measurements"] for f in read(tmp_path / "a.geojson")["features"]]
    assert [i for i, numbers in enumerate(found) if "Detection probability" not in numbers] == [3]
    assert check(tmp_path / "a.geojson").problems == []


def test_shares_are_written_only_where_there_are_several_cell_classes(tmp_path: Path) -> None:
    one = PromptSet((Prompt("nuclei", "Nucleus"),))
    table = replace(CELLS, class_id=np.ones(46, np.uint8), class_share=CELLS.class_share[:, :1])
    write(tmp_path / "a.geojson", [table], prompts=one)
    write(tmp_path / "b.geojson", [regions()], object_type="annotation", locked=True)
    for name in "ab":
        numbers = read(tmp_path / f"{name}.geojson")["features"][0]["properties"]["measurements"]
        assert not any(key.startswith("Share") for key in numbers)


def test_a_failing_source_leaves_finished_parts_and_no_half_file(tmp_path: Path) -> None:
    def broken() -> Iterable[ObjectTable]:
        yield CELLS
        raise OutputError("objects.zarr: damaged")

    with pytest.raises(OutputError, match="damaged"):
        write(tmp_path / "cells.geojson.gz", broken(), part_rows=20)
    assert names_in(tmp_path) == ["cells.part001.geojson.gz", "cells.part002.geojson.gz"]


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="largest size"), files_up_to(1000):
        write(tmp_path / name, [CELLS] * 20)
    assert names_in(tmp_path) == []


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write(tmp_path / "absent" / "a.geojson")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"part_rows": 0}, "part_rows"),
        ({"object_type": "cell"}, "object type"),
        ({"prompts": PromptSet((Prompt("a", "b"),))}, "class ids"),
        ({"frame": Frame((1, 1), (1e300, 1.0), (1.0, 1.0))}, "too large"),
    ],
)
def test_wrong_arguments_are_refused_and_leave_nothing(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        write(tmp_path / "a.geojson", **changes)
    assert names_in(tmp_path) == []


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.geojson"):
        write(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="part_rows"):
        centroids(tmp_path / "a.geojson", part_rows=0)
    assert names_in(tmp_path) == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=12).filter(lambda s: s.strip() and not {"\n", "\r"} & set(s)))
def test_any_class_name_is_escaped(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return  # lone surrogates are no text
    path = tmp_path_factory.mktemp("geojson") / "a.geojson"
    write(path, prompts=PromptSet((Prompt("a", name), PROMPTS[1], PROMPTS[2])))
    names = {f["properties"]["classification"]["name"] for f in read(path)["features"]}
    assert names == {name, PROMPTS[2].class_name}
