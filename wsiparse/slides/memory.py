"""A slide that is an array: for tests, and for pixels that never were a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsiparse.slides.metadata import Mpp, MppClaim, pick_mpp
from wsiparse.slides.pyramid import WHITE, PyramidSlide, SlideFacts
from wsiparse.types import Box

__all__ = ["MemorySlide"]


class MemorySlide(PyramidSlide):
    """An RGB image with the interface of a slide; a pyramid of one level.

    Parameters
    ----------
    array : (H, W, 3) uint8, level 0; not copied, must not change afterwards
    mpp : um per px, one number or (x, y), or None
    name : what outputs are called
    objective : nominal magnification, or None
    background : (r, g, b) past the image

    Raises
    ------
    ValueError
        If the array is not (H, W, 3) uint8 with H, W >= 1.
    """

    def __init__(
        self,
        array: NDArray[np.uint8],
        mpp: float | tuple[float, float] | None = None,
        *,
        name: str = "memory",
        objective: float | None = None,
        background: tuple[int, int, int] = WHITE,
    ) -> None:
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or min(array.shape) < 1:
            raise ValueError(f"a slide in memory must be (H, W, 3) uint8, got {array.dtype} of shape {array.shape}")
        height, width = array.shape[:2]
        x, y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
        digest = hashlib.sha256(f"wsiparse memory slide 1 {width} x {height}".encode())
        digest.update(np.ascontiguousarray(array).data)
        super().__init__(
            SlideFacts(
                # a name may hold a dot, and the stem of a path ends there
                path=Path(f"{name}.memory"),
                reader="memory",
                vendor="memory",
                level_sizes=((width, height),),
                mpp=_named(pick_mpp([MppClaim("the argument mpp", x, y)])),
                objective=objective,
                bounds=Box(0, 0, width, height),
                background=background,
                fingerprint=digest.hexdigest(),
            )
        )
        self._array = array

    def _read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        assert level == 0, "one level"
        return self._array[box.y : box.y1, box.x : box.x1]

    def close(self) -> None:
        """Nothing to free."""


def _named(mpp: Mpp) -> Mpp:
    return Mpp(mpp.value, "the argument mpp") if mpp.value else mpp
