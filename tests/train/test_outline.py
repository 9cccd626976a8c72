from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsiparse.train.outline import outlines_of_points


def maps_with(*discs: tuple[int, int, int], size: int = 80) -> NDArray[np.float32]:
    """Foreground and centre of discs (x, y, radius)."""
    maps = np.zeros((3, size, size), np.float32)
    y, x = np.indices((size, size))
    for cx, cy, radius in discs:
        away = np.hypot(x - cx, y - cy)
        maps[0][away <= radius] = 0.95
        maps[1] = np.maximum(maps[1], np.clip(1 - away / radius, 0, 1))
    return maps


def at(*points: tuple[float, float]) -> NDArray[np.float64]:
    return np.array(points, np.float64).reshape(-1, 2)


def test_a_region_with_one_point_is_its_nucleus() -> None:
    labels, drawn, pointless, unknown = outlines_of_points(
        maps_with((20, 20, 8), (50, 50, 8)), at((50.5, 52.5), (20.5, 20.5))
    )
    assert drawn.all()
    assert labels[50, 50] == 1
    assert labels[20, 20] == 2
    assert (labels == 1).sum() > 180
    assert not unknown.any()
    assert not pointless.any()


def test_a_region_with_two_points_is_divided_between_them() -> None:
    maps = maps_with((30, 30, 10))
    maps[1] = gaussian_filter(maps[0], 2)  # one flat top: nothing to tell two nuclei apart by
    labels, drawn, _, _ = outlines_of_points(maps, at((25.5, 30.5), (35.5, 30.5)))
    assert drawn.all()
    assert labels[30, 23] == 1
    assert labels[30, 37] == 2
    assert np.isin(labels[maps[0] > 0.5], (1, 2)).all()


def test_a_point_beside_an_empty_region_takes_it_and_one_without_any_is_a_disc() -> None:
    labels, drawn, _, unknown = outlines_of_points(maps_with((30, 30, 8)), at((30.5, 40.5), (60.5, 60.5)))
    assert drawn.tolist() == [True, False]
    assert labels[30, 30] == 1
    assert labels[60, 60] == 2
    assert 30 < (labels == 2).sum() < 90
    assert unknown[60, 68]
    assert not unknown[5, 5]


def test_a_region_without_a_point_is_no_nucleus_and_is_told() -> None:
    labels, _, pointless, unknown = outlines_of_points(maps_with((20, 20, 8), (60, 60, 8)), at((20.5, 20.5)))
    assert pointless[60, 60]
    assert not pointless[20, 20]
    assert not unknown.any()
    assert labels[60, 60] == 0


def test_a_speck_and_a_giant_are_no_outlines() -> None:
    labels, drawn, _, _ = outlines_of_points(maps_with((10, 10, 1), (50, 50, 28)), at((10.5, 10.5), (50.5, 50.5)))
    assert not drawn.any()
    assert (labels == 2).sum() < 90


def test_tiles_without_points_and_without_regions_are_fine() -> None:
    labels, drawn, pointless, _ = outlines_of_points(maps_with((30, 30, 8)), at())
    assert not labels.any()
    assert not len(drawn)
    assert pointless[30, 30]
    labels, drawn, _, _ = outlines_of_points(maps_with(), at((3.5, 3.5)))
    assert not drawn.any()
    assert labels[3, 3] == 1
