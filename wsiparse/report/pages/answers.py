"""The four questions that a slide's page answers first: how many, where, how sure, can this slide be trusted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsiparse.report.pages.words import interval, listed, micro, significant, times

__all__ = ["answers"]

Numbers = Mapping[str, Any]


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
        ("Can I trust this slide?", _trust(numbers)),
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
        text += f" Not told by compartment: {micro(numbers['compartments']['reason'])}."
    return text[:1].upper() + text[1:]


def _how_sure(numbers: Numbers, rows: Sequence[Numbers]) -> str:
    told = []
    for row in rows:
        low, high, value = row["density_low"], row["density_high"], row["density_per_mm2"]
        if low is not None and value:
            told.append(f"the interval reaches from {_off(low / value)} to {_off(high / value)}")
        elif row["density_note"]:
            told.append(f"no interval: {micro(row['density_note'])}")
    names = {row["class"] for row in rows}
    close = [one for one in numbers["uncertainty"]["ambiguous"] if one["class"] in names and one["percent"] is not None]
    told += [f"{significant(one['percent'], 2)} % of {one['class']} are a close call of class" for one in close]
    if not told:
        return "Not known."
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}. Errors of the engine are in no interval."


def _off(ratio: float) -> str:
    percent = 100 * (ratio - 1)
    return f"{'+' if percent > 0 else ''}{significant(percent, 2)} %"


def _trust(numbers: Numbers) -> str:
    warnings = numbers["limits"]["warnings"]
    if warnings:
        return f"With care: {times(len(warnings), 'warning stands', 'warnings stand')} at the top of this page."
    return (
        "Nothing that the program looks for speaks against it: pixel size, stain, unreadable tiles, tissue without "
        "cells. Look at the pictures all the same."
    )
