"""Threads of this process: work in order, side by side, and pixels read ahead of who recognises them.

`map_ordered` gives results in the order of the items whatever the number of workers, and only a bounded number of items
is under way, so memory does not grow with the length of the list.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import TypeVar

__all__ = ["Waits", "map_ordered", "read_ahead", "side_by_side", "timed"]

T = TypeVar("T")
R = TypeVar("R")


def map_ordered(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int = 1,
    initializer: Callable[[], None] | None = None,
) -> Generator[R]:
    """`function` of every item, in item order, on `workers` threads with at most 2 * workers items under way.

    Threads have the context variables of the caller.

    Parameters
    ----------
    function : called with one item; heavy parts must release the GIL to gain from threads
    items : consumed lazily
    workers : 1 runs in the calling thread
    initializer : called once in every thread that runs `function`, the calling one included when workers is 1

    Raises
    ------
    ValueError
        If `workers` < 1. An exception of `function` is raised at its item's place; items not begun are dropped.
    """
    if workers < 1:
        raise ValueError(f"workers must be >= 1, got {workers}")
    if workers == 1:
        if initializer is not None:
            initializer()
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="wsiparse", initializer=initializer)
    try:
        under_way: deque[Future[R]] = deque()
        for item in items:
            under_way.append(pool.submit(copy_context().run, function, item))
            if len(under_way) >= 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def side_by_side(
    function: Callable[[T], R], items: Iterable[T], at_once: int, *, on_error: Callable[[], None] = lambda: None
) -> Iterator[R]:
    """`function` of every item on `at_once` threads, yielded as they finish; 1 runs in the calling thread.

    Threads have the context variables of the caller.

    An exception of `function`, or in the calling thread, is raised once; items not begun are then dropped, those under
    way are waited for, after `on_error` has told them to hurry.
    """
    if at_once == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(at_once, thread_name_prefix="wsiparse-slide") as pool:
        under_way: set[Future[R]] = set()
        try:
            for item in items:
                under_way.add(pool.submit(copy_context().run, function, item))
                if len(under_way) >= at_once:
                    finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    yield from [future.result() for future in finished]
            while under_way:
                finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from [future.result() for future in finished]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            on_error()
            raise


class Waits:
    """Seconds that recognising threads spent waiting for pixels, and at work; each thread's are added up.

    Not safe to use from several threads: whoever collects results adds their `spent`.

    Attributes
    ----------
    waited_s, worked_s : so far; they never overlap
    """

    def __init__(self, waited_s: float = 0.0, worked_s: float = 0.0) -> None:
        self.waited_s, self.worked_s = waited_s, worked_s

    def add(self, waited_s: float, worked_s: float) -> None:
        """One more batch of tiles."""
        self.waited_s += waited_s
        self.worked_s += worked_s

    @property
    def share(self) -> float:
        """Part of the time in which pixels were missing, 0-1; 0 before anything was done."""
        total = self.waited_s + self.worked_s
        return self.waited_s / total if total > 0 else 0.0

    def __str__(self) -> str:
        return (
            f"waited for tiles {100 * self.share:.1f} % of the time "
            f"({self.waited_s:.1f} of {self.waited_s + self.worked_s:.1f} thread-seconds)"
        )


@contextmanager
def read_ahead(
    read: Callable[[T], R], items: Iterable[T], *, readers: int, ahead: int = 2
) -> Iterator[Iterator[Callable[[], R]]]:
    """`read` of every item on threads of its own, begun before it is asked for, with its context variables.

    Yields an iterator over one function for each item, in order, that returns what was read once it is there (or raises
    what `read` raised). `ahead` items beyond the one handed out are being read or wait, read; leaving the block drops
    those not begun.

    Parameters
    ----------
    items : consumed lazily
    readers : threads; 0 reads when the function is called, in the thread that calls it
    """
    if readers < 1:
        yield (partial(read, item) for item in items)
        return
    pool = ThreadPoolExecutor(readers, thread_name_prefix="wsiparse-read")

    def begun() -> Iterator[Callable[[], R]]:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(copy_context().run, read, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result
        while waiting:
            yield waiting.popleft().result

    try:
        yield begun()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def timed(ready: Callable[[], T], work: Callable[[T], R]) -> tuple[R, float, float]:
    """``work(ready())``, and the seconds that each of the two took."""
    begin = time.perf_counter()
    item = ready()
    there = time.perf_counter()
    done = work(item)
    return done, there - begin, time.perf_counter() - there
