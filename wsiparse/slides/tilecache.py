"""Decoded tiles that will be asked for again.

Boxes of a plan come row by row and overlap a little. What the boxes beside one want again are its outer columns of
tiles; what the next row of boxes wants again are its last rows of tiles. The cache therefore keeps the outer columns
used last, and beside them the last tile rows of every box (the seam) until the reading has gone past them. Both are
bounded; what does not fit is decoded again. What is inside a box is used and dropped, so that the next tile is decoded
into memory that the processor has at hand. Results never depend on what is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from threading import Condition
from typing import Final, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["TileCache", "TileKey", "Worth"]

#: 512 tiles of 256 x 256 px: a tile row of 131,072 px.
_SEAM_BYTES: Final = 96 << 20

#: Tiles that one thread of a pool decodes before it asks for more.
_TOGETHER: Final = 4

Pixels = NDArray[np.uint8]
#: What stands for a tile that cannot be made.
Fault = TypeVar("Fault", bound=Exception)
Decode = Callable[["Sequence[TileKey]", "Callable[[TileKey], bool]"], "Iterable[Pixels | Fault]"]


class TileKey(NamedTuple):
    """A tile of a slide: level, and its row and column among the level's tiles."""

    level: int
    row: int
    column: int


class Worth(NamedTuple):
    """Which tiles of a box are worth keeping.

    Parameters
    ----------
    first_row : of the box
    seam_row : the first row of those that the boxes below will want
    inner : columns that no other box will want, unless it is read at the same time
    recent_bytes : most bytes of tiles outside the seam
    """

    first_row: int
    seam_row: int
    inner: range
    recent_bytes: int

    def keeping(self, key: TileKey) -> bool:
        """Whether other boxes will want a tile."""
        return key.row >= self.seam_row or key.column not in self.inner


class _Claim:
    """A tile that one thread is making, and how many others wait for it."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting = 0


_Claims = dict[TileKey, _Claim]


class TileCache(Generic[Fault]):
    """Tiles by key, decoded by one thread when several ask for one at once. Safe to use from many threads.

    A thread that wants the interpreter's lock while another holds it sleeps and is woken, which costs as much as a
    quarter of a tile; so tiles are claimed and stored several at a time, and those that another thread is about to
    have made are left for later.

    Parameters
    ----------
    decode : makes several tiles, one after the other, each (h, w, 3) uint8, or what is wrong with it: such a tile is
        tried again the next time. What it raises is raised to whoever asked. It is told which tiles pass: those are
        done with when the next one is wanted, and may all be made in the same memory.
    seam_bytes : most bytes of decoded tiles that are kept for the boxes below
    """

    def __init__(self, decode: Decode[Fault], *, seam_bytes: int = _SEAM_BYTES) -> None:
        self._decode = decode
        self._most_seam = seam_bytes
        self._changed = Condition()
        self._recent: OrderedDict[TileKey, Pixels] = OrderedDict()
        self._seam: dict[tuple[int, int], dict[int, Pixels]] = {}
        self._under_way: _Claims = {}
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
        self,
        keys: Sequence[TileKey],
        use: Callable[[TileKey, Pixels | Fault], None],
        worth: Worth,
        pool: Executor | None = None,
    ) -> list[TileKey]:
        """Use those of some tiles that are kept, and those that nobody makes yet.

        Parameters
        ----------
        keys : different tiles of one level
        use : told each tile, (h, w, 3) uint8, shared, so not to be written to; or what is wrong with it
        worth : what to keep of them
        pool : decodes several at once, and calls `use` in its threads; None decodes in the calling thread

        Returns
        -------
        keys of the others, which other threads are making: `wait_for` them when there is nothing else to do
        """
        kept, mine, others = self._claim(keys, worth)
        try:
            for key, tile in kept:
                use(key, tile)
            if pool is None or len(mine) <= _TOGETHER:
                self._make(mine, use, worth)
            else:
                claims = list(mine.items())
                pieces = [dict(claims[k : k + _TOGETHER]) for k in range(0, len(claims), _TOGETHER)]
                for _ in pool.map(lambda piece: self._make(piece, use, worth), pieces):
                    pass
        finally:  # those that were not begun
            self._end(mine)
        return others

    def wait_for(self, key: TileKey, use: Callable[[TileKey, Pixels | Fault], None], worth: Worth) -> None:
        """Use a tile that another thread made meanwhile; if that failed, or it is gone again, it is made here.

        Whoever has made what it claimed may wait, so nobody waits in a circle.

        Parameters
        ----------
        key : one of those that `fetch` returned
        use : told the tile, (h, w, 3) uint8, shared, so not to be written to; or what is wrong with it
        worth : what to keep, as for `fetch`
        """
        with self._changed:
            while key in self._under_way:
                self._changed.wait()
            tile = self._take(key)
            if tile is None:
                self._under_way[key] = claim = _Claim()
            else:
                self._keep(key, tile, worth, wanted=True)
        if tile is None:
            self._make({key: claim}, use, worth)
        else:
            use(key, tile)

    def _claim(
        self, keys: Sequence[TileKey], worth: Worth
    ) -> tuple[list[tuple[TileKey, Pixels]], _Claims, list[TileKey]]:
        """Kept tiles, those that this caller must make, and keys of those that are under way elsewhere."""
        kept, others = [], []
        mine: _Claims = {}
        with self._changed:
            if keys:
                self._pass_by(keys[0].level, worth.first_row)
            for key in keys:
                under_way = self._under_way.get(key)
                if under_way is not None:
                    under_way.waiting += 1
                    others.append(key)
                    continue
                tile = self._take(key)
                if tile is None:
                    self._under_way[key] = mine[key] = _Claim()
                else:
                    self._keep(key, tile, worth)
                    kept.append((key, tile))
        return kept, mine, others

    def _make(self, claims: _Claims, use: Callable[[TileKey, Pixels | Fault], None], worth: Worth) -> None:
        """Decode and use tiles that were claimed."""
        made: list[tuple[TileKey, Pixels | Fault]] = []
        try:
            tiles = self._decode(list(claims), lambda key: not worth.keeping(key)) if claims else ()
            for (key, claim), tile in zip(claims.items(), tiles, strict=True):
                use(key, tile)
                if worth.keeping(key):
                    made.append((key, tile))
                elif claim.waiting and isinstance(tile, np.ndarray):  # whoever comes later makes it himself
                    made.append((key, tile.copy()))
            with self._changed:
                for key, tile in made:
                    if isinstance(tile, np.ndarray):
                        self._keep(key, tile, worth, wanted=claims[key].waiting > 0)
                self._drop_old(worth.recent_bytes)
        finally:
            self._end(claims)

    def _end(self, claims: _Claims) -> None:
        """Nobody need wait any longer for what was, or will not be, made."""
        with self._changed:
            for key, claim in claims.items():
                if self._under_way.get(key) is claim:
                    del self._under_way[key]
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

    def _keep(self, key: TileKey, tile: Pixels, worth: Worth, *, wanted: bool = False) -> None:
        if key.row >= worth.seam_row and self._fits_seam(key, tile.nbytes):
            self._seam.setdefault(key[:2], {})[key.column] = tile
            self._seam_bytes += tile.nbytes
        elif wanted or worth.keeping(key):
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
