"""Where results lie and when they count as done.

``results/slides/<stem>__<hash8 of path>/DONE.json`` is written last and names every other file with size and sha256;
a folder without it, or whose digest differs from the plan, is not done. Nothing in it depends on the time, the
machine or the number of workers.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from wsiparse.atomic import output_error, publish, sha256_file, sha256_tree
from wsiparse.errors import OutputError
from wsiparse.types import ClassCount, SlideSummary

__all__ = [
    "CHUNK_TILES",
    "COHORT",
    "DONE",
    "JOB_FILE",
    "METADATA",
    "REPORT",
    "REPORT_FILES",
    "REPORT_INPUTS",
    "TABLES",
    "done_record",
    "drop_done",
    "file_facts",
    "file_name",
    "full_name",
    "hashed_record",
    "is_made_of",
    "made_of",
    "own_hash",
    "own_record",
    "report_inputs_in",
    "report_record",
    "slide_folder",
    "summary_of",
    "write_cohort_record",
    "write_done",
    "write_report_record",
    "write_tables_record",
    "write_text",
]

#: Raised when the layout of the results changes so that older folders are not taken for finished ones.
FORMAT = 3

#: Of the name of a slide's folder: as long as 80 letters of most scripts, and short enough for any file system.
_STEM_BYTES: Final = 240

#: Tiles published together in one part of the field: what workers are given, and what is awaited.
CHUNK_TILES: Final = 64

#: In the work folder: what another process needs to finish the slide, and what is told about its progress.
JOB_FILE = "job.json"

#: Written last; a results folder counts as finished when it is there and fits.
DONE: Final = "DONE.json"

#: The numbers of a slide's report, written after its other files, which it names with size and sha256. A report can be
#: redone at any time, so DONE.json does not name its files.
REPORT: Final = "report.json"
REPORT_FILES: Final = ("counts.csv", "density.png", "report.html")

#: In a results folder: what the files over all slides must be.
TABLES: Final = "tables.json"

#: In a results folder: the numbers over all slides (groups compared, slides that stand out), named by tables.json.
COHORT: Final = "cohort.json"

#: In a results folder: the table that `wsiparse report --metadata` joined last.
METADATA: Final = "metadata.json"

#: In a slide's folder: what its report is made of beside the objects. Older versions wrote the same under another name.
REPORT_INPUTS: Final = "report_inputs"
_REPORT_INPUTS_BEFORE: Final = "basis"


def full_name(slide: Path | str) -> str:
    """What identifies a slide: its full path, or its address."""
    if isinstance(slide, str):
        return slide
    return os.path.abspath(slide)  # noqa: PTH100  (no symlink is followed: two names are two slides)


def file_name(slide: PurePath | str) -> str:
    """The last part of a slide's path or address."""
    return slide.name if isinstance(slide, PurePath) else PurePosixPath(unquote(urlsplit(slide).path)).name


def slide_folder(results: Path, slide: Path | str) -> Path:
    """The folder of one slide's results: its stem, made safe for every file system, and a hash of its full name."""
    stem = re.sub(r"[^\w.-]+", "_", PurePath(file_name(slide)).stem, flags=re.UNICODE).strip("._") or "slide"
    digest = hashlib.sha256(full_name(slide).encode("utf-8", "surrogateescape")).hexdigest()
    # a file name has at most 255 bytes, and files are made beside this one under longer names
    short = stem[:80].encode("utf-8", "surrogateescape")[:_STEM_BYTES].decode("utf-8", "ignore")
    return results / "slides" / f"{short}__{digest[:8]}"


def report_inputs_in(folder: Path) -> Path:
    """The folder of a report's inputs in a slide's results, of this version or of one that called it "basis"."""
    older = folder / _REPORT_INPUTS_BEFORE
    return older if older.is_dir() and not (folder / REPORT_INPUTS).exists() else folder / REPORT_INPUTS


def write_text(path: Path, text: str) -> None:
    """Publish a small UTF-8 text file atomically.

    What is not text in a file name (a lone surrogate in Python) becomes an escape, which JSON turns back.
    """
    with publish(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def file_facts(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, or of a folder with all that is in it."""
    if path.is_dir():
        size = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        return {"bytes": size, "sha256": sha256_tree(path)}
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


def write_done(folder: Path, files: list[str], digest: str, summary: SlideSummary, facts: dict[str, Any]) -> None:
    """Write DONE.json, the last file of a slide.

    Parameters
    ----------
    folder : the slide's results folder
    files : names below it that belong to the result
    digest : digest of the plan and every setting that shapes the result
    summary : the slide's numbers
    facts : anything else worth keeping (slide, engine, weights sha256, unreadable tiles)
    """
    record = {
        "format": FORMAT,
        "digest": digest,
        "summary": asdict(summary),
        **facts,
        "files": {name: file_facts(folder / name) for name in sorted(files)},
    }
    record["sha256"] = own_hash(record)
    write_text(folder / DONE, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def done_record(folder: Path, digest: str | None = None) -> dict[str, Any] | None:
    """DONE.json of a finished slide, or None when it is absent, damaged, of another digest, or a file is missing."""
    record = own_record(folder)
    if record is None or record.get("format") != FORMAT or record.get("sha256") != own_hash(record):
        return None
    if digest is not None and record.get("digest") != digest:
        return None
    if not isinstance(record.get("files"), dict) or not isinstance(record.get("unreadable"), list):
        return None
    try:
        summary_of(record)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    for name, facts in record["files"].items():
        path = folder / name
        if not isinstance(facts, dict) or not path.exists():
            return None
        if path.is_file() and path.stat().st_size != facts.get("bytes"):
            return None
    return record


def own_record(folder: Path) -> dict[str, Any] | None:
    """DONE.json as it stands, whatever became of the files that it names; None when it is absent or not JSON."""
    try:
        record = json.loads((folder / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def write_report_record(folder: Path, numbers: dict[str, Any]) -> None:
    """Write report.json, the last file of a report: its numbers, its files with size and hash, and a hash of itself."""
    record = numbers | {"files": {name: file_facts(folder / name) for name in REPORT_FILES}}
    record["sha256"] = own_hash(record)
    write_text(folder / REPORT, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_cohort_record(results: Path, numbers: dict[str, Any]) -> None:
    """Write cohort.json: the numbers over all slides and a hash of itself."""
    record = numbers | {"sha256": own_hash(numbers)}
    write_text(results / COHORT, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def hashed_record(path: Path) -> tuple[dict[str, Any], str] | None:
    """A record that holds a hash of itself, and the SHA-256 of its file; None when it is absent or damaged."""
    try:
        raw = path.read_bytes()
        record = json.loads(raw)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("sha256") != own_hash(record):
        return None
    return record, hashlib.sha256(raw).hexdigest()


def write_tables_record(results: Path, names: Sequence[str]) -> None:
    """Write tables.json: the files over all slides with size and hash, and a hash of itself."""
    record: dict[str, Any] = {"files": {name: file_facts(results / name) for name in names}}
    record["sha256"] = own_hash(record)
    write_text(results / TABLES, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def report_record(folder: Path) -> dict[str, Any] | None:
    """report.json of a whole report, or None when it is absent or damaged, or one of its files is missing or cut."""
    try:
        record = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("sha256") != own_hash(record):
        return None
    for name, facts in record["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != facts["bytes"]:
            return None
    return record if is_made_of(folder, record) else None


def made_of(folder: Path) -> dict[str, str]:
    """SHA-256 of the two files that say which objects and which report inputs lie in a folder.

    They hold digests, or the facts themselves, of all that a report is made of.
    """
    inputs = report_inputs_in(folder).name
    return {name: sha256_file(folder / name) for name in ("objects.zarr/zarr.json", f"{inputs}/{inputs}.json")}


def is_made_of(folder: Path, record: dict[str, Any]) -> bool:
    """Whether the report of a report.json is of the objects and the inputs in its folder."""
    told = record.get("made_of")
    if told is None:
        return True
    try:
        return bool(told == made_of(folder))
    except OutputError:
        return False


def own_hash(record: dict[str, Any]) -> str:
    """SHA-256 of a record without its own hash, whatever its layout."""
    rest = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def drop_done(folder: Path) -> None:
    """Take back a slide's DONE.json before its files change.

    Raises
    ------
    OutputError
        If it cannot be removed.
    """
    try:
        (folder / DONE).unlink(missing_ok=True)
    except OSError as err:
        raise output_error(folder, err, "replace earlier results of") from err


def summary_of(record: dict[str, Any]) -> SlideSummary:
    """The numbers kept in a DONE.json.

    Raises
    ------
    KeyError, TypeError
        If one is missing or is none.
    """
    kept = dict(record["summary"])
    counts = tuple(ClassCount(**c) for c in kept.pop("counts"))
    summary = SlideSummary(**kept, counts=counts)
    numbers = [summary.analysed_mm2, summary.unreadable_mm2, *(v for c in counts for v in (c.n, c.area_um2))]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in numbers):
        raise TypeError("a number that is none")
    return summary
