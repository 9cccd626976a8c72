"""Decoded tiles that will be asked for again.

Boxes of a plan come row by row and overlap a little. What the next box wants again is the right edge of this one; what
the next row of boxes wants again are the last rows of tiles of this one. The cache therefore keeps the tiles used last,
and beside them the last tile rows of every box (the seam) until the reading has gone past them. Both are bounded; what
does not fit is decoded again. Results never depend on what is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from threading import Condition
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["TileCache", "TileKey"]

#: 512 tiles of 256 x 256 px: a tile row of 131,072 px.
_SEAM_BYTES: Final = 96 << 20

#: Tiles that one thread of a pool decodes before it asks for more.
_TOGETHER: Final = 4

Pixels = NDArray[np.uint8]
#: What stands for a tile that cannot be made.
Fault = TypeVar("Fault", bound=Exception)


class TileKey(NamedTuple):
    """A tile of a slide: level, and its row and column among the level's tiles."""

    level: int
    row: int
    column: int


class TileCache(Generic[Fault]):
    """Tiles by key, each decoded by one thread even when several ask for it at once. Safe to use from many threads.

    A thread that takes the interpreter's lock while another holds it sleeps and is woken, which costs as much as a
    quarter of a tile; so tiles are claimed, decoded and stored several at a time, and those that another thread is
    about to have made are left for later.

    Parameters
    ----------
    decode : makes several tiles, each (h, w, 3) uint8, or what is wrong with it: such a tile is tried again the next
        time. What it raises is raised to whoever asked.
    seam_bytes : most bytes of decoded tiles that are kept for the boxes below
    """

    def __init__(
        self, decode: Callable[[Sequence[TileKey]], Sequence[Pixels | Fault]], *, seam_bytes: int = _SEAM_BYTES
    ) -> None:
        self._decode = decode
        self._most_seam = seam_bytes
        self._changed = Condition()
        self._recent: OrderedDict[TileKey, Pixels] = OrderedDict()
        self._seam: dict[tuple[int, int], dict[int, Pixels]] = {}
        self._under_way: set[TileKey] = set()
        self._recent_bytes = self._seam_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes of all tiles kept now."""
        return self._recent_bytes + self._seam_bytes

    def clear(self) -> None:
        """Forget every tile."""
        with self._changed:
            self._recent.clear()
            self._seam.clear()
            self._recent_bytes = self._seam_bytes = 0

    def fetch(
        self, keys: Sequence[TileKey], rows: tuple[int, int], recent_bytes: int, pool: Executor | None = None
    ) -> dict[TileKey, Pixels | Fault]:
        """Those of some tiles that are kept, and those that nobody makes yet; for the others `wait_for` them later.

        Parameters
        ----------
        keys : different tiles of one level
        rows : first tile row of the box they are read for, and the first of those to keep for the boxes below
        recent_bytes : most bytes of tiles outside the seam that are kept; what is warm is decoded into again sooner
        pool : decodes several at once; None decodes in the calling thread

        Returns
        -------
        (h, w, 3) uint8 each, shared, so not to be written to; or what is wrong with it
        """
        found, mine = self._claim(keys, rows)
        if pool is None or len(mine) <= _TOGETHER:
            found.update(self._make(mine, rows[1], recent_bytes))
            return found
        pieces = [mine[k : k + _TOGETHER] for k in range(0, len(mine), _TOGETHER)]
        try:
            for made in pool.map(lambda piece: self._make(piece, rows[1], recent_bytes), pieces):
                found.update(made)
        except BaseException:
            self._give_up(mine)  # those of pieces that were not begun
            raise
        return found

    def wait_for(self, key: TileKey, rows: tuple[int, int], recent_bytes: int) -> Pixels | Fault:
        """A tile that another thread made meanwhile; if that failed, or it is gone again, it is made here.

        As `fetch`. Whoever has made what it claimed may wait, so nobody waits in a circle.
        """
        with self._changed:
            while True:
                tile = self._take(key)
                if tile is not None:
                    self._keep(key, tile, rows[1])
                    return tile
                if key not in self._under_way:
                    self._under_way.add(key)
                    break
                self._changed.wait()
        return self._make([key], rows[1], recent_bytes)[key]

    def _claim(
        self, keys: Sequence[TileKey], rows: tuple[int, int]
    ) -> tuple[dict[TileKey, Pixels | Fault], list[TileKey]]:
        """Kept tiles, and the keys of those that this caller must make; the others are under way elsewhere."""
        found: dict[TileKey, Pixels | Fault] = {}
        mine = []
        with self._changed:
            if keys:
                self._pass_by(keys[0].level, rows[0])
            for key in keys:
                tile = self._take(key)
                if tile is not None:
                    self._keep(key, tile, rows[1])
                    found[key] = tile
                elif key not in self._under_way:
                    mine.append(key)
            self._under_way.update(mine)
        return found, mine

    def _make(self, keys: Sequence[TileKey], seam_row: int, recent_bytes: int) -> dict[TileKey, Pixels | Fault]:
        """Decode tiles that were claimed."""
        try:
            made = dict(zip(keys, self._decode(keys) if keys else (), strict=True))
        except BaseException:  # nobody may wait for what will not be made
            self._give_up(keys)
            raise
        with self._changed:
            self._under_way.difference_update(keys)
            for key, tile in made.items():
                if isinstance(tile, np.ndarray):
                    self._keep(key, tile, seam_row)
            self._drop_old(recent_bytes)
            self._changed.notify_all()
        return made

    def _give_up(self, keys: Sequence[TileKey]) -> None:
        with self._changed:
            self._under_way.difference_update(keys)
            self._changed.notify_all()

    def _take(self, key: TileKey) -> Pixels | None:
        row = self._seam.get(key[:2])
        tile = row.pop(key.column, None) if row is not None else None
        if tile is not None:
            self._seam_bytes -= tile.nbytes
            return tile
        tile = self._recent.pop(key, None)
        if tile is not None:
            self._recent_bytes -= tile.nbytes
        return tile

    def _keep(self, key: TileKey, tile: Pixels, seam_row: int) -> None:
        if key.row >= seam_row and self._fits_seam(key, tile.nbytes):
            self._seam.setdefault(key[:2], {})[key.column] = tile
            self._seam_bytes += tile.nbytes
            return
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
