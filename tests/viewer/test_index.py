from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.export.results import objects_at
from tests.store.tables import blobs, same
from wsiparse.store.read import ObjectsReader
from wsiparse.viewer import index as index_module
from wsiparse.viewer.index import ObjectIndex


@pytest.fixture(scope="module")
def index(reader: ObjectsReader) -> ObjectIndex:
    return ObjectIndex(reader, "cell")


@pytest.fixture(scope="module")
def boxes(reader: ObjectsReader) -> list[tuple[int, ...]]:
    """Bounding box of each row, one at a time."""
    table, found = reader.table("cell"), []
    for k in range(len(table)):
        points = table.take(np.array([k])).coords
        found.append((*points.min(axis=0).tolist(), *points.max(axis=0).tolist()))
    return found


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> ObjectsReader:
    tables = [blobs(seed=k, origin=(90 * (k % 3), 80 * k)) for k in range(6)]
    return objects_at(tmp_path_factory.mktemp("index") / "objects.zarr", tables)


@given(window=st.tuples(*[st.floats(-50, 700)] * 4))
def test_a_window_finds_the_objects_whose_box_meets_it(
    index: ObjectIndex, boxes: list[tuple[int, ...]], window: tuple[float, float, float, float]
) -> None:
    x0, x1 = sorted(window[:2])
    y0, y1 = sorted(window[2:])
    wanted = [k for k, b in enumerate(boxes) if b[0] < x1 and b[2] > x0 and b[1] < y1 and b[3] > y0]
    assert index.rows_in(x0, y0, x1, y1).tolist() == wanted


def test_outlines_of_scattered_rows_are_those_of_the_table(
    reader: ObjectsReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(index_module._BLOCK_ROWS, "cell", 7)
    rows = np.array([0, 3, 6, 7, 20, 21, 40], np.int64)
    assert same(ObjectIndex(reader, "cell").outlines(rows), reader.table("cell").take(rows))


def test_a_kind_without_objects_finds_none(reader: ObjectsReader) -> None:
    index = ObjectIndex(reader, "region")
    assert len(index) == 0
    assert index.rows_in(0, 0, 1e6, 1e6).tolist() == []
