"""What is kept of decoded tiles, and who makes them when several threads want them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wsiparse.slides.tilecache import TileCache, TileKey, Worth
from wsiparse.slides.tilecodecs import TileDataError

#: Of a box one tile high, whose tiles in columns 10-19 no other box will want.
WORTH = Worth(first_row=0, seam_row=1, inner=range(10, 20), recent_bytes=1 << 20)


class Used(dict[TileKey, object]):
    """What a cache gave out: the number in a tile, or the text of what was wrong."""

    def __call__(self, key: TileKey, tile: np.ndarray | TileDataError) -> None:
        assert key not in self
        self[key] = str(tile) if isinstance(tile, TileDataError) else int(tile[0, 0, 0])


def plain_tiles(keys: Sequence[TileKey], passes: Callable[[TileKey], bool]) -> Iterator[np.ndarray | TileDataError]:
    scratch = np.empty((2, 2, 3), np.uint8)
    for key in keys:
        tile = scratch if passes(key) else np.empty((2, 2, 3), np.uint8)
        tile[:] = key.column
        yield tile


@pytest.mark.parametrize("column", [0, 10])
def test_who_waits_for_a_tile_that_fails_elsewhere_tries_for_himself(column: int) -> None:
    begun, go = threading.Event(), threading.Event()
    tries: list[TileKey] = []

    def decode(keys: Sequence[TileKey], passes: Callable[[TileKey], bool]) -> Iterator[np.ndarray | TileDataError]:
        for key in keys:
            tries.append(key)
            if len(tries) == 1:
                begun.set()
                assert go.wait(10)
                yield TileDataError("the first try")
            else:
                yield from plain_tiles([key], passes)

    a, b = (TileKey(0, 0, column + k) for k in range(2))
    cache = TileCache(decode)
    with ThreadPoolExecutor(2) as pool:
        theirs, ours = Used(), Used()
        first = pool.submit(cache.fetch, [a], theirs, WORTH)
        assert begun.wait(10)
        assert cache.fetch([a, b], ours, WORTH) == [a], "what another thread makes is left for later"
        assert ours == {b: column + 1}
        second = pool.submit(cache.wait_for, a, ours, WORTH)
        time.sleep(0.02)
        assert not second.done()
        go.set()
        assert first.result(10) == []
        second.result(10)
    assert theirs == {a: "the first try"}
    assert ours == {a: column, b: column + 1}
    assert tries == [a, b, a]


@pytest.mark.parametrize("pooled", [False, True])
def test_what_interrupts_decoding_leaves_nobody_waiting(pooled: bool) -> None:
    interrupt = True

    def decode(keys: Sequence[TileKey], passes: Callable[[TileKey], bool]) -> Iterator[np.ndarray | TileDataError]:
        for key in keys:
            if interrupt and key.column == 11:
                raise KeyboardInterrupt
            yield from plain_tiles([key], passes)

    keys = [TileKey(0, 0, column) for column in range(30)]
    cache = TileCache(decode)
    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(KeyboardInterrupt):
            cache.fetch(keys, Used(), WORTH, pool if pooled else None)
        interrupt = False
        used = Used()
        for key in cache.fetch(keys, used, WORTH):
            cache.wait_for(key, used, WORTH)
    assert used == {key: key.column for key in keys}


def test_what_interrupts_the_use_of_a_kept_tile_leaves_nobody_waiting() -> None:
    def interrupted(key: TileKey, tile: np.ndarray | TileDataError) -> None:
        raise KeyboardInterrupt

    cache, used = TileCache(plain_tiles), Used()
    keys = [TileKey(0, 0, column) for column in range(5)]
    cache.fetch(keys[:1], Used(), WORTH)
    with pytest.raises(KeyboardInterrupt):
        cache.fetch(keys, interrupted, WORTH)
    assert cache.fetch(keys, used, WORTH) == []
    assert used == {key: key.column for key in keys}


def test_threads_that_want_the_same_tiles_at_once_share_one_decoding() -> None:
    together = threading.Barrier(4)
    count = 0

    def decode(keys: Sequence[TileKey], passes: Callable[[TileKey], bool]) -> Iterator[np.ndarray | TileDataError]:
        nonlocal count
        together.wait(10)  # all four have asked: one decodes, and the others pass by here
        for key in keys:
            count += 1
            yield from plain_tiles([key], passes)

    keys = [TileKey(0, 0, column) for column in range(30)]
    cache = TileCache(decode)

    def read(_: int) -> Used:
        used = Used()
        later = cache.fetch(keys, used, WORTH)
        if later:
            together.wait(10)
        for key in later:
            cache.wait_for(key, used, WORTH)
        return used

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [{key: key.column for key in keys}] * 4
    assert count == len(keys)


def test_what_is_inside_a_box_is_not_kept() -> None:
    cache, used = TileCache(plain_tiles), Used()
    keys = [TileKey(0, row, column) for row in range(2) for column in range(30)]
    assert cache.fetch(keys, used, WORTH) == []
    assert len(used) == 60
    assert cache.kept_bytes == (20 + 30) * 12, "the outer columns, and the last row"
