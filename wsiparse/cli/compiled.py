"""Compiled code at the command line: a folder for it where the usual ones are read-only, and a word when it is made.

Numba refuses to import a kernel it has no folder for, and the first run on a machine compiles for a minute.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsiparse.errors import OutputError
from wsiparse.machine import compile_cache_folders, may_write

__all__ = ["provide_compile_cache", "telling_compilation"]


def provide_compile_cache(environment: MutableMapping[str, str]) -> str | None:
    """Name a folder of the user's own in the temporary one as NUMBA_CACHE_DIR where no usual folder can be written to.

    Parameters
    ----------
    environment : environment of this process; worker processes inherit it

    Returns
    -------
    A line for people where that was needed, else None

    Raises
    ------
    OutputError
        If the temporary folder cannot be written to either.
    """
    if any(may_write(folder) for folder in compile_cache_folders(environment)):
        return None
    try:
        folder = _own_folder(Path(tempfile.gettempdir()))
    except OSError as error:
        raise OutputError(
            f"no folder for compiled code can be written to ({error}). Set NUMBA_CACHE_DIR to one that can."
        ) from error
    environment["NUMBA_CACHE_DIR"] = str(folder)
    return (
        f"compiled code is kept in {folder}: neither the installation nor the user's cache can be written to. "
        "Set NUMBA_CACHE_DIR to keep it elsewhere."
    )


def _own_folder(temporary: Path) -> Path:
    """A folder that nobody else can write to, since code is loaded from it; the same for the next run."""
    if hasattr(os, "getuid"):
        own = temporary / f"wsiparse-numba-{os.getuid()}"
        own.mkdir(mode=0o700, exist_ok=True)
        facts = own.lstat()
        if not own.is_symlink() and facts.st_uid == os.getuid() and not facts.st_mode & 0o022 and may_write(own):
            return own
    return Path(tempfile.mkdtemp(prefix="wsiparse-numba-", dir=temporary))


@contextmanager
def telling_compilation(say: Callable[[str], None]) -> Iterator[None]:
    """Say one line when Numba compiles something in this process while the block runs; nothing when all is cached."""
    from numba.core import event

    told = threading.Event()

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            if not told.is_set():
                told.set()
                say("compiling, once: the first run on a machine takes a minute or two longer")

        def on_end(self, event: Any) -> None:
            """Nothing to say."""

    with event.install_listener("numba:compile", Listener()):
        yield
