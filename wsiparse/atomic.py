"""Atomic publishing: a result exists whole under its name, or not at all.

Everything is first written under a temporary name in the folder it will live in (the same file system, so that the
rename is atomic), flushed to the disk, and then renamed. Names that start with `TEMPORARY` are never results: readers
skip them, and they go with the folder they lie in.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from wsiparse.errors import OutputError
from wsiparse.machine import process_is_alive

__all__ = [
    "STAGING",
    "TEMPORARY",
    "AtomicFile",
    "one_at_a_time",
    "output_error",
    "output_errors",
    "publish",
    "publish_folder",
    "remove_dead",
    "sha256_file",
    "sha256_tree",
    "sync_folder",
    "temporary_name",
]

#: Names that start so are work in progress.
TEMPORARY: Final = ".tmp-"

#: Name of a folder in which the content of the folder around it is made.
STAGING: Final = "staging"

_TEMPORARY_NAME: Final = re.compile(re.escape(TEMPORARY) + r"[0-9a-f]{8}-\d+-[0-9a-f]{8}-(.+)", re.DOTALL)

_SYNC_THREADS: Final = 8

_REASONS: Final = {
    errno.ENOSPC: "the disk is full; free some space or choose another results folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another results folder",
    errno.EFBIG: "the file grew past the largest size allowed here (see `ulimit -f`); choose another file system",
    errno.EROFS: "the file system is read-only; choose another results folder",
    errno.EACCES: "permission denied; choose a folder you may write to",
    errno.EPERM: "operation not permitted; choose a folder you may write to",
    errno.ENOENT: "the folder does not exist; create it first or check the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder; check the path",
    errno.EISDIR: "a folder of this name is in the way; remove it or choose another name",
    errno.EEXIST: "something of this name is in the way; remove it or choose another name",
    errno.ENOTEMPTY: "a folder of this name is in the way; remove it or choose another name",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter results folder",
    errno.EIO: "the disk reports an input/output error; check the drive or the network mount",
    errno.ESTALE: "the network mount went away (stale file handle); mount it again and retry",
}

#: These can only come from writing, whatever else the body of a `with` block reads.
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


#: What file systems without locks answer.
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF})


def output_error(path: Path, error: OSError, verb: str = "write") -> OutputError:
    """The one-line `OutputError` for an operating-system error met while writing (or reading) `path`.

    Of work in progress the name is told that it would have got.
    """
    path = _final(path)
    reason = _REASONS.get(error.errno or 0, f"{error.strerror or error}; check the path and the disk")
    return OutputError(f"{path}: cannot {verb}: {reason}.")


def _final(path: Path) -> Path:
    """What becomes of a path of work in progress: its temporary names without what makes them so."""
    parts = [(_TEMPORARY_NAME.fullmatch(part), part) for part in path.parts]
    return Path(*(part if found is None else found[1] for found, part in parts if found is None or found[1] != STAGING))


@contextmanager
def output_errors(path: Path, *, all_errors: bool = True) -> Iterator[None]:
    """Turn operating-system errors of the block into `OutputError` about `path`.

    Parameters
    ----------
    path : what the user knows the output by
    all_errors : False passes on errors that are not about this output (a slide that cannot be read, say): only a full
        or read-only disk, and errors that name a file at or below `path`'s folder, are translated

    Raises
    ------
    OutputError
        Instead of such an error.
    """
    try:
        yield
    except OSError as error:
        if all_errors or error.errno in _DISK or _names_file_in(error, path.parent):
            raise output_error(path, error) from error
        raise


def _names_file_in(error: OSError, folder: Path) -> bool:
    name = error.filename
    if not isinstance(name, str | os.PathLike):
        return False
    return Path(os.path.abspath(name)).is_relative_to(os.path.abspath(folder))  # noqa: PTH100 (no symlinks resolved)


def temporary_name(name: str) -> str:
    """A name for work in progress that tells whose it is: this machine's, this process's (see `remove_dead`).

    It ends as `name` does, so that writers which look at the suffix do the right thing.
    """
    return f"{TEMPORARY}{_place()}-{os.getpid()}-{secrets.token_hex(4)}-{name}"


def remove_dead(folder: Path) -> None:
    """Remove work in progress in a folder that processes of this machine left there and that no longer run.

    What others made, or may still be writing, stays, and so does what cannot be removed.
    """
    with suppress(OSError):
        for path in folder.glob(f"{TEMPORARY}{_place()}-*"):
            pid = path.name.removeprefix(f"{TEMPORARY}{_place()}-").partition("-")[0]
            if pid.isdigit() and not process_is_alive(int(pid)):
                _remove(path)


def _place() -> str:
    """This machine, and this container on it: process numbers are told apart within it only; 8 hexadecimal digits."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _temporary(path: Path) -> Path:
    return path.with_name(temporary_name(path.name))


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut, where the system offers it."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems have no fsync for folders; their rename is as durable as they make it.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise
    finally:
        os.close(handle)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_tree(folder: Path) -> None:
    """Force every file and folder below `folder`, and itself, to the disk."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    folders = list({folder, *(path.parent for path in files)})
    # Side by side: file systems with a journal commit together what waits together.
    with ThreadPoolExecutor(_SYNC_THREADS) as pool:
        list(pool.map(_sync_files, (files[k::_SYNC_THREADS] for k in range(_SYNC_THREADS))))
        list(pool.map(_sync_folders, (folders[k::_SYNC_THREADS] for k in range(_SYNC_THREADS))))


def _sync_files(paths: Iterable[Path]) -> None:
    for path in paths:
        _sync_file(path)


def _sync_folders(paths: Iterable[Path]) -> None:
    for path in paths:
        sync_folder(path)


def _remove(path: Path) -> None:
    """Clean up; what cannot be removed must not hide the error that led here."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


class AtomicFile:
    """A binary file whose final name is chosen at the end.

    Parameters
    ----------
    path : the name it will most likely get; the temporary file lies beside it

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = _temporary(path)
        with output_errors(path):
            self._file: BinaryIO = self.temporary.open("xb")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; a full disk is an `OutputError` and the temporary file is gone."""
        try:
            self._file.write(data)
        except OSError as error:
            self._fail(error)

    def commit(self, path: Path | None = None) -> Path:
        """Flush, rename to `path` (default: the name given at the start) and return it."""
        final = self.path if path is None else path
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self.temporary, final)  # noqa: PTH105
            sync_folder(final.parent)
        except OSError as error:
            self._fail(error)
        return final

    def discard(self) -> None:
        """Forget what was written; harmless after `commit`."""
        with suppress(OSError):
            self._file.close()
        _remove(self.temporary)

    def _fail(self, error: OSError) -> NoReturn:
        self.discard()
        raise output_error(self.path, error) from error


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread is in such a block about the same folder.

    The lock is the operating system's and ends with its process. A file system that has none (some network ones) is
    used without; so is Windows, whose open files cannot be moved anyway.

    Parameters
    ----------
    folder : existing
    """
    if os.name == "nt":
        yield
        return
    import fcntl

    path = folder / f"{TEMPORARY}publishing.lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            if _is_still(path, handle):
                try:
                    yield
                finally:
                    _remove(path)
                return
        finally:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)
            with suppress(OSError):  # nothing was written to it
                os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    """Whether the file that was locked has its name yet: whoever held it before removes it at the end."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextmanager
def publish(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name and publish it when the block ends well.

    Parameters
    ----------
    path : final name; an older file of that name is replaced in one step

    Yields
    ------
    A path in the same folder, with the same suffix, for the block to create.

    Raises
    ------
    OutputError
        If the folder cannot be written to, the disk is full, or the block wrote nothing.
    """
    temporary = _temporary(path)
    try:
        with output_errors(path):
            temporary.open("xb").close()
        with output_errors(path, all_errors=False):
            yield temporary
        with output_errors(path):
            _sync_file(temporary)
            os.replace(temporary, path)  # noqa: PTH105
            sync_folder(path.parent)
    finally:
        _remove(temporary)


@contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name and publish it when the block ends well.

    An older folder of that name is moved aside first and removed last, and moved back if the new one cannot take
    its place. Folders cannot be exchanged in one portable step: a process killed between the two renames leaves the
    old folder under its temporary name, so a folder counts as finished only with the `DONE.json` written after it.

    Parameters
    ----------
    path : final name of the folder

    Yields
    ------
    An existing empty folder beside it.

    Raises
    ------
    OutputError
        If the parent cannot be written to or the disk is full.
    """
    temporary, old = _temporary(path), _temporary(path)
    try:
        with output_errors(path):
            temporary.mkdir()
        with output_errors(path, all_errors=False):
            yield temporary
        with output_errors(path):
            _sync_tree(temporary)
            if path.exists():
                os.replace(path, old)  # noqa: PTH105
                try:
                    os.replace(temporary, path)  # noqa: PTH105
                except OSError:
                    os.replace(old, path)  # noqa: PTH105
                    raise
            else:
                os.replace(temporary, path)  # noqa: PTH105
            sync_folder(path.parent)
        _remove(old)
    finally:
        _remove(temporary)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Raises
    ------
    OutputError
        If the file is missing or cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OutputError(f"{path}: cannot read: {error.strerror or error}.") from error


def sha256_tree(folder: Path) -> str:
    """SHA-256 over all files below a folder, hexadecimal; the same on every machine.

    The digest covers, sorted by relative POSIX path, a line ``<sha256 of the file>  <path>`` for each file, which is
    the format of ``sha256sum`` lists; temporary names are left out.

    Raises
    ------
    OutputError
        If the folder is missing or a file cannot be read.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder.")
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    digest = hashlib.sha256()
    for name in sorted(files):
        if not any(part.startswith(TEMPORARY) for part in name.split("/")):
            digest.update(f"{sha256_file(files[name])}  {name}\n".encode())
    return digest.hexdigest()
