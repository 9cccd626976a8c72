"""What a command line means by SLIDES: files, folders, patterns, addresses, and sheets that list slides.

A sheet is a text file ``*.csv`` or ``*.tsv`` with a header. Columns: ``slide`` (path relative to the sheet, or an
address), ``mpp`` (um per level-0 px, where the metadata have none), ``override_mpp`` (instead of what the metadata
say), ``roi`` (GeoJSON file, relative to the sheet) and ``image`` (name or number of an image in a file of several); the
others describe the slide for whoever reads the sheet later and mean nothing here. A cell without text is a value that
is not told.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsiparse.errors import ConfigError, MissingMppError, SlideNotFoundError
from wsiparse.slides.discover import find_slides, identity, slide_of_folder
from wsiparse.slides.files import check_file, expanded
from wsiparse.slides.metadata import MAX_MPP, MIN_MPP, checked_mpp
from wsiparse.slides.multiscales import is_zarr_folder
from wsiparse.slides.scale import told_mpp
from wsiparse.slides.urls import is_url, shown_url

__all__ = ["SHEET_EXTENSIONS", "SheetSlide", "find_listed", "read_sheet", "table_lines"]

#: File name endings of sheets, lower case.
SHEET_EXTENSIONS: Final = (".csv", ".tsv")

_DELIMITERS: Final = (",", ";", "\t")
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Marks without width that copied text carries along.
_MARKS: Final = "\ufeff\u200b\u200e\u200f"
#: First bytes of .xlsx and .xls files.
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")

#: Columns that mean something here.
_COLUMNS: Final = ("slide", "mpp", "override_mpp", "roi", "image")


@dataclass(frozen=True, slots=True)
class SheetSlide:
    """A slide to work on, and what a sheet tells about it.

    Parameters
    ----------
    slide : file or OME-Zarr folder, or its address as text
    mpp : um per level-0 px where the metadata have none, or None
    override_mpp : um per level-0 px instead of what the metadata say, or None
    image : name or number of the image in a file of several, or None
    roi : GeoJSON file of the regions to analyse, or None
    fault : why it cannot be used: it, or its region file, is not there; "" for all that are
    """

    slide: Path | str
    mpp: float | None = None
    roi: Path | None = None
    override_mpp: float | None = None
    image: str | None = None
    fault: str = ""

    @property
    def shown(self) -> str:
        """The slide as people may see it: a path, or an address without its secrets."""
        return shown_url(self.slide) if isinstance(self.slide, str) else str(self.slide)


def find_listed(
    given: Iterable[str | Path],
    *,
    recursive: bool = False,
    extensions: Sequence[str] | None = None,
    say: Callable[[str], object] | None = None,
    keep_absent: bool = False,
) -> list[SheetSlide]:
    """All slides that the arguments of a command name, each once.

    First slides on disk in natural order, then those of sheets in the order of their rows, then addresses as given. A
    slide that a sheet lists too is the sheet's, which tells more.

    Parameters
    ----------
    given : files, folders, patterns, addresses, sheets
    recursive, extensions, say : see `find_slides`
    keep_absent : what does not exist or holds no slide is listed too, with its `fault`, and does not stop the others

    Raises
    ------
    SlideNotFoundError
        If something does not exist or holds no slide, unless `keep_absent`; if a sheet cannot be read.
    ConfigError, MissingMppError
        If a sheet is wrong, or two sheets list the same slide.
    """
    given = list(given)
    sheets = {os.path.realpath(text): expanded(text) for text in given if _is_sheet(text)}
    addresses = [text for text in given if isinstance(text, str) and is_url(text)]
    local = [text for text in given if not is_url(text) and not _is_sheet(text)]
    rows: dict[str, tuple[SheetSlide, str]] = {}
    seen: dict[str, str] = {}
    for sheet in sheets.values():
        for line, row in read_sheet(sheet, keep_absent=keep_absent):
            place = f"{sheet}, line {line}"
            earlier = rows.setdefault(_identity(row.slide, seen), (row, place))
            if earlier[1] != place:
                raise ConfigError(
                    f"{place}: {_flat(row.shown)} is listed a second time, first in {earlier[1]}. Keep one of the "
                    "two rows."
                )
    absent: list[SheetSlide] = []

    def keep(path: Path, error: SlideNotFoundError) -> None:
        absent.append(SheetSlide(path, fault=str(error)))

    kept = keep if keep_absent else None
    found = find_slides(local, recursive=recursive, extensions=extensions, say=say, absent=kept) if local else []
    return [
        *(SheetSlide(path) for path in found if _identity(path, seen) not in rows),
        *absent,
        *(row for row, _ in rows.values()),
        *(SheetSlide(url) for url in dict.fromkeys(addresses) if url not in rows),
    ]


def _is_sheet(given: str | Path) -> bool:
    if is_url(given) or not str(given).lower().endswith(SHEET_EXTENSIONS):
        return False
    path = expanded(given)
    return os.path.exists(path) and not os.path.isdir(path)  # noqa: PTH110, PTH112  (False where pathlib raises)


def _identity(slide: Path | str, seen: dict[str, str]) -> str:
    return slide if isinstance(slide, str) else identity(slide, seen)


def read_sheet(path: Path, *, keep_absent: bool = False) -> list[tuple[int, SheetSlide]]:
    """The rows of a sheet with the lines they begin in, counted from 1.

    Comma, semicolon and tab are told apart by the header; cells may be quoted; empty lines count for nothing. UTF-8,
    with or without a byte order mark.

    Parameters
    ----------
    path : sheet
    keep_absent : a row whose slide or region file is not there is listed with its `fault`

    Raises
    ------
    SlideNotFoundError
        If the sheet is not there, or a slide or a region file and not `keep_absent`.
    ConfigError
        If it is no such table: not UTF-8, without a column "slide" or without rows, a row with more cells than the
        header or without a slide, the same slide twice.
    MissingMppError
        If an mpp is not a number between 0.05 and 20.
    """
    lines = table_lines(path)
    head_line, head = next(lines, (1, []))
    columns = _columns(path, head_line, head)
    rows: list[tuple[int, SheetSlide]] = []
    first_in: dict[str, tuple[int, str | None]] = {}
    seen: dict[str, str] = {}
    for line, cells in lines:
        row = _row(path, line, cells, columns, len(head), keep_absent=keep_absent)
        first, image = first_in.setdefault(_identity(row.slide, seen), (line, row.image))
        if first != line:
            remedy = (
                "Keep one of the two rows."
                if image == row.image
                else "Results of two images of one file want two runs, each with an -o of its own."
            )
            raise ConfigError(
                f"{path}, line {line}: {_flat(row.shown)} is listed a second time, first in line {first}. {remedy}"
            )
        rows.append((line, row))
    if not rows:
        raise ConfigError(f"{path}: has no rows below its header. List one slide a line.")
    return rows


def table_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers, counted from 1, and stripped cells of a text table's rows that are not empty, header included.

    Comma, semicolon and tab are told apart by the header, or by a line ``sep=;`` before it, as Excel writes it; cells
    may be quoted. UTF-8, or UTF-16 with a byte order mark.

    Raises
    ------
    SlideNotFoundError
        If there is no such file or it cannot be read.
    ConfigError
        If it is a workbook, in another encoding, or quotes do not match.
    """
    text = _text(path)
    told = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)
    delimiter = told[1] if told else _delimiter(text.lstrip("\r\n").partition("\n")[0])
    return _lines(path, text, delimiter, begin=1 if told else 0)


def _text(path: Path) -> str:
    check_file(path)
    try:
        raw = path.read_bytes()
        if raw.startswith(_WORKBOOKS):
            raise ConfigError(f"{path}: is an Excel workbook. Save the table as 'CSV UTF-8' and give that.")
        return raw.decode("utf-16" if raw.startswith(_UTF16) else "utf-8-sig")
    except OSError as error:
        raise SlideNotFoundError(f"{path}: cannot be read ({error}). Check the drive.") from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: is not UTF-8. Save the table as 'CSV UTF-8'.") from error


def _delimiter(header: str) -> str:
    """The one that cuts the header into most cells; a quoted one does not count."""
    plain = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=plain.count)


def _lines(path: Path, text: str, delimiter: str, begin: int) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells of the rows that are not empty, from line `begin` on, counted from 0."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip().strip(_MARKS).strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise ConfigError(f"{path}, line {line}: not a table ({error}). Check the quotes.") from error
        if any(cells) and line > begin:
            yield line, cells


def _columns(path: Path, line: int, head: list[str]) -> dict[str, int]:
    """Where the columns are that mean something here."""
    names = [name.lower() for name in head]
    for name in _COLUMNS:
        if names.count(name) > 1:
            raise ConfigError(f"{path}, line {line}: has {names.count(name)} columns '{name}'. Keep one of them.")
    if "slide" not in names:
        found = _flat(", ".join(head)) if head else "nothing"
        raise ConfigError(
            f"{path}, line {line}: no column 'slide' in the header (found {found}). Begin the file with a line "
            "such as slide,mpp,roi."
        )
    return {name: names.index(name) for name in _COLUMNS if name in names}


def _row(
    path: Path, line: int, cells: list[str], columns: dict[str, int], width: int, *, keep_absent: bool
) -> SheetSlide:
    place = f"{path}, line {line}"
    if len(cells) > width and any(cells[width:]):
        raise ConfigError(
            f"{place}: has {len(cells)} cells, the header {width}. Quote a cell that holds the separator."
        )
    told = {name: cells[at] if at < len(cells) else "" for name, at in columns.items()}
    if not told["slide"]:
        raise ConfigError(f"{place}: names no slide. Fill in the column 'slide', or remove the line.")
    slide: Path | str = told["slide"]
    roi = None
    try:
        if not is_url(slide):
            slide = _beside(path, place, told["slide"], "slide")
            if slide.is_dir() and not is_zarr_folder(slide):
                own = slide_of_folder(slide)
                if own is None:
                    raise ConfigError(
                        f"{place}: {_flat(str(slide))} is a folder, not a slide. List the slides in it one by one."
                    )
                slide = own
        roi = _beside(path, place, told["roi"], "region file") if told.get("roi") else None
    except SlideNotFoundError as error:
        if not keep_absent:
            raise
        named = slide if is_url(slide) else path.parent / expanded(told["slide"])
        return SheetSlide(named, fault=str(error))
    fill, override = (_mpp(place, name, told.get(name, "")) for name in ("mpp", "override_mpp"))
    return SheetSlide(slide, fill, roi, override, told.get("image") or None)


def _beside(sheet: Path, place: str, text: str, what: str) -> Path:
    """A path relative to the sheet, which must be there, as it is written or as another system writes it."""
    path = Path(text)
    turned = text.replace("\\", "/")
    others = (unicodedata.normalize(form, turned) for form in ("NFC", "NFD"))
    for spelt in dict.fromkeys((text, turned, *others)):
        try:
            found = sheet.parent / expanded(spelt)
            path = found if spelt == text else path
            if found.exists():
                return found
        except (OSError, ValueError):  # too long, a NUL byte
            continue
    raise SlideNotFoundError(
        f"{place}: no such {what} {_flat(str(path))}. Paths are relative to the sheet; check that the drive is mounted."
    )


def _flat(text: str) -> str:
    """A cell as part of a one-line message."""
    return " ".join(text.split())[:200]


def _mpp(place: str, name: str, text: str) -> float | None:
    if not text:
        return None
    value = checked_mpp(text)
    if value is None:
        comma = " with a decimal point" if "," in text else ""
        raise MissingMppError(
            f"{place}: {name} '{_flat(text)}' is not a number between {MIN_MPP:g} and {MAX_MPP:g} um per pixel. Write "
            f"the size of a full-resolution pixel{comma}, such as 0.25, or leave the cell empty."
        )
    return told_mpp(value, f"{place}: {name}")
