"""What is kept of decoded tiles, and who makes them when several threads want them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.slides.tiled import kept_bytes
from wsiparse.slides.tilecache import TileCache, TileKey, Worth
from wsiparse.slides.tilecodecs import TileDataError

#: Of a box one tile high, above which there is none.
WORTH = Worth(first_row=0, seam_row=1, inner=range(10, 20), recent_bytes=1 << 20)

Tile = np.ndarray | TileDataError
Make = Callable[[Sequence[TileKey]], list[Tile]]


def plain_tiles(keys: Sequence[TileKey]) -> list[Tile]:
    return [np.full((2, 2, 3), key.column, np.uint8) for key in keys]


class User:
    """Somebody who fetches tiles and uses those that are kept and those that are made for him."""

    def __init__(self, cache: TileCache[TileDataError], make: Make = plain_tiles) -> None:
        self.cache, self.make = cache, make
        self.used: list[tuple[TileKey, Tile]] = []

    def _make(self, keys: Sequence[TileKey]) -> list[Tile]:
        tiles = self.make(keys)
        self.used += zip(keys, tiles, strict=False)
        return tiles

    def fetch(self, keys: Sequence[TileKey], worth: Worth) -> list[TileKey]:
        kept, others = self.cache.fetch(keys, self._make, worth)
        self.used += kept
        return others

    def wait_for(self, key: TileKey, worth: Worth) -> None:
        tile = self.cache.wait_for(key, self._make, worth)
        self.used += [(key, tile)] if tile is not None else []

    @property
    def numbers(self) -> dict[TileKey, object]:
        """The number in each tile, or the text of what was wrong with it."""
        found = {key: str(tile) if isinstance(tile, TileDataError) else int(tile[0, 0, 0]) for key, tile in self.used}
        assert len(found) == len(self.used)
        return found


def fetched(cache: TileCache[TileDataError], keys: Sequence[TileKey], worth: Worth, make: Make = plain_tiles) -> object:
    """The numbers of some tiles that nobody else makes."""
    user = User(cache, make)
    assert user.fetch(keys, worth) == []
    return user.numbers


def columns(keys: Sequence[TileKey]) -> dict[TileKey, object]:
    return {key: key.column for key in keys}


def test_who_waits_for_a_tile_that_fails_elsewhere_tries_for_himself() -> None:
    begun, go = threading.Event(), threading.Event()
    tries: list[TileKey] = []

    def make(keys: Sequence[TileKey]) -> list[Tile]:
        tries.extend(keys)
        if len(tries) > 1:
            return plain_tiles(keys)
        begun.set()
        assert go.wait(10)
        return [TileDataError("the first try")]

    a, b = TileKey(0, 0, 5), TileKey(0, 0, 6)
    cache: TileCache[TileDataError] = TileCache()
    theirs, ours = User(cache, make), User(cache, make)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(theirs.fetch, [a], WORTH)
        assert begun.wait(10)
        assert ours.fetch([a, b], WORTH) == [a], "what another thread makes is left for later"
        assert ours.numbers == {b: 6}
        second = pool.submit(ours.wait_for, a, WORTH)
        time.sleep(0.02)
        assert not second.done()
        go.set()
        assert first.result(10) == []
        second.result(10)
    assert theirs.numbers == {a: "the first try"}
    assert ours.numbers == {a: 5, b: 6}
    assert tries == [a, b, a]


def test_what_interrupts_making_leaves_nobody_waiting() -> None:
    def interrupted(keys: Sequence[TileKey]) -> list[Tile]:
        raise KeyboardInterrupt

    keys = [TileKey(0, 0, column) for column in range(30)]
    cache: TileCache[TileDataError] = TileCache()
    cache.fetch(keys[:3], plain_tiles, WORTH)
    with pytest.raises(KeyboardInterrupt):
        cache.fetch(keys, interrupted, WORTH)
    assert fetched(cache, keys, WORTH) == columns(keys)


@pytest.mark.parametrize("many", [0, 2])
def test_a_maker_that_makes_too_few_or_too_many_is_an_error_and_leaves_nobody_waiting(many: int) -> None:
    keys = [TileKey(0, 0, 1)]
    cache: TileCache[TileDataError] = TileCache()
    with pytest.raises(ValueError, match=r"zip\(\) argument 2"):
        cache.fetch(keys, lambda keys: plain_tiles(list(keys) * many), WORTH)
    user = User(cache)
    user.wait_for(keys[0], WORTH)
    assert user.numbers == columns(keys)


def test_threads_that_want_the_same_tiles_at_once_share_one_making() -> None:
    together = threading.Barrier(4)
    count = 0

    def make(keys: Sequence[TileKey]) -> list[Tile]:
        nonlocal count
        together.wait(10)  # all four have asked: one makes all, and the others nothing
        count += len(keys)
        return plain_tiles(keys)

    keys = [TileKey(0, 0, column) for column in range(30)]
    cache: TileCache[TileDataError] = TileCache()

    def read(_: int) -> dict[TileKey, object]:
        user = User(cache, make)
        later = user.fetch(keys, WORTH)
        user.make = plain_tiles
        for key in later:
            user.wait_for(key, WORTH)
        return user.numbers

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [columns(keys)] * 4
    assert count == len(keys)


def test_who_waits_while_the_tile_is_made_and_dropped_makes_it_again() -> None:
    key, begun, go = TileKey(0, 0, 1), threading.Event(), threading.Event()
    count = 0

    def make(keys: Sequence[TileKey]) -> list[Tile]:
        nonlocal count
        count += len(keys)
        begun.set()
        assert go.wait(10)
        return plain_tiles(keys)

    nothing = WORTH._replace(recent_bytes=0)
    cache: TileCache[TileDataError] = TileCache()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(fetched, cache, [key], nothing, make)
        assert begun.wait(10)
        users = [User(cache, make) for _ in range(2)]
        waiting = [pool.submit(user.wait_for, key, nothing) for user in users]
        go.set()
        assert first.result(10) == {key: 1}
        for future in waiting:
            future.result(10)
    assert [user.numbers for user in users] == [{key: 1}] * 2
    assert count == 3
    assert kept_bytes(cache) == 0


def test_the_seam_is_kept_until_the_reading_has_gone_past_it() -> None:
    keys = [TileKey(0, row, column) for row in range(2) for column in range(30)]
    cache: TileCache[TileDataError] = TileCache()
    assert fetched(cache, keys, WORTH._replace(recent_bytes=36)) == columns(keys)
    assert kept_bytes(cache) == (3 + 30) * 12, "the last three outside the seam, and the last row"

    def none(keys: Sequence[TileKey]) -> list[Tile]:
        assert not keys
        return []

    below = Worth(first_row=1, seam_row=2, inner=range(10, 20), recent_bytes=1 << 20)
    assert fetched(cache, keys[30:50], below, none) == columns(keys[30:50])
    assert kept_bytes(cache) == (3 + 20) * 12, "what is inside a box that goes past the seam is not wanted again"
    assert fetched(cache, keys[30:40], below, none) == columns(keys[30:40])
    fetched(cache, [], below._replace(recent_bytes=0))
    assert kept_bytes(cache) == 10 * 12
    fetched(cache, keys[:1], Worth(first_row=2, seam_row=3, inner=range(0), recent_bytes=0))
    assert kept_bytes(cache) == 0
