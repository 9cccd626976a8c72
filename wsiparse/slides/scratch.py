"""A folder of this process's own on a disk it shares, gone when the process is.

A folder ``wsiparse-stage_<host>_<pid>_<random>`` has a lock file of the same name beside it, which its process holds
locked as long as it lives; the kernel frees the lock however the process ends. What a killed process left is removed
by the next one on the same host. A folder of another host or another user, or whose process may be alive, is never
touched.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from wsiparse.errors import OutputError

__all__ = ["ScratchFolder", "remove_dead"]

_PREFIX: Final = "wsiparse-stage"
_LOCK_NAME: Final = re.compile(rf"{_PREFIX}_([A-Za-z0-9.-]+)_([0-9]+)_[0-9a-f]{{8}}\.lock")

#: What locking says on file systems that have no locks; there the process number alone decides.
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname()) or "host"


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file; False when another process holds it. True as well where there are no locks."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _is_same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


class ScratchFolder:
    """A new empty folder that only this user may look into.

    Parameters
    ----------
    parent : made if it is not there, and never removed

    Attributes
    ----------
    path : the folder

    Raises
    ------
    OutputError
        If nothing can be made in `parent`.
    """

    def __init__(self, parent: Path) -> None:
        self._owner = os.getpid()
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self.path, self._handle = self._claim(parent.absolute())
        except OSError as error:
            raise OutputError(
                f"{parent}: slides cannot be copied there ({error.strerror or error}). Give a folder on this machine "
                "that you may write to."
            ) from error

    def _claim(self, parent: Path) -> tuple[Path, int]:
        while True:
            path = parent / f"{_PREFIX}_{_host()}_{self._owner}_{secrets.token_hex(4)}"
            lock = path.with_name(path.name + ".lock")
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _lock(handle, wait=True)
                # between the two lines above, `remove_dead` of a process that cannot see this one may have taken it
                if _is_same_file(handle, lock):
                    path.mkdir(mode=0o700)
                    return path, handle
            except OSError:
                os.close(handle)
                lock.unlink(missing_ok=True)
                raise
            os.close(handle)

    def remove(self) -> None:
        """Remove the folder and everything in it; what cannot be removed is left to `remove_dead`.

        Harmless when it is gone already, and in a forked child, whose parent still needs it.
        """
        if self._handle < 0 or os.getpid() != self._owner:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            if not self.path.exists():
                self.path.with_name(self.path.name + ".lock").unlink(missing_ok=True)
        os.close(self._handle)
        self._handle = -1


def remove_dead(parent: Path) -> int:
    """Remove the folders that dead processes of this host and user left in `parent`.

    Returns
    -------
    how many were removed
    """
    if sys.platform == "win32":  # no way there to ask whether a process is alive without harming it
        return 0
    removed = 0
    with suppress(OSError):
        for lock in sorted(parent.glob(f"{_PREFIX}_*.lock")):
            match = _LOCK_NAME.fullmatch(lock.name)
            if match is not None and match[1] == _host() and not _is_alive(int(match[2])):
                removed += _remove_unlocked(lock)
    return removed


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _remove_unlocked(lock: Path) -> bool:
    """Remove a folder and its lock file if nobody holds it.

    The lock decides: a process of another container has no number here, but its lock shows. And it is kept while the
    folder goes, so that two that tidy up at once do not meet.
    """
    try:
        handle = os.open(lock, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:  # another user's, or gone already
        return False
    try:
        if os.fstat(handle).st_uid != os.getuid() or not _lock(handle, wait=False) or not _is_same_file(handle, lock):
            return False
        folder = lock.with_name(lock.name.removesuffix(".lock"))
        with suppress(FileNotFoundError):
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                return False
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                return False
        lock.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
