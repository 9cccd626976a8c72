"""One line of the doctor's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "State", "good", "note", "problem", "size_text"]

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do.

    Parameters
    ----------
    name : one word or two
    state : "ok"; "note": works, but the user may want to know; "problem": a run would fail
    found : one line
    todo : one line; never empty for a problem, always empty for "ok"

    Raises
    ------
    ValueError
        If a problem says nothing to do, "ok" says something, or a text has several lines.
    """

    name: str
    state: State
    found: str
    todo: str = ""

    def __post_init__(self) -> None:
        if (self.state == "ok" and self.todo) or (self.state == "problem" and not self.todo):
            raise ValueError(f"{self.name}: a problem says what to do, and what is well does not")
        if "\n" in self.found + self.todo:
            raise ValueError(f"{self.name}: one line each")


def good(name: str, found: str) -> Check:
    """A check that is well."""
    return Check(name, "ok", " ".join(found.split()))


def note(name: str, found: str, todo: str = "") -> Check:
    """A check the user may want to know about."""
    return Check(name, "note", " ".join(found.split()), todo)


def problem(name: str, found: str, todo: str) -> Check:
    """A check that stops wsiparse from working."""
    return Check(name, "problem", " ".join(found.split()), todo)


def size_text(n_bytes: int) -> str:
    """Bytes for people.

    >>> size_text(1_500_000_000), size_text(25_000_000)
    ('1.5 GB', '25 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
