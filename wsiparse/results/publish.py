"""From the staging folder to the results folder: a slide's files change places in one go, DONE.json last.

Two processes may publish the same slide at once: they do it one after the other, and where both have the same bytes,
whoever comes last changes nothing.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from wsiparse.atomic import STAGING, TEMPORARY, one_at_a_time, output_errors, remove_dead, sync_folder, temporary_name
from wsiparse.errors import OutputError
from wsiparse.results.folder import DONE, REPORT, REPORT_FILES, done_record, drop_done, own_record

__all__ = ["EXPORTS", "is_own", "publish_report", "publish_staged", "staging"]

log = logging.getLogger("wsiparse")

#: Folder of `wsiparse export` beside the results.
EXPORTS: Final = "exports"

#: A report printed by `wsiparse report --pdf`.
REPORT_PDF: Final = "report.pdf"

_OBJECTS: Final = "objects.zarr"

#: What lies beside the results in a slide's folder and is not replaced with them.
_BESIDE: Final = (EXPORTS, "log.txt")

#: Names that runs give, of this version or an older one, whatever their settings.
_OWN: Final = re.compile(
    r"objects\.zarr|labels\.ome\.zarr|report_inputs|basis|(cells|regions|centroids|region_centroids)(\.part\d+)?\.geojson\.gz"
    r"|overlay\.jpg|counts\.csv|density\.png|report\.(html|json|pdf)|DONE\.json|log\.txt|exports"
)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder of this process alone inside a slide's results folder, gone at the end.

    What dead processes of this machine left behind there is removed.

    Raises
    ------
    OutputError
        If the results folder cannot be written to.
    """
    own = folder / temporary_name(STAGING)
    remove_dead(folder)
    with output_errors(own):
        own.mkdir(parents=True)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


def publish_staged(own: Path, folder: Path, digest: str, *, replace: bool = True) -> list[str]:
    """Move finished results from the staging folder into the results folder, in place of all that a run ever put there.

    What is not of these results goes (see `is_own`), even if a run that was killed while it published left it; files
    that people put there stay. Exports stay as long as the objects they were made of are those that come now, byte for
    byte. A process killed in between leaves a folder without DONE.json, which the next run makes anew from the parts.

    Parameters
    ----------
    replace : whether finished results of another digest may be replaced

    Returns
    -------
    Names below the folder of exports that were removed

    Raises
    ------
    OutputError
        If a file cannot be moved, or finished results of another digest are there and `replace` is False.
    """
    with output_errors(folder), one_at_a_time(folder):
        return _published(own, folder, digest, replace=replace)


def _published(own: Path, folder: Path, digest: str, *, replace: bool) -> list[str]:
    there = done_record(folder)
    new = json.loads((own / DONE).read_text(encoding="utf-8"))
    if there is not None and there["digest"] == digest and (folder / DONE).read_bytes() == (own / DONE).read_bytes():
        return []  # another process has just published the same
    if there is not None and there["digest"] != digest and not there["unreadable"] and not replace:
        raise OutputError(
            f"{folder}: another run has published results of other settings meanwhile. Write these to another folder "
            "with -o, or replace those with --overwrite."
        )
    named = own_record(folder) or {}
    names = list(new["files"])
    stale = _drop_exports(folder, named, new)
    drop_done(folder)
    kept = {*names, DONE, *_BESIDE}
    old = {entry.name for entry in folder.iterdir() if is_own(entry.name)} | _named(named)
    for name in dict.fromkeys((*names, *REPORT_FILES, REPORT)):
        if name in names or (own / name).exists():
            kept.add(name)
            _move(own / name, folder / name, own / f"old-{name}")
    for name in sorted(old - kept):
        _remove(folder / name)
    sync_folder(folder)
    os.replace(own / DONE, folder / DONE)  # noqa: PTH105
    sync_folder(folder)
    return stale


def is_own(name: str) -> bool:
    """Whether a run gives files or folders this name in a slide's folder; anything else there is not ours."""
    return _OWN.fullmatch(name) is not None


def _drop_exports(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Remove exports of objects other than the new ones; their names. Logged first: who is killed now cannot tell."""
    exports = folder / EXPORTS
    if not exports.is_dir():
        return []
    made_of = old.get("files", {}).get(_OBJECTS) if isinstance(old.get("files"), dict) else None
    if made_of is not None and made_of == new["files"].get(_OBJECTS):
        return []
    names = sorted(f"{EXPORTS}/{entry.name}" for entry in exports.iterdir() if not entry.name.startswith(TEMPORARY))
    if names:
        log.info("removed, made of the replaced objects: %s", ", ".join(names))
    _remove(exports)
    return names


def publish_report(own: Path, folder: Path) -> None:
    """Move a report that was redone from the staging folder into the results folder, report.json last.

    A process killed in between leaves a folder without report.json: the results are whole, the report is made anew.

    Raises
    ------
    OutputError
        If a file cannot be moved.
    """
    with output_errors(folder), one_at_a_time(folder):
        for name in (REPORT, REPORT_PDF):  # what was printed of the old report is not the new one
            (folder / name).unlink(missing_ok=True)
        for name in (*REPORT_FILES, REPORT):
            os.replace(own / name, folder / name)  # noqa: PTH105
        sync_folder(folder)


def _named(record: dict[str, Any]) -> set[str]:
    """Files that the results in place say are theirs."""
    files = record.get("files")
    if not isinstance(files, dict):
        return set()
    # they are removed: nothing that leads out of the folder, or to itself
    return {name for name in files if Path(name).name == name and name not in ("", "..")}


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
