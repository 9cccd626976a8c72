"""A slides.csv: what it tells is taken, and what is wrong with it is told with its line."""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import ConfigError, MissingMppError, SlideNotFoundError, WsiparseError
from wsiparse.slides.sheet import SheetSlide, find_listed, read_sheet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.svs", "b.svs", "deep/c, d.svs", "roi.geojson"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def sheet(folder: Path, content: str | bytes, name: str = "slides.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(folder: Path, content: str | bytes, name: str = "slides.csv") -> list[SheetSlide]:
    return [row for _, row in read_sheet(sheet(folder, content, name))]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_three_columns_are_taken_whatever_separates_them(
    folder: Path, delimiter: str, mark: str, newline: str
) -> None:
    table = [
        ["patient", " Slide ", "MPP", "roi", "stain; batch, day"],
        ["7", "a.svs", "0.25", "roi.geojson", 'H&E "new"'],
        ["8", "deep/c, d.svs", "", "", ""],
        [],
        ["9", "s3://bucket/e.svs?key=1", " 0.5 "],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=newline).writerows(table)
    assert rows(folder, mark + text.getvalue()) == [
        SheetSlide(folder / "a.svs", 0.25, folder / "roi.geojson"),
        SheetSlide(folder / "deep" / "c, d.svs"),
        SheetSlide("s3://bucket/e.svs?key=1", 0.5),
    ]


def test_rows_tell_their_lines_whatever_cells_hold(folder: Path) -> None:
    path = sheet(folder, 'slide,note\n\na.svs,"two\nlines"\n\nb.svs,\n')
    assert [line for line, _ in read_sheet(path)] == [3, 6]


def test_paths_as_other_systems_write_them_are_found(folder: Path) -> None:
    for form in ("NFC", "NFD"):
        (folder / unicodedata.normalize(form, f"{form}ü.svs")).write_bytes(b"x")
    found = rows(folder, "slide\tx\ndeep\\c, d.svs\nNFDü.svs\n" + unicodedata.normalize("NFD", "NFCü.svs"), "m.tsv")
    assert [row.slide for row in found] == [
        folder / "deep" / "c, d.svs",
        folder / unicodedata.normalize("NFD", "NFDü.svs"),
        folder / "NFCü.svs",
    ]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_sheet_as_excel_saves_it_is_read(folder: Path, encoding: str) -> None:
    found = rows(folder, "sep=;\r\nslide;mpp\r\na.svs ;0.25\r\n".encode(encoding))
    assert found == [SheetSlide(folder / "a.svs", 0.25)]


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("", "empty (0 bytes)", ""),
        ("path,mpp\na.svs,1\n", "line 1: no column 'slide' in the header (found path, mpp)", "slide,mpp,roi"),
        ("slide,mpp,slide\na.svs,1,b.svs\n", "line 1: has 2 columns 'slide'", ""),
        ("slide,mpp\n", "has no rows", ""),
        ("slide\n\n\n", "has no rows", ""),
        ("slide,mpp\na.svs,0.25\nabsent.svs,0.25\n", "line 3: no such slide", "absent.svs"),
        ("slide,roi\na.svs,absent.json\n", "line 2: no such region file", "absent.json"),
        ("slide\ndeep\n", "line 2: ", "is a folder"),
        ("slide,mpp\na.svs,352.8\n", "line 2: mpp '352.8'", "between 0.05 and 20"),
        ("slide,mpp\na.svs,fine\n", "line 2: mpp 'fine'", ""),
        ("slide,mpp\na.svs,nan\n", "line 2: mpp 'nan'", ""),
        ("slide;mpp\na.svs;0,25\n", "line 2: mpp '0,25'", "decimal point"),
        ("slide,mpp\n,0.25\n", "line 2: names no slide", ""),
        ("slide,mpp\na.svs,0.25,9\n", "line 2: has 3 cells, the header 2", ""),
        ("slide\na.svs\nb.svs\na.svs\n", "line 4: ", "a second time, first in line 2"),
        ("slide\na.svs\ndeep/../a.svs\n", "line 3: ", "a second time"),
        ("slide,image\na.svs,1\na.svs,2\n", "line 3: ", "two images of one file want two runs, each with an -o"),
        ("slide\ns3://b/a.svs\ns3://b/a.svs\n", "line 3: s3://b/a.svs is listed a second time", ""),
        ('slide\n"a.svs\nb.svs\n', "line 2: not a table", "quotes"),
        (b"slide\na.svs\ncaf\xe9.svs\n", "line 3: is not UTF-8", "CSV UTF-8"),
        ('slide,mpp\na.svs,"0.2\n5"\n', "line 2: mpp '0.2 5'", ""),
        ('slide\n"a\nb.svs"\n', "line 2: no such slide", "a b.svs"),
        ("slide\nnul\0.svs\n", "line 2: no such slide", ""),
        ("slide\n" + "x" * 5000 + ".svs\n", "line 2: no such slide", ""),
        ("slide\n~nobody-of-that-name/a.svs\n", "line 2: no such slide", ""),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(folder: Path, content: str | bytes, error: str, words: str) -> None:
    path = sheet(folder, content)
    with pytest.raises(WsiparseError) as caught:
        read_sheet(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert error in text
    assert words in text
    assert "\n" not in text


def test_errors_have_their_kinds(folder: Path) -> None:
    for content, kind in (
        ("path\na.svs\n", ConfigError),
        ("slide\nz.svs\n", SlideNotFoundError),
        ("slide,mpp\na.svs,0\n", MissingMppError),
    ):
        with pytest.raises(kind):
            read_sheet(sheet(folder, content))


def test_a_pipe_that_is_called_a_sheet_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "slides.csv")
    with pytest.raises(WsiparseError, match="not a regular file"):
        find_listed([folder / "slides.csv"])


def test_sheets_mix_with_folders_and_addresses_and_tell_more(folder: Path) -> None:
    first = sheet(folder, "slide,mpp\nb.svs,0.25\ns3://bucket/e.svs,0.5\n")
    second = sheet(folder, "slide\tmpp\ndeep/c, d.svs\t0.5\n", "more.TSV")
    given_ = [str(folder), str(first), "http://host/f.svs", str(second), str(first), "s3://bucket/e.svs"]
    assert find_listed(given_, recursive=True) == [
        SheetSlide(folder / "a.svs"),
        SheetSlide(folder / "b.svs", 0.25),
        SheetSlide("s3://bucket/e.svs", 0.5),
        SheetSlide(folder / "deep" / "c, d.svs", 0.5),
        SheetSlide("http://host/f.svs"),
    ]


def test_two_sheets_that_list_a_slide_are_told_apart(folder: Path) -> None:
    first, second = sheet(folder, "slide\na.svs\n"), sheet(folder, "slide\n\nb.svs\na.svs\n", "b.csv")
    with pytest.raises(ConfigError, match=r"b\.csv, line 4: .*a\.svs is listed a second time, first in .*slides\.csv"):
        find_listed([first, second])


def test_a_sheet_that_is_not_there_is_told_like_any_file(folder: Path) -> None:
    with pytest.raises(SlideNotFoundError, match=r"absent\.csv: no such file"):
        find_listed([folder / "absent.csv"])


CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    table=st.lists(st.lists(CELL, max_size=4), max_size=6),
    raw=st.binary(max_size=60),
    delimiter=st.sampled_from(",;\t"),
)
def test_no_table_is_more_than_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], raw: bytes, delimiter: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([["slide", "mpp"], *table])
    for content in (text.getvalue().encode(), b"slide\n" + raw, raw):
        path.write_bytes(content)
        said = outcome(path)
        assert said
        assert not {"\n", "\r"} & set(said)


def outcome(path: Path) -> str:
    try:
        return f"{len(read_sheet(path))} rows"
    except WsiparseError as error:
        return str(error)
