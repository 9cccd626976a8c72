from __future__ import annotations

import csv
import gzip
import json
import math
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from tests.export.results import JUDGED, objects_at
from tests.store.tables import PROMPTS, masks, table_of
from tests.test_atomic import files_up_to, names_in
from wsiparse.coords import Frame
from wsiparse.errors import OutputError
from wsiparse.export.coco import write_coco
from wsiparse.export.columnar import half_up, write_csv, write_parquet
from wsiparse.export.geojson import OverlayFacts, write_geojson
from wsiparse.export.objectframe import ObjectFrame, column_name
from wsiparse.export.reading import joined, object_frames
from wsiparse.names import safe_cell
from wsiparse.store.read import ObjectsReader
from wsiparse.types import Prompt, PromptSet, RecognitionGrid


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ObjectsReader:
    return objects_at(tmp_path_factory.mktemp("columnar") / "objects.zarr")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def whole(reader: ObjectsReader, **changes: Any) -> ObjectFrame:
    return joined(list(object_frames(reader, **changes)))


def check_csv(path: Path, frame: ObjectFrame) -> None:
    """Every cell of the file is the frame's value, as far as its decimals go."""
    rows = rows_of(path)
    assert len(rows) == len(frame)
    places = {"x_px": 2, "y_px": 2, "x_um": 3, "y_um": 3, "area_px": 12}
    places |= dict(zip(frame.measured, frame.decimals.tolist(), strict=True))
    for name in frame.columns:
        found, expected = [row[name] for row in rows], frame[name].tolist()
        if name in ("id", "class", "kind", "slide_id"):
            assert found == [safe_cell(text) for text in expected]
            continue
        for text, value in zip(found, expected, strict=True):
            if math.isnan(value):
                assert text == ""
            else:
                assert abs(float(text) - value) <= 0.5000001 * 10.0 ** -places[name]


def test_csv_holds_every_object_in_order(tmp_path: Path, reader: ObjectsReader) -> None:
    assert write_csv(tmp_path / "a.csv", object_frames(reader), cell=safe_cell) == len(whole(reader))
    check_csv(tmp_path / "a.csv", whole(reader))
    assert [float(row["area_px"]) for row in rows_of(tmp_path / "a.csv")] == whole(reader)["area_px"].tolist()


@given(mask=masks())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_objects_survive_csv_and_parquet(
    tmp_path_factory: pytest.TempPathFactory, mask: NDArray[np.bool_], reader: ObjectsReader
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("any")
    frame = Frame((4096, 4096), (1.37, 2.0), (0.3425, 0.5))
    reader = objects_at(folder / "objects.zarr", [table_of(mask)], frame=frame)
    expected = whole(reader)
    write_csv(folder / "a.csv", object_frames(reader, rows=3), cell=safe_cell)
    check_csv(folder / "a.csv", expected)
    write_parquet(folder / "a.parquet", object_frames(reader, rows=3), geometry=True, facts={})
    table = parquet.read_table(folder / "a.parquet")
    for name in expected.columns:
        found = table[name].to_numpy(zero_copy_only=False)
        assert np.array_equal(found.astype(expected[name].dtype), expected[name], equal_nan=found.dtype.kind == "f")
    polygons = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    assert shapely.equals_exact(polygons, expected.polygons()).all()


@pytest.mark.parametrize("recognition", [(), JUDGED], ids=["no scores", "recognition scores"])
def test_csv_tells_the_same_numbers_as_geojson(tmp_path: Path, recognition: Sequence[RecognitionGrid]) -> None:
    reader = objects_at(tmp_path / "objects.zarr", recognition=recognition)
    write_csv(tmp_path / "a.csv", object_frames(reader, ("cell",)), cell=safe_cell)
    write_geojson(
        tmp_path / "a.geojson",
        reader.batches("cell"),
        OverlayFacts(reader.frames["cell"], reader.prompts, "0f1e", reader.engine),
    )
    features = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))["features"]
    rows = rows_of(tmp_path / "a.csv")
    assert [row["id"] for row in rows] == [feature["id"] for feature in features]
    told = set()
    for row, feature in zip(rows, features, strict=True):
        numbers = feature["properties"]["measurements"]
        for name, value in numbers.items():
            assert float(row[column_name(name)]) == value
        told |= set(numbers)
        assert ("Recognition score" in numbers) == bool(row.get("recognition_score"))
    assert {"Mean OD", "Detection probability"} <= told
    assert ("Recognition score" in told) == bool(recognition)


def test_pandas_reads_the_csv_without_being_told_anything(tmp_path: Path, reader: ObjectsReader) -> None:
    pandas = pytest.importorskip("pandas")
    write_csv(tmp_path / "a.csv.gz", object_frames(reader), cell=safe_cell)
    table, expected = pandas.read_csv(tmp_path / "a.csv.gz"), whole(reader)
    assert tuple(table.columns) == expected.columns
    assert table["id"].tolist() == expected["id"].tolist()
    assert table["class"].tolist() == expected["class"].tolist()
    assert table["area_px"].tolist() == expected["area_px"].tolist()
    assert table["share_Inflammatory"].isna().tolist() == np.isnan(expected["share_Inflammatory"]).tolist()


def test_class_names_and_headings_that_look_like_formulas_are_told_as_text(tmp_path: Path) -> None:
    names = ["=1+1", "+cell", "-cell", "@cell", 'a,"b"']
    prompts = PromptSet(tuple(Prompt(name + " words", name) for name in names))
    table = table_of(np.eye(9, dtype=bool))
    classes = (np.arange(9) % 5 + 1).astype(np.uint8)
    table = type(table)(**{**{f: getattr(table, f) for f in table.__slots__}, "class_id": classes})
    reader = objects_at(tmp_path / "objects.zarr", [table], prompts=prompts)
    write_csv(tmp_path / "a.csv", object_frames(reader), cell=safe_cell)
    rows = rows_of(tmp_path / "a.csv")
    assert [row["class"] for row in rows[:5]] == ["'=1+1", "'+cell", "'-cell", "'@cell", 'a,"b"']
    assert not [cell for row in rows for cell in row.values() if cell[:1] in "=+@" and cell]


def test_bytes_do_not_depend_on_the_batches(tmp_path: Path, reader: ObjectsReader) -> None:
    for rows in (1, 7, 1000):
        write_csv(tmp_path / f"{rows}.csv.gz", object_frames(reader, rows=rows), cell=safe_cell)
    assert len({(tmp_path / f"{rows}.csv.gz").read_bytes() for rows in (1, 7, 1000)}) == 1
    assert gzip.decompress((tmp_path / "1.csv.gz").read_bytes()).count(b"\n") == len(whole(reader)) + 1


def test_rounding_goes_away_from_zero_at_halves() -> None:
    values = np.array([0.125, -0.125, 2.5, 3.5, 0.0, np.nan, 1.005])
    assert half_up(values, 2).tolist()[:2] == [0.13, -0.13]
    assert half_up(values, 0).tolist()[2:5] == [3.0, 4.0, 0.0]
    assert np.isnan(half_up(values, 2)[5])


def test_parquet_has_a_row_group_a_batch_categories_nulls_and_says_where_it_comes_from(
    tmp_path: Path, reader: ObjectsReader
) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    facts = {"slide": "Ä", "mpp": [0.25, 0.25]}
    write_parquet(tmp_path / "a.parquet", object_frames(reader, rows=10), geometry=False, facts=facts)
    file = parquet.ParquetFile(tmp_path / "a.parquet")
    assert file.num_row_groups == -(-reader.count("cell") // 10) + -(-reader.count("region") // 10)
    assert json.loads(file.schema_arrow.metadata[b"wsiparse"]) == facts
    assert b"geo" not in file.metadata.metadata
    table, expected = file.read(), whole(reader, outlines=False)
    assert tuple(table.column_names) == expected.columns
    assert pyarrow.types.is_dictionary(table.schema.field("class").type)
    assert table["share_Inflammatory"].null_count == reader.count("region")
    for name in expected.columns:
        found = table[name].to_numpy()
        assert np.array_equal(found.astype(expected[name].dtype), expected[name], equal_nan=found.dtype.kind == "f")


def test_geoparquet_is_what_geopandas_reads_back(tmp_path: Path, reader: ObjectsReader) -> None:
    geopandas = pytest.importorskip("geopandas")
    frames = object_frames(reader, offset=(100, 40), rows=10)
    write_parquet(tmp_path / "a.parquet", frames, geometry=True, facts={})
    found, expected = geopandas.read_parquet(tmp_path / "a.parquet"), whole(reader, offset=(100, 40))
    assert found.crs is None
    assert shapely.equals_exact(found.geometry.to_numpy(), expected.polygons()).all()
    assert found["id"].tolist() == expected["id"].tolist()
    assert found["class"].tolist() == expected["class"].tolist()
    assert found["area_px"].tolist() == expected["area_px"].tolist() == found.area.tolist()
    box = (-60, -20, -40, 0)
    inside = geopandas.read_parquet(tmp_path / "a.parquet", bbox=box)
    hit = shapely.intersects(shapely.box(*shapely.bounds(expected.polygons()).T), shapely.box(*box))
    assert inside["id"].tolist() == expected["id"][hit].tolist()
    assert 0 < len(inside) < len(found)


def test_the_geo_metadata_follow_the_specification(tmp_path: Path, reader: ObjectsReader) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(tmp_path / "a.parquet", object_frames(reader), geometry=True, facts={})
    file = parquet.ParquetFile(tmp_path / "a.parquet")
    geo = json.loads(file.metadata.metadata[b"geo"])
    assert (geo["version"], geo["primary_column"], list(geo["columns"])) == ("1.1.0", "geometry", ["geometry"])
    column = geo["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"], column["crs"]) == ("WKB", ["Polygon"], None)
    assert column["bbox"] == list(shapely.total_bounds(whole(reader).polygons()))
    assert column["covering"] == {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}}
    boxes = file.read(["bbox"])["bbox"].combine_chunks().flatten()
    sides = np.stack([side.to_numpy() for side in boxes], axis=1)
    assert np.array_equal(sides, shapely.bounds(whole(reader).polygons()))


@pytest.mark.parametrize("geometry", [False, True])
def test_no_objects_are_a_file_with_the_same_columns(tmp_path: Path, reader: ObjectsReader, geometry: bool) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    empty = objects_at(tmp_path / "objects.zarr", [])
    assert write_parquet(tmp_path / "a.parquet", object_frames(empty), geometry=geometry, facts={}) == 0
    write_parquet(tmp_path / "b.parquet", object_frames(reader), geometry=geometry, facts={})
    a, b = (parquet.read_table(tmp_path / name) for name in ("a.parquet", "b.parquet"))
    assert a.schema.equals(b.schema)
    assert len(a) == 0
    assert write_csv(tmp_path / "a.csv", object_frames(empty), cell=safe_cell) == 0
    assert rows_of(tmp_path / "a.csv") == []
    if geometry:
        assert len(pytest.importorskip("geopandas").read_parquet(tmp_path / "a.parquet")) == 0


def test_a_full_disk_is_told_in_one_line_and_leaves_nothing_behind(tmp_path: Path, reader: ObjectsReader) -> None:
    pytest.importorskip("pyarrow")
    frames = list(object_frames(reader))
    with files_up_to(1000):
        with pytest.raises(OutputError, match="cannot write"):
            write_parquet(tmp_path / "a.parquet", frames, geometry=True, facts={})
        with pytest.raises(OutputError, match="cannot write"):
            write_csv(tmp_path / "a.csv", frames, cell=safe_cell)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("name", ["csv", "parquet", "geoparquet", "coco"])
def test_objects_are_let_go_as_they_are_written(tmp_path: Path, reader: ObjectsReader, name: str) -> None:
    alive: weakref.WeakSet[ObjectFrame] = weakref.WeakSet()
    most = []

    def watched() -> Iterator[ObjectFrame]:
        for frame in object_frames(reader, rows=2):
            alive.add(frame)
            most.append(len(alive))
            yield frame

    path = tmp_path / "a"
    if name == "csv":
        write_csv(path, watched(), cell=safe_cell)
    elif name == "coco":
        write_coco(path, watched(), prompts=PROMPTS, kinds=("cell",), image=("S", 8192, 8192), facts={})
    else:
        pytest.importorskip("pyarrow")
        write_parquet(path, watched(), geometry=name == "geoparquet", facts={})
    assert len(most) > 20
    assert max(most) <= 4


def test_damage_that_shows_at_the_end_publishes_nothing(tmp_path: Path, reader: ObjectsReader) -> None:
    def damaged() -> Any:
        yield from object_frames(reader)
        raise OutputError("damaged")

    pytest.importorskip("pyarrow")
    with pytest.raises(OutputError, match="damaged"):
        write_csv(tmp_path / "a.csv", damaged(), cell=safe_cell)
    with pytest.raises(OutputError, match="damaged"):
        write_parquet(tmp_path / "a.parquet", damaged(), geometry=False, facts={})
    assert names_in(tmp_path) == []
