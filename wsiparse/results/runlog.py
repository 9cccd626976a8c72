"""What a run says about itself: ``run-<utc>-<id>.json``, one file a run, written by nobody else.

It is written at the start, so that slides nobody has begun are known, and again as outcomes come. Nothing is decided
by it: whether a slide is done is said by its own DONE.json.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from wsiparse.config import RunConfig
from wsiparse.machine import own_version, process_is_alive
from wsiparse.results.folder import full_name, own_hash, slide_folder, write_text

__all__ = ["Entry", "RunLog", "check_folders", "is_whole", "read_entries"]

#: Seconds between writes while outcomes come: a failed slide is told soon, and many small slides cost little.
_EVERY_S: Final = 5.0

#: What runs of versions without a hash wrote.
_KEYS: Final = frozenset(
    ("wsiparse", "python", "host", "pid", "began_utc", "finished_utc", "state", "shard", "config", "slides")
)


class RunLog:
    """The file of one run.

    Parameters
    ----------
    results : results folder; nothing is written before it exists
    paths : slides of the run
    config : settings
    facts : anything else worth keeping (shard, scheduler)
    """

    def __init__(self, results: Path, paths: Sequence[Path | str], config: RunConfig, facts: dict[str, Any]) -> None:
        now = datetime.now(UTC)
        self.run = f"{now:%Y%m%dT%H%M%S}.{now.microsecond:06d}Z-{secrets.token_hex(3)}"
        self.path = results / f"run-{self.run}.json"
        self._record: dict[str, Any] = {
            "wsiparse": own_version(),
            "python": platform.python_version(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began_utc": now.isoformat(timespec="seconds"),
            "finished_utc": None,
            "state": "running",
            **facts,
            "config": config.model_dump(mode="json"),
            "slides": [
                {"path": full_name(p), "folder": slide_folder(results, p).name, "status": "waiting"} for p in paths
            ],
        }
        self._place = {slide["path"]: slide for slide in self._record["slides"]}
        self._written = 0.0
        self._write()

    def note(self, path: Path | str, status: str, *, unreadable: int = 0, error: str = "") -> None:
        """What became of one slide."""
        self._place[full_name(path)].update(status=status, unreadable_tiles=unreadable, error=error)
        if time.monotonic() - self._written > _EVERY_S:
            self._write()

    def close(self, state: str) -> None:
        """The end: "finished", or what stopped the run."""
        self._record["state"] = state
        self._record["finished_utc"] = datetime.now(UTC).isoformat(timespec="seconds")
        self._write()

    def _write(self) -> None:
        if not self.path.parent.is_dir():
            return
        self._record["sha256"] = own_hash(self._record)
        write_text(self.path, json.dumps(self._record, indent=1, ensure_ascii=False) + "\n")
        self._written = time.monotonic()


def check_folders(results: Path, paths: Sequence[Path | str]) -> dict[Path | str, str]:
    """Slides whose results folder is another slide's, with the reason, one line.

    Folders are named by the file's stem and 32 bits of a hash of its path: among 10,000 slides of one stem two share a
    folder once in a hundred times. One must not replace the other then.

    Parameters
    ----------
    paths : slides of a run, before any is begun
    """
    owner: dict[str, str] = {}
    for _, _, slides in _records(results):
        for slide in slides:
            owner.setdefault(slide["folder"], slide["path"])
    found = {}
    for path in paths:
        folder = slide_folder(results, path).name
        first = owner.setdefault(folder, full_name(path))
        if first != full_name(path):
            found[path] = _taken(full_name(path), folder, first)
    return found


def _taken(path: str, folder: str, first: str) -> str:
    return (
        f"{path}: its results folder would be {folder}, which is that of {first}. Rename one of the two, or give "
        "another -o."
    )


def is_whole(record: dict[str, Any]) -> bool:
    """Whether a run's record is what was written: by its own hash, or of a version that kept none, by its keys."""
    if "sha256" not in record:
        return record.keys() == _KEYS
    return bool(record["sha256"] == own_hash(record))


@dataclass(frozen=True, slots=True)
class Entry:
    """A slide as the newest run that knows it tells.

    Parameters
    ----------
    path : slide, absolute, or its address
    folder : name of its results folder
    status : "waiting", or an outcome's
    error : why it failed
    alive : that run may still be at work
    """

    path: str
    folder: str
    status: str
    error: str
    alive: bool


def read_entries(results: Path) -> list[Entry]:
    """Every slide that any run of a results folder knows, by path; a later word wins, "waiting" only of a live run."""
    found: dict[str, Entry] = {}
    for state, owner, slides in _records(results):
        alive = state == "running" and not (owner[0] == socket.gethostname() and not process_is_alive(owner[1]))
        for slide in slides:
            entry = Entry(slide["path"], slide["folder"], slide["status"], slide.get("error", ""), alive)
            if entry.status != "waiting" or alive or entry.folder not in found:
                found[entry.folder] = entry
    return sorted(found.values(), key=lambda e: e.path)


def _records(results: Path) -> Iterator[tuple[str, tuple[str, int], list[dict[str, Any]]]]:
    """State, host and process, and slides of every run of a results folder, oldest first."""
    for file in sorted(results.glob("run-*.json")):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            slides = record["slides"]
            if not all(isinstance(s.get(k, ""), str) for s in slides for k in ("path", "folder", "status", "error")):
                raise TypeError("text that is none")
            if not all({"path", "folder", "status"} <= s.keys() for s in slides):
                raise KeyError("path, folder or status")
            yield str(record["state"]), (str(record["host"]), int(record["pid"])), slides
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            continue  # another program's file, or one that is just being replaced
