"""Tables that sort, filter and download: what the page shows at first, and the rows behind it as data. Pure.

The page holds every row as JSON, so that a table of ten thousand rows opens at once: the script makes the rows it
shows. The first rows are in the document already, for readers without scripts, and for print.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from markupsafe import Markup

from wsiparse.report.pages.words import count, interval, micro, significant

__all__ = ["Cell", "Column", "Table", "as_data"]

Kind = Literal["text", "count", "number", "interval"]

#: What could end a script element or start another thing inside one.
_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def as_data(value: object) -> Markup:
    """JSON for a script element of type application/json, in which no letter means anything to HTML.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for letter, escape in _ESCAPES.items():
        text = text.replace(letter, escape)
    return Markup(text)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the page.

    Parameters
    ----------
    label, unit : those of its head
    key : key of the row's value; of an interval, its lower end
    kind : how values are written
    upper : of an interval, the key of its upper end
    note : the key of the reason why a value is missing, told below the table ("" for none)
    swatch : values have a colour in `Table.colours`
    link : values have an address in `Table.links`
    signs : units in the text are shown with their signs, µm for um; data and download keep the text
    """

    label: str
    key: str
    kind: Kind = "text"
    unit: str = ""
    upper: str = ""
    note: str = ""
    swatch: bool = False
    link: bool = False
    signs: bool = False

    def text(self, row: Mapping[str, Any]) -> str:
        """The value as it is shown."""
        value = row[self.key]
        match self.kind:
            case "count":
                return count(value)
            case "number":
                return significant(value)
            case "interval":
                return interval(value, row[self.upper])
            case "text":
                text = "" if value is None else str(value)
                return micro(text) if self.signs else text


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it is shown: its colour, address and note's number are empty or 0 where it has none."""

    text: str
    numeric: bool
    colour: str = ""
    href: str = ""
    note: int = 0


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Parameters
    ----------
    key : letters that no other table of the page has
    caption : what it shows
    columns : columns of the page
    fields : columns of the download, keys of rows
    rows : str, int, float or None under each key
    filters : (key, label, "choice" | "search") of what rows can be chosen by
    first : rows shown at a time, 0 for all
    file_name : file name of the download
    colours, links : those of values, by their text
    """

    key: str
    caption: str
    columns: Sequence[Column]
    fields: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    filters: Sequence[tuple[str, str, str]] = ()
    first: int = 0
    file_name: str = "table.csv"
    colours: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def notes(self) -> list[str]:
        """Reasons for missing values, each once, in order of appearance."""
        keys = [(c.key, c.note) for c in self.columns if c.note]
        found = (row[note] for row in self.rows for key, note in keys if row[key] is None and row[note])
        return list(dict.fromkeys(found))

    @property
    def notes_shown(self) -> list[str]:
        """The same with the signs of their units."""
        return [micro(note) for note in self.notes]

    @cached_property
    def _note_numbers(self) -> dict[str, int]:
        return {note: k for k, note in enumerate(self.notes, 1)}

    def shown(self) -> Iterable[list[Cell]]:
        """The rows that are in the document from the start."""
        for row in self.rows[: self.first or None]:
            yield [self._cell(column, row) for column in self.columns]

    def _cell(self, column: Column, row: Mapping[str, Any]) -> Cell:
        text = column.text(row)
        return Cell(
            text,
            column.kind != "text",
            self.colours.get(text, "") if column.swatch else "",
            self.links.get(text, "") if column.link else "",
            self._note_numbers.get(row[column.note], 0) if column.note and row[column.key] is None else 0,
        )

    def data(self) -> Markup:
        """All rows and how they are shown, for the script."""
        used = dict.fromkeys([*self.fields, *(k for c in self.columns for k in (c.key, c.upper, c.note) if k)])
        return as_data(
            {
                "file": self.file_name,
                "first": self.first,
                "fields": list(self.fields),
                "n": len(self.rows),
                "values": {name: _packed([row[name] for row in self.rows]) for name in used},
                "columns": [
                    {
                        "label": c.label,
                        "key": c.key,
                        "kind": c.kind,
                        "upper": c.upper,
                        "note": c.note,
                        "signs": c.signs,
                        "colours": self.colours if c.swatch else {},
                        "links": self.links if c.link else {},
                    }
                    for c in self.columns
                ],
                "notes": self.notes,
            }
        )


def _packed(values: Sequence[Any]) -> Any:
    """Numbers as a list; words each once, with the position of each row's."""
    if all(v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values):
        return list(values)
    words = ["" if v is None else str(v) for v in values]
    places = {word: k for k, word in enumerate(dict.fromkeys(words))}
    return {"words": list(places), "at": [places[word] for word in words]}
