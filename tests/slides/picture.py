"""The picture that the tests of the direct reader write into files, and frames of it."""

from __future__ import annotations

from tests.fixtures_slides import textured
from wsiparse.coords import Frame

#: Sizes that every step of the pyramid divides, so that OpenSlide gives stored pixels at every level.
PICTURE = textured(344, 520, seed=8)
WIDTH, HEIGHT = 520, 344


def scaled(k: float) -> Frame:
    return Frame((int(WIDTH / k), int(HEIGHT / k)), (k, k), (k / 2, k / 2))
