from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.export.results import JUDGED, judged, objects_at
from tests.store.tables import ENGINE, FRAME, PROMPTS, SLIDE, blobs, masks, regions, same, table_of
from wsiparse.atomic import sha256_tree
from wsiparse.coords import Frame
from wsiparse.errors import OutputError
from wsiparse.store import write, zarrfolder
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.store.tables import raster_sorted
from wsiparse.store.write import decode_coords, encode_coords
from wsiparse.types import ObjectTable, RecognitionGrid, TileGrid

CELLS = blobs()
REGIONS = regions()
BOTH = ObjectTable.concat([CELLS, table_of(np.ones((3, 3), bool), origin=(200, 200))])


def written(path: Path, table: ObjectTable = CELLS) -> Path:
    with ObjectSorter(path.with_name("unsorted"), frames={"cell": FRAME, "region": FRAME}, prompts=PROMPTS) as sorter:
        sorter.append(table)
        sorter.finish(path, engine=ENGINE, slide=SLIDE)
    return path


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_ROW_CHUNK", 7)
    monkeypatch.setattr(write, "_VERTEX_CHUNK", 50)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    with ObjectSorter(tmp_path / "unsorted", frames={"cell": FRAME, "region": FRAME}, prompts=PROMPTS) as sorter:
        sorter.append(CELLS)
        sorter.append(REGIONS)
        sorter.finish(tmp_path / "objects.zarr", engine=ENGINE, slide=SLIDE)
    reader = ObjectsReader(tmp_path / "objects.zarr")
    assert (reader.frames["region"], reader.prompts, reader.engine, reader.slide) == (FRAME, PROMPTS, ENGINE, SLIDE)
    assert (reader.count("cell"), reader.count("region")) == (len(CELLS), len(REGIONS))
    assert reader.attrs["rows"] == {"cells": len(CELLS), "regions": len(REGIONS)}
    assert same(reader.table("cell"), raster_sorted(CELLS))
    assert same(reader.table("region"), raster_sorted(REGIONS))
    reader.verify()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("rows", [1, 5, 7, 1000])
def test_batches_of_any_size_over_many_chunks_add_up(tmp_path: Path, rows: int) -> None:
    reader = ObjectsReader(written(tmp_path / "objects.zarr"))
    batches = list(reader.batches("cell", rows))
    assert all(len(batch) == rows for batch in batches[:-1])
    assert same(ObjectTable.concat(batches), raster_sorted(CELLS))


@pytest.mark.usefixtures("small_chunks")
def test_any_range_of_rows_decodes_by_itself(tmp_path: Path) -> None:
    reader, expected = ObjectsReader(written(tmp_path / "objects.zarr")), raster_sorted(CELLS)
    for start, stop in ((0, 0), (0, 1), (6, 8), (13, 40), (45, 46), (46, 46)):
        assert same(reader.table("cell", start, stop), expected.take(np.arange(start, stop)))


def test_shapely_reads_the_ragged_columns_as_they_are(tmp_path: Path) -> None:
    reader = ObjectsReader(written(tmp_path / "objects.zarr"))
    table = reader.table("cell")
    polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, *table.ragged(reader.frames["cell"]))
    assert shapely.is_valid(polygons).all()
    np.testing.assert_array_equal(shapely.area(polygons), table.area_px * 4)


def test_objects_in_one_piece_and_in_several_give_the_same_bytes(tmp_path: Path) -> None:
    mixed = CELLS.take(np.random.default_rng(1).permutation(len(CELLS)))
    with ObjectSorter(tmp_path / "unsorted", frames={"cell": FRAME, "region": FRAME}, prompts=PROMPTS) as sorter:
        for rows in np.array_split(np.arange(len(mixed)), 5):
            sorter.append(mixed.take(rows))
        sorter.finish(tmp_path / "a.zarr", engine=ENGINE, slide=SLIDE)
    assert sha256_tree(tmp_path / "a.zarr") == sha256_tree(written(tmp_path / "b.zarr"))
    assert sha256_tree(written(tmp_path / "b.zarr")) == sha256_tree(tmp_path / "a.zarr")


@pytest.mark.parametrize("table", [CELLS, CELLS.take(np.arange(0))], ids=["cells", "none"])
def test_made_in_memory_or_on_the_disk_the_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: ObjectTable
) -> None:
    in_memory = written(tmp_path / "memory.zarr", table)
    monkeypatch.setattr(zarrfolder, "_IN_MEMORY_BYTES", -1)
    assert sha256_tree(in_memory) == sha256_tree(written(tmp_path / "disk.zarr", table))


def test_a_small_slide_is_read_from_the_disk_once_and_verified_anew(tmp_path: Path) -> None:
    reader = ObjectsReader(written(tmp_path / "objects.zarr"))
    first = reader.table("cell")
    # bytes of the last chunk of a column, whose checksum is inside
    damaged = tmp_path / "objects.zarr" / "cells" / "area_px" / "c" / "0"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert same(reader.table("cell"), first)
    assert same(reader.table("cell", 3, 9), first.take(np.arange(3, 9)))
    with pytest.raises(OutputError, match="damaged"):
        reader.verify()
    with pytest.raises(OutputError, match="damaged"):
        reader.table("cell")


@pytest.mark.usefixtures("small_chunks")
def test_what_has_many_chunks_is_not_kept(tmp_path: Path) -> None:
    reader = ObjectsReader(written(tmp_path / "objects.zarr"))
    assert same(reader.table("cell"), raster_sorted(CELLS))
    shutil.rmtree(tmp_path / "objects.zarr" / "cells" / "area_px")
    with pytest.raises(OutputError, match="checksum of column cells/area_px differs"):
        reader.table("cell")


def test_no_objects_make_a_folder_that_reads_as_none(tmp_path: Path) -> None:
    reader = ObjectsReader(written(tmp_path / "objects.zarr", ObjectTable()))
    assert (reader.count("cell"), reader.count("region")) == (0, 0)
    assert list(reader.batches("cell")) == []
    assert len(reader.table("region")) == 0
    reader.verify()


def test_few_files_whatever_the_number_of_objects(tmp_path: Path) -> None:
    files = [p for p in written(tmp_path / "objects.zarr").rglob("*") if p.is_file()]
    assert len(files) < 45


@given(masks(), st.integers(-(2**31), 2**31 - 20), st.integers(-(2**31), 2**31 - 20))
@settings(max_examples=60)
def test_decoding_differences_gives_the_coordinates_back(mask: NDArray[np.bool_], x: int, y: int) -> None:
    table = table_of(mask)
    moved = (table.coords.astype(np.int64) + [x, y]).astype(np.int32)
    table = ObjectTable(**{**columns(table), "coords": moved})
    found = decode_coords(encode_coords(table), table.ring_offsets, table.polygon_offsets, table.first_px)
    np.testing.assert_array_equal(found, moved)


def columns(table: ObjectTable) -> dict[str, NDArray[np.generic]]:
    return {name: getattr(table, name) for name in ObjectTable.__dataclass_fields__}


@given(hnp.arrays(np.int32, (9, 2)), hnp.arrays(np.int32, (2, 2)))
def test_differences_are_exact_for_every_int32(coords: NDArray[np.int32], first: NDArray[np.int32]) -> None:
    offsets, outlines = np.array([0, 4, 4, 9]), np.array([0, 1, 3])
    table = ObjectTable(
        coords=coords,
        ring_offsets=offsets,
        polygon_offsets=outlines,
        class_id=np.ones(2, np.uint8),
        score=np.ones(2, np.float32),
        area_px=np.ones(2, np.int64),
        centroid=np.zeros((2, 2)),
        first_px=first,
        class_share=np.zeros((2, 0), np.float32),
    )
    delta = encode_coords(table)
    expected = [
        (int(coords[i, a]) - int(coords[i - 1, a] if i not in (0, 4) else first[int(i == 4), 1 - a])) % 2**32
        for i in range(9)
        for a in (0, 1)
    ]
    assert (delta.astype(np.int64) % 2**32).ravel().tolist() == expected
    np.testing.assert_array_equal(decode_coords(delta, offsets, outlines, first), coords)


def test_small_differences_compress_well(tmp_path: Path) -> None:
    chunks = written(tmp_path / "objects.zarr") / "cells" / "coords" / "c"
    stored = sum(p.stat().st_size for p in chunks.rglob("*") if p.is_file())
    assert stored < CELLS.coords.nbytes / 6


def flip_a_byte(path: Path) -> None:
    chunk = path / "cells" / "coords" / "c" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)


def cut_a_chunk(path: Path) -> None:
    chunk = path / "cells" / "area_px" / "c" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-3])


def swap_in_another_column(path: Path) -> None:
    """A chunk that decodes well but is not the one that was written."""
    table = raster_sorted(CELLS)
    table.score[:] = 0.5
    other = written(path.with_name("other.zarr"), table)
    (path / "cells" / "score" / "c" / "0").write_bytes((other / "cells" / "score" / "c" / "0").read_bytes())


def lose_a_chunk(path: Path) -> None:
    (path / "cells" / "class_id" / "c" / "0").unlink()


def lose_a_column(path: Path) -> None:
    (path / "regions" / "centroid" / "zarr.json").unlink()


def garble(name: str, text: str) -> Callable[[Path], None]:
    def garble_it(path: Path) -> None:
        (path / name).write_text(text)

    return garble_it


def change(key: str, value: object) -> Callable[[Path], None]:
    def change_it(path: Path) -> None:
        root = json.loads((path / "zarr.json").read_text())
        if value is None:
            del root["attributes"][key]
        else:
            root["attributes"][key] = value
        (path / "zarr.json").write_text(json.dumps(root))

    return change_it


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "damaged.*cells/coords"),
        (cut_a_chunk, "damaged.*cells/area_px"),
        (swap_in_another_column, "damaged.*checksum of column cells/score"),
        (lose_a_chunk, "damaged.*cells/class_id lacks chunks"),
        (lose_a_column, "damaged.*regions/centroid is missing"),
        (garble("cells/score/zarr.json", "{"), "damaged.*cells/score is missing"),
        (garble("zarr.json", "{"), "not an objects.zarr"),
        (garble("zarr.json", ""), "not an objects.zarr"),
        (garble("zarr.json", "[]"), "not an objects.zarr"),
        (garble("zarr.json", '{"zarr_format": 3, "node_type": "group"}'), "not an objects.zarr of wsiparse"),
        (change("format", "something"), "not an objects.zarr of wsiparse"),
        (change("version", 1), "format version 1, this program reads 2.*--overwrite"),
        (change("version", 3), "format version 3, this program reads 2"),
        (change("frames", {"cell": {"size": [0, 1]}}), "attributes are incomplete"),
        (change("prompts", [{"text": "a"}]), "attributes are incomplete"),
        (change("columns", None), "attributes are incomplete"),
        (change("recognition", None), "attributes are incomplete"),
        (change("recognition", [{}]), "attributes are incomplete"),
        (change("columns", {"cells": {}, "regions": {}}), "is not"),
    ],
)
def test_damage_is_one_clear_line(tmp_path: Path, damage: Callable[[Path], None], words: str) -> None:
    path = written(tmp_path / "objects.zarr")
    damage(path)
    with pytest.raises(OutputError, match=words) as caught:
        ObjectsReader(path).verify()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_recognition_grids_are_read_back_and_every_object_knows_its_score(tmp_path: Path) -> None:
    reader = objects_at(tmp_path / "objects.zarr", [CELLS, REGIONS], recognition=JUDGED)
    for found, grid in zip(reader.recognition, JUDGED, strict=True):
        assert (found.positions, found.grid) == (grid.positions, grid.grid)
        np.testing.assert_array_equal(found.scores, grid.scores)
        np.testing.assert_array_equal(found.statistics, grid.statistics)
    for kind, grid in (("cell", JUDGED[0]), ("region", JUDGED[1])):
        table = reader.table(kind)  # type: ignore[arg-type]
        expected = []
        for class_id, (y, x) in zip(table.class_id.tolist(), table.first_px.tolist(), strict=True):
            prompt = grid.positions.index(class_id - 1)
            expected.append(grid.scores[prompt, y // grid.grid.stride, x // grid.grid.stride])
        np.testing.assert_array_equal(table.recognition, np.array(expected, np.float32))
        parts = ObjectTable.concat(list(reader.batches(kind, 3)))  # type: ignore[arg-type]
        assert same(parts, table)
    assert np.isnan(reader.table("cell").recognition).tolist() == (reader.table("cell").class_id == 1).tolist()
    assert len(np.unique(reader.table("cell").recognition)) > 2


def test_without_grids_no_object_has_a_score(tmp_path: Path) -> None:
    reader = ObjectsReader(written(tmp_path / "objects.zarr"))
    assert reader.recognition == []
    assert np.isnan(reader.table("cell").recognition).all()


def test_grids_without_tiles_read_are_kept_too(tmp_path: Path) -> None:
    """Values that are all NaN or all 0 are stored like any others."""
    grid = TileGrid((40, 40), 20, 0)
    statistics = np.zeros((1, 2, 2, 4), np.float32)
    given = [
        RecognitionGrid((0,), grid, statistics * np.nan, np.full((1, 2, 2), value, np.float32)) for value in (0, np.nan)
    ]
    reader = objects_at(tmp_path / "objects.zarr", recognition=given)
    np.testing.assert_array_equal([g.scores for g in reader.recognition], [g.scores for g in given])


def lose_a_grid(path: Path) -> None:
    shutil.rmtree(path / "recognition" / "scale-1")


def lose_the_scores(path: Path) -> None:
    (path / "recognition" / "scale-0" / "scores" / "c" / "0" / "0" / "0").unlink()


def swap_the_scales(path: Path) -> None:
    """The grid of another run, sound in itself."""
    other = path.with_name("other.zarr")
    objects_at(other, recognition=[judged((2, 0), 32, seed=7)])
    shutil.rmtree(path / "recognition" / "scale-0")
    shutil.copytree(other / "recognition" / "scale-0", path / "recognition" / "scale-0")


def change_the_tiles(path: Path) -> None:
    file = path / "recognition" / "scale-1" / "zarr.json"
    facts = json.loads(file.read_text())
    facts["attributes"]["tile_px"] = 77
    file.write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lose_a_grid, "damaged.*recognition/scale-1 is missing or unreadable"),
        (lose_the_scores, "damaged.*checksum of recognition/scale-0/scores differs"),
        (swap_the_scales, "damaged.*checksum of recognition/scale-0/scores differs"),
        (change_the_tiles, "damaged.*recognition/scale-1 is missing or unreadable"),
        (
            garble("recognition/scale-0/statistics/zarr.json", "{"),
            "damaged.*recognition/scale-0 is missing or unreadable",
        ),
    ],
)
def test_damaged_recognition_is_one_clear_line(tmp_path: Path, damage: Callable[[Path], None], words: str) -> None:
    path = tmp_path / "objects.zarr"
    objects_at(path, recognition=JUDGED)
    damage(path)
    with pytest.raises(OutputError, match=words) as caught:
        ObjectsReader(path)
    assert "\n" not in str(caught.value)


def test_a_reader_of_nothing_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        ObjectsReader(tmp_path / "objects.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutputError, match=r"not an objects\.zarr"):
        ObjectsReader(tmp_path / "empty")


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    reader = ObjectsReader(written(tmp_path / "objects.zarr"))
    with pytest.raises(ValueError, match="neither 'cell' nor 'region'"):
        reader.count("cells")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rows"):
        reader.batches("cell", 0)
    with pytest.raises(ValueError, match="rows 3-2"):
        reader.table("cell", 3, 2)
    with pytest.raises(ValueError, match="class ids"):
        written(tmp_path / "b.zarr", ObjectTable(**{**columns(CELLS), "class_id": CELLS.class_id + np.uint8(9)}))
    with pytest.raises(ValueError, match="announced"):
        write.write_objects(
            tmp_path / "c.zarr",
            {"cell": [CELLS], "region": []},
            {"cell": (1000, 1000, 100_000, 2), "region": (0, 0, 0, 0)},
            frames=dict.fromkeys(("cell", "region"), Frame((4096, 4096), (1, 1), (1, 1))),
            prompts=PROMPTS,
            engine=ENGINE,
            slide=SLIDE,
        )
    assert not (tmp_path / "c.zarr").exists()
