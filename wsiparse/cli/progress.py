"""Progress for people: live bars on a terminal, a plain line now and then in a job log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tqdm import tqdm

from wsiparse.parallel.progress import Pace

__all__ = ["TerminalProgress", "span_text"]

#: Seconds between plain lines when nobody watches.
_EVERY_S: Final = 30.0

_BAR: Final = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}{postfix}]"


class TerminalProgress:
    """Implements `wsiparse.parallel.progress.Progress` on standard error."""

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
        self._bar = (
            tqdm(total=total, desc=title, unit=unit, leave=False, file=sys.stderr, bar_format=_BAR) if live else None
        )
        self._done = 0
        self._pace = Pace(total)
        self._said = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        """Count finished steps."""
        self._done += steps
        now = time.monotonic()
        self._pace.note(now, self._done)
        left = self._pace.left_s
        if self._bar is not None:
            if left is not None:
                self._bar.set_postfix_str(f"{span_text(left)} left", refresh=False)
            self._bar.update(steps)
        elif now - self._said >= _EVERY_S:
            self._said = now
            rate = self._pace.per_s
            told = [f"{self._title}: {self._done}/{self._total} {self._unit}"]
            told += [f"{rate:.2g} {self._unit}/s"] if rate is not None else []
            told += [f"{span_text(left)} left"] if left is not None and self._done < self._total else []
            print(", ".join(told), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def span_text(seconds: float) -> str:
    """A time span as people say it.

    >>> span_text(12.4), span_text(150), span_text(7000)
    ('12 s', '2 min', '1.9 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
