"""Whether finished results are what was written: asked by whoever reads them, before a number of theirs is used.

A file that is unchanged since it was hashed (size and time of modification) is not hashed again by the same process.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from wsiparse.atomic import output_error, sha256_file, sha256_tree
from wsiparse.errors import OutputError
from wsiparse.machine import own_version
from wsiparse.results.folder import DONE, FORMAT, done_record, file_facts, own_hash, own_record, write_text

__all__ = ["another_version", "check_beside", "check_noted", "check_whole", "fault_of", "note_hash"]

_ANEW: Final = "Run the slide again to make it anew"
_AGAIN: Final = "Run the slide again with --overwrite to make it anew"


def check_whole(folder: Path, *names: str) -> dict[str, Any]:
    """The record of a finished slide, after the named files were compared with it.

    Parameters
    ----------
    folder : results of the slide
    names : files or folders in it that are about to be read

    Raises
    ------
    OutputError
        If the slide is not finished, or its record or one of the files is damaged.
    """
    record = own_record(folder)
    if record is None or record.get("format") != FORMAT or record.get("sha256") != own_hash(record):
        raise OutputError(f"{folder}: {fault_of(folder) or 'not finished'}.")
    for name in names:
        path, facts = folder / name, record["files"].get(name)
        if facts is None:
            raise OutputError(f"{path}: not of these results: DONE.json does not name it. {_AGAIN}.")
        try:
            found = _sha256(str(path), _signature(path)) if path.exists() else ""
        except OSError as error:
            raise output_error(path, error, "read") from error
        if found != facts["sha256"]:
            what = "it is not what was written" if found else "it is gone"
            raise OutputError(f"{path}: damaged: {what}. {_AGAIN}.")
    return record


def check_beside(objects: Path) -> None:
    """`check_whole` for an objects.zarr that lies in a slide's results; one that lies alone has its own checksums only.

    Raises
    ------
    OutputError
        As `check_whole`.
    """
    folder = objects.absolute().parent
    if objects.name == "objects.zarr" and (folder / DONE).exists():
        check_whole(folder, "objects.zarr")


def note_hash(made: Path, objects: Path) -> None:
    """Write ``<name>.json`` beside a file or folder that was made of an objects.zarr: hashes of both.

    Parameters
    ----------
    made : what others will read
    objects : the objects.zarr in a slide's results; one that lies alone is not hashed again
    """
    record = own_record(objects.absolute().parent) or {}
    facts = {**file_facts(made), "objects_sha256": record.get("files", {}).get(objects.name, {}).get("sha256")}
    write_text(_note(made), json.dumps(facts, indent=1) + "\n")


def check_noted(made: Path, folder: Path, remedy: str) -> None:
    """See that what `note_hash` told of is as it was written, and of the objects of a slide's results.

    Raises
    ------
    OutputError
        If it is not, or nothing is told of it; the text ends with `remedy`.
    """
    record = own_record(folder) or {}
    try:
        facts = json.loads(_note(made).read_text(encoding="utf-8"))
        told, of = str(facts["sha256"]), facts["objects_sha256"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise OutputError(f"{made}: no hash of it is kept in {_note(made).name}. {remedy}") from error
    if of != record.get("files", {}).get("objects.zarr", {}).get("sha256"):
        raise OutputError(f"{made}: made of other objects than these. {remedy}")
    try:
        found = _sha256(str(made), _signature(made))
    except OSError as error:
        raise output_error(made, error, "read") from error
    if found != told:
        raise OutputError(f"{made}: damaged: it is not what was written. {remedy}")


def _note(made: Path) -> Path:
    return made.with_name(f"{made.name}.json")


def fault_of(folder: Path) -> str:
    """Why a folder does not count as a finished slide, with the remedy; "" if it does."""
    if done_record(folder) is not None:
        return ""
    if not (folder / DONE).exists():
        return "not finished. Run the same `wsiparse run` again to finish"
    record = own_record(folder)
    if record is None:
        return f"damaged: {DONE} is not JSON. {_ANEW}"
    if record.get("format") != FORMAT:
        return f"{another_version(folder)}. {_AGAIN}"
    if record.get("sha256") != own_hash(record):
        return f"damaged: {DONE} is not what was written. {_ANEW}"
    gone = next(name for name in record["files"] if not _has_size(folder / name, record["files"][name]))
    return f"damaged: {gone} is gone or cut. {_ANEW}"


def another_version(folder: Path) -> str:
    """What is said of results in the layout of another version, which this one does not read; "" of all others."""
    record = own_record(folder)
    if record is None or record.get("format") == FORMAT:
        return ""
    version = " ".join(str(record.get("wsiparse", "unknown")).split())[:40]
    return (
        f"results of another version of wsiparse ({version}, format {record.get('format')!r:.40}; this is "
        f"{own_version()}, which reads {FORMAT})"
    )


def _has_size(path: Path, facts: dict[str, Any]) -> bool:
    return path.is_dir() or (path.is_file() and path.stat().st_size == facts.get("bytes"))


def _signature(path: Path) -> str:
    """Names, sizes and times of modification of a file, or of all below a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(
            f"{file.relative_to(path)} {status.st_size} {status.st_mtime_ns} {status.st_ino}\n".encode(
                "utf-8", "surrogateescape"
            )
        )
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _sha256(path: str, signature: str) -> str:
    """As DONE.json has it; `signature` is what the answer stands and falls with."""
    del signature
    return sha256_tree(Path(path)) if Path(path).is_dir() else sha256_file(Path(path))
