from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.viewer.made import PROMPTS, Truth, make, truth
from wsiparse.errors import OutputError
from wsiparse.store import read
from wsiparse.viewer.overlay import EMPTY_TILE
from wsiparse.viewer.pyramid import TILE_PX
from wsiparse.viewer.source import find_shown
from wsiparse.viewer.view import View


def pixels(data: bytes) -> NDArray[np.uint8]:
    """(H, W, 4) uint8."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def level(view: View, class_id: int, exponent: int) -> NDArray[np.uint8]:
    """A whole level put together from its tiles, which must agree where they overlap; (H, W) opacity."""
    pyramid = view.overlay_pyramid
    width, height = pyramid.level_size(exponent)
    out, seen = np.zeros((height, width), np.uint8), np.zeros((height, width), np.bool_)
    for column, row in pyramid.tiles(exponent):
        box = pyramid.box(exponent, column, row)
        tile = pixels(view.overlay_tile(class_id, pyramid.coarsest - exponent, column, row))[..., 3]
        assert tile.shape == (box.height, box.width)
        place = np.s_[box.y : box.y1, box.x : box.x1]
        np.testing.assert_array_equal(out[place][seen[place]], tile[seen[place]])
        out[place], seen[place] = tile, True
    assert seen.all()
    return out


def grown(mask: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    return np.repeat(np.repeat(mask, step, axis=0), step, axis=1)


def near_border(mask: NDArray[np.bool_], half: int) -> NDArray[np.bool_]:
    """Pixels within `half` px, corners included, of an edge between a pixel of the mask and one that is not."""
    out = np.zeros_like(mask)
    # every edge between a pixel of the mask and one that is not colours the pixels around it
    inside = np.pad(mask, 1)
    for y, x in zip(*np.nonzero(inside[:, 1:] != inside[:, :-1]), strict=True):
        out[max(0, y - 1 - half) : max(0, y + half), max(0, x - half) : x + half] = True
    for y, x in zip(*np.nonzero(inside[1:] != inside[:-1]), strict=True):
        out[max(0, y - half) : y + half, max(0, x - 1 - half) : max(0, x + half)] = True
    return out


@pytest.mark.parametrize(("class_id", "exponent", "step"), [(1, 0, 2), (2, -1, 4), (3, 0, 5), (4, -1, 10)])
def test_outlines_are_the_pixels_next_to_the_border_of_an_object(
    view: View, found: Truth, class_id: int, exponent: int, step: int
) -> None:
    drawn = level(view, class_id, exponent) > 0
    mask = np.zeros_like(drawn)
    part = grown(found.mask(class_id), step)[: mask.shape[0], : mask.shape[1]]
    mask[: part.shape[0], : part.shape[1]] = part
    # past the field there is nothing
    np.testing.assert_array_equal(drawn, near_border(mask, 1 if class_id < 3 else 2))


@pytest.mark.parametrize("exponent", [-2, -1, 1, 2])
@pytest.mark.parametrize("class_id", [1, 3])
def test_tiles_agree_where_they_overlap(view: View, class_id: int, exponent: int) -> None:
    assert level(view, class_id, exponent).any()


def test_a_tile_has_the_colour_of_its_class_and_nothing_else(view: View) -> None:
    for class_id, prompt in enumerate(PROMPTS, 1):
        for exponent in (0, 2):
            tile = pixels(view.overlay_tile(class_id, view.overlay_pyramid.coarsest - exponent, 0, 0))
            assert {tuple(rgb) for rgb in tile[tile[..., 3] > 0][:, :3].tolist()} <= {prompt.rgb}


def test_from_afar_more_covered_is_more_opaque_and_any_object_is_seen(view: View, found: Truth) -> None:
    opacity = level(view, 1, 2).astype(int)
    # four level-0 px a px, two px of the cells' frame: shares of a quarter
    mask = found.mask(1)[: opacity.shape[0] * 2, : opacity.shape[1] * 2]
    share = mask.reshape(-1, 2, opacity.shape[1], 2).sum(axis=(1, 3))
    by_share = [np.unique(opacity[: share.shape[0]][share == n]) for n in range(5)]
    assert [len(values) for values in by_share] == [1] * 5
    levels = [int(values[0]) for values in by_share]
    assert levels[0] == 0
    assert levels == sorted(set(levels))
    assert levels[4] == 230


def test_a_class_without_objects_has_no_tiles_and_draws_nothing(view: View) -> None:
    assert sorted(view.occupied) == [1, 2, 3, 4]
    assert not level(view, 5, 0).any()


@pytest.mark.parametrize("exponent", [-2, -1, 0, 1, 2])
def test_tiles_said_to_be_empty_are_and_others_are_told(tmp_path: Path, exponent: int) -> None:
    view = View(find_shown(make(tmp_path, truth(sparse=True))))
    pyramid, told = view.overlay_pyramid, 0
    for column, row in pyramid.tiles(exponent):
        drawn = pixels(view.overlay_tile(1, pyramid.coarsest - exponent, column, row))[..., 3].any()
        assert view.has_objects(1, exponent, column, row) or not drawn
        told += view.has_objects(1, exponent, column, row)
    assert 1 <= told <= max(1, 2 ** (-2 * exponent))


def test_the_empty_tile_is_empty() -> None:
    tile = pixels(EMPTY_TILE)
    assert tile.shape == (TILE_PX, TILE_PX, 4)
    assert not tile[..., 3].any()


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (6, 0, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1), (1, 9, 0, 0)])
def test_what_is_not_there_is_refused(view: View, place: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="is not in"):
        view.overlay_tile(*place)


def test_damaged_objects_are_an_error_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "_KEPT_BYTES", -1)  # of a large slide nothing is kept
    folder = make(tmp_path, truth((300, 200)), size=(300, 200))
    view = View(find_shown(folder))
    for chunk in (folder / "objects.zarr" / "cells" / "coords" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"not zstd")
    with pytest.raises(OutputError, match="cells/coords"):
        view.overlay_tile(1, view.overlay_pyramid.coarsest, 0, 0)
