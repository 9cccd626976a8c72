from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.coords import Frame
from wsiparse.types import Box, ObjectTable, Prompt, PromptSet, SplitSettings, TileGrid


@st.composite
def grids(draw: st.DrawFn) -> TileGrid:
    halo = draw(st.integers(0, 8))
    tile = draw(st.integers(2 * halo + 1, 2 * halo + 30))
    return TileGrid((draw(st.integers(1, 90)), draw(st.integers(1, 90))), tile, halo)


@given(grids())
def test_cores_cover_every_pixel_exactly_once_and_lie_in_their_boxes(grid: TileGrid) -> None:
    seen = np.zeros((grid.canvas[1], grid.canvas[0]), np.int64)
    for tile in grid:
        c, b = tile.core, tile.box
        seen[c.y : c.y1, c.x : c.x1] += 1
        assert (b.width, b.height) == (grid.tile, grid.tile)
        assert b.x + grid.halo == c.x
        assert b.y + grid.halo == c.y
        assert c.x1 + grid.halo <= b.x1
        assert c.y1 + grid.halo <= b.y1
    assert (seen == 1).all()


def test_a_halo_that_leaves_no_core_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves no core"):
        TileGrid((10, 10), 8, 4)


@given(st.integers(-20, 20), st.integers(-20, 20), st.integers(1, 30), st.integers(1, 30))
def test_a_clipped_box_holds_the_shared_pixels(x: int, y: int, w: int, h: int) -> None:
    box = Box(x, y, w, h)
    columns = [i for i in range(x, x + w) if 0 <= i < 10]
    rows = [j for j in range(y, y + h) if 0 <= j < 12]
    clipped = box.clip((10, 12))
    if not columns or not rows:
        assert clipped is None
    else:
        assert clipped == Box(columns[0], rows[0], len(columns), len(rows))


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": " "},
        {"class_name": ""},
        {"class_name": "a\nb"},
        {"colour": "red"},
        {"kind": "tissue"},
        {"threshold": 0.0},
        {"threshold": 1.0},
        {"input_mpp": 0.0},
    ],
)
def test_a_prompt_checks_itself(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (eight different sentences)
        Prompt(**({"text": "nuclei", "class_name": "Nuclei"} | wrong))  # type: ignore[arg-type]


def test_prompts_of_one_set_differ() -> None:
    with pytest.raises(ValueError, match="given twice: Nuclei"):
        PromptSet((Prompt("a", "Nuclei"), Prompt("b", "Nuclei")))


def test_split_settings_check_themselves() -> None:
    with pytest.raises(ValueError, match="out of range"):
        SplitSettings(persistence=-1)


def squares(n: int, seed: int) -> ObjectTable:
    """n squares at random places, every third with a hole."""
    rng = np.random.default_rng(seed)
    coords, rings, polygons = [], [0], [0]
    first = rng.integers(0, 50, (n, 2)).astype(np.int32)
    for k, (y, x) in enumerate(first):
        coords += [[x, y], [x + 5, y], [x + 5, y + 5], [x, y + 5], [x, y]]
        rings.append(len(coords))
        if k % 3 == 0:
            coords += [[x + 1, y + 1], [x + 1, y + 2], [x + 2, y + 2], [x + 2, y + 1], [x + 1, y + 1]]
            rings.append(len(coords))
        polygons.append(len(rings) - 1)
    return ObjectTable(
        coords=np.array(coords, np.int32).reshape(-1, 2),
        ring_offsets=np.array(rings, np.int64),
        polygon_offsets=np.array(polygons, np.int64),
        class_id=rng.integers(1, 3, n).astype(np.uint8),
        score=rng.random(n).astype(np.float32),
        area_px=np.array([24 if k % 3 == 0 else 25 for k in range(n)], np.int64),
        centroid=first[:, ::-1] + 2.5,
        first_px=first,
        class_share=rng.random((n, 2)).astype(np.float32),
        mean_od=rng.random(n).astype(np.float32),
        recognition=rng.random(n).astype(np.float32),
    )


NOT_ALWAYS_KNOWN = ("mean_od", "recognition")
FRAME = Frame((100, 100), (2.0, 2.0), (0.5, 0.5))


def polygons_of(table: ObjectTable) -> list[str]:
    shapes = shapely.from_ragged_array(shapely.GeometryType.POLYGON, *table.ragged(FRAME))
    return [g.wkt for g in shapes]


@given(st.integers(0, 12), st.integers(0, 99), st.data())
def test_taken_rows_are_the_rows_asked_for(n: int, seed: int, data: st.DataObject) -> None:
    table = squares(n, seed)
    rows = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=20) if n else st.just([])), np.int64)
    taken = table.take(rows)
    everything = polygons_of(table)
    assert polygons_of(taken) == [everything[r] for r in rows]
    np.testing.assert_array_equal(taken.class_id, table.class_id[rows])
    for name in ("class_share", "mean_od", "recognition"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(table, name)[rows])


@given(st.lists(st.integers(0, 5), max_size=5))
def test_joined_tables_hold_all_rows_in_order(lengths: list[int]) -> None:
    tables = [squares(n, seed) for seed, n in enumerate(lengths)]
    joined = ObjectTable.concat(tables)
    assert polygons_of(joined) == [wkt for t in tables for wkt in polygons_of(t)]
    for name in ("mean_od", "recognition"):
        assert getattr(joined, name).tolist() == [v for t in tables for v in getattr(t, name).tolist()]


def test_optical_density_and_recognition_that_are_left_out_are_unknown() -> None:
    table = squares(3, 0)
    rest = {name: getattr(table, name) for name in ObjectTable.__dataclass_fields__ if name not in NOT_ALWAYS_KNOWN}
    bare = ObjectTable(**rest)
    for name in NOT_ALWAYS_KNOWN:
        assert getattr(bare, name).dtype == np.float32
        assert np.isnan(getattr(bare, name)).tolist() == [True] * 3
    assert len(ObjectTable().mean_od) == 0
    with pytest.raises(ValueError, match="number of objects"):
        ObjectTable(**rest, mean_od=np.zeros(2, np.float32))


def test_raster_order_is_by_row_then_column_then_class() -> None:
    table = squares(40, 3)
    keys = [(*table.first_px[k].tolist(), int(table.class_id[k])) for k in table.raster_order()]
    assert keys == sorted(keys)


def test_columns_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match="number of objects"):
        ObjectTable(class_id=np.zeros(1, np.uint8))
