"""Classes of polygons laid over each other: what GEOS says of the whole, with few corners at a time."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from wsiparse.tiling import overlay
from wsiparse.tiling.overlay import Pieces, laid_out, parts_of
from wsiparse.tiling.polygons import coverage, united


def cells(n: int, radius: float, seed: int = 0, corners: int = 30) -> np.ndarray:
    """Cells in a square of 1000, about one for each place of a grid; at a radius of 0.5 they touch their neighbours."""
    random = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(n)))
    pitch = 1000 / side
    middle = np.stack([np.arange(n) % side, np.arange(n) // side], axis=1) * pitch + pitch / 2
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    reach = pitch * radius * random.uniform(0.85, 1.15, (n, corners))
    return shapely.polygons(middle[:, None] + reach[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def drawn(random: np.random.Generator) -> np.ndarray:
    """A few shapes of one class: squares on whole numbers that share edges, rings with holes, blobs."""
    out = []
    for _ in range(random.integers(1, 6)):
        x, y = random.integers(0, 12, 2).tolist()
        out.append(
            [
                shapely.box(x, y, x + random.integers(1, 6), y + random.integers(1, 6)),
                shapely.Point(x, y).buffer(4).difference(shapely.Point(x, y).buffer(2)),
                shapely.Point(*random.uniform(0, 15, 2)).buffer(random.uniform(0.5, 5)),
            ][random.integers(3)]
        )
    return np.array(out, object)


@given(st.integers(0, 10**6))
@settings(max_examples=60)
def test_laid_out_in_parts_is_what_overlays_of_the_whole_give(seed: int) -> None:
    random = np.random.default_rng(seed)
    layers, ground = [drawn(random) for _ in range(random.integers(1, 4))], drawn(random)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlay, "_MOST_CORNERS", int(random.choice([20, 100, 1 << 14])))
        order, got = laid_out(layers, ground)
    whole, below = [shapely.union_all(layer) for layer in layers], shapely.union_all(ground)
    area = [shape.area for shape in whole]
    assert [area[k] for k in order] == pytest.approx(sorted(area))
    above = shapely.Polygon()
    points = random.uniform(-2, 20, (200, 2))
    lines = np.linspace(-3, 20, 8)
    for k in order:
        want = shapely.difference(whole[k], above)
        above = shapely.union(above, whole[k])
        for pieces, shape in ((got.alone[k], want), (got.inside[k], shapely.intersection(want, below))):
            assert pieces.area == pytest.approx(shape.area, abs=1e-9)
            np.testing.assert_array_equal(pieces.contain(points), shapely.intersects_xy(shape, points))
            polygon = shapely.MultiPolygon([p for p in shapely.get_parts(shape) if p.geom_type == "Polygon"])
            np.testing.assert_allclose(
                coverage(pieces.edges, lines, lines), coverage(polygon, lines, lines), rtol=0, atol=1e-8
            )
    rest = shapely.difference(below, above)
    assert got.rest.area == pytest.approx(rest.area, abs=1e-9)
    np.testing.assert_array_equal(got.rest.contain(points), shapely.intersects_xy(rest, points))


def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Corners that every call of GEOS's overlays is given, by function."""
    seen: dict[str, list[int]] = {}
    for name in ("intersection", "difference", "union", "union_all"):
        own = getattr(shapely, name)

        def call(*given: object, own: object = own, name: str = name, **kept: object) -> object:
            at_once = [np.asarray(shapely.get_num_coordinates(g)) for g in given]
            each = sum(n if name != "union_all" else n.sum() for n in at_once)
            seen.setdefault(name, []).extend(np.ravel(each).tolist())
            return own(*given, **kept)  # type: ignore[operator]

        monkeypatch.setattr(shapely, name, call)
    return seen


@pytest.mark.parametrize("radius", [0.3, 0.62], ids=["apart", "each over its neighbours"])
def test_no_overlay_is_given_many_corners_and_all_together_few_times_as_many(
    monkeypatch: pytest.MonkeyPatch, radius: float
) -> None:
    shapes = cells(4000, radius)
    corners = int(shapely.get_num_coordinates(shapes).sum())
    ground = shapely.get_parts(united(shapes.tolist()))
    monkeypatch.setattr(overlay, "_MOST_CORNERS", 1 << 12)
    seen = counted(monkeypatch)
    _, got = laid_out([shapes[::2], shapes[1::2]], ground)
    within = [n for name in ("difference", "union", "union_all") for n in seen.get(name, [])]
    assert max(within, default=0) < 4 * (1 << 12)
    assert sum(within) < 12 * corners
    left = sum(int(shapely.get_num_coordinates(pieces.polygons).sum()) for pieces in (*got.inside, got.rest))
    assert left < 1.5 * corners
    assert got.inside[0].area + got.inside[1].area == pytest.approx(shapely.area(ground).sum(), rel=1e-9)


def test_cells_that_stand_alone_are_united_without_any_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = cells(3000, 0.3)
    seen = counted(monkeypatch)
    assert united(shapes.tolist()).area == pytest.approx(shapely.area(shapes).sum())
    assert not seen


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_the_union_in_steps_is_the_union(seed: int) -> None:
    shapes = cells(700, float(np.random.default_rng(seed).uniform(0.3, 0.8)), seed, corners=8)
    got, want = united(shapes.tolist()), shapely.union_all(shapes)
    assert got.is_valid
    assert shapely.symmetric_difference(got, want).area < 1e-6


def test_an_outline_of_very_many_corners_is_divided() -> None:
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    reach = 400 + 5 * np.sin(angle * 900)
    outline = shapely.Polygon(np.stack([500 + reach * np.cos(angle), 500 + reach * np.sin(angle)], axis=1))
    hole = cells(25, 0.2)
    _, got = laid_out([hole, np.array([outline], object)], np.array([shapely.box(0, 0, 1000, 450)], object))
    want = shapely.intersection(shapely.difference(outline, shapely.union_all(hole)), shapely.box(0, 0, 1000, 450))
    assert got.inside[1].area == pytest.approx(want.area, rel=1e-9)
    assert int(shapely.get_num_coordinates(got.alone[1].polygons).max()) < 20_000


def test_very_many_polygons_on_one_spot_end() -> None:
    pile = np.array([shapely.box(0, 0, 1, 1)] * 8000, object)
    _, got = laid_out([pile], np.array([shapely.box(0.5, 0, 3, 3)], object))
    assert got.inside[0].area == pytest.approx(0.5)
    assert got.rest.area == pytest.approx(7)


def test_nothing_laid_on_something_leaves_it() -> None:
    nothing = parts_of([])
    _, got = laid_out([nothing], np.array([shapely.box(0, 0, 2, 2)], object))
    assert got.rest.area == 4
    assert got.inside[0].area == 0
    assert not Pieces(nothing).contain(np.zeros((2, 2))).any()
    assert np.isnan(Pieces(nothing).bounds).all()
