"""Libraries that warn about files: what matters comes back as an error, the rest is not for users."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["quietly"]

#: `warnings.catch_warnings` swaps a process-wide list; two threads opening slides must not interleave in it.
_ONE_AT_A_TIME: Final = threading.RLock()


@contextmanager
def quietly() -> Iterator[None]:
    """Ignore every warning inside; one thread at a time, which may come in again."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
