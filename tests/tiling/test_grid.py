from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.coords import Frame, frame_at
from wsiparse.errors import PlanError
from wsiparse.tiling import AnalysisArea, TilePlan, TileSize, estimate, plan_tiles, whole_slide_area
from wsiparse.types import Box

SIZE, MPP = (1000, 700), (0.25, 0.25)
OVERVIEW = Frame((32, 22), (32.0, 32.0), (8.0, 8.0))
TISSUE = np.zeros((22, 32), np.bool_)
TISSUE[5:9, 10:20] = True


def plan(
    tissue: np.ndarray = TISSUE,
    roi: shapely.Polygon | None = None,
    *,
    tile: int = 96,
    halo: int = 16,
    align: int = 16,
    margin: float = 50.0,
    cover: np.ndarray | None = None,
    **facts: object,
) -> TilePlan:
    given: dict[str, object] = {
        "fingerprint": "ab" * 32, "slide_name": "case", "slide_size": SIZE, "slide_mpp": MPP,
        "frame": frame_at(SIZE, MPP, 0.5), "tiles": TileSize(tile, halo, align),
        "area": AnalysisArea(SIZE, OVERVIEW, tissue, roi, margin, cover),
    }  # fmt: skip
    return plan_tiles(**(given | facts))  # type: ignore[arg-type]


def test_kept_tiles_are_exactly_those_whose_core_has_something_to_compute() -> None:
    some = plan()
    expected = [t.index for t in some.grid if some.area.field_mask(t.core, some.frame).any()]
    assert some.kept.tolist() == expected
    assert 0 < len(some) < len(some.grid)
    assert [t.index for t in some.tiles()] == expected


@given(tile=st.integers(4, 40), halo=st.integers(0, 12), seed=st.integers(0, 99))
def test_the_cores_of_kept_tiles_cover_the_field_mask_whatever_the_tiles(tile: int, halo: int, seed: int) -> None:
    if 2 * halo >= tile:
        return
    size, over = (140, 90), Frame((9, 6), (16.0, 16.0), (8.0, 8.0))
    tissue = np.random.default_rng(seed).random((6, 9)) < 0.2
    some = plan(
        slide_size=size, slide_mpp=(0.5, 0.5), frame=frame_at(size, (0.5, 0.5), 1.0), tile=tile, halo=halo, align=1,
        area=AnalysisArea(size, over, tissue, None, 10.0),
    )  # fmt: skip
    whole = some.area.field_mask(Box(0, 0, *some.frame.size), some.frame)
    covered = np.zeros_like(whole)
    for tile_ in some.tiles():
        core = tile_.core
        assert not covered[core.y : core.y1, core.x : core.x1].any()
        covered[core.y : core.y1, core.x : core.x1] = True
    assert not (whole & ~covered).any()


def test_nothing_to_compute_is_an_empty_plan() -> None:
    empty = plan(np.zeros_like(TISSUE))
    assert len(empty) == 0
    assert empty.tiles() == []
    assert empty.area_mm2 == 0
    assert estimate(empty, prompts=2).disk_bytes == 0
    assert TilePlan.from_json(empty.to_json()).digest() == empty.digest()


def test_a_region_restricts_the_plan() -> None:
    whole, part = plan(), plan(roi=shapely.box(320, 160, 400, 200), margin=0.0)
    assert set(part.kept.tolist()) < set(whole.kept.tolist())
    assert part.area_mm2 == pytest.approx(80 * 40 * 0.25**2 * 1e-6)


@pytest.mark.parametrize("roi", [None, shapely.Point(400.123456789, 200).buffer(77.7)])
def test_a_plan_survives_json_exactly(roi: shapely.Polygon | None) -> None:
    some = plan(roi=roi)
    twin = TilePlan.from_json(some.to_json())
    assert twin.digest({"engine": "x"}) == some.digest({"engine": "x"})
    assert twin.to_json() == some.to_json()
    assert twin.slide_name == "case"
    assert twin.grid == some.grid
    assert twin.frame == some.frame
    assert twin.area_mm2 == some.area_mm2
    np.testing.assert_array_equal(twin.kept, some.kept)
    np.testing.assert_array_equal(twin.area.computed, some.area.computed)


def test_the_digest_names_everything_that_shapes_the_result_and_nothing_else() -> None:
    roi = shapely.box(320, 160, 400, 200)
    more = TISSUE.copy()
    more[0, 0] = True
    plans = [
        plan(), plan(tile=128), plan(halo=32), plan(more), plan(roi=roi), plan(roi=shapely.box(320, 160, 400, 201)),
        plan(margin=49.0), plan(fingerprint="cd" * 32), plan(slide_mpp=(0.26, 0.26)),
        plan(frame=frame_at(SIZE, MPP, 1.0)), plan(cover=np.full_like(TISSUE, 255, np.uint8)),
        plan(cover=np.full_like(TISSUE, 254, np.uint8)),
    ]  # fmt: skip
    digests = [p.digest() for p in plans]
    digests += [plans[0].digest({"engine": "a"}), plans[0].digest({"engine": "b"}), plans[0].digest({"engin": "a"})]
    assert len(set(digests)) == len(digests)
    assert plan(slide_name="renamed").digest() == plans[0].digest()
    assert plan(TISSUE.copy()).digest({}) == plans[0].digest()
    assert plans[0].digest({"a": 1, "b": [1.5, None]}) == plans[0].digest({"b": [1.5, None], "a": 1})


def test_the_digest_does_not_change_between_versions_by_accident() -> None:
    known = "cc829f5148bc07f7159031dd9d3b15e20f302ec74d2d303412fe50ff09d6726c"
    assert plan().digest({"engine": "embedded"}) == known


@pytest.mark.parametrize("extra", [{"a": float("nan")}, {"a": object()}, {"a": {1, 2}}])
def test_settings_that_json_cannot_say_are_a_callers_mistake(extra: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"JSON|range|nan"):
        plan().digest(extra)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"tile": 100}, "tile size 100 px is not a multiple of 16: the nearest is 96"),
        ({"tile": 7}, "tile size 7 px is not a multiple of 16: the nearest is 16"),
        ({"tile": 0}, "tile size 0 px is not positive"),
        ({"halo": 20}, "overlap 40 px is not a multiple of 32: the nearest is 32"),
        ({"halo": 7, "tile": 64}, "overlap 14 px is not a multiple of 32: the nearest is 0"),
        (
            {"halo": 48},
            "overlap 96 px leaves nothing of a tile of 96 px: the largest overlap for it is 64, the smallest tile",
        ),
        ({"halo": 160}, "smallest tile for this overlap 336"),
        ({"halo": -16}, "overlap -32 px is negative"),
    ],
)
def test_sizes_that_cannot_be_planned_name_the_nearest_that_can(sizes: dict[str, int], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        plan(**sizes)  # type: ignore[arg-type]


def test_the_sizes_an_error_proposes_are_accepted() -> None:
    assert plan(halo=32, tile=96).grid.halo == 32
    assert plan(halo=160, tile=336).grid.tile == 336
    assert plan(halo=0, tile=64).grid.halo == 0


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", "null", '{"format": "wsiparse tile plan 9"}'])
def test_a_damaged_plan_is_a_plan_error(damage: str) -> None:
    with pytest.raises(PlanError):
        TilePlan.from_json(damage)


def test_a_plan_with_a_damaged_part_is_a_plan_error() -> None:
    facts = json.loads(plan(roi=shapely.box(0, 0, 9, 9)).to_json())
    for path, value in (
        (("kept",), [5, 3]), (("kept",), [10**6]), (("tile_px",), 0), (("slide_size",), [1]),
        (("area", "tissue"), "AAAA"),
        (("area", "roi"), "AAAA"), (("frame", "size"), [3, 3]), (("area", "margin_um"), None),
    ):  # fmt: skip
        broken = json.loads(json.dumps(facts))
        inner = broken
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        with pytest.raises(PlanError, match="damaged"):
            TilePlan.from_json(json.dumps(broken))


def test_parts_of_a_plan_must_belong_together() -> None:
    some = plan()
    with pytest.raises(ValueError, match="ascending"):
        replace(some, kept=np.array([3, 3]))
    with pytest.raises(ValueError, match="slide"):
        replace(some, area=whole_slide_area((999, 700), OVERVIEW))
    with pytest.raises(ValueError, match="canvas"):
        replace(some, frame=frame_at(SIZE, MPP, 1.0))


def test_the_estimate_follows_its_formula() -> None:
    some = plan()
    cost = estimate(some, prompts=2, batch=3, workers=2, queue=5, activation_bytes_per_px=100, base_bytes=1000)
    assert cost.tiles == len(some)
    assert cost.tile_mpx == pytest.approx(len(some) * 96 * 96 / 1e6)
    assert cost.mm2 == some.area_mm2
    assert cost.disk_bytes == 3 * sum(t.core.width * t.core.height for t in some.tiles())
    assert cost.memory_bytes == 1000 + 5 * 96 * 96 * 3 + 2 * 3 * 96 * 96 * (3 + 8 + 100)
