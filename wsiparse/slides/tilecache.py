"""Decoded tiles that will be asked for again.

Boxes of a plan come row by row and overlap a little. What the boxes beside one want again are its outer columns of
tiles; what the next row of boxes wants again are its last rows of tiles. The cache therefore keeps the outer columns
used last, and beside them the last tile rows of every box (the seam) until the reading has gone past them. Both are
bounded; what does not fit is decoded again. Results never depend on what is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Condition
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["TileCache", "TileKey", "Worth"]

#: 512 tiles of 256 x 256 px: a tile row of 131,072 px.
_SEAM_BYTES: Final = 96 << 20

Pixels = NDArray[np.uint8]
#: What stands for a tile that cannot be made.
Fault = TypeVar("Fault", bound=Exception)
Make = Callable[["Sequence[TileKey]"], "Sequence[Pixels | Fault]"]


class TileKey(NamedTuple):
    """A tile of a slide: level, and its row and column among the level's tiles."""

    level: int
    row: int
    column: int


class Worth(NamedTuple):
    """What is worth keeping of the tiles of a box.

    Parameters
    ----------
    first_row : first row of the box
    seam_row : the first row of those that the boxes below will want
    inner : columns that the boxes beside it will not want
    recent_bytes : most bytes of tiles outside the seam
    """

    first_row: int
    seam_row: int
    inner: range
    recent_bytes: int


class TileCache(Generic[Fault]):
    """Tiles by key, made by one thread when several ask for one at once. Safe to use from many threads.

    A thread that wants the interpreter's lock while another holds it sleeps and is woken, which costs as much as a
    quarter of a tile; so tiles are claimed and stored many at a time, and those that another thread is about to have
    made are left for later.

    Parameters
    ----------
    seam_bytes : most bytes of decoded tiles that are kept for the boxes below
    """

    def __init__(self, *, seam_bytes: int = _SEAM_BYTES) -> None:
        self._most_seam = seam_bytes
        self._changed = Condition()
        self._recent: OrderedDict[TileKey, Pixels] = OrderedDict()
        self._seam: dict[tuple[int, int], dict[int, Pixels]] = {}
        self._under_way: set[TileKey] = set()
        self._recent_bytes = self._seam_bytes = 0

    def clear(self) -> None:
        """Forget every tile."""
        with self._changed:
            self._recent.clear()
            self._seam.clear()
            self._recent_bytes = self._seam_bytes = 0

    def fetch(
        self, keys: Sequence[TileKey], make: Make[Fault], worth: Worth
    ) -> tuple[list[tuple[TileKey, Pixels]], list[TileKey]]:
        """Those of some tiles that are kept; those that nobody makes yet are made, and kept from now on.

        Parameters
        ----------
        keys : different tiles of one level
        make : makes the tiles that are missing, maybe none, and uses them; returns each, (h, w, 3) uint8, not to be
            written to from then on, or what is wrong with it: such a tile is tried again the next time. What it raises
            is raised here.
        worth : what to keep of them

        Returns
        -------
        kept : each with its key, (h, w, 3) uint8, shared, so not to be written to
        others : keys of those which other threads are making: `wait_for` them when there is nothing else to do
        """
        kept, mine, others = self._claim(keys, worth)
        made: list[tuple[TileKey, Pixels | Fault]] = []
        try:
            made += zip(mine, make(mine), strict=True)
        finally:
            with self._changed:
                for key, tile in made:
                    if isinstance(tile, np.ndarray):
                        self._keep(key, tile, worth)
                self._drop_old(worth.recent_bytes)
                self._end(mine)
        return kept, others

    def wait_for(self, key: TileKey, make: Make[Fault], worth: Worth) -> Pixels | None:
        """A tile that another thread made meanwhile; if that failed, or it is gone again, it is made here.

        Whoever has made what it claimed may wait, so nobody waits in a circle.

        Parameters
        ----------
        key : one of those that `fetch` returned
        make, worth : as for `fetch`

        Returns
        -------
        (h, w, 3) uint8, shared, so not to be written to; None if `make` made it
        """
        while True:
            with self._changed:
                while key in self._under_way:
                    self._changed.wait()
            kept, others = self.fetch([key], make, worth)
            if not others:  # else somebody was faster
                return kept[0][1] if kept else None

    def _claim(
        self, keys: Sequence[TileKey], worth: Worth
    ) -> tuple[list[tuple[TileKey, Pixels]], list[TileKey], list[TileKey]]:
        """Kept tiles, those that this caller must make, and keys of those that are under way elsewhere."""
        kept: list[tuple[TileKey, Pixels]] = []
        mine: list[TileKey] = []
        others: list[TileKey] = []
        with self._changed:
            if keys:
                self._pass_by(keys[0].level, worth.first_row)
            for key in keys:
                if key in self._under_way:
                    others.append(key)
                    continue
                tile = self._find(key, worth)
                if tile is None:
                    mine.append(key)
                else:
                    kept.append((key, tile))
            self._under_way.update(mine)
        return kept, mine, others

    def _end(self, claims: Sequence[TileKey]) -> None:
        """Nobody need wait any longer for what was, or will not be, made."""
        self._under_way.difference_update(claims)
        self._changed.notify_all()

    def _find(self, key: TileKey, worth: Worth) -> Pixels | None:
        row = self._seam.get(key[:2])
        tile = row.get(key.column) if row is not None else None
        if tile is None:
            tile = self._recent.get(key)
            if tile is not None:
                self._recent.move_to_end(key)
        elif row is not None and key.row < worth.seam_row:  # the reading goes past it here
            self._seam_bytes -= row.pop(key.column).nbytes
            if key.column not in worth.inner:
                self._recent[key] = tile
                self._recent_bytes += tile.nbytes
        return tile

    def _keep(self, key: TileKey, tile: Pixels, worth: Worth) -> None:
        if key.row >= worth.seam_row and self._fits_seam(key, tile.nbytes):
            self._seam.setdefault(key[:2], {})[key.column] = tile
            self._seam_bytes += tile.nbytes
        else:
            self._recent[key] = tile
            self._recent_bytes += tile.nbytes

    def _drop_old(self, recent_bytes: int) -> None:
        while self._recent_bytes > recent_bytes:
            _, dropped = self._recent.popitem(last=False)
            self._recent_bytes -= dropped.nbytes

    def _fits_seam(self, key: TileKey, size: int) -> bool:
        if self._seam_bytes + size <= self._most_seam:
            return True
        # of other levels first, then the farthest; the two nearest are the seam of the box itself
        stale = sorted(self._seam, key=lambda row: (row[0] != key.level, abs(row[1] - key.row)))
        while stale and (len(stale) > 2 or stale[-1][0] != key.level):
            self._drop_row(stale.pop())
            if self._seam_bytes + size <= self._most_seam:
                return True
        return False

    def _pass_by(self, level: int, first_row: int) -> None:
        """Forget the rows above a box: the reading has gone past them."""
        for row in [row for row in self._seam if row[0] == level and row[1] < first_row]:
            self._drop_row(row)

    def _drop_row(self, row: tuple[int, int]) -> None:
        self._seam_bytes -= sum(tile.nbytes for tile in self._seam.pop(row).values())
