"""Slides on node-local disk: the next ones are copied while one is analysed. Also the way slides at addresses are read.

A copy is made under a temporary name and renamed when all files of the slide are there (see
`wsiparse.slides.companions`). Whatever goes wrong with the copy of a slide on a mounted disk, the slide is read where
it lies and one line says so; a slide at an address cannot, so there it is an error of that slide.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from wsiparse.errors import SlideError
from wsiparse.slides.companions import SlideFile, Unclear, slide_files
from wsiparse.slides.multiscales import is_zarr_folder
from wsiparse.slides.scratch import ScratchFolder, remove_dead
from wsiparse.slides.urls import (
    Stopped,
    download,
    is_url,
    local_path,
    open_filesystem,
    shown_url,
    url_errors,
    url_name,
)

__all__ = ["MARGIN_BYTES", "SlideCache", "is_url", "shown_url", "url_name"]

log = logging.getLogger("wsiparse")

#: Room that a copy must leave on the disk, for what others on the node and the run itself write there.
MARGIN_BYTES: Final = 1 << 30

_BLOCK_BYTES: Final = 8 << 20
#: How long the end of a run waits for a copy under way to notice; a mount that hangs must not hold it up.
_PATIENCE_S: Final = 5.0


class _NotCopied(Exception):  # noqa: N818  (says why, to be told in a sentence)
    """A slide that is not copied, with the reason as text."""


class _Copy:
    """One slide's copy, planned, under way, there or failed; `done` tells the last two."""

    def __init__(self, *, ahead: bool) -> None:
        self.ahead = ahead
        self.done = threading.Event()
        self.unwanted = threading.Event()
        self.folder: Path | None = None
        self.path: Path | None = None
        self.fault: SlideError | str = "the copy was broken off"
        self.users = 0

    @property
    def failed(self) -> bool:
        return self.done.is_set() and self.path is None


class SlideCache:
    """Brings slides to a local disk, one step ahead of whoever works through them; a context manager.

    ``with stager.slide(k) as path`` may be used from several threads at once. What could not be copied ahead (no room
    yet, say) is tried once more when its turn comes.

    Parameters
    ----------
    folder : where copies go, made if need be (--stage-dir); None copies only slides at addresses, to the system's
        folder for temporary files
    slides : paths and addresses, in the order they will be asked for
    ahead : how many slides are copied before they are asked for, >= 0
    margin_bytes : room that must stay free on the disk

    Raises
    ------
    ValueError
        If `ahead` or `margin_bytes` is negative.
    OutputError
        On entering the context, if `folder` cannot be made or written to.
    """

    def __init__(
        self, folder: Path | None, slides: Sequence[str | Path], *, ahead: int = 1, margin_bytes: int = MARGIN_BYTES
    ) -> None:
        if ahead < 0 or margin_bytes < 0:
            raise ValueError(f"ahead and margin_bytes must be >= 0, got {ahead} and {margin_bytes}")
        self._sources = [_source(slide) for slide in slides]
        self._moves = [is_url(source) or folder is not None for source in self._sources]
        self._parent = folder if folder is not None else Path(tempfile.gettempdir())
        self._ahead, self._margin = ahead, margin_bytes
        self._lock = threading.Lock()
        self._copies: dict[int, _Copy] = {}
        self._newest = -1
        self._waiting: list[tuple[int, _Copy]] = []
        self._thread: threading.Thread | None = None
        self._numbers = itertools.count()
        self._scratch: ScratchFolder | None = None

    def __enter__(self) -> Self:
        if any(self._moves):
            remove_dead(self._parent)
            self._scratch = ScratchFolder(self._parent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            scratch, self._scratch = self._scratch, None
            for copy in self._copies.values():
                copy.unwanted.set()
            self._waiting.clear()
            thread = self._thread
        if thread is not None:
            thread.join(_PATIENCE_S)
        if scratch is not None:
            scratch.remove()

    @contextmanager
    def slide(self, k: int) -> Iterator[Path]:
        """The path to read slide `k` at: its copy, waited for, or where it lies. The copy is removed afterwards.

        Meanwhile the slides after it are copied; copies of earlier ones that nobody asked for are dropped.

        Raises
        ------
        IndexError
            If there is no such slide.
        SlideError
            If it is at an address and cannot be fetched or does not fit on the disk.
        ValueError
            Outside the `with` block of the stager.
        """
        if not 0 <= k < len(self._sources):
            raise IndexError(f"slide {k} of {len(self._sources)}")
        source = self._sources[k]
        if self._scratch is None and any(self._moves):
            raise ValueError("a Stager gives slides only inside its own with block")
        with ExitStack() as held:
            copy = None
            self._advance(k)
            if self._moves[k] and (isinstance(source, str) or _can_be_copied(source)):
                copy = held.enter_context(self._held(k))
                if copy.failed and copy.ahead:
                    held.close()
                    copy = held.enter_context(self._held(k))
            self._copy_ahead()
            if copy is None:
                yield Path(source)
            elif copy.path is not None:
                yield copy.path
            else:
                yield _in_place(source, copy.fault)

    @contextmanager
    def _held(self, k: int) -> Iterator[_Copy]:
        """The copy of a slide, made here or waited for, and not removed while somebody holds it."""
        with self._lock:
            known = self._copies.get(k)
            mine = known is None or (known.failed and known.ahead)
            copy = _Copy(ahead=False) if mine or known is None else known
            self._copies[k] = copy
            copy.users += 1
        try:
            if mine:
                self._make(k, copy)
            else:
                copy.done.wait()
            yield copy
        finally:
            with self._lock:
                copy.users -= 1
                if not copy.users:
                    self._drop(k, copy)

    def _drop(self, k: int, copy: _Copy) -> None:
        """Forget a copy; call with the lock held."""
        copy.unwanted.set()
        if self._copies.get(k) is copy:
            del self._copies[k]
        if copy.folder is not None:
            shutil.rmtree(copy.folder, ignore_errors=True)

    def _advance(self, k: int) -> None:
        """Slide `k` is asked for: copies that lie behind are dropped unless somebody uses them."""
        with self._lock:
            self._newest = max(self._newest, k)
            for j, copy in list(self._copies.items()):
                if not copy.users and j != k and j <= self._newest:
                    self._drop(j, copy)

    def _copy_ahead(self) -> None:
        """Have the slides after the newest one copied, in order, by one thread."""
        with self._lock:
            if self._scratch is None:
                return
            first = self._newest + 1
            for j in range(first, min(first + self._ahead, len(self._sources))):
                if self._moves[j] and j not in self._copies:
                    copy = self._copies[j] = _Copy(ahead=True)
                    self._waiting.append((j, copy))
            if self._waiting and self._thread is None:
                # a daemon: a mount that hangs must not keep the process from ending
                self._thread = threading.Thread(target=self._work, name="wsiparse-stage", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                k, copy = self._waiting.pop(0)
            self._make(k, copy)

    def _make(self, k: int, copy: _Copy) -> None:
        """Copy slide `k`; afterwards `copy.done` is set whatever happened."""
        try:
            folder, path = self._fetch(self._sources[k], copy.unwanted)
            with self._lock:
                copy.folder, copy.path = folder, path
                if copy.unwanted.is_set():  # dropped before there was anything to remove
                    self._drop(k, copy)
        except SlideError as error:
            copy.fault = error
        except (_NotCopied, Unclear) as why:
            copy.fault = str(why)
        except OSError as error:
            copy.fault = error.strerror or str(error)
        except Stopped:
            pass
        finally:
            copy.done.set()

    def _fetch(self, source: str | Path, stop: threading.Event) -> tuple[Path, Path]:
        """Copy a slide into a folder of its own; returns that folder and the slide in it."""
        scratch = self._scratch
        if scratch is None or stop.is_set():
            raise Stopped
        folder = scratch.path / str(next(self._numbers))
        partial = folder.with_name(f"{folder.name}.part")
        try:
            if isinstance(source, str):
                with url_errors(source):
                    self._download(source, partial, stop)
                name = url_name(source)
            else:
                self._copy_local(source, partial, stop)
                name = source.name
            os.replace(partial, folder)  # noqa: PTH105
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder, folder / name

    def _check_room(self, files: list[SlideFile]) -> None:
        size = sum(file.size or 0 for file in files)
        free = shutil.disk_usage(self._parent).free
        if size + self._margin > free:
            raise _NotCopied(
                f"{size / 1e9:.2f} GB and {self._margin / 1e9:.2f} GB to spare are more than the {free / 1e9:.2f} GB "
                f"free in {self._parent}"
            )

    def _copy_local(self, source: Path, partial: Path, stop: threading.Event) -> None:
        from fsspec.implementations.local import LocalFileSystem

        files = slide_files(LocalFileSystem(), source.absolute().as_posix(), source.name)
        self._check_room(files)
        for file in files:
            target = partial / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            copied = _copy_file(Path(file.path), target, stop)
            if copied != file.size:
                raise _NotCopied(f"{file.name} changed from {file.size} to {copied} bytes meanwhile")

    def _download(self, url: str, partial: Path, stop: threading.Event) -> None:
        filesystem, path = open_filesystem(url)
        try:
            files = slide_files(filesystem, path, url_name(url))
        except Unclear as why:
            raise SlideError(f"{shown_url(url)}: {why}. Copy the slide here yourself.") from why
        self._check_room(files)
        for file in files:
            target = partial / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            download(filesystem, file.path, target, stop)
            copied = target.stat().st_size
            if file.size is not None and copied != file.size:
                raise OSError(f"{file.name}: {copied} of {file.size} bytes arrived")


def _source(slide: str | Path) -> str | Path:
    """A path, or an address that is none."""
    if not isinstance(slide, str) or not is_url(slide):
        return Path(slide)
    return local_path(slide) or slide


def _can_be_copied(path: Path) -> bool:
    """False as well where nobody may look: opening the slide tells what is wrong."""
    try:
        return path.is_file() or is_zarr_folder(path)
    except OSError:
        return False


def _copy_file(source: Path, target: Path, stop: threading.Event) -> int:
    """Copy a file's bytes; returns how many."""
    count, buffer = 0, memoryview(bytearray(_BLOCK_BYTES))
    with source.open("rb", buffering=0) as reader, target.open("xb", buffering=0) as writer:
        with suppress(AttributeError, OSError):  # advice; not every system and mount takes it
            os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while size := reader.readinto(buffer):
            if stop.is_set():
                raise Stopped
            left = buffer[:size]
            while left:
                left = left[writer.write(left) :]
            count += size
    return count


def _in_place(source: str | Path, fault: SlideError | str) -> Path:
    """Where a slide that was not copied is read."""
    if isinstance(source, Path):
        log.warning("%s: not copied to the stage folder, read in place: %s", source, fault)
        return source
    if isinstance(fault, SlideError):
        raise fault
    raise SlideError(
        f"{shown_url(source)}: cannot be copied here: {fault}. Make room, or give a folder on a larger disk to "
        "--stage-dir."
    )
