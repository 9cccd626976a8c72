"""A cache that knows what it may weigh: tiles, outlines and label pixels are made once while they are looked at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["BoundedCache"]

V = TypeVar("V")


class BoundedCache(Generic[V]):
    """Least recently used values go first once the sum of their weights passes the limit; safe between threads.

    Parameters
    ----------
    limit : sum of the weights kept, bytes
    weigh : bytes of one value; one that is heavier than the limit is handed out and not kept
    """

    def __init__(self, limit: int, weigh: Callable[[V], int]) -> None:
        self._limit, self._weigh = limit, weigh
        self._kept: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    @property
    def weight(self) -> int:
        """Bytes kept now."""
        return self._weight

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of `key`; threads that ask for it at once wait for the one that makes it."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._kept:
                    return self._kept[key][0]
            try:
                value = make()
                self._keep(key, value)
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return value

    def _keep(self, key: Hashable, value: V) -> None:
        weight = self._weigh(value)
        if weight > self._limit:
            return
        with self._lock:
            if key in self._kept:
                self._weight -= self._kept.pop(key)[1]
            self._kept[key] = (value, weight)
            self._weight += weight
            while self._weight > self._limit:
                self._weight -= self._kept.popitem(last=False)[1][1]
