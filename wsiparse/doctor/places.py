"""Folders: results, temporary files, caches."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from wsiparse.doctor.check import Check, good, note, problem, size_text
from wsiparse.machine import compile_cache_folders, free_disk_bytes, publishing_fault

__all__ = ["check_compile_cache", "check_folder", "check_hub_cache", "check_temporary"]

_FULL_BYTES: Final = 100_000_000
_LITTLE_BYTES: Final = 5_000_000_000


def check_folder(name: str, folder: Path) -> Iterator[Check]:
    """Room in a folder, and whether files can be published there: written, flushed to the disk, renamed in one step."""
    folder = folder.absolute()
    fault = publishing_fault(folder)
    if fault:
        todo = "Choose a folder you may write to, on a file system with fsync and atomic renames."
        yield problem(name, f"{folder}: {fault}", todo)
        return
    try:
        free = free_disk_bytes(folder)
    except OSError as error:
        yield note(name, f"{folder}: can be written to; its free room is unknown ({error.strerror or error})")
        return
    found = f"{folder}: {size_text(free)} free, fsync and rename work"
    if free < _FULL_BYTES:
        yield problem(name, found, "Make room or choose another disk; `wsiparse plan` estimates what a slide takes.")
    elif free < _LITTLE_BYTES:
        yield note(name, found, "`wsiparse plan` estimates what a slide takes meanwhile; make room if that is more.")
    else:
        yield good(name, found)


def check_temporary() -> Iterator[Check]:
    """The system's folder for temporary files."""
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        yield problem("temporary", str(error), "Set TMPDIR to a folder you may write to.")
        return
    yield from check_folder("temporary", folder)


def check_compile_cache(environment: Mapping[str, str]) -> Check:
    """Where Numba keeps compiled kernels: NUMBA_CACHE_DIR, else beside the code, else the user's cache."""
    told = environment.get("NUMBA_CACHE_DIR", "")
    places = compile_cache_folders(environment)
    for place in places:
        fault = publishing_fault(place)
        if not fault:
            if told and place != Path(told):
                found = f"NUMBA_CACHE_DIR={told} cannot be written to; kernels are kept in {place}"
                return note("compile cache", found, "Set NUMBA_CACHE_DIR to a folder you may write to.")
            return good("compile cache", f"{place}" + ("" if told else " (NUMBA_CACHE_DIR is not set)"))
    tried = ", ".join(str(place) for place in places) or "no folder known"
    return problem("compile cache", f"none can be written to: {tried}", "Set NUMBA_CACHE_DIR to one that can.")


def check_hub_cache(environment: Mapping[str, str]) -> Check:
    """Where the Hugging Face library keeps files; runs do not look there."""
    home = Path(environment.get("HF_HOME") or Path(environment.get("HOME", ".")) / ".cache" / "huggingface")
    cache = Path(environment.get("HF_HUB_CACHE") or home / "hub")
    there = "there" if cache.is_dir() else "not there yet"
    return good("hub cache", f"{cache} ({there}); runs read weights from their own folder and never download")
