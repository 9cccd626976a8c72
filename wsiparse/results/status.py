"""How far a results folder is: done, running, failed, missing; read from the files, asking nobody."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, get_args

from wsiparse.errors import OutputError
from wsiparse.names import safe_cell, unique_names
from wsiparse.results.find import find_results
from wsiparse.results.folder import CHUNK_TILES, DONE, JOB_FILE, done_record, file_name, write_text
from wsiparse.results.runlog import Entry, read_entries
from wsiparse.results.whole import another_version, fault_of
from wsiparse.slides.urls import is_url, shown_url

__all__ = ["SlideStatus", "UnfinishedSlide", "slide_statuses", "tally", "unfinished_slide", "write_status"]

State = Literal[
    "done", "partly done", "running", "parts done", "stopped", "other version", "damaged", "failed", "missing"
]

#: A run on another machine that has published nothing for this long is taken for dead.
_SILENCE_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class UnfinishedSlide:
    """A slide with parts but without results.

    Parameters
    ----------
    folder, work : its results folder and the work folder of the newest settings
    parts, parts_total : published, and of how many
    tiles_per_s : since the first of them was published, None for fewer than two
    silent_s : since the last sign of life
    """

    folder: Path
    work: Path
    parts: int
    parts_total: int
    tiles_per_s: float | None
    silent_s: float


@dataclass(frozen=True, slots=True)
class SlideStatus:
    """What is known about one slide.

    Parameters
    ----------
    slide : path, or address without its secrets, or the folder's name where no run tells
    folder : name of the results folder: the slide's id
    state : "done", "partly done" (some tiles could not be read), "running", "parts done" (all there, to be merged),
        "stopped", "other version" (results that this one does not read), "damaged", "failed", "missing" (nobody has
        begun it)
    detail : numbers or reasons, one line
    name : what the slide is called in these results, as no other is
    """

    slide: str
    folder: str
    state: State
    detail: str
    name: str = ""


def unfinished_slide(folder: Path) -> UnfinishedSlide | None:
    """The work that lies in a slide's folder and is not in its results yet; None when there is none."""
    works = sorted(folder.glob("work-*"), key=lambda work: work.stat().st_mtime)
    for work in reversed(works):
        try:
            facts = json.loads((work / JOB_FILE).read_text(encoding="utf-8"))
            digest, total = facts["digest"], int(sum(facts["parts"]))
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        if done_record(folder, digest) is not None:
            return None
        times = sorted(p.stat().st_mtime for p in work.glob("scale-*/part-*.json"))
        aside = [p.stat().st_mtime for p in work.glob("scale-*/some-*.json")]
        newest = max([work.stat().st_mtime, *times[-1:], *aside])
        if done_record(folder) is not None and (folder / DONE).stat().st_mtime >= newest:
            return None  # of other settings, or of the slide as it was when it was damaged: results came after it
        rate = (len(times) - 1) * CHUNK_TILES / (times[-1] - times[0]) if len(set(times)) > 1 else None
        return UnfinishedSlide(folder, work, len(times), total, rate, max(0.0, time.time() - newest))
    return None


def slide_statuses(results: Path) -> list[SlideStatus]:
    """Every slide that a run has planned or a folder holds, by path; or the one whose folder is given.

    Raises
    ------
    OutputError
        If this is no results folder and no slide's folder.
    """
    found = find_results(results)
    if found.one and found.root is not None:  # what it is called depends on the others
        return [s for s in slide_statuses(found.root) if s.folder == found.slides[0].name]
    entries = {entry.folder: entry for entry in read_entries(found.root)} if found.root is not None else {}
    folders = {p.name: p for p in found.slides}
    if not entries and not folders:
        raise OutputError(f"{results}: no results folder (no run and no slide is in it). Give the folder of a run.")
    names = sorted(entries.keys() | folders.keys(), key=lambda n: (entries[n].path if n in entries else n, n))
    return _named([_status(name, entries.get(name), folders.get(name)) for name in names])


def _named(statuses: list[SlideStatus]) -> list[SlideStatus]:
    """The same with their names: the file's stem, with folders or ending where others are called so too."""
    paths = [_text(s.slide) if s.slide != s.folder else "" for s in statuses]
    labels = [
        s.name or PurePosixPath(file_name(path if is_url(path) else PurePosixPath(path))).stem or s.folder
        for s, path in zip(statuses, paths, strict=True)
    ]
    names = unique_names(paths, labels, [s.folder for s in statuses])
    return [replace(status, name=name) for status, name in zip(statuses, names, strict=True)]


def _text(path: str) -> str:
    """A path as text; bytes that are none become "\\xe9" and the like."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _status(name: str, entry: Entry | None, folder: Path | None) -> SlideStatus:
    slide = (shown_url(entry.path) if is_url(entry.path) else entry.path) if entry is not None else name

    def say(state: State, detail: str, called: str = "") -> SlideStatus:
        return SlideStatus(slide, name, state, detail, called)

    alive = entry is not None and entry.alive
    begun = unfinished_slide(folder) if folder is not None else None
    if begun is None and folder is not None:
        record = done_record(folder)
        if record is not None:
            return _finished(record, say)
    if entry is not None and entry.status == "failed":
        return say("failed", entry.error)
    if begun is None and folder is not None and (folder / DONE).exists():
        return say("other version" if another_version(folder) else "damaged", fault_of(folder))
    if begun is None:
        return say("missing", "waits for its turn" if alive else "no run has begun it, or it was stopped early")
    done = f"{begun.parts}/{begun.parts_total} parts"
    if begun.parts == begun.parts_total and not (alive and begun.silent_s < _SILENCE_S):
        return say("parts done", f"{done}; `wsiparse merge` makes the results")
    if alive and begun.silent_s < _SILENCE_S:
        rate = f", {begun.tiles_per_s:.1f} tiles/s" if begun.tiles_per_s is not None else ""
        return say("running", f"{done}{rate}, last sign of life {begun.silent_s:.0f} s ago")
    return say("stopped", f"{done}; the same `wsiparse run` goes on")


def _finished(record: dict[str, Any], say: Any) -> SlideStatus:
    summary, lost = record["summary"], len(record["unreadable"])
    n = sum(count["n"] for count in summary["counts"])
    detail = f"{n} objects on {summary['analysed_mm2']:.3f} mm2"
    found: SlideStatus = (
        say("partly done", f"{detail}, {lost} unreadable tiles; `--retry-failed` tries them again", summary["slide"])
        if lost
        else say("done", detail, summary["slide"])
    )
    return found


def tally(statuses: Sequence[SlideStatus]) -> dict[str, int]:
    """How many slides are in each state, states in the order of `SlideStatus`."""
    counted = Counter(status.state for status in statuses)
    return {state: counted[state] for state in get_args(State) if counted[state]}


def write_status(results: Path) -> None:
    """Write status.csv: slide (its path), folder, state, detail, and as summary.csv has them slide_id and path."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("slide", "folder", "state", "detail", "name", "slide_id", "path"))
    for s in slide_statuses(results):
        path = s.slide if s.slide != s.folder else ""
        writer.writerow([safe_cell(text) for text in (s.slide, s.folder, s.state, s.detail, s.name, s.folder, path)])
    write_text(results / "status.csv", out.getvalue())
