"""Pixels read ahead of who recognises them, and how long that one waited for them all the same."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import TypeVar

__all__ = ["Waits", "read_ahead", "timed"]

T = TypeVar("T")
R = TypeVar("R")


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
