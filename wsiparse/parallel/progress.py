"""How far the work is: what the pipeline tells, who does not listen, and how long the rest will take."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

__all__ = ["OfSlide", "Pace", "Progress", "Quiet", "Stage"]

#: Steps done in this time tell how fast the work goes now.
_WINDOW_S: Final = 120.0

#: More letters of a slide's name than fit beside a bar.
_MOST_LETTERS: Final = 32


class Stage(Protocol):
    """A running stage of known length."""

    def advance(self, steps: int = 1) -> None:
        """Count finished steps."""


class Progress(Protocol):
    """Where the pipeline tells how far it is."""

    def say(self, text: str) -> None:
        """Tell people one line."""

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """Open a stage of `total` steps."""


class OfSlide:
    """Progress of one slide among others: its stages carry its name.

    Parameters
    ----------
    progress : progress of the run
    name : name of the slide
    """

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._name = name if len(name) <= _MOST_LETTERS else f"{name[: _MOST_LETTERS - 3]}..."

    def say(self, text: str) -> None:
        """Tell people one line."""
        self._progress.say(text)

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """Open a stage of `total` steps."""
        return self._progress.stage(f"{self._name}: {title}", total, unit)


class Pace:
    """How long the rest of a stage will take, from the steps of the last two minutes.

    What came before the first finished step (waiting for others, compiling) is no measure of the rest.

    Parameters
    ----------
    total : steps of the stage
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._marks: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, done: int) -> None:
        """So many steps are finished at a time (seconds of any clock that only goes forward)."""
        self._marks.append((now_s, done))
        while len(self._marks) > 2 and self._marks[1][0] <= now_s - _WINDOW_S:
            self._marks.popleft()

    @property
    def per_s(self) -> float | None:
        """Steps a second; None before two steps are finished."""
        if len(self._marks) < 2:
            return None
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended > began and last > first else None

    @property
    def left_s(self) -> float | None:
        """Seconds the rest will take; None while nobody can tell."""
        rate = self.per_s
        return None if rate is None else (self._total - self._marks[-1][1]) / rate


class _Silence:
    def advance(self, steps: int = 1) -> None:
        """Nobody listens."""


class Quiet:
    """Progress that says nothing."""

    def say(self, text: str) -> None:
        """Nobody listens."""

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """A stage nobody sees."""
        return nullcontext(_Silence())
