from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.report.pages.table import Column, Table, as_data

words = st.none() | st.text(max_size=12)
figures = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 10**9)


@st.composite
def tables(draw: Any) -> Table:
    rows = draw(st.lists(st.fixed_dictionaries({"name": words, "x": figures, "note": st.text(max_size=3)}), max_size=9))
    columns = [Column("Name", "name", swatch=True), Column("X", "x", "number", note="note")]
    return Table("t", "caption", columns, ("name", "x"), rows, first=draw(st.integers(0, 4)), colours={"a": "#123456"})


@given(
    st.recursive(
        st.none() | st.text() | st.integers() | st.booleans(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_data_reads_back_and_holds_nothing_that_html_knows(value: Any) -> None:
    text = as_data(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_data_has_no_numbers_that_json_lacks(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        as_data([value])


@given(tables())
def test_every_row_is_in_the_data(table: Table) -> None:
    data = json.loads(table.data())
    assert data["n"] == len(table.rows)
    for name in table.fields:
        packed = data["values"][name]
        got = [packed["words"][k] for k in packed["at"]] if isinstance(packed, dict) else packed
        assert [v or None if isinstance(v, str) else v for v in got] == [
            v or None if isinstance(v, str) else v for v in (row[name] for row in table.rows)
        ]


@given(tables())
def test_the_first_rows_are_in_the_document(table: Table) -> None:
    shown = list(table.shown())
    assert len(shown) == (min(table.first, len(table.rows)) if table.first else len(table.rows))
    for cells, row in zip(shown, table.rows, strict=False):
        assert cells[0].text == (row["name"] or "")
        assert cells[0].colour == ("#123456" if row["name"] == "a" else "")
        note = table.notes[cells[1].note - 1] if cells[1].note else ""
        assert note == (row["note"] if row["x"] is None else "")
