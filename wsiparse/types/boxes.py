"""Rectangles of pixels and the grid of tiles that covers a canvas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Box", "Tile", "TileGrid", "Unreadable"]


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open pixel rectangle [x, x + width) x [y, y + height); may start left of or above the frame.

    Raises
    ------
    ValueError
        If a side is below 1 px.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"box must be at least 1 x 1 px, got {self.width} x {self.height}")

    @property
    def x1(self) -> int:
        """First column right of the box."""
        return self.x + self.width

    @property
    def y1(self) -> int:
        """First row below the box."""
        return self.y + self.height

    def clip(self, size: tuple[int, int]) -> Box | None:
        """The part of the box inside [0, width) x [0, height) of `size`, or None when they do not meet."""
        x0, y0, x1, y1 = max(0, self.x), max(0, self.y), min(size[0], self.x1), min(size[1], self.y1)
        return Box(x0, y0, x1 - x0, y1 - y0) if x0 < x1 and y0 < y1 else None


@dataclass(frozen=True, slots=True)
class Tile:
    """One network input: what it reads and what it owns.

    Parameters
    ----------
    index : position in the grid, row-major
    box : what is read, field px; all tiles of a grid have the same box size, and it may reach past the canvas
    core : the part of the field this tile alone writes, field px, inside both the box and the canvas
    """

    index: int
    box: Box
    core: Box


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Arithmetic of overlapping square tiles whose cores partition a canvas.

    Core k along an axis is [k*stride, (k+1)*stride) cut to the canvas, stride = tile - 2*halo, and its tile reads
    `halo` px more on every side. Origins are therefore multiples of the stride, shifted by the halo: with both
    divisible by the network's own stride every tile sees the same pooling grid.

    Parameters
    ----------
    canvas : (width, height), field px, >= 1
    tile : edge of the square read box, px
    halo : context on each side, px, >= 0; neighbouring tiles overlap by 2*halo

    Raises
    ------
    ValueError
        If a side of the canvas is below 1 px, `halo` is negative, or 2*halo leaves nothing of `tile`.
    """

    canvas: tuple[int, int]
    tile: int
    halo: int

    def __post_init__(self) -> None:
        if min(self.canvas) < 1:
            raise ValueError(f"canvas must be at least 1 x 1 px, got {self.canvas}")
        if self.halo < 0 or self.tile - 2 * self.halo < 1:
            raise ValueError(f"tile {self.tile} px leaves no core inside a halo of {self.halo} px")

    @property
    def stride(self) -> int:
        """Edge of a full core, px."""
        return self.tile - 2 * self.halo

    @property
    def columns(self) -> int:
        """Number of tiles along x."""
        return -(-self.canvas[0] // self.stride)

    @property
    def rows(self) -> int:
        """Number of tiles along y."""
        return -(-self.canvas[1] // self.stride)

    def __len__(self) -> int:
        return self.columns * self.rows

    def __getitem__(self, index: int) -> Tile:
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of a grid of {len(self)}")
        row, column = divmod(index, self.columns)
        x, y = column * self.stride, row * self.stride
        core = Box(x, y, min(self.stride, self.canvas[0] - x), min(self.stride, self.canvas[1] - y))
        return Tile(index, Box(x - self.halo, y - self.halo, self.tile, self.tile), core)

    def __iter__(self) -> Iterator[Tile]:
        return (self[i] for i in range(len(self)))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A tile whose pixels could not be read: its index, its core in field px, and why."""

    index: int
    core: Box
    reason: str
