from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.fixtures_slides import halved, textured
from wsiparse.coords import Frame
from wsiparse.errors import TileReadError
from wsiparse.slides.memory import MemorySlide
from wsiparse.types import Box
from wsiparse.viewer.picture import SlideTiles
from wsiparse.viewer.pyramid import TilePyramid


def pixels(data: bytes) -> NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(data))).astype(np.int64)


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_tiles_are_the_slide_at_their_scale(exponent: int) -> None:
    array = smooth(700, 1301)
    pyramid = TilePyramid((1301, 700))
    tiles = SlideTiles(MemorySlide(array, 0.5), pyramid, (0.5, 0.5))
    reduced = halved(array, 2**exponent) if exponent else array
    for column, row in pyramid.tiles(exponent):
        box = pyramid.box(exponent, column, row)
        tile = pixels(tiles.jpeg(exponent, column, row))
        assert tile.shape == (box.height, box.width, 3)
        wanted = reduced[box.y : box.y1, box.x : box.x1].astype(np.int64)
        assert np.abs(tile[: wanted.shape[0], : wanted.shape[1]] - wanted).max() <= 12  # JPEG


def test_what_cannot_be_decoded_is_grey_and_the_rest_is_there() -> None:
    class Torn(MemorySlide):
        def read(self, box: Box, frame: Frame) -> NDArray[np.uint8]:
            if box.clip((200, 200)) is not None:
                raise TileReadError("torn")
            return super().read(box, frame)

    array = textured(600, 600)
    tile = pixels(SlideTiles(Torn(array, 0.5), TilePyramid((600, 600)), (0.5, 0.5)).jpeg(0, 0, 0))
    assert np.abs(tile[:190, :190] - 214).max() < 12
    assert np.abs(tile[230:500, 230:500] - array[230:500, 230:500]).mean() < 12


def test_a_tile_that_is_not_there_is_refused() -> None:
    tiles = SlideTiles(MemorySlide(textured(10, 10), 0.5), TilePyramid((10, 10)), (0.5, 0.5))
    with pytest.raises(ValueError, match="grid of 1 x 1"):
        tiles.jpeg(0, 1, 0)
