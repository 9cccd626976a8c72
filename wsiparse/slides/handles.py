"""A library's handle on a slide for each thread that reads it: none of them may be shared."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["Handles"]


class _Closable(Protocol):
    def close(self) -> None:
        """Free the handle."""


H = TypeVar("H", bound=_Closable)


class Handles(Generic[H]):
    """Opened when a thread first asks, closed together. Safe to use from many threads.

    Parameters
    ----------
    name : name of the slide, for the error after closing
    open_one : opens a handle; what it raises is passed on, and the next read tries again

    Attributes
    ----------
    closed : whether `close` has been called
    """

    def __init__(self, name: str, open_one: Callable[[], H]) -> None:
        self.closed = False
        self._name, self._open_one = name, open_one
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: list[H] = []

    def get(self) -> H:
        """This thread's handle.

        Raises
        ------
        ValueError
            If the handles have been closed.
        """
        handle: H | None = getattr(self._local, "handle", None)
        if handle is not None:
            return handle
        if self.closed:
            raise ValueError(f"{self._name} is closed")
        handle = self._open_one()
        with self._lock:
            self._open.append(handle)
        self._local.handle = handle
        return handle

    def drop(self) -> None:
        """Close this thread's handle, if it has one; the next `get` opens another."""
        handle: H | None = getattr(self._local, "handle", None)
        self._local.handle = None
        if handle is not None:
            handle.close()
            with self._lock:
                self._open.remove(handle)

    def close(self) -> None:
        """Close the handles of all threads."""
        with self._lock:
            self.closed = True
            for handle in self._open:
                handle.close()
            self._open.clear()
            self._local = threading.local()
