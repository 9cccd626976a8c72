from __future__ import annotations

import numpy as np
import shapely
from PIL import Image

from wsiparse.report.stats.regions_drawn import LEFT_OUT_COLOUR, draw_regions, drawn_regions


def left_out(name: str) -> bool:
    return name == "Ignore*"


def pixels(*regions: tuple[str, shapely.Geometry]) -> np.ndarray:
    image = Image.new("RGB", (200, 160), "#c080b0")
    draw_regions(image, drawn_regions(regions, left_out), (0.5, 0.5))
    return np.asarray(image)


def test_a_class_has_one_colour_and_what_is_left_out_another() -> None:
    box = shapely.box(0, 0, 9, 9)
    found = drawn_regions([("B", box), ("Ignore*", box), ("A", box), ("B", box)], left_out)
    assert [r.left_out for r in found] == [False, True, False, False]
    assert found[0].colour == found[3].colour != found[2].colour
    assert found[1].colour == LEFT_OUT_COLOUR


def test_an_outline_lies_where_the_region_does_in_px_of_the_picture() -> None:
    drawn = pixels(("A", shapely.box(40, 60, 240, 220)))
    (colour,) = {r.colour for r in drawn_regions([("A", shapely.box(0, 0, 1, 1))], left_out)}
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    y, x = np.nonzero((drawn == rgb).all(axis=2))
    assert (abs(x.min() - 20), abs(x.max() - 120), abs(y.min() - 30), abs(y.max() - 110)) <= (2, 2, 2, 2)
    assert (drawn[50:90, 40:100] == (192, 128, 176)).all(), "the inside stays as it is"


def test_what_is_left_out_is_dashed_and_hatched() -> None:
    solid, dashed = pixels(("A", shapely.box(40, 60, 240, 220))), pixels(("Ignore*", shapely.box(40, 60, 240, 220)))
    plain = (192, 128, 176)
    top_solid, top_dashed = (~(p[30, 22:118] == plain).all(axis=1) for p in (solid, dashed))
    assert top_solid.all()
    assert 0.3 < top_dashed.mean() < 0.95
    hatched = (dashed[40:100, 30:110] == 0).all(axis=2)
    assert 0.03 < hatched.mean() < 0.15


def test_holes_are_not_hatched_and_points_of_other_places_stay_off_the_picture() -> None:
    ring = shapely.box(40, 60, 240, 220).difference(shapely.box(100, 100, 200, 180))
    drawn = pixels(("Ignore*", ring), ("A", shapely.box(5000, 5000, 6000, 6000)))
    assert (drawn[56:84, 56:94] == (192, 128, 176)).all()
