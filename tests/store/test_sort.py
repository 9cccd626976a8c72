from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.tables import ENGINE, FRAME, PROMPTS, SLIDE, blobs, regions, same
from tests.test_atomic import files_up_to
from wsiparse.atomic import sha256_tree
from wsiparse.coords import Frame
from wsiparse.errors import OutputError
from wsiparse.store import sort as spool_module
from wsiparse.store.sort import LOG_NAME, ObjectSpool
from wsiparse.store.tables import raster_sorted
from wsiparse.types import ObjectTable, Prompt, PromptSet

CELLS = blobs()
REGIONS = regions()


def opened(folder: Path, frame: Frame = FRAME, prompts: PromptSet = PROMPTS) -> ObjectSpool:
    return ObjectSpool(folder, frames={"cell": frame, "region": frame}, prompts=prompts)


def gathered(tables: Iterator[ObjectTable]) -> ObjectTable:
    return ObjectTable.concat(list(tables))


def pieces(table: ObjectTable, cuts: list[int]) -> list[ObjectTable]:
    return [table.take(rows) for rows in np.split(np.arange(len(table)), sorted(cuts))]


@pytest.fixture(params=["one record", "many records and bands"])
def cut_sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one record":
        monkeypatch.setattr(spool_module, "_RECORD_BYTES", 700)
        monkeypatch.setattr(spool_module, "_BAND_BYTES", 1500)


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
    with opened(tmp_path_factory.mktemp("spool")) as spool:
        for number, table in enumerate(batches, 1):
            assert spool.append(table) == number
        assert (spool.count("cell"), spool.count("region")) == (len(CELLS), len(REGIONS))
        assert same(gathered(spool.sorted("cell")), CELLS.take(CELLS.raster_order()))
        assert same(gathered(spool.sorted("region")), REGIONS.take(REGIONS.raster_order()))


def test_a_batch_may_hold_cells_and_regions(tmp_path: Path) -> None:
    flat = replace(REGIONS, class_share=np.zeros((len(REGIONS), 2), np.float32))
    with opened(tmp_path) as spool:
        spool.append(ObjectTable.concat([flat, CELLS]))
        assert same(gathered(spool.sorted("cell")), CELLS.take(CELLS.raster_order()))
        assert same(gathered(spool.sorted("region")), flat.take(flat.raster_order()))


@given(st.permutations(range(6)))
def test_rows_with_the_same_first_pixel_and_class_have_one_order_too(order: list[int]) -> None:
    rows = CELLS.take(np.array([0, 0, 0, 1, 0, 1]))
    alike = replace(rows, score=np.array([0.5, 0.25, 0.5, 0.1, 0.75, 0.2], np.float32))
    assert same(raster_sorted(alike.take(np.array(order))), raster_sorted(alike))


@pytest.mark.usefixtures("cut_sizes")
def test_a_torn_last_batch_is_cut_off_wherever_it_tore(tmp_path: Path) -> None:
    first, second = CELLS.take(np.arange(12)), CELLS.take(np.arange(12, 20))
    with opened(tmp_path) as spool:
        spool.append(first)
        whole = (tmp_path / LOG_NAME).stat().st_size
        spool.append(second)
    log = (tmp_path / LOG_NAME).read_bytes()
    for size in [*range(whole, len(log), 97), len(log) - 1]:
        (tmp_path / LOG_NAME).write_bytes(log[:size])
        with opened(tmp_path) as spool:
            assert spool.batches == 1
            assert same(gathered(spool.sorted("cell")), raster_sorted(first))
            assert spool.append(second) == 2
        assert (tmp_path / LOG_NAME).read_bytes() == log


def test_a_log_torn_in_its_header_starts_afresh(tmp_path: Path) -> None:
    opened(tmp_path).close()
    header = (tmp_path / LOG_NAME).read_bytes()
    for size in (0, 3, len(header) - 1):
        (tmp_path / LOG_NAME).write_bytes(header[:size])
        with opened(tmp_path) as spool:
            assert spool.batches == 0
        assert (tmp_path / LOG_NAME).read_bytes() == header


def test_a_damaged_batch_ends_the_log_before_it(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        spool.append(CELLS.take(np.arange(10)))
        size = (tmp_path / LOG_NAME).stat().st_size
        for table in pieces(CELLS.take(np.arange(10, 46)), [10]):
            spool.append(table)
    log = bytearray((tmp_path / LOG_NAME).read_bytes())
    log[size + 200] ^= 4
    (tmp_path / LOG_NAME).write_bytes(log)
    with opened(tmp_path) as spool:
        assert spool.batches == 1
        assert spool.count("cell") == 10


def test_a_killed_writer_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    batches = [*pieces(CELLS, [7, 8, 30]), REGIONS]
    with opened(tmp_path / "a") as spool:
        for table in batches:
            spool.append(table)
        spool.finish(tmp_path / "a.zarr", engine=ENGINE, slide=SLIDE)
    for done in range(len(batches)):
        folder = tmp_path / f"b{done}"
        killed = opened(folder)
        for table in batches[:done]:
            killed.append(table)
        with opened(folder) as spool:  # the first writer never closed its file
            for table in reversed(batches[spool.batches :]):
                spool.append(table)
            spool.sync()
            spool.finish(tmp_path / "b.zarr", engine=ENGINE, slide=SLIDE)
        killed.close()
        assert sha256_tree(tmp_path / "b.zarr") == sha256_tree(tmp_path / "a.zarr")


def test_truncating_agrees_with_an_older_checkpoint(tmp_path: Path) -> None:
    batches = pieces(CELLS, [7, 8, 30])
    with opened(tmp_path) as spool:
        for table in batches:
            spool.append(table)
        spool.truncate(4)
        spool.truncate(2)
        assert same(gathered(spool.sorted("cell")), raster_sorted(CELLS.take(np.arange(8))))
        spool.append(batches[2])
        assert same(gathered(spool.sorted("cell")), raster_sorted(CELLS.take(np.arange(30))))
        spool.truncate(0)
        assert spool.count("cell") == 0
        with pytest.raises(ValueError, match="cannot keep"):
            spool.truncate(1)


def test_empty_batches_count_and_hold_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as spool:
        assert spool.append(ObjectTable()) == 1
        assert spool.append(CELLS) == 2
    with opened(tmp_path) as spool:
        assert spool.batches == 2
        assert spool.count("cell") == len(CELLS)


def test_a_spool_of_another_run_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    for frame, prompts in ((Frame((4096, 4095), (2, 2), (0.5, 0.5)), PROMPTS), (FRAME, PromptSet((Prompt("a", "b"),)))):
        with pytest.raises(OutputError, match="another run"):
            opened(tmp_path, frame, prompts)
    (tmp_path / LOG_NAME).write_bytes(b"something else")
    with pytest.raises(OutputError, match="another run"):
        opened(tmp_path)


def test_a_log_of_an_older_layout_is_told(tmp_path: Path) -> None:
    opened(tmp_path).close()
    log = (tmp_path / LOG_NAME).read_bytes()
    assert log.startswith(b"WSPOOL2\n")
    (tmp_path / LOG_NAME).write_bytes(log.replace(b"WSPOOL2", b"WSPOOL1", 1))
    with pytest.raises(OutputError, match=r"a log of format version 1, this program reads 2\. Remove it"):
        opened(tmp_path)


def test_recognition_scores_do_not_enter_the_log(tmp_path: Path) -> None:
    """They are those of the grid, which is known at the end."""
    scored = replace(CELLS, recognition=np.full(len(CELLS), 0.5, np.float32))
    logs = set()
    for name, table in (("a", CELLS), ("b", scored)):
        with opened(tmp_path / name) as spool:
            spool.append(table)
            assert same(gathered(spool.sorted("cell")), raster_sorted(CELLS))
        logs.add((tmp_path / name / LOG_NAME).read_bytes())
    assert len(logs) == 1


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        opened(tmp_path / "file" / "spool")


def test_a_full_disk_keeps_what_was_committed(tmp_path: Path) -> None:
    first, second = CELLS.take(np.arange(12)), CELLS.take(np.arange(12, 46))
    with opened(tmp_path) as spool:
        spool.append(first)
        size = (tmp_path / LOG_NAME).stat().st_size
        with pytest.raises(OutputError, match="largest size"), files_up_to(size + 500):
            spool.append(second)
        assert (tmp_path / LOG_NAME).stat().st_size == size
        assert spool.batches == 1
        assert same(gathered(spool.sorted("cell")), raster_sorted(first))
        assert spool.append(second) == 2
        assert same(gathered(spool.sorted("cell")), raster_sorted(CELLS))


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
    with opened(tmp_path) as spool:
        spool.append(CELLS)
        with pytest.raises(ValueError, match=match):
            spool.append(table)
        assert spool.batches == 1


def test_removing_a_spool_leaves_nothing(tmp_path: Path) -> None:
    spool = opened(tmp_path / "spool")
    spool.append(CELLS)
    spool.remove()
    assert not (tmp_path / "spool").exists()
