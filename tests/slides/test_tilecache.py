"""What is kept of decoded tiles, and who makes them when several threads want them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wsiparse.slides.tilecache import TileCache, TileKey, Worth
from wsiparse.slides.tilecodecs import TileDataError

#: Of a box one tile high, above which there is none.
WORTH = Worth(first_row=0, seam_row=1, inner=range(10, 20), recent_bytes=1 << 20)

Tile = np.ndarray | TileDataError


def plain_tiles(keys: Sequence[TileKey]) -> list[Tile]:
    return [np.full((2, 2, 3), key.column, np.uint8) for key in keys]


def numbers(tiles: Sequence[tuple[TileKey, Tile]]) -> dict[TileKey, object]:
    """What a cache gave out: the number in each tile, or the text of what was wrong."""
    found = {key: str(tile) if isinstance(tile, TileDataError) else int(tile[0, 0, 0]) for key, tile in tiles}
    assert len(found) == len(tiles)
    return found


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
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.fetch, [a], make, WORTH)
        assert begun.wait(10)
        ours, others = cache.fetch([a, b], make, WORTH)
        assert others == [a], "what another thread makes is left for later"
        assert numbers(ours) == {b: 6}
        second = pool.submit(cache.wait_for, a, make, WORTH)
        time.sleep(0.02)
        assert not second.done()
        go.set()
        theirs, others = first.result(10)
        assert (numbers(theirs), others) == ({a: "the first try"}, [])
        assert numbers([(a, second.result(10))]) == {a: 5}
    assert tries == [a, b, a]


def test_what_interrupts_making_leaves_nobody_waiting() -> None:
    def interrupted(keys: Sequence[TileKey]) -> list[Tile]:
        raise KeyboardInterrupt

    keys = [TileKey(0, 0, column) for column in range(30)]
    cache: TileCache[TileDataError] = TileCache()
    cache.fetch(keys[:3], plain_tiles, WORTH)
    with pytest.raises(KeyboardInterrupt):
        cache.fetch(keys, interrupted, WORTH)
    found, others = cache.fetch(keys, plain_tiles, WORTH)
    assert (numbers(found), others) == (columns(keys), [])


@pytest.mark.parametrize("many", [0, 2])
def test_a_maker_that_makes_too_few_or_too_many_is_an_error_and_leaves_nobody_waiting(many: int) -> None:
    keys = [TileKey(0, 0, 1)]
    cache: TileCache[TileDataError] = TileCache()
    with pytest.raises(ValueError, match=r"zip\(\) argument 2"):
        cache.fetch(keys, lambda keys: plain_tiles(list(keys) * many), WORTH)
    assert numbers([(keys[0], cache.wait_for(keys[0], plain_tiles, WORTH))]) == columns(keys)


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
        found, later = cache.fetch(keys, make, WORTH)
        return numbers([*found, *((key, cache.wait_for(key, plain_tiles, WORTH)) for key in later)])

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
        first = pool.submit(cache.fetch, [key], make, nothing)
        assert begun.wait(10)
        waiting = [pool.submit(cache.wait_for, key, make, nothing) for _ in range(2)]
        go.set()
        assert numbers(first.result(10)[0]) == {key: 1}
        assert [numbers([(key, future.result(10))]) for future in waiting] == [{key: 1}] * 2
    assert count == 3
    assert cache.kept_bytes == 0


def test_the_seam_is_kept_until_the_reading_has_gone_past_it() -> None:
    keys = [TileKey(0, row, column) for row in range(2) for column in range(30)]
    cache: TileCache[TileDataError] = TileCache()
    assert numbers(cache.fetch(keys, plain_tiles, WORTH._replace(recent_bytes=36))[0]) == columns(keys)
    assert cache.kept_bytes == (3 + 30) * 12, "the last three outside the seam, and the last row"

    def none(keys: Sequence[TileKey]) -> list[Tile]:
        assert not keys
        return []

    below = Worth(first_row=1, seam_row=2, inner=range(10, 20), recent_bytes=1 << 20)
    assert numbers(cache.fetch(keys[30:50], none, below)[0]) == columns(keys[30:50])
    assert cache.kept_bytes == (3 + 20) * 12, "what is inside a box that goes past the seam is not wanted again"
    assert numbers(cache.fetch(keys[30:40], none, below)[0]) == columns(keys[30:40])
    cache.fetch([], none, below._replace(recent_bytes=0))
    assert cache.kept_bytes == 10 * 12
    cache.fetch(keys[:1], plain_tiles, Worth(first_row=2, seam_row=3, inner=range(0), recent_bytes=0))
    assert cache.kept_bytes == 0
