"""Memory limits of containers and jobs, and whether a folder can hold results."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse import machine
from wsiparse.machine import available_memory_bytes, free_disk_bytes, memory_limit_bytes, publishing_fault

GB = 1 << 30


class Groups:
    """Control groups of a pretended machine."""

    def __init__(self, folder: Path) -> None:
        self.root, self.membership = folder / "cgroup", folder / "membership"
        self.root.mkdir()

    def member(self, *lines: str) -> Groups:
        self.membership.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        return self

    def limit(self, path: str, text: object) -> Groups:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="ascii")
        return self

    def found(self) -> int | None:
        return memory_limit_bytes(self.root, self.membership)


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path)


def test_a_container_of_the_second_generation_is_limited_at_its_root(groups: Groups) -> None:
    assert groups.member("0::/").limit("memory.max", 3 * GB).found() == 3 * GB


def test_max_is_no_limit(groups: Groups) -> None:
    assert groups.member("0::/").limit("memory.max", "max").found() is None


def test_a_limit_on_the_job_binds_the_step(groups: Groups) -> None:
    groups.member("0::/system.slice/job_7/step_0/user/task_0")
    groups.limit("system.slice/job_7/memory.max", 5 * GB)
    groups.limit("system.slice/job_7/step_0/user/memory.max", "max")
    groups.limit("system.slice/job_8/memory.max", GB)
    assert groups.found() == 5 * GB


def test_the_tightest_limit_counts(groups: Groups) -> None:
    groups.member("0::/a/b").limit("a/memory.max", 5 * GB).limit("a/b/memory.max", 2 * GB)
    assert groups.found() == 2 * GB


def test_a_job_of_the_first_generation_is_found_by_its_controller(groups: Groups) -> None:
    groups.member("11:cpu,cpuacct:/other", "9:memory:/slurm/uid_0/job_1", "0::/")
    groups.limit("memory/slurm/uid_0/job_1/memory.limit_in_bytes", 4 * GB)
    groups.limit("memory/other/memory.limit_in_bytes", GB)
    assert groups.found() == 4 * GB


def test_a_container_of_the_first_generation_is_limited_at_its_mount(groups: Groups) -> None:
    """The path is the host's and is not to be seen inside."""
    groups.member("9:memory:/docker/0123").limit("memory/memory.limit_in_bytes", 2 * GB)
    assert groups.found() == 2 * GB


def test_controllers_that_share_a_hierarchy_are_told_apart(groups: Groups) -> None:
    groups.member("3:hugetlb,memory:/job").limit("memory/job/memory.limit_in_bytes", GB)
    assert groups.found() == GB


def test_a_group_above_the_mount_does_not_lead_out_of_it(groups: Groups, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1", encoding="ascii")
    assert groups.member("0::/../..").found() is None


@pytest.mark.parametrize("text", ["", "abc", "-1", "0", "1.5 GB"])
def test_what_is_no_number_is_no_limit(text: str, groups: Groups) -> None:
    assert groups.member("0::/").limit("memory.max", text).found() is None


def test_without_control_groups_the_machine_decides(tmp_path: Path) -> None:
    physical = machine._physical_bytes()
    assert available_memory_bytes(tmp_path / "none", tmp_path / "none") == physical
    assert physical is None or physical > 1 << 26


def test_the_first_generations_way_of_saying_unlimited_is_cut_to_the_machine(groups: Groups) -> None:
    groups.member("9:memory:/").limit("memory/memory.limit_in_bytes", 9223372036854771712)
    assert available_memory_bytes(groups.root, groups.membership) == (machine._physical_bytes() or 9223372036854771712)


@given(limits=st.lists(st.one_of(st.none(), st.integers(1, 1 << 50)), min_size=1, max_size=5))
def test_the_limit_is_the_least_on_the_way_to_the_root(
    limits: list[int | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    groups = Groups(tmp_path_factory.mktemp("groups"))
    groups.member("0::/" + "/".join(f"g{k}" for k in range(1, len(limits))))
    for k, limit in enumerate(limits):
        groups.limit("/".join([*(f"g{j}" for j in range(1, k + 1)), "memory.max"]), "max" if limit is None else limit)
    assert groups.found() == min((limit for limit in limits if limit is not None), default=None)


def test_free_room_is_told_for_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk_bytes(tmp_path / "a" / "b") > 0
    assert not (tmp_path / "a").exists()


def test_a_good_folder_publishes_and_stays_clean(tmp_path: Path) -> None:
    assert publishing_fault(tmp_path) == ""
    assert publishing_fault(tmp_path / "not" / "yet") == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "step"), [("fsync", "fsync"), ("replace", "os.replace")])
def test_the_step_that_fails_is_named(name: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, name, broken)
    assert publishing_fault(tmp_path).startswith(f"{step}: ")
    assert list(tmp_path.iterdir()) == []


def test_a_path_through_a_file_cannot_publish(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert publishing_fault(tmp_path / "file").startswith("creating a file: ")


_MAPPED = """
import ctypes, sys
from wsiparse.machine import bound_idle_memory
if sys.argv[1] == "bound":
    bound_idle_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
Numbers = type("Numbers", (ctypes.Structure,), {"_fields_": [(f"n{k}", ctypes.c_size_t) for k in range(10)]})
libc.mallinfo2.restype = Numbers
before = libc.mallinfo2().n4
libc.malloc(16 << 20)
print(libc.mallinfo2().n4 - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_blocks_of_a_network_are_not_mapped_one_by_one_where_somebody_set_a_limit() -> None:
    """Dask's nanny does; such a block goes back to the system when it is freed, and comes again page by page."""
    mapped = {}
    for how in ("bound", "as it is"):
        environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
        command = [sys.executable, "-c", _MAPPED, how]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        mapped[how] = int(done.stdout)
    assert mapped["as it is"] >= 16 << 20
    assert mapped["bound"] == 0


_RETURNED = """
import ctypes, sys
from pathlib import Path
from wsiparse.machine import bound_idle_memory, return_idle_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
bound_idle_memory()
blocks = [bytearray(b"x" * (1 << 20)) for _ in range(int(sys.argv[1]))]
last = bytearray(b"x" * (1 << 20))  # so that the heap does not end in free blocks
del blocks
before = resident()
return_idle_memory()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a function of glibc")
@pytest.mark.parametrize(("megabytes", "least", "most"), [(400, 350, 450), (60, -1, 5)])
def test_much_idle_memory_is_returned_and_little_is_kept(megabytes: int, least: int, most: int) -> None:
    command = [sys.executable, "-c", _RETURNED, str(megabytes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert least << 20 <= int(done.stdout) <= most << 20


@pytest.mark.parametrize(("text", "cores"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None)])
def test_a_container_quota_is_read(tmp_path: Path, text: str, cores: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text, encoding="ascii")
    assert machine._cgroup_cores(tmp_path) == cores


def test_there_is_always_a_core() -> None:
    assert machine.available_cores() >= 1
