"""Whether results are still what was written: every hash that every DONE.json and report.json names, taken again.

The columns of objects.zarr carry digests of their own. Where the folder's digest holds they hold too; where it does
not, they tell which column is damaged.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from wsiparse.atomic import TEMPORARY, sha256_file, sha256_tree
from wsiparse.errors import OutputError
from wsiparse.results.find import find_results
from wsiparse.results.folder import (
    FORMAT,
    METADATA,
    REPORT,
    REPORT_FILES,
    TABLES,
    is_made_of,
    own_hash,
    report_inputs_in,
)
from wsiparse.results.one_slide import LOG
from wsiparse.results.publish import EXPORTS, is_own
from wsiparse.results.runlog import is_whole, read_entries

__all__ = ["Finding", "Verified", "slide_folders", "verify", "verify_beside"]

Kind = Literal["missing", "changed", "unreadable", "damaged", "unfinished", "stray", "leftover", "unknown"]

_DONE: Final = "DONE.json"
_OBJECTS: Final = "objects.zarr"

#: What may lie beside results without being named by them.
_BESIDE: Final = frozenset({_DONE, REPORT, *REPORT_FILES, "report.pdf", LOG, EXPORTS})

_AGAIN: Final = "Run the slide again: wsiparse run SLIDE -o RESULTS"
_OVERWRITE: Final = f"{_AGAIN} --overwrite"
_TABLES_AGAIN: Final = "Make the tables again: wsiparse report RESULTS --cohort-only"
_REPORT_AGAIN: Final = "Make the report again: wsiparse report RESULTS"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Parameters
    ----------
    kind : "missing", "changed", "unreadable" (the disk gives an error), "damaged" (DONE.json itself), "unfinished" (no
        DONE.json), "stray" (named as results are, but not of these), "leftover" (of a run that was interrupted;
        harmless), or "unknown" (not of this program; harmless)
    path : what it is about
    text : what was found and what to do, one line
    """

    kind: Kind
    path: Path
    text: str

    @property
    def wrong(self) -> bool:
        """Whether the results are not complete and unchanged."""
        return self.kind not in ("leftover", "unknown")


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in one slide's folder.

    Parameters
    ----------
    folder : of the slide
    files : how many entries of DONE.json were compared
    n_bytes : their size as recorded
    findings : in the order of DONE.json's names, leftovers last; empty when all is well
    """

    folder: Path
    files: int
    n_bytes: int
    findings: tuple[Finding, ...]

    @property
    def good(self) -> bool:
        """Whether everything is as it was written."""
        return not any(finding.wrong for finding in self.findings)


def slide_folders(results: Path) -> list[Path]:
    """The slide folders of a results folder, by name; or `results` itself if it is one.

    Raises
    ------
    OutputError
        If it is neither, or holds no slide.
    """
    found = list(find_results(results).slides)
    if not found:
        raise OutputError(f"{results}: no slide has been begun here. Run wsiparse run first.")
    return found


def verify_beside(results: Path) -> list[Finding]:
    """What is wrong in a results folder beside its slides: tables, the runs' own files, slides that are gone.

    Parameters
    ----------
    results : a results folder; nothing is found beside a single slide's
    """
    if not (results / "slides").is_dir():
        return []
    found: list[Finding] = []
    tables = results / TABLES
    try:
        record = json.loads(tables.read_text(encoding="utf-8"))
        if record.get("sha256") != own_hash(record):
            raise ValueError(TABLES)
        for name, facts in record["files"].items():
            if _is_entry(name, facts) and (finding := _check(results, name, facts, _TABLES_AGAIN)) is not None:
                found.append(finding)
    except FileNotFoundError:
        if any(path.exists() for path in (results / "summary.csv", results / "report.html")):
            found.append(Finding("missing", tables, f"missing. {_TABLES_AGAIN}"))
    except OSError as error:
        found.append(Finding("unreadable", tables, f"cannot be read ({error.strerror or error}). Check the disk."))
    except (ValueError, KeyError, TypeError, AttributeError):
        found.append(Finding("damaged", tables, f"damaged: not the record that was written. {_TABLES_AGAIN}"))
    for file in sorted(results.glob("run-*.json")):
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(record, dict) and is_whole(record):
                continue
        except (OSError, ValueError, RecursionError):
            pass
        found.append(Finding("damaged", file, "damaged: what this run said about itself is lost. Remove it."))
    found += _metadata(results / METADATA)
    for entry in read_entries(results):
        if entry.status in ("done", "already done") and not (results / "slides" / entry.folder).is_dir():
            found.append(Finding("missing", results / "slides" / entry.folder, f"missing. {_AGAIN}"))
    return found


def _metadata(path: Path) -> Iterator[Finding]:
    """What is wrong with the table about slides that is kept in a results folder."""
    again = "Give the table again: wsiparse report RESULTS --metadata TABLE"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("sha256") != own_hash(record):
            yield Finding("damaged", path, f"damaged: not the table that was written. {again}")
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding("unreadable", path, f"cannot be read ({error.strerror or error}). Check the disk.")
    except (ValueError, RecursionError):
        yield Finding("damaged", path, f"damaged: not JSON. {again}")


def verify(folders: Sequence[Path], *, workers: int = 1) -> Iterator[Verified]:
    """Take every recorded hash again.

    Parameters
    ----------
    folders : of slides
    workers : threads, >= 1; hashing runs side by side, files of one slide included

    Yields
    ------
    one result a folder, in order
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="wsiparse-verify")
    under_way: deque[tuple[Path, dict[str, int], list[Finding], list[Future[Finding | None]]]] = deque()
    try:
        for folder in folders:
            files, findings = _recorded(folder)
            if files:
                reported, more = _reported(folder)
                files, findings = files | reported, findings + more
            checks = [pool.submit(_check, folder, name, facts) for name, facts in files.items()]
            sizes = {name: int(facts.get("bytes", 0)) for name, facts in files.items()}
            under_way.append((folder, sizes, findings, checks))
            if len(under_way) > 2 * workers:
                yield _collected(*under_way.popleft())
        while under_way:
            yield _collected(*under_way.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collected(
    folder: Path, sizes: dict[str, int], findings: list[Finding], checks: list[Future[Finding | None]]
) -> Verified:
    found = [finding for check in checks if (finding := check.result()) is not None]
    if not findings and not any(finding.path in (folder / _OBJECTS, report_inputs_in(folder)) for finding in found):
        found += _foreign_report(folder)
    return Verified(folder, len(sizes), sum(sizes.values()), (*findings, *found, *_others(folder, sizes)))


def _foreign_report(folder: Path) -> Iterator[Finding]:
    """A whole report that was made of other results than the whole ones beside it."""
    try:
        record = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if not is_made_of(folder, record):
        yield Finding("stray", folder / REPORT, f"made of other results than those beside it. {_REPORT_AGAIN}")


def _recorded(folder: Path) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    """The files that DONE.json names, with size and hash; or what is wrong with it."""
    path = folder / _DONE
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        text = f"not finished: no {_DONE}. {_AGAIN}; it goes on where it was. If one is at work now, wait for it."
        return {}, [Finding("unfinished", folder, text)]
    except OSError as error:
        return {}, [Finding("unreadable", path, f"cannot be read ({error.strerror or error}). Check the disk.")]
    except (ValueError, RecursionError):
        return {}, [Finding("damaged", path, f"damaged: not JSON. {_AGAIN}")]
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        version = record.get("format") if isinstance(record, dict) else None
        text = f"of another version of wsiparse (format {version!r}, this one reads {FORMAT}). {_OVERWRITE}"
        return {}, [Finding("damaged", path, text)]
    files = record.get("files")
    if not isinstance(files, dict) or not all(_is_entry(name, facts) for name, facts in files.items()):
        return {}, [Finding("damaged", path, f"damaged: its list of files is not one. {_AGAIN}")]
    if record.get("sha256") != own_hash(record):
        return files, [Finding("damaged", path, f"damaged: not the record that was written. {_AGAIN}")]
    return files, []


def _reported(folder: Path) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    """The files that report.json names, with size and hash; or what is wrong with it."""
    path = folder / REPORT
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(record, dict) and record.get("sha256") == own_hash(record)
    except FileNotFoundError:
        return {}, [Finding("missing", path, f"missing. {_REPORT_AGAIN}")]
    except OSError as error:
        return {}, [Finding("unreadable", path, f"cannot be read ({error.strerror or error}). Check the disk.")]
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        return {}, [Finding("damaged", path, f"damaged: not the numbers that were written. {_REPORT_AGAIN}")]
    return record["files"], []


def _is_entry(name: str, facts: Any) -> bool:
    path = PurePosixPath(name)
    return (
        isinstance(facts, dict)
        and isinstance(facts.get("bytes"), int)
        and isinstance(facts.get("sha256"), str)
        and bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
    )


def _check(folder: Path, name: str, facts: dict[str, Any], remedy: str = "") -> Finding | None:
    path = folder / name
    again, anew = (_REPORT_AGAIN, _REPORT_AGAIN) if name in REPORT_FILES else (_AGAIN, _OVERWRITE)
    again, anew = remedy or again, remedy or anew
    try:
        if not path.exists():
            return Finding("missing", path, f"missing. {again}")
        size = None if path.is_dir() else path.stat().st_size
        if size is not None and size != facts["bytes"]:
            return Finding("changed", path, f"changed: {size} bytes instead of {facts['bytes']}. {again}")
        digest = sha256_tree(path) if path.is_dir() else sha256_file(path)
    except OSError as error:
        return Finding("unreadable", path, f"cannot be read ({error.strerror or error}). Check the disk. {anew}")
    except OutputError as error:
        reason = str(error).partition(": cannot read: ")[2] or str(error)
        return Finding("unreadable", path, f"cannot be read ({reason.rstrip('.')}). Check the disk. {anew}")
    if digest == facts["sha256"]:
        return None
    where = _damaged_column(path) if name == _OBJECTS and path.is_dir() else ""
    return Finding("changed", path, f"changed: other content than was written (SHA-256){where}. {anew}")


def _damaged_column(path: Path) -> str:
    """Which part of an objects.zarr is damaged, as its own checksums tell."""
    from wsiparse.store.read import ObjectsReader

    try:
        ObjectsReader(path).verify()
    except OutputError as error:
        found = str(error).removeprefix(f"{path}: ").partition(". ")[0].rstrip(".")
        return f": {found}"
    return ": its objects are whole, other files in it are not as written"


def _others(folder: Path, named: Collection[str]) -> Iterator[Finding]:
    """What lies in a finished slide's folder beside its results."""
    if not (folder / _DONE).exists():
        return
    for path in sorted(folder.iterdir()):
        name = path.name
        if name.startswith(TEMPORARY) or (name.startswith("work-") and path.is_dir()):
            text = "left by a run that was interrupted; harmless. Remove it, unless a run is at work here now."
            yield Finding("leftover", path, text)
        elif not named or name in named or name in _BESIDE:
            continue
        elif is_own(name):
            text = f"not of these results: another run or version left it. Remove it. {_OVERWRITE}"
            yield Finding("stray", path, text)
        else:
            yield Finding("unknown", path, "not of wsiparse: nothing is known about it.")
