"""What `evaluate` and `compare` print: a line a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from wsiparse.cli.options import say_notice

__all__ = ["say_measured"]

_SHOWN: Final = (("F1", "f1"), ("precision", "precision"), ("recall", "recall"), ("PQ", "pq"), ("AJI", "aji"))


def say_measured(numbers: Mapping[str, Any], folder: Path) -> None:
    """Notices, a line a class, and where the page is.

    Parameters
    ----------
    numbers : of the JSON file
    folder : with the files
    """
    for note in numbers["notes"]:
        say_notice(note)
    one, other = numbers["sides"]
    width = max(len(row["class"]) for row in numbers["rows"])
    for row in numbers["rows"]:
        figures = "  ".join(f"{word} {_text(row[key])}" for word, key in _SHOWN)
        ratio = row["count_ratio"]["value"]
        count = "-" if ratio is None else f"{100 * (ratio - 1):+.1f} %"
        click.echo(
            f"{row['class']:<{width}}  {figures}  count {count}  [{row['annotated']} {one}, {row['found']} {other}]"
        )
    fields = len({(row["slide"], row["field"]) for row in numbers["fields"]})
    click.echo(f"{len(numbers['slides'])} slide(s), {fields} field(s), {numbers['mm2']:.3g} mm2 -> "
               f"{folder / (numbers['what'] + '.html')}")  # fmt: skip


def _text(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}-{estimate['high']:.3f})"
