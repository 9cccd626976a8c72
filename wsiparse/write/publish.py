"""From the desk to the results folder: a slide's files change places in one go, DONE.json last.

Two processes may publish the same slide at once: both move the same bytes, so whoever comes last changes nothing.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from wsiparse.machine import process_is_alive
from wsiparse.write.manifest import DONE, REPORT, REPORT_FILES, done_record, drop_done
from wsiparse.write.parts import TEMPORARY, output_errors, sync_folder

__all__ = ["EXPORTS", "desk", "publish_desk", "publish_report"]

_DESK: Final = "desk"

#: Folder of `wsiparse export` beside the results.
EXPORTS: Final = "exports"


@contextmanager
def desk(folder: Path) -> Iterator[Path]:
    """A folder of this process alone inside a slide's results folder, gone at the end.

    Desks that dead processes of this machine left behind are removed.

    Raises
    ------
    OutputError
        If the results folder cannot be written to.
    """
    own = folder / f"{TEMPORARY}{_DESK}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    with output_errors(own):
        for old in folder.glob(f"{TEMPORARY}{_DESK}-{socket.gethostname()}-*"):
            pid = old.name.rsplit("-", 2)[-2]
            if pid.isdigit() and not process_is_alive(int(pid)):
                shutil.rmtree(old, ignore_errors=True)
        own.mkdir(parents=True)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def publish_desk(own: Path, folder: Path, digest: str) -> None:
    """Move finished results from the desk into the results folder.

    Files that only the replaced results had are removed, and so are exports made of them. A process
    killed in between leaves a folder without DONE.json, which the next run makes anew from the parts.

    Raises
    ------
    OutputError
        If a file cannot be moved.
    """
    if done_record(folder, digest) is not None and (folder / DONE).read_bytes() == (own / DONE).read_bytes():
        return  # another process has just published the same
    names = list(json.loads((own / DONE).read_text(encoding="utf-8"))["files"])
    old = _named_before(folder)
    drop_done(folder)
    with output_errors(folder):
        for name in dict.fromkeys((*names, *REPORT_FILES, REPORT)):
            if name in names or (own / name).exists():
                _move(own / name, folder / name, own / f"old-{name}")
        for name in (*old.difference(names), EXPORTS):
            _remove(folder / name)
        sync_folder(folder)
        os.replace(own / DONE, folder / DONE)  # noqa: PTH105
        sync_folder(folder)


def publish_report(own: Path, folder: Path) -> None:
    """Move a report that was redone from the desk into the results folder, report.json last.

    A process killed in between leaves a folder without report.json: the results are whole, the report is made anew.

    Raises
    ------
    OutputError
        If a file cannot be moved.
    """
    with output_errors(folder):
        (folder / REPORT).unlink(missing_ok=True)
        for name in (*REPORT_FILES, REPORT):
            os.replace(own / name, folder / name)  # noqa: PTH105
        sync_folder(folder)


def _named_before(folder: Path) -> set[str]:
    """Files that the results in place say are theirs."""
    try:
        names = json.loads((folder / DONE).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    # they are removed: nothing that leads out of the folder, or to itself
    return {name for name in names if isinstance(name, str) and Path(name).name == name and name not in ("", "..")}


def _move(source: Path, target: Path, aside: Path) -> None:
    """Rename over what is there; a folder in the way steps aside first, however often another process puts one."""
    while True:
        try:
            os.replace(source, target)  # noqa: PTH105
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
                raise
        with suppress(FileNotFoundError):
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(target, aside)  # noqa: PTH105


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
