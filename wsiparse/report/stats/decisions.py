"""Which slides a table's reader has decided to leave out of rankings and comparisons, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from wsiparse.names import folded, some_of
from wsiparse.report.stats.joining import Metadata

__all__ = ["DECISION", "decision_lines", "excluded", "wrong_decisions"]

#: Columns, in any case.
DECISION: Final = "decision"
_REASON: Final = "reason"
_INCLUDE: Final = ("", "include", "included")
_EXCLUDE: Final = ("exclude", "excluded")


def _column(metadata: Metadata | None, name: str) -> str | None:
    columns = () if metadata is None else metadata.columns
    return next((column for column in columns if folded(column) == name), None)


def excluded(values: Sequence[Mapping[str, str]], metadata: Metadata | None) -> dict[int, str]:
    """Positions of the slides that are excluded, and the reason of each, "" for none told.

    Parameters
    ----------
    values : of each slide by column
    metadata : the table they are of, or None
    """
    decision, reason = _column(metadata, DECISION), _column(metadata, _REASON)
    if decision is None:
        return {}
    return {
        k: own.get(reason, "") if reason is not None else ""
        for k, own in enumerate(values)
        if folded(own.get(decision, "")) in _EXCLUDE
    }


def wrong_decisions(names: Sequence[str], values: Sequence[Mapping[str, str]], metadata: Metadata) -> tuple[str, ...]:
    """A line for each slide whose decision is no known word; such a slide is not excluded."""
    decision = _column(metadata, DECISION)
    if decision is None:
        return ()
    return tuple(
        f"{metadata.file}: the {decision} about {name} is {own[decision]!r}. Write include or exclude, or nothing."
        for name, own in zip(names, values, strict=True)
        if folded(own.get(decision, "")) not in (*_INCLUDE, *_EXCLUDE)
    )


def decision_lines(names: Sequence[str], values: Sequence[Mapping[str, str]], metadata: Metadata) -> tuple[str, ...]:
    """What is told of excluded slides, in a line; nothing without any."""
    out = excluded(values, metadata)
    if not out:
        return ()
    told = [f"{names[k]} ({why})" if why else names[k] for k, why in out.items()]
    return (
        f"{metadata.file}: {len(out)} slide(s) excluded by its decision, in no ranking and no comparison: "
        f"{some_of(told, 5)}",
    )
