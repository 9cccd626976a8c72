"""Where the process runs: the installed version, cores, memory, room on a disk; which processes live."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = [
    "available_cores",
    "available_memory_bytes",
    "bound_idle_memory",
    "compile_cache_folders",
    "free_disk_bytes",
    "may_write",
    "memory_limit_bytes",
    "own_version",
    "peak_rss_bytes",
    "process_is_alive",
    "publishing_fault",
    "return_idle_memory",
]

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")

#: glibc's names (malloc.h) of what `bound_idle_memory` sets, and the values.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MAPPED_FROM_BYTES: Final = 32 << 20
_IDLE_TOP_BYTES: Final = 64 << 20
_WORTH_RETURNING_BYTES: Final = 128 << 20


@cache
def own_version() -> str:
    """The installed version, such as "0.1.0"; looked up once, since that reads the installation's files."""
    return version("wsiparse")


def _cgroup_cores(root: Path = _CGROUPS) -> float | None:
    """The CPU quota of this process's container, cores, or None without one (cgroup v2 `cpu.max`)."""
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return int(quota) / int(period) if quota.isdigit() and int(period) > 0 else None


def available_cores() -> int:
    """Cores this process may use: its CPU affinity, cut to the container's quota; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else (os.cpu_count() or 1)
    quota = _cgroup_cores()
    return max(1, cores if quota is None else min(cores, int(quota + 0.5)))


def available_memory_bytes(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int | None:
    """Most memory this process may use: the machine's, cut to the limits of its container or job.

    Memory that others use at the moment is not taken off.

    Parameters
    ----------
    cgroups : where the control groups are mounted
    membership : file that tells which groups the process is in (the format of /proc/self/cgroup)

    Returns
    -------
    bytes, or None where the system tells neither
    """
    limits = [n for n in (_physical_bytes(), memory_limit_bytes(cgroups, membership)) if n is not None]
    return min(limits, default=None)


def _physical_bytes() -> int | None:
    if not hasattr(os, "sysconf"):  # Windows
        return None
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    return size if size > 0 else None


def memory_limit_bytes(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int | None:
    """The tightest memory limit of the process's control groups, bytes; None without one.

    A limit binds everything below it, so every group from the process's own up to the mount counts: a batch system
    limits the job, not the step the process runs in. Both generations are read, since systems mount them side by side:
    `memory.max` of the unified hierarchy, `memory.limit_in_bytes` of the memory controller's own. In a container the
    path in `membership` may be one of the host, which is not to be seen here; the mount is then the container's group.
    """
    own = dict(_groups(membership))
    found = [_limits(cgroups, own.get("", "/"), "memory.max")]
    found += [_limits(cgroups / "unified", own.get("", "/"), "memory.max")]
    found += [_limits(cgroups / "memory", own.get("memory", "/"), "memory.limit_in_bytes")]
    return min((limit for limits in found for limit in limits), default=None)


def _groups(membership: Path) -> Iterator[tuple[str, str]]:
    """(controller, path) of each group the process is in; the controller of the unified hierarchy is ""."""
    try:
        lines = membership.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        parts = line.split(":", 2)
        if len(parts) == 3:
            yield from ((controller, parts[2]) for controller in parts[1].split(","))


def _limits(mount: Path, group: str, name: str) -> Iterator[int]:
    """The limits set on a group and on those above it; "max" is none, and so is what is no number."""
    own = [part for part in group.split("/") if part not in ("", ".", "..")]
    for depth in range(len(own), -1, -1):
        with suppress(OSError, ValueError):
            limit = int(mount.joinpath(*own[:depth], name).read_text(encoding="ascii"))
            if limit > 0:
                yield limit


def peak_rss_bytes() -> int | None:
    """Most memory this process has had resident since it was started; None where the system does not tell.

    Linux: VmHWM. The rusage figure survives fork and exec there, so that a small child of a large process reports its
    parent's size.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        if found is not None:
            return int(found.group(1)) * 1024
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    absolute = folder.absolute()
    return next((path for path in (absolute, *absolute.parents) if path.exists()), absolute)


def bound_idle_memory() -> None:
    """Have glibc return freed blocks of 32 MB and more, and the end of the heap; smaller ones wait for the next tile.

    Where somebody sets MALLOC_TRIM_THRESHOLD_ (Dask's nanny does), the limit is 128 kB instead, every layer of a
    network costs page faults, and up to twice the CPU time. A limit of 4 MB holds 200 MB less and takes 18 % more CPU
    time. Other C libraries have no such setting.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _IDLE_TOP_BYTES)


class _Mallinfo2(ctypes.Structure):
    """glibc's count of its own memory (malloc.h); `fordblks` are the bytes that wait for blocks to come."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def return_idle_memory() -> None:
    """Give back what glibc keeps for blocks to come: between two stages of a run, when other blocks will come.

    Less than 128 MB are not worth it: between small slides they would only be asked for again.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    count, trim = (getattr(library, name, None) for name in ("mallinfo2", "malloc_trim"))
    if trim is None:
        return
    if count is not None:  # glibc 2.33
        count.restype = _Mallinfo2
        if count().fordblks < _WORTH_RETURNING_BYTES:
            return
    trim(0)


def free_disk_bytes(folder: Path) -> int:
    """Bytes this user may still write below a folder, which need not be there yet.

    Quotas are not seen: where they bind, writing fails earlier.

    Raises
    ------
    OSError
        If the disk cannot be asked.
    """
    return shutil.disk_usage(_existing(folder)).free


def compile_cache_folders(environment: Mapping[str, str]) -> list[Path]:
    """Where Numba may keep compiled kernels, in its order: NUMBA_CACHE_DIR, beside the code, the user's cache."""
    told = environment.get("NUMBA_CACHE_DIR", "")
    places = [Path(told)] if told else []
    spec = find_spec("wsiparse")
    if spec is not None and spec.origin is not None:
        places.append(Path(spec.origin).parent)
    home = environment.get("HOME", "")
    if sys.platform == "darwin" and home:
        places.append(Path(home) / "Library" / "Caches" / "numba")
    elif environment.get("XDG_CACHE_HOME") or home:
        places.append(Path(environment.get("XDG_CACHE_HOME") or f"{home}/.cache") / "numba")
    return places


def may_write(folder: Path) -> bool:
    """Whether files can be made in a folder, or it can be made; asked of the system, nothing is tried."""
    existing = _existing(folder)
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def publishing_fault(folder: Path) -> str:
    """Try in a folder (or the nearest one above it) what publishing results takes; leaves nothing behind.

    That is: create a file, write, fsync, and put it over another one in one step.

    Returns
    -------
    "" if all of it works, else the step that failed and why
    """
    trial = _existing(folder) / f".tmp-trial-{os.getpid()}-{secrets.token_hex(4)}"
    names = (trial.with_name(trial.name + ".new"), trial.with_name(trial.name + ".old"))
    step = "creating a file"
    try:
        try:
            names[1].write_bytes(b"old")
            with names[0].open("xb") as file:
                step = "writing"
                file.write(b"new" * 1000)
                file.flush()
                step = "fsync"
                os.fsync(file.fileno())
            step = "os.replace"
            os.replace(*names)  # noqa: PTH105
            step = "reading back"
            if names[1].read_bytes() != b"new" * 1000:
                return "reading back: the old content is still there"
        finally:
            for name in names:
                name.unlink(missing_ok=True)
    except OSError as error:
        return f"{step}: {error.strerror or error}"
    return ""


def process_is_alive(pid: int) -> bool:
    """Whether a process of this machine still runs; True as well where the system does not tell."""
    if os.name == "nt":  # no way there to ask without harming it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True
