"""Decoded tiles that will be asked for again.

Boxes of a plan come row by row and overlap a little. What the next box wants again is the right edge of this one; what
the next row of boxes wants again are the last rows of tiles of this one. The cache therefore keeps the tiles used last,
and beside them the last tile rows of every box (the seam) until the reading has gone past them. Both are bounded; what
does not fit is decoded again. Results never depend on what is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from threading import Lock
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["TileCache", "TileKey"]

#: 170 and 512 tiles of 256 x 256 px: some boxes of 1024 px at once, and a tile row of 131,072 px.
_RECENT_BYTES: Final = 32 << 20
_SEAM_BYTES: Final = 96 << 20

Pixels = NDArray[np.uint8]


class TileKey(NamedTuple):
    """A tile of a slide: level, and its row and column among the level's tiles."""

    level: int
    row: int
    column: int


class TileCache:
    """Tiles by key, each decoded by one thread even when several ask for it at once. Safe to use from many threads.

    Parameters
    ----------
    decode : makes a tile, (h, w, 3) uint8; may raise, and is then asked again the next time
    recent_bytes, seam_bytes : most bytes of decoded tiles that are kept
    """

    def __init__(
        self,
        decode: Callable[[TileKey], Pixels],
        *,
        recent_bytes: int = _RECENT_BYTES,
        seam_bytes: int = _SEAM_BYTES,
    ) -> None:
        self._decode = decode
        self._most_recent, self._most_seam = recent_bytes, seam_bytes
        self._lock = Lock()
        self._recent: OrderedDict[TileKey, Pixels] = OrderedDict()
        self._seam: dict[tuple[int, int], dict[int, Pixels]] = {}
        self._under_way: dict[TileKey, Future[Pixels]] = {}
        self._recent_bytes = self._seam_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes of all tiles kept now."""
        return self._recent_bytes + self._seam_bytes

    def clear(self) -> None:
        """Forget every tile."""
        with self._lock:
            self._recent.clear()
            self._seam.clear()
            self._recent_bytes = self._seam_bytes = 0

    def fetch(self, keys: Sequence[TileKey], rows: tuple[int, int], pool: Executor | None = None) -> list[Pixels]:
        """The tiles of `keys`, in that order; they are shared, so not to be written to.

        Parameters
        ----------
        keys : different tiles of one level
        rows : first tile row of the box they are read for, and the first of those to keep for the boxes below
        pool : decodes several at once; None decodes in the calling thread

        Returns
        -------
        (h, w, 3) uint8 each, as `decode` made them

        Raises
        ------
        Exception
            What `decode` raised, for the first tile of `keys` that failed.
        """
        futures, mine = self._claim(keys, rows)
        try:
            if pool is not None and len(mine) > 1:
                wait([pool.submit(self._make, key, future, rows[1]) for key, future in mine])
            else:
                for key, future in mine:
                    self._make(key, future, rows[1])
        except BaseException:
            self._give_up(mine)
            raise
        # those of other threads come last: every thread decodes its own before it waits, so none waits in a circle
        return [future if isinstance(future, np.ndarray) else future.result() for future in futures]

    def _claim(
        self, keys: Sequence[TileKey], rows: tuple[int, int]
    ) -> tuple[list[Pixels | Future[Pixels]], list[tuple[TileKey, Future[Pixels]]]]:
        """Kept tiles and promises of those to come, and which of them this caller must make."""
        found: list[Pixels | Future[Pixels]] = []
        mine = []
        with self._lock:
            if keys:
                self._pass_by(keys[0].level, rows[0])
            for key in keys:
                tile = self._take(key)
                if tile is not None:
                    self._keep(key, tile, rows[1])
                    found.append(tile)
                    continue
                future = self._under_way.get(key)
                if future is None:
                    future = self._under_way[key] = Future()
                    mine.append((key, future))
                found.append(future)
        return found, mine

    def _make(self, key: TileKey, future: Future[Pixels], seam_row: int) -> None:
        try:
            tile = self._decode(key)
        except Exception as error:  # noqa: BLE001  (raised in every thread that waits for the tile)
            with self._lock:
                self._under_way.pop(key, None)
            future.set_exception(error)
            return
        with self._lock:
            self._under_way.pop(key, None)
            self._keep(key, tile, seam_row)
        future.set_result(tile)

    def _give_up(self, mine: Sequence[tuple[TileKey, Future[Pixels]]]) -> None:
        """After an interruption: nobody may wait for what will not be made."""
        for key, future in mine:
            with self._lock:
                dropped = self._under_way.pop(key, None) is not None
            if dropped and not future.done():
                future.set_exception(InterruptedError("decoding was interrupted"))

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
        while self._recent_bytes > self._most_recent:
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
