"""summary.xlsx: the tables of the page over all slides as one workbook, a sheet a table, for spreadsheets."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from wsiparse.atomic import publish
from wsiparse.errors import OutputError
from wsiparse.report.pages.table import Table
from wsiparse.report.pages.words import sentence

__all__ = ["XLSX", "check_xlsx", "write_workbook", "xlsx_installed"]

XLSX: Final = "summary.xlsx"

#: What a sheet holds: rows with the header, and letters of a cell (Excel's own limits).
_MOST_ROWS: Final = 1_048_576
_MOST_LETTERS: Final = 32_767
#: Widest column, letters.
_WIDEST: Final = 48
#: The same tables give the same bytes.
_MADE: Final = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)


def xlsx_installed() -> bool:
    """Whether the package that writes workbooks is there."""
    return importlib.util.find_spec("xlsxwriter") is not None


def check_xlsx() -> None:
    """Do nothing where a workbook can be written.

    Raises
    ------
    OutputError
        Where it cannot.
    """
    if not xlsx_installed():
        raise OutputError(
            "--xlsx: summary.xlsx needs the package xlsxwriter, which is not installed: pip install 'wsiparse[xlsx]'."
        )


def write_workbook(path: Path, tables: Mapping[str, Table], notes: Sequence[tuple[str, str]]) -> None:
    """Write tables as sheets behind a first one that says what they are.

    Text stays text: no cell runs as a formula. Numbers are whole, as in the CSV files.

    Parameters
    ----------
    path : of the workbook
    tables : by name of the sheet, at most 31 letters each
    notes : (what, text) lines of the first sheet

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    import xlsxwriter

    made = io.BytesIO()
    book = xlsxwriter.Workbook(made, {"in_memory": True})
    book.set_properties({"title": "wsiparse: tables over all slides", "created": _MADE})
    bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
    wrap = book.add_format({"text_wrap": True, "valign": "top"})
    first = book.add_worksheet("Notes")
    first.set_column(0, 0, 28)
    first.set_column(1, 1, 110)
    lines = [("Research use only.", "Not for diagnosis."), *notes, *_contents(tables)]
    for row, (what, text) in enumerate(lines):
        first.write_string(row, 0, _text(what), bold)
        first.write_string(row, 1, _text(text), wrap)
    for name, table in tables.items():
        _sheet(book.add_worksheet(name), table, bold)
    book.close()
    with publish(path) as temporary:
        temporary.write_bytes(made.getvalue())


def _contents(tables: Mapping[str, Table]) -> list[tuple[str, str]]:
    out = []
    for name, table in tables.items():
        cut = len(table.rows) - (_MOST_ROWS - 1)
        less = f" The last {cut} rows find no room in a sheet; the CSV file has them." if cut > 0 else ""
        missing = "".join(f" {sentence(note)}" for note in table.notes[:5])
        out.append((f"Sheet {name}", f"{sentence(table.caption)}{less}{' Missing values:' * bool(missing)}{missing}"))
    return out


def _heads(table: Table) -> dict[str, str]:
    """Head of each column of the download: its name, and its unit where the page tells one."""
    unit = {key: column.unit for column in table.columns for key in (column.key, column.upper) if key and column.unit}
    return {name: f"{name.replace('_', ' ')}{f' ({unit[name]})' if name in unit else ''}" for name in table.fields}


def _sheet(sheet: Any, table: Table, bold: Any) -> None:
    heads = _heads(table)
    rows = table.rows[: _MOST_ROWS - 1]
    for k, (name, head) in enumerate(heads.items()):
        sheet.write_string(0, k, _text(head), bold)
        widest = max([len(head) // 2, *(len(_shown(row[name])) for row in rows[:200])], default=0)
        sheet.set_column(k, k, min(max(widest + 2, 8), _WIDEST))
    for r, row in enumerate(rows, 1):
        for k, name in enumerate(heads):
            value = row[name]
            if isinstance(value, int | float):
                sheet.write_number(r, k, value)
            elif value is not None and value != "":
                sheet.write_string(r, k, _text(str(value)))
    sheet.freeze_panes(1, 1)
    if rows:
        sheet.autofilter(0, 0, len(rows), len(heads) - 1)


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


def _text(text: str) -> str:
    """Text that a workbook can hold: valid Unicode, not too long."""
    return text.encode("utf-8", "replace").decode("utf-8")[:_MOST_LETTERS]
