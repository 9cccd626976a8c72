"""How far the work is: what the pipeline tells, and someone who does not listen."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

__all__ = ["Progress", "Quiet", "Stage"]


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
