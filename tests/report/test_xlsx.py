"""summary.xlsx, read back as the XML that it is (ECMA-376), not by a package that writes such files."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.report import made
from wsiparse.errors import OutputError
from wsiparse.report import xlsx
from wsiparse.report.pages.book import book_notes, book_tables
from wsiparse.report.pages.table import Column, Table

pytest.importorskip("xlsxwriter", reason="needs the extra xlsx")

M = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
R = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def place(ref: str) -> tuple[int, int]:
    letters, digits = re.fullmatch(r"([A-Z]+)(\d+)", ref).groups()
    column = 0
    for letter in letters:
        column = 26 * column + ord(letter) - 64
    return int(digits) - 1, column - 1


def sheets(path: Path) -> dict[str, dict[tuple[int, int], Any]]:
    """Cells of every sheet by (row, column), from 0."""
    with zipfile.ZipFile(path) as file:
        shared = [
            "".join(t.text or "" for t in one.iter(f"{M}t"))
            for one in ET.fromstring(file.read("xl/sharedStrings.xml")).iter(f"{M}si")
        ]
        names = ET.fromstring(file.read("xl/workbook.xml")).iter(f"{M}sheet")
        links = {r.get("Id"): r.get("Target") for r in ET.fromstring(file.read("xl/_rels/workbook.xml.rels"))}
        out = {}
        for sheet in names:
            cells = {}
            for cell in ET.fromstring(file.read(f"xl/{links[sheet.get(R)]}")).iter(f"{M}c"):
                assert cell.find(f"{M}f") is None, "no formula"
                value = cell.find(f"{M}v")
                if value is not None:
                    text = value.text or ""
                    cells[place(cell.get("r"))] = shared[int(text)] if cell.get("t") == "s" else float(text)
            out[sheet.get("name")] = cells
    return out


def test_every_table_of_the_page_is_a_sheet_with_all_its_numbers(tmp_path: Path) -> None:
    cohort = made.cohort(14)
    tables = book_tables(cohort)
    xlsx.write_workbook(tmp_path / "a.xlsx", tables, book_notes(cohort))
    found = sheets(tmp_path / "a.xlsx")
    assert list(found) == ["Notes", *tables]
    assert {"Counts", "Panel", "Slides", "Groups", "Patients", "Variation", "Patients needed"} <= set(tables)
    for name, table in tables.items():
        for r, row in enumerate(table.rows, 1):
            for c, key in enumerate(table.fields):
                value = row[key]
                got = found[name].get((r, c))
                if isinstance(value, int | float):
                    assert got == pytest.approx(value, rel=1e-15), (name, key)
                else:
                    assert (got or "") == (value or ""), (name, key)
        assert (len(table.rows) + 1, 0) not in found[name]
    heads = [found["Counts"][0, c] for c in range(len(tables["Counts"].fields))]
    assert "density per mm2 (per mm²)" in heads
    assert "compartment mm2 (mm²)" in heads
    notes = {text for (_, c), text in found["Notes"].items() if c == 1}
    assert "Not for diagnosis." in notes
    assert any("pixel size doubtful" in text for text in notes)
    assert any("not a pathologist's score" in text for text in notes)


def test_text_stays_text_and_bytes_stay_the_same(tmp_path: Path) -> None:
    nasty = ["=1+1", "+cmd", "http://a.b", "12", "<b>&\"'", "\x01\x0b", "a\ud800b", "x" * 40000, "{=SUM(A1)}"]
    table = Table("t", "nasty", [Column("A", "a")], ("a",), [{"a": text} for text in nasty])
    for name in ("a.xlsx", "b.xlsx"):
        xlsx.write_workbook(tmp_path / name, {"T": table}, [])
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    found = [sheets(tmp_path / "a.xlsx")["T"][r, 0] for r in range(1, len(nasty) + 1)]
    assert found[:5] == nasty[:5]
    assert found[6:] == ["a?b", "x" * 32767, "{=SUM(A1)}"]


def test_without_the_package_the_option_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OutputError, match=r"pip install 'wsiparse\[xlsx\]'"):
        xlsx.check_xlsx()
