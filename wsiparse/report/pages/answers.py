"""The four questions that a slide's page answers first: how many, where, how sure, can this slide be trusted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from wsiparse.report.pages.words import interval, listed, micro, significant, times

__all__ = ["answers"]

Numbers = Mapping[str, Any]

#: More cells than this share, per cent, whose class is a close call make a slide doubtful.
_MANY_CLOSE: Final = 20.0


def answers(numbers: Numbers, rows: Sequence[Numbers]) -> list[tuple[str, str]]:
    """(question, answer) of each.

    Parameters
    ----------
    numbers : of the slide's report
    rows : of the classes of immune cells over all tissue; of all cells where no immune cells were asked for
    """
    return [
        ("How many?", _how_many(numbers, rows)),
        ("Where?", _where(numbers)),
        ("How sure?", _how_sure(numbers, rows)),
        ("Can I trust this slide?", _trust(numbers, rows)),
    ]


def _how_many(numbers: Numbers, rows: Sequence[Numbers]) -> str:
    told = []
    for row in rows:
        if row["density_per_mm2"] is None:
            continue
        what = "immune cells" if row["class"] in numbers["immune"]["classes"] else "cells"
        ends = ""
        if row["density_low"] is not None:
            ends = f" (95 % interval {interval(row['density_low'], row['density_high'])})"
        name = f" ({row['class']})" if row["class"] in numbers["immune"]["classes"] else ""
        told.append(f"{significant(row['density_per_mm2'])} {what}{name} per mm²{ends}")
    if not told:
        return "Not known: no tissue was analysed." if rows else "Not known: no class of cells was asked for."
    none = "" if numbers["immune"]["classes"] else " Immune cells were not asked for."
    return f"{listed(told)}.{none}"


def _where(numbers: Numbers) -> str:
    immune = numbers["immune"]
    if not immune["classes"]:
        return "Not asked: no class of immune cells."
    told, found = [], immune["infiltrate"]
    if found is not None:
        for name, called in (("tumour", found["inside"]), ("stroma", "stroma")):
            if found[f"{name}_per_mm2"] is not None:
                told.append(f"{significant(found[f'{name}_per_mm2'])} per mm² in {called}")
    panel = {row["key"]: row for row in immune["panel"]}
    hot = panel.get("hot_times", {"estimate": None})["estimate"]
    if hot is not None:
        told.append(f"the densest tenth of the tissue is {significant(hot, 2)} times as dense as all of it")
    if not told:
        return f"Not known: {immune['reason'] or 'no tissue was analysed'}."
    text = f"{'; '.join(told)}."
    if found is None and numbers["compartments"]["reason"]:
        text += f" Not given by compartment: {micro(numbers['compartments']['reason'])}."
    return text[:1].upper() + text[1:]


def _how_sure(numbers: Numbers, rows: Sequence[Numbers]) -> str:
    told = []
    for row in rows:
        low, high, value = row["density_low"], row["density_high"], row["density_per_mm2"]
        if low is not None and value:
            told.append(f"the interval reaches from {_off(low / value)} to {_off(high / value)}")
        elif row["density_note"]:
            told.append(f"no interval: {micro(row['density_note'])}")
    told += [
        f"{significant(one['percent'], 2)} % of {one['class']} are a close call of class"
        for one in _close(numbers, rows)
    ]
    if not told:
        return "Not known."
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}. Errors of the engine are in no interval."


def _off(ratio: float) -> str:
    percent = 100 * (ratio - 1)
    return f"{'+' if percent > 0 else ''}{significant(percent, 2)} %"


def _trust(numbers: Numbers, rows: Sequence[Numbers]) -> str:
    warnings, against = numbers["limits"]["warnings"], []
    if warnings:
        against.append(times(len(warnings), "warning stands at the top", "warnings stand at the top"))
    if rows and all(row["density_low"] is None for row in rows):
        against.append("there is no interval")
    against += [f"the class of many {one['class']} cells is doubtful" for one in _close(numbers, rows, _MANY_CLOSE)]
    if against:
        return f"With care: {listed(against)}. What the engine cannot see on any slide stands at the top."
    return (
        "Nothing that the program looks for speaks against it: pixel size, stain, unreadable tiles, tissue without "
        "cells, doubtful classes. What the engine cannot see on any slide stands at the top; look at the pictures all "
        "the same."
    )


def _close(numbers: Numbers, rows: Sequence[Numbers], least_percent: float = 0.0) -> list[Numbers]:
    """Classes of the rows of which at least so many per cent are a close call."""
    names = {row["class"] for row in rows}
    known = [one for one in numbers["uncertainty"]["ambiguous"] if one["percent"] is not None]
    return [one for one in known if one["class"] in names and one["percent"] >= least_percent]
