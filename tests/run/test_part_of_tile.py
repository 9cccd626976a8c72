"""Of a tile only what is analysed of its core, and its context, is recognised; nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.recognize.models import write_model
from wsiparse.config import RunConfig
from wsiparse.field.tiles import FieldTile, whole_core
from wsiparse.recognize.embedded.classes import ClassRecognizer
from wsiparse.recognize.embedded.folder import FolderEngine
from wsiparse.run.pipeline import analyse
from wsiparse.run.tiles import part_of_tile
from wsiparse.slides import MemorySlide
from wsiparse.slides.synthetic import paint_he
from wsiparse.types import Box, EngineInfo, ObjectTable, Recognition, RecognizerSpec, TileGrid

ALIGN = 16


@given(
    canvas=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    place=st.tuples(st.integers(0, 300), st.integers(0, 300)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    index=st.integers(0, 99),
)
def test_a_part_holds_all_that_is_computed_and_its_context(
    canvas: tuple[int, int], place: tuple[int, int], size: tuple[int, int], index: int
) -> None:
    grid = TileGrid(canvas, 256, 48)
    tile = grid[index % len(grid)]
    mask = np.zeros((tile.core.height, tile.core.width), np.bool_)
    mask[place[1] : place[1] + size[1], place[0] : place[0] + size[0]] = True
    part = part_of_tile(tile, mask, ALIGN)
    if not mask.any():
        assert part is tile
        return
    rows, columns = np.nonzero(mask)
    needed = Box(
        tile.core.x + int(columns.min()),
        tile.core.y + int(rows.min()),
        int(np.ptp(columns)) + 1,
        int(np.ptp(rows)) + 1,
    )
    assert part.core.x <= needed.x
    assert part.core.y <= needed.y
    assert part.core.x1 >= needed.x1
    assert part.core.y1 >= needed.y1
    for inner, outer in ((part.core, tile.core), (part.box, tile.box), (part.core, part.box)):
        assert contains(outer, inner)
    assert {(part.box.x - tile.box.x) % ALIGN, (part.box.y - tile.box.y) % ALIGN} == {0}
    assert {part.box.width % ALIGN, part.box.height % ALIGN} == {0}
    assert (part.core.x - part.box.x, part.core.y - part.box.y) == (48, 48)
    assert part.box.x1 - part.core.x1 >= 48
    assert part.box.y1 - part.core.y1 >= 48
    assert part.box.width <= needed.width + 96 + 2 * (ALIGN - 1)
    assert part.box.height <= needed.height + 96 + 2 * (ALIGN - 1)


def contains(outer: Box, inner: Box) -> bool:
    return outer.x <= inner.x and outer.y <= inner.y and inner.x1 <= outer.x1 and inner.y1 <= outer.y1


def test_a_part_lies_in_its_core_where_it_was() -> None:
    rng = np.random.default_rng(0)
    part = FieldTile(
        7,
        rng.integers(0, 256, (3, 4, 5), np.uint8),
        rng.integers(0, 256, (2, 4, 5), np.uint8),
        rng.integers(0, 256, (4, 5), np.uint8),
        rng.random((1, 4), np.float32),
    )
    whole = whole_core(part, Box(112, 203, 5, 4), Box(100, 200, 30, 20))
    for given_, made in ((part.cells, whole.cells), (part.regions, whole.regions), (part.od, whole.od)):
        assert made.shape[-2:] == (20, 30)
        np.testing.assert_array_equal(made[..., 3:7, 12:17], given_)
        assert made.sum(dtype=np.int64) == given_.sum(dtype=np.int64)
    assert whole.index == 7
    np.testing.assert_array_equal(whole.statistics, part.statistics)


@pytest.mark.parametrize("batch", [1, 3])
def test_objects_are_the_same_and_less_is_recognised(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "model")
    picture = np.full((620, 700, 3), 243, np.uint8)
    picture[180:440, 230:530] = paint_he(300, 260, seed=5).image
    config = RunConfig(
        engine=str(model), device="cpu", runtime="torch", precision="float32", batch_size=batch, mpp=0.5, tile_size=512
    )
    seen: list[int] = []
    call = ClassRecognizer.__call__

    def counted(self: ClassRecognizer, images: NDArray[np.uint8]) -> Recognition:
        seen.append(images.size)
        return call(self, images)

    monkeypatch.setattr(ClassRecognizer, "__call__", counted)
    parts = analyse(MemorySlide(picture, 0.5), config).cells
    of_parts, _ = sum(seen), seen.clear()
    info = FolderEngine.info

    def of_one_size(self: FolderEngine, spec: RecognizerSpec) -> EngineInfo:
        return replace(info(self, spec), any_size=False)

    monkeypatch.setattr(FolderEngine, "info", of_one_size)
    whole = analyse(MemorySlide(picture, 0.5), config).cells
    assert len(whole) > 20
    assert of_parts < 0.8 * sum(seen)
    for name in ObjectTable.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), err_msg=name)
