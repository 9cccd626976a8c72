from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from numpy.typing import NDArray

import wsiparse
from tests.export.results import CELLS, JUDGED, REGIONS, SLIDE, finished_slide, judged, objects_at
from tests.reference import writing as reference
from tests.store.tables import FRAME, PROMPTS, masks, table_of
from wsiparse.coords import Frame, um2_per_px
from wsiparse.errors import OutputError
from wsiparse.export.objectframe import ObjectFrame, column_name, id_texts
from wsiparse.export.reading import joined, object_frames, read_objects
from wsiparse.store.measure import measure
from wsiparse.store.tables import raster_sorted
from wsiparse.types import ObjectTable

BOTH = [raster_sorted(CELLS), raster_sorted(REGIONS)]


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> ObjectFrame:
    path = tmp_path_factory.mktemp("frame") / "objects.zarr"
    objects_at(path)
    return wsiparse.read_objects(path)


def test_cells_come_first_and_every_column_is_that_of_the_tables(frame: ObjectFrame) -> None:
    assert len(frame) == len(CELLS) + len(REGIONS)
    names = np.array([p.class_name for p in PROMPTS])
    expected = np.concatenate([names[t.class_id.astype(int) - 1] for t in BOTH])
    assert frame["class"].tolist() == expected.tolist()
    assert frame["kind"].tolist() == ["cell"] * len(CELLS) + ["region"] * len(REGIONS)
    assert frame["id"].tolist() == [str(u) for t in BOTH for u in reference.ids(t, PROMPTS, SLIDE["fingerprint"])]
    assert np.array_equal(frame["area_px"], np.concatenate([t.area_px for t in BOTH]) * 4.0)
    centroid = np.concatenate([t.centroid for t in BOTH]) * 2.0
    assert np.array_equal(np.stack([frame["x_px"], frame["y_px"]], axis=1), centroid)
    assert np.array_equal(np.stack([frame["x_um"], frame["y_um"]], axis=1), centroid * 0.25)


def test_measurements_are_those_of_every_other_format_and_nan_where_an_object_has_none(frame: ObjectFrame) -> None:
    first = 0
    for table in BOTH:
        found = measure(table, PROMPTS, um2_per_px(FRAME))
        for name, values in zip(found.names, found.values.T, strict=True):
            assert np.array_equal(frame[column_name(name)][first : first + len(table)], values)
        first += len(table)
    assert np.isnan(frame["share_Inflammatory"][len(CELLS) :]).all()
    assert set(frame.columns) >= {"area_um2", "perimeter_um", "circularity", 'share_Nucleus "A"\\B'}
    assert all(len(frame[name]) == len(frame) for name in frame.columns)


def test_mean_od_and_recognition_are_columns_of_every_batch_alike(tmp_path: Path) -> None:
    reader = objects_at(tmp_path / "objects.zarr", recognition=JUDGED)
    whole, parts = joined(list(object_frames(reader))), joined(list(object_frames(reader, rows=3)))
    assert whole.measured[5:8] == ("mean_od", "detection_probability", "recognition_score")
    assert np.array_equal(whole["mean_od"], np.concatenate([t.mean_od for t in BOTH]))
    expected = np.concatenate([reader.table(kind).recognition for kind in ("cell", "region")])
    assert np.array_equal(whole["recognition_score"], expected, equal_nan=True)
    assert np.isnan(expected).any()
    assert np.isfinite(expected[-len(REGIONS) :]).all()
    assert np.array_equal(parts.values, whole.values, equal_nan=True)


@pytest.mark.parametrize(
    ("kinds", "there"), [(("cell",), False), (("region",), True), (("cell", "region"), True)], ids=str
)
def test_the_recognition_column_is_there_when_a_prompt_of_these_kinds_has_scores(
    tmp_path: Path, kinds: tuple, there: bool
) -> None:
    unscored = judged((0, 2), 64, unknown=(0, 2))
    full = objects_at(tmp_path / "a.zarr", recognition=[unscored, JUDGED[1]])
    empty = objects_at(tmp_path / "b.zarr", [], recognition=[unscored, JUDGED[1]])
    for reader in (full, empty):
        assert ("recognition_score" in next(object_frames(reader, kinds)).columns) == there


def test_polygons_are_the_outlines_scaled_to_level_0_with_their_holes(frame: ObjectFrame) -> None:
    expected = np.concatenate([shapely.from_ragged_array(shapely.GeometryType.POLYGON, *t.ragged(FRAME)) for t in BOTH])
    assert shapely.equals_exact(frame.polygons(), expected).all()
    assert shapely.get_num_interior_rings(frame.polygons()).sum() > 0
    assert np.array_equal(shapely.area(frame.polygons()), frame["area_px"])
    assert np.array_equal(frame.shapes().bounds(), shapely.bounds(frame.polygons()))


@given(mask=masks())
@settings(max_examples=20)
def test_any_objects_in_batches_of_any_size_join_to_the_same_frame(
    tmp_path_factory: pytest.TempPathFactory, mask: NDArray[np.bool_]
) -> None:
    field = Frame((4096, 4096), (3.0, 0.7), (0.6, 0.5))
    reader = objects_at(tmp_path_factory.mktemp("any") / "objects.zarr", [table_of(mask)], frame=field)
    whole = joined(list(object_frames(reader)))
    parts = joined(list(object_frames(reader, rows=2)))
    for name in whole.columns:
        assert np.array_equal(whole[name], parts[name], equal_nan=whole[name].dtype.kind == "f")
    assert shapely.equals_exact(whole.polygons(), parts.polygons()).all()
    assert shapely.area(whole.polygons()) == pytest.approx(whole["area_px"])


def test_an_offset_moves_coordinates_and_nothing_else(tmp_path: Path) -> None:
    reader = objects_at(tmp_path / "objects.zarr")
    here, there = (joined(list(object_frames(reader, offset=offset))) for offset in ((0, 0), (100, 40)))
    assert np.array_equal(there.centroid, here.centroid - [100, 40])
    assert np.array_equal(there.shapes().coords, here.shapes().coords - [100, 40])
    assert np.array_equal(there.uuid, here.uuid)
    assert np.array_equal(there.values, here.values, equal_nan=True)
    assert there.facts["origin"] == [100, 40]


def test_simplified_outlines_have_fewer_corners_are_valid_and_tell_the_same_measurements(tmp_path: Path) -> None:
    reader = objects_at(tmp_path / "objects.zarr")
    full, simple = (joined(list(object_frames(reader, simplify=simplify))) for simplify in (False, True))
    assert len(simple.shapes().coords) < 0.9 * len(full.shapes().coords)
    assert shapely.is_valid(simple.polygons()).all()
    # half a field px is one level-0 px here
    assert shapely.hausdorff_distance(simple.polygons(), full.polygons()).max() <= 1.0 + 1e-9
    assert np.array_equal(simple.values, full.values, equal_nan=True)


def test_kinds_can_be_read_alone_and_outlines_left_out(tmp_path: Path) -> None:
    folder = finished_slide(tmp_path / "slide")
    cells = read_objects(folder, "cell", outlines=False)
    assert set(cells["kind"]) == {"cell"}
    assert len(read_objects(folder, "region")) == len(REGIONS)
    with pytest.raises(ValueError, match="without outlines"):
        cells.polygons()
    with pytest.raises(ValueError, match="neither"):
        read_objects(folder, "nucleus")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match=r"no column .*area_px"):
        cells["area"]


@pytest.mark.parametrize("kinds", [("cell",), ("region",), ("cell", "region")])
def test_no_objects_are_an_empty_frame_with_the_same_columns(tmp_path: Path, kinds: tuple) -> None:
    empty, full = objects_at(tmp_path / "a.zarr", []), objects_at(tmp_path / "b.zarr")
    (found,) = object_frames(empty, kinds)
    assert len(found) == len(found.polygons()) == len(found.shapes().bounds()) == 0
    assert found.columns == next(object_frames(full, kinds)).columns


def test_text_of_ids() -> None:
    uuid = np.arange(32, dtype=np.uint8).reshape(2, 16)
    assert id_texts(uuid).tolist() == [
        b"00010203-0405-0607-0809-0a0b0c0d0e0f",
        b"10111213-1415-1617-1819-1a1b1c1d1e1f",
    ]


def test_a_folder_of_many_slides_and_one_without_objects_are_told_apart(tmp_path: Path) -> None:
    finished_slide(tmp_path / "slides" / "a__1")
    with pytest.raises(OutputError, match="several slides"):
        read_objects(tmp_path)
    with pytest.raises(OutputError, match="no such folder"):
        read_objects(tmp_path / "nothing")


def test_facts_of_the_slide_that_are_missing_are_told(tmp_path: Path) -> None:
    reader = objects_at(tmp_path / "objects.zarr", slide={k: v for k, v in SLIDE.items() if k != "mpp"})
    with pytest.raises(OutputError, match="lacks the slide's mpp"):
        list(object_frames(reader))


def test_outlines_that_compiled_code_would_trip_over_are_told_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = objects_at(tmp_path / "objects.zarr")
    bad = ObjectTable(
        coords=np.zeros((3, 2), np.int32),
        ring_offsets=np.array([0, 3]),
        polygon_offsets=np.array([0, 1]),
        class_id=np.ones(1, np.uint8),
        score=np.ones(1, np.float32),
        area_px=np.ones(1, np.int64),
        centroid=np.zeros((1, 2)),
        first_px=np.zeros((1, 2), np.int32),
        class_share=np.zeros((1, 2), np.float32),
    )
    monkeypatch.setattr(type(reader), "batches", lambda *_: iter([bad]))
    with pytest.raises(OutputError, match="damaged: every object needs a ring and every ring four vertices"):
        list(object_frames(reader))


def test_pandas_gets_all_columns_with_classes_as_categories(frame: ObjectFrame) -> None:
    pytest.importorskip("pandas")
    table = frame.to_pandas()
    assert list(table.columns) == list(frame.columns)
    assert list(table["class"].cat.categories) == [p.class_name for p in PROMPTS]
    for name in frame.columns:
        values = table[name].to_numpy()
        assert np.array_equal(values.astype(frame[name].dtype), frame[name], equal_nan=frame[name].dtype.kind == "f")
    assert table.attrs["wsiparse"]["mpp"] == [0.25, 0.25]


def test_geopandas_gets_the_polygons_too(frame: ObjectFrame) -> None:
    pytest.importorskip("geopandas")
    table = frame.to_geopandas()
    assert table.crs is None
    assert shapely.equals_exact(table.geometry.to_numpy(), frame.polygons()).all()
    assert np.array_equal(table.area.to_numpy(), frame["area_px"])
