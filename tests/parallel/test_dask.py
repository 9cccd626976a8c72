from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsiparse.parallel.dask import _cgroup_cores, available_cores, map_ordered


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_item_order_whatever_finishes_first(workers: int) -> None:
    def slow_first(k: int) -> int:
        time.sleep(0.002 * (k % 3))
        return k

    assert list(map_ordered(slow_first, range(20), workers=workers)) == list(range(20))


def test_only_a_bounded_number_of_items_is_under_way() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for k in range(100):
            taken = k + 1
            yield k

    results = map_ordered(lambda k: k, items(), workers=2)
    next(results)
    assert taken <= 4
    results.close()  # type: ignore[attr-defined]


def test_an_error_is_raised_at_its_place_and_later_items_are_dropped() -> None:
    begun = []

    def fails_at_three(k: int) -> int:
        begun.append(k)
        if k == 3:
            raise KeyError("three")
        return k

    results = map_ordered(fails_at_three, range(1000), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="three"):
        next(results)
    assert len(begun) < 20


@pytest.mark.parametrize("workers", [1, 3])
def test_the_initializer_runs_in_every_thread_that_works(workers: int) -> None:
    ready = threading.local()

    def initialise() -> None:
        ready.yes = True

    assert all(map_ordered(lambda _: ready.yes, range(9), workers=workers, initializer=initialise))


def test_no_workers_is_a_callers_error() -> None:
    with pytest.raises(ValueError, match="workers must be >= 1"):
        list(map_ordered(str, [1], workers=0))


@pytest.mark.parametrize(("text", "cores"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None)])
def test_a_container_quota_is_read(tmp_path: Path, text: str, cores: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text, encoding="ascii")
    assert _cgroup_cores(tmp_path) == cores


def test_there_is_always_a_core() -> None:
    assert available_cores() >= 1
