from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.viewer.cache import BoundedCache


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(0, 30))
def test_values_are_those_made_and_the_weight_stays_below_the_limit(keys: list[int], limit: int) -> None:
    cache: BoundedCache[bytes] = BoundedCache(limit, len)
    for key in keys:
        assert cache.get(key, lambda key=key: bytes(key)) == bytes(key)  # type: ignore[misc]
        assert cache.weight <= limit


def test_what_was_used_last_stays() -> None:
    made: list[str] = []
    cache: BoundedCache[str] = BoundedCache(2, lambda _: 1)
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, lambda key=key: made.append(key) or key)  # type: ignore[func-returns-value,misc]
    assert made == ["a", "b", "c", "b"]


def test_threads_that_ask_at_once_wait_for_one_another() -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        time.sleep(0.05)
        return "value"

    cache: BoundedCache[str] = BoundedCache(100, len)
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(cache.get("key", make))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["value"] * 5
    assert len(made) == 1


def test_an_error_is_not_kept() -> None:
    cache: BoundedCache[str] = BoundedCache(100, len)

    def fail() -> str:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        cache.get("key", fail)
    assert cache.get("key", lambda: "value") == "value"
