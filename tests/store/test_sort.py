from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.tables import FRAME, PROMPTS, blobs, regions, same
from tests.test_atomic import files_up_to
from wsiparse.errors import OutputError
from wsiparse.store import sort
from wsiparse.store.sort import ObjectSorter
from wsiparse.store.tables import raster_sorted
from wsiparse.types import ObjectTable

CELLS = blobs()
REGIONS = regions()


def opened(path: Path) -> ObjectSorter:
    return ObjectSorter(path, frames={"cell": FRAME, "region": FRAME}, prompts=PROMPTS)


def gathered(tables: Iterator[ObjectTable]) -> ObjectTable:
    return ObjectTable.concat(list(tables))


def pieces(table: ObjectTable, cuts: list[int]) -> list[ObjectTable]:
    return [table.take(rows) for rows in np.split(np.arange(len(table)), sorted(cuts))]


@pytest.fixture(params=["one record", "many records and bands"])
def cut_sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one record":
        monkeypatch.setattr(sort, "_RECORD_BYTES", 700)
        monkeypatch.setattr(sort, "_BAND_BYTES", 1500)


@given(st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("cut_sizes")
def test_objects_come_out_in_raster_order_whatever_the_order_they_came_in(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    mixed = data.draw(st.permutations(range(len(CELLS))))
    cuts = data.draw(st.lists(st.integers(0, len(CELLS)), max_size=8))
    batches = pieces(CELLS.take(np.array(mixed)), cuts)
    batches.insert(data.draw(st.integers(0, len(batches))), REGIONS)
    with opened(tmp_path_factory.mktemp("sorter") / "unsorted") as sorter:
        for table in batches:
            sorter.append(table)
        assert (sorter.count("cell"), sorter.count("region")) == (len(CELLS), len(REGIONS))
        assert same(gathered(sorter.sorted("cell")), CELLS.take(CELLS.raster_order()))
        assert same(gathered(sorter.sorted("region")), REGIONS.take(REGIONS.raster_order()))


def test_a_batch_may_hold_cells_and_regions(tmp_path: Path) -> None:
    flat = replace(REGIONS, class_share=np.zeros((len(REGIONS), 2), np.float32))
    with opened(tmp_path / "unsorted") as sorter:
        sorter.append(ObjectTable.concat([flat, CELLS]))
        assert same(gathered(sorter.sorted("cell")), CELLS.take(CELLS.raster_order()))
        assert same(gathered(sorter.sorted("region")), flat.take(flat.raster_order()))


@given(st.permutations(range(6)))
def test_rows_with_the_same_first_pixel_and_class_have_one_order_too(order: list[int]) -> None:
    rows = CELLS.take(np.array([0, 0, 0, 1, 0, 1]))
    alike = replace(rows, score=np.array([0.5, 0.25, 0.5, 0.1, 0.75, 0.2], np.float32))
    assert same(raster_sorted(alike.take(np.array(order))), raster_sorted(alike))


def test_recognition_scores_are_not_kept(tmp_path: Path) -> None:
    """They are those of the grid, which is known at the end."""
    scored = replace(CELLS, recognition=np.full(len(CELLS), 0.5, np.float32))
    kept = set()
    for name, table in (("a", CELLS), ("b", scored)):
        with opened(tmp_path / name) as sorter:
            sorter.append(table)
            assert same(gathered(sorter.sorted("cell")), raster_sorted(CELLS))
            kept.add((tmp_path / name).read_bytes())
    assert len(kept) == 1


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        opened(tmp_path / "file" / "unsorted")


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (replace(CELLS, class_id=np.full(len(CELLS), 4, np.uint8)), "class ids"),
        (replace(CELLS, class_id=np.zeros(len(CELLS), np.uint8)), "class ids"),
        (replace(CELLS, first_px=CELLS.first_px + np.int32(4090)), "outside the frame"),
        (replace(CELLS, first_px=CELLS.first_px - np.int32(1)), "outside the frame"),
        (replace(CELLS, class_share=CELLS.class_share[:, :1]), "class shares"),
    ],
)
def test_objects_that_cannot_be_of_this_run_are_refused(tmp_path: Path, table: ObjectTable, match: str) -> None:
    with opened(tmp_path / "unsorted") as sorter:
        sorter.append(CELLS)
        with pytest.raises(ValueError, match=match):
            sorter.append(table)
        assert same(gathered(sorter.sorted("cell")), raster_sorted(CELLS))


def test_objects_without_rows_are_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "unsorted") as sorter:
        sorter.append(ObjectTable())
        sorter.append(CELLS)
        assert sorter.count("cell") == len(CELLS)
        assert list(sorter.sorted("region")) == []


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    with opened(tmp_path / "unsorted") as sorter:
        sorter.append(CELLS.take(np.arange(12)))
        size = (tmp_path / "unsorted").stat().st_size
        with pytest.raises(OutputError, match="largest size"), files_up_to(size + 500):
            sorter.append(CELLS.take(np.arange(12, 46)))


def test_the_file_goes_with_the_sorter(tmp_path: Path) -> None:
    with opened(tmp_path / "unsorted") as sorter:
        sorter.append(CELLS)
        assert (tmp_path / "unsorted").stat().st_size > 0
    assert list(tmp_path.iterdir()) == []
