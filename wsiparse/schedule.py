"""Where work runs: the one place that knows threads and (later) Dask.

`map_ordered` is all the pipeline needs: results come back in the order of the items whatever the number of workers,
and only a bounded number of items is under way, so memory does not grow with the length of the list.
"""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

__all__ = ["available_cores", "map_ordered", "peak_rss_bytes"]

T = TypeVar("T")
R = TypeVar("R")


def _cgroup_cores(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The CPU quota of this process's container, cores, or None without one (cgroup v2 `cpu.max`)."""
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return int(quota) / int(period) if quota.isdigit() and int(period) > 0 else None


def available_cores() -> int:
    """Cores this process may use: its CPU affinity, cut to the container's quota; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else (os.cpu_count() or 1)
    quota = _cgroup_cores()
    return max(1, cores if quota is None else min(cores, int(quota + 0.5)))


def peak_rss_bytes() -> int | None:
    """Most memory this process has had resident since it was started; None where the system does not tell.

    Linux: VmHWM. The rusage figure survives fork and exec there, so that a small child of a large process reports its
    parent's size.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        if found is not None:
            return int(found.group(1)) * 1024
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def map_ordered(
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int = 1,
    initializer: Callable[[], None] | None = None,
) -> Iterator[R]:
    """`function` of every item, in item order, on `workers` threads with at most 2 * workers items under way.

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
            under_way.append(pool.submit(function, item))
            if len(under_way) >= 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
