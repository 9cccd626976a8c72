"""What a command does when it is told to stop: once, it stops in good order; twice, at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stopped", "stopping"]


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop; the exit code is 128 + its number.

    A KeyboardInterrupt, because everything that cleans up after one cleans up after a signal of a batch system too.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def stopping() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Stopped` in the block; a second one ends the process at once.

    Raises
    ------
    Stopped
        In the block, at the first signal.
    """
    told = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal told
        if told:
            os.write(2, b"\nstopped at once; run the same command again to go on\n")
            os._exit(128 + number)
        told = True
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
