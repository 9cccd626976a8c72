"""What all slide readers share: the facts of a slide, and reading any frame from its pyramid."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.errors import SlideError, UnsupportedSlideError
from wsiparse.slides.agreement import TileBytes
from wsiparse.slides.files import FileState, file_fingerprint
from wsiparse.slides.images import image_fingerprint
from wsiparse.slides.metadata import Mpp
from wsiparse.slides.resample import read_frame
from wsiparse.types import Box

__all__ = ["WHITE", "PyramidSlide", "SlideFacts", "composite", "reopened"]

WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """Everything known about a slide without its pixels.

    Parameters
    ----------
    path : the file; only its stem matters for slides in memory
    reader : one of `wsiparse.slides.READERS`, or "memory"
    vendor : scanner family as the reader names it, "" if unknown
    level_sizes : (width, height) of each level, finest first, px
    mpp : (x, y) um per level-0 px, or why there is none
    objective : nominal magnification, or None
    bounds : the scanned part of the slide, level-0 px
    background : (r, g, b) of pixels that were not scanned
    fingerprint : sha256 hex of the content
    stored_sizes : (width, height) of every picture that the file gives as a level, px; empty where all are used
    tile_sizes : (width, height) of their tiles, px; None, or empty, where unknown
    levels : which of them `level_sizes` are; empty where all are used
    directories : first byte of each one's TIFF directory, where the reader is sure of it
    notes : what users should know about how the file is read, a sentence each
    missing_px : level-0 px of tiles that the file does not have
    image : number of the image in a file of several, from 0
    """

    path: Path
    reader: str
    vendor: str
    level_sizes: tuple[tuple[int, int], ...]
    mpp: Mpp
    objective: float | None
    bounds: Box
    background: tuple[int, int, int]
    fingerprint: str
    stored_sizes: tuple[tuple[int, int], ...] = ()
    tile_sizes: tuple[tuple[int, int] | None, ...] = ()
    levels: tuple[int, ...] = ()
    directories: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    missing_px: int = 0
    image: int = 0

    def complete(self) -> SlideFacts:
        """The same with nothing left empty that stands for all levels."""
        sizes = self.stored_sizes or self.level_sizes
        return replace(
            self,
            stored_sizes=sizes,
            tile_sizes=self.tile_sizes or (None,) * len(sizes),
            levels=self.levels or tuple(range(len(sizes))),
        )


class PyramidSlide(ABC):
    """A slide whose pixels come from a pyramid of levels; readers add `_read_level` and `close`."""

    def __init__(self, facts: SlideFacts) -> None:
        self.facts = facts.complete()
        self._state = FileState.take(facts.path)

    @property
    def path(self) -> Path:
        """The slide file."""
        return self.facts.path

    @property
    def name(self) -> str:
        """The file's stem: what outputs are called; bytes that are no text become "\\xe9" and the like."""
        return os.fsencode(self.facts.path.stem).decode("utf-8", "backslashreplace")

    @property
    def reader(self) -> str:
        """Which reader serves the pixels."""
        return self.facts.reader

    @property
    def vendor(self) -> str:
        """Scanner family, "" if unknown."""
        return self.facts.vendor

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of level 0, px."""
        return self.facts.level_sizes[0]

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level, finest first, px."""
        return self.facts.level_sizes

    @property
    def mpp(self) -> tuple[float, float] | None:
        """(x, y) um per level-0 px, or None."""
        return self.facts.mpp.value

    @property
    def mpp_source(self) -> str:
        """Where `mpp` comes from, or what was looked for and found."""
        return self.facts.mpp.source

    @property
    def mpp_notices(self) -> tuple[str, ...]:
        """Sentences about `mpp` that people should read."""
        return self.facts.mpp.notices

    @property
    def objective(self) -> float | None:
        """Nominal magnification, or None."""
        return self.facts.objective

    @property
    def bounds(self) -> Box:
        """The scanned part, level-0 px; the whole slide when the file does not say."""
        return self.facts.bounds

    @property
    def background(self) -> tuple[int, int, int]:
        """(r, g, b) of what was not scanned."""
        return self.facts.background

    @property
    def fingerprint(self) -> str:
        """sha256 hex of the content."""
        return self.facts.fingerprint

    @property
    def notes(self) -> tuple[str, ...]:
        """What users should know about how the file is read, a sentence each."""
        return self.facts.notes

    @property
    def image(self) -> int:
        """Number of the image in a file of several, from 0."""
        return self.facts.image

    @property
    def missing_px(self) -> int:
        """Level-0 px of tiles that the file does not have: background, and nothing is known of them."""
        return self.facts.missing_px

    def tile_bytes(self, stored: int) -> TileBytes | None:
        """Where a stored level has data; None where this cannot be told cheaply."""
        return None

    def read(self, box: Box, frame: Frame) -> NDArray[np.uint8]:
        """Pixels of a frame.

        Parameters
        ----------
        box : what is wanted, px of `frame`; may reach past the slide, where the background colour is returned
        frame : the pixel grid

        Returns
        -------
        (box.height, box.width, 3) uint8; a pixel's value does not depend on the box it is asked for with

        Raises
        ------
        TileReadError
            If the file cannot be decoded there; other regions remain readable.
        """
        return read_frame(box, frame, self.facts.level_sizes, self.facts.background, self._read_used)

    def check_unchanged(self) -> None:
        """Make sure that the slide is still what it was when it was opened.

        Raises
        ------
        SlideError
            If its content is another, or it is gone: what was read meanwhile may be of two slides.
        """
        if self._may_have_changed() and self._print_anew() != self.fingerprint:
            raise SlideError(
                f"{self.path}: changed while it was read, so nothing of it is kept. Run it again when nobody writes to "
                "it."
            )

    def _may_have_changed(self) -> bool:
        # of a slide of several files, the one that names it tells nothing about the others
        several = self.path.suffix.lower() == ".mrxs" or self.vendor == "dicom"
        return bool(self._state.facts) and (several or FileState.take(self.path) != self._state)

    def _print_anew(self) -> str:
        """The fingerprint as the files are now."""
        return image_fingerprint(file_fingerprint(self.path), self.facts.image)

    def _read_used(self, level: int, box: Box) -> NDArray[np.uint8]:
        return self._read_level(self.facts.levels[level], box)

    def read_stored(self, stored: int, box: Box) -> NDArray[np.uint8]:
        """Pixels (h, w, 3) uint8 of a box inside a stored level, used or not; `TileReadError` as `read`."""
        return self._read_level(stored, box)

    @abstractmethod
    def _read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        """The pixels of a box that lies inside a stored level, (h, w, 3) uint8."""

    @abstractmethod
    def close(self) -> None:
        """Free file handles; reading afterwards is an error."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, {self.size[0]} x {self.size[1]} px)"


def reopened(make: Callable[..., PyramidSlide], arguments: tuple[object, ...], facts: SlideFacts) -> PyramidSlide:
    """A slide that was pickled: opened again, with the levels that were chosen then.

    Raises
    ------
    UnsupportedSlideError
        If it is another one now.
    """
    slide = make(*arguments)
    if slide.fingerprint != facts.fingerprint:
        slide.close()
        raise UnsupportedSlideError(f"{facts.path}: has changed since it was opened. Run the same command again.")
    slide.facts = facts
    return slide


def composite(rgba: NDArray[np.uint8], background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Composite straight-alpha pixels over a colour, rounded to nearest.

    Parameters
    ----------
    rgba : (h, w, 4) uint8
    background : (r, g, b)

    Returns
    -------
    (h, w, 3) uint8
    """
    alpha = rgba[:, :, 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[:, :, :3])
    a = alpha.astype(np.uint32)
    mixed = rgba[:, :, :3] * a + np.array(background, np.uint32) * (255 - a)
    return ((mixed + 127) // 255).astype(np.uint8)
