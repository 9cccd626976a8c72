"""Tables about slides: read as spreadsheets write them, and kept with results so that a later run joins them again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wsiparse.errors import ConfigError
from wsiparse.names import folded, same_text
from wsiparse.report.stats.joining import Metadata, Row
from wsiparse.report.stats.rows import COLUMNS, OVER_ALL
from wsiparse.results.folder import METADATA, own_hash, write_text
from wsiparse.slides.files import expanded
from wsiparse.slides.sheet import table_lines
from wsiparse.slides.urls import is_url, local_path, shown_url

__all__ = ["keep_metadata", "kept_metadata", "read_metadata"]

FORMAT: Final = 1

#: Columns that a table of slides may call the slide, the patient and the group by, in any case, blanks as "_".
_SLIDE: Final = (
    "slide", "slide_name", "slide_id", "image", "image_name", "image_id", "filename", "file_name", "file", "path",
    "wsi", "slidename", "imagename", "name",
)  # fmt: skip
_PATIENT: Final = ("patient", "patient_id", "case", "case_id", "subject", "subject_id", "patientid")
_GROUP: Final = ("group", "cohort", "arm")
_SCORE: Final = (
    "stil", "stils", "stil_score", "stils_score", "stil_percent", "stils_percent", "til", "tils", "til_score",
    "tils_score", "stromal_til", "stromal_tils",
)  # fmt: skip

#: What a run is told of a slide says nothing about the patient.
_OF_RUNS: Final = ("mpp", "override_mpp", "roi")


def read_metadata(
    path: Path, *, patient: str | None = None, group: str | None = None, score: str | None = None
) -> Metadata:
    """A table about slides, such as the one that `wsiparse run` was given.

    Parameters
    ----------
    path : see `wsiparse.slides.sheet.table_lines`; the first line names the columns, one of them "slide"
    patient, group, score : names of columns; by default those called so (patient, case, subject; group, cohort, arm;
        sTIL, TILs, sTIL score)

    Raises
    ------
    SlideNotFoundError, ConfigError
        If the file cannot be read, has no column for the slide, lacks a column that was named, has two columns of one
        name that differ, or a row with more cells than columns.
    """
    lines = list(table_lines(path))
    _, head = lines[0] if lines else (1, [])
    plain = [_plain(name) for name in head]
    at = next((plain.index(word) for word in _SLIDE if word in plain), None)
    if at is None:
        raise ConfigError(
            f"{path}: no column 'slide' (found {same_text(', '.join(head)) or 'nothing'}). Call the column of slides "
            "'slide'."
        )
    for line, cells in lines[1:]:
        if any(cells[len(head) :]):
            raise ConfigError(
                f"{path}, line {line}: has {len(cells)} cells, the header {len(head)}. Quote a cell that holds the "
                "separator."
            )
    columns = _columns(path, head, plain, at, lines[1:])
    asked = {what: _asked(path, list(columns), name, usual) for what, name, usual in (
        ("patient", patient, _PATIENT), ("group", group, _GROUP), ("score", score, _SCORE)
    )}  # fmt: skip
    ours = {folded(name) for name in (*COLUMNS, *OVER_ALL)}
    called = {name: f"metadata_{name}" if folded(name) in ours else name for name in columns}
    notices = [f"{path.name}: its column {a!r} is called {b!r} in summary.csv" for a, b in called.items() if a != b]
    rows = [
        (line, cells[at], [cells[k] if k < len(cells) else "" for k in columns.values()])
        for line, cells in lines[1:]
        if at < len(cells) and cells[at]
    ]
    without = [line for line, cells in lines[1:] if at >= len(cells) or not cells[at]]
    if without:
        notices.append(f"{path.name}: {len(without)} row(s) name no slide, the first in line {without[0]}")
    return _metadata(
        path.name,
        path.absolute().parent,
        list(called.values()),
        rows,
        {what: called[name] if name is not None else None for what, name in asked.items()},
        notices,
    )


def _metadata(
    file: str,
    folder: Path,
    columns: Sequence[str],
    rows: Sequence[tuple[int, str, Sequence[str]]],
    asked: Mapping[str, str | None],
    notices: Sequence[str],
) -> Metadata:
    made = (
        Row(line, slide, dict(zip(columns, values, strict=True)), _places(folder, slide))
        for line, slide, values in rows
    )
    return Metadata(
        file,
        tuple(columns),
        tuple(made),
        asked["patient"],
        asked["group"],
        tuple(notices),
        str(folder),
        # tables that an older version kept do not know it
        asked.get("score"),
    )


def _plain(name: str) -> str:
    """The name of a column, to compare by."""
    return re.sub(r"[\s_-]+", "_", folded(name))


def _columns(
    path: Path, head: Sequence[str], plain: Sequence[str], at: int, lines: Sequence[tuple[int, Sequence[str]]]
) -> dict[str, int]:
    """Name and place of every column that tells something of a slide; one that is there twice counts once."""
    found: dict[str, int] = {}
    for k, name in enumerate(head):
        if not name or k == at or plain[k] in _OF_RUNS:
            continue
        first = next((j for other, j in found.items() if folded(other) == folded(name)), None)
        if folded(name) == folded(head[at]):
            first = at
        if first is None:
            found[name] = k
            continue
        for line, cells in lines:
            a, b = (cells[j] if j < len(cells) else "" for j in (first, k))
            if a != b:
                a, b, shown = same_text(a), same_text(b), same_text(name)
                raise ConfigError(
                    f"{path}, line {line}: two columns are called {shown!r}, and here they hold {a!r} and {b!r}. "
                    "Give them different names."
                )
    return found


def _asked(path: Path, columns: Sequence[str], asked: str | None, usual: Sequence[str]) -> str | None:
    by_plain = {_plain(name): name for name in reversed(columns)}
    if asked is None:
        bare = {re.sub(r"[%()]", "", plain).strip("_"): name for plain, name in reversed(by_plain.items())} | by_plain
        return next((bare[word] for word in usual if word in bare), None)
    if _plain(asked) not in by_plain:
        raise ConfigError(f"{path}: no column {asked!r}. Its columns are {', '.join(columns) or 'none'}.")
    return by_plain[_plain(asked)]


def _places(folder: Path, slide: str) -> tuple[str, ...]:
    """Full paths or addresses that a cell may mean: as it is written first, then with links followed."""
    if is_url(slide):
        local = local_path(slide)
        return tuple(dict.fromkeys((slide, shown_url(slide), *([str(local)] if local is not None else []))))
    places = []
    for text in dict.fromkeys((slide, slide.replace("\\", "/"))):
        try:
            whole = os.path.abspath(folder / expanded(text))  # noqa: PTH100  (no link is followed yet)
            places += [whole, os.path.realpath(whole)]
        except (OSError, ValueError):  # too long, a NUL byte
            continue
    return tuple(dict.fromkeys(places))


def keep_metadata(results: Path, metadata: Metadata) -> None:
    """Remember a table in the results folder, replacing the one before.

    Parameters
    ----------
    results : results folder
    metadata : as `read_metadata` gives it

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    record: dict[str, Any] = {
        "format": FORMAT,
        "file": metadata.file,
        "folder": metadata.folder,
        "columns": list(metadata.columns),
        "patient": metadata.patient,
        "group": metadata.group,
        "score": metadata.score,
        "rows": [[row.line, row.slide, [row.values[name] for name in metadata.columns]] for row in metadata.rows],
    }
    record["sha256"] = own_hash(record)
    write_text(results / METADATA, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def kept_metadata(results: Path) -> Metadata | None:
    """The table that was joined last, or None without one.

    Raises
    ------
    ConfigError
        If it is damaged.
    """
    path = results / METADATA
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    try:
        record = json.loads(text)
        if record["format"] != FORMAT or record["sha256"] != own_hash(record):
            raise _damaged(path)
        rows = [(int(line), str(slide), list(values)) for line, slide, values in record["rows"]]
        return _metadata(record["file"], Path(record["folder"]), record["columns"], rows, record, ())
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        f"{path}: damaged, so patients and groups are not known. Give the table again: `wsiparse report --metadata`."
    )
