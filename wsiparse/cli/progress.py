"""Progress for people: live bars on a terminal, a plain line now and then in a job log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tqdm import tqdm

__all__ = ["TerminalProgress"]

#: Seconds between plain lines when nobody watches.
_EVERY_S: Final = 30.0


class TerminalProgress:
    """Implements `wsiparse.progress.Progress` on standard error."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """One line, above any bar."""
        tqdm.write(text, file=sys.stderr)

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Stage]:
        """A stage of `total` steps, closed when the block ends."""
        stage = Stage(title, total, unit, live=self._live)
        try:
            yield stage
        finally:
            stage.close()


class Stage:
    """One running stage; `advance` is called from the thread that opened it."""

    def __init__(self, title: str, total: int, unit: str, *, live: bool) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._bar = tqdm(total=total, desc=title, unit=unit, leave=False, file=sys.stderr) if live else None
        self._done = 0
        self._began = self._said = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        """Count finished steps."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
            return
        now = time.monotonic()
        if now - self._said >= _EVERY_S:
            self._said = now
            rate = self._done / (now - self._began)
            left = (self._total - self._done) / rate if rate > 0 else 0.0
            print(
                f"{self._title}: {self._done}/{self._total} {self._unit}, {rate:.2f} {self._unit}/s, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
