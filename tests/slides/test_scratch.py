"""Folders on a shared disk: gone with their process, and never another's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import ROOT
from wsiparse.slides import scratch
from wsiparse.slides.scratch import ScratchFolder, remove_dead

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no file locks of this kind")

#: Makes a folder with a file in it, says so, and waits.
PROGRAM = """
import sys
from pathlib import Path
from wsiparse.slides.scratch import ScratchFolder
folder = ScratchFolder(Path(sys.argv[1]))
(folder.path / "1.part").mkdir()
(folder.path / "1.part" / "half.svs").write_bytes(b"half")
print(folder.path, flush=True)
sys.stdin.read()
"""


class Other:
    """Another process with a folder of its own in `parent`."""

    def __init__(self, parent: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self.process.stdout is not None
        self.path = Path(self.process.stdout.readline().strip())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def abandoned(parent: Path, host: str | None = None, pid: int | None = None) -> Path:
    """What a dead process of `host` left."""
    if pid is None:
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            pid = ended.pid
    path = parent / f"wsiparse-stage_{host or scratch._host()}_{pid}_0123abcd"
    path.mkdir()
    (path / "left.svs").write_bytes(b"left")
    lock_of(path).touch()
    return path


def test_the_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    dead, alive = Other(tmp_path), Other(tmp_path)
    try:
        dead.kill()
        assert remove_dead(tmp_path) == 1
        assert not dead.path.exists()
        assert not lock_of(dead.path).exists()
        assert (alive.path / "1.part" / "half.svs").exists()
        assert lock_of(alive.path).exists()
    finally:
        alive.kill()
    assert remove_dead(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_another_host_stays(tmp_path: Path) -> None:
    path = abandoned(tmp_path, host="node17.cluster")
    assert remove_dead(tmp_path) == 0
    assert (path / "left.svs").exists()


def test_a_locked_folder_stays_though_its_process_has_no_number_here(tmp_path: Path) -> None:
    """As of a process in another container on the same disk."""
    path = abandoned(tmp_path)
    with lock_of(path).open("r+b") as handle:
        assert scratch._lock(handle.fileno(), wait=False)
        assert remove_dead(tmp_path) == 0
        assert (path / "left.svs").exists()
    assert remove_dead(tmp_path) == 1
    assert not path.exists()


def test_an_unlocked_folder_stays_while_a_process_has_its_number(tmp_path: Path) -> None:
    """Where the disk has no locks, the number alone decides."""
    path = abandoned(tmp_path, pid=os.getpid())
    assert remove_dead(tmp_path) == 0
    assert path.exists()


def test_without_locks_on_the_disk_the_process_number_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def no_locks(handle: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    alive, dead = ScratchFolder(tmp_path), abandoned(tmp_path)
    assert remove_dead(tmp_path) == 1
    assert alive.path.exists()
    assert not dead.exists()
    alive.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_the_folder_of_another_user_stays(tmp_path: Path) -> None:
    path = abandoned(tmp_path)
    os.chown(lock_of(path), 12345, 12345)
    assert remove_dead(tmp_path) == 0
    assert path.exists()


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    path = abandoned(tmp_path)
    (path / "left.svs").unlink()
    path.rmdir()
    path.symlink_to(tmp_path / "precious")
    assert remove_dead(tmp_path) == 0
    assert (tmp_path / "precious").exists()
    target = tmp_path / "file"
    target.touch()
    lock_of(path).unlink()
    lock_of(path).symlink_to(target)
    assert remove_dead(tmp_path) == 0
    assert target.exists()


def test_names_that_only_resemble_ours_stay(tmp_path: Path) -> None:
    names = ("wsiparse-stage_.lock", "wsiparse-stage_h_x_0123abcd.lock", "wsiparse-stage.svs", "wsiparse-stage_a.lock")
    for name in names:
        (tmp_path / name).touch()
    assert remove_dead(tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_a_folder_that_is_not_there_holds_nothing_dead(tmp_path: Path) -> None:
    assert remove_dead(tmp_path / "absent") == 0


def test_a_lock_file_taken_away_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process tidies up between the creation of the lock file and its locking."""
    real, taken = scratch._lock, []

    def late(handle: int, *, wait: bool) -> bool:
        if wait and not taken:
            taken.extend(tmp_path.glob("*.lock"))
            taken[0].unlink()
        return real(handle, wait=wait)

    monkeypatch.setattr(scratch, "_lock", late)
    folder = ScratchFolder(tmp_path)
    assert lock_of(folder.path).exists()
    assert lock_of(folder.path) not in taken
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_tidying_up_at_the_same_time_removes_each_folder_once_and_no_living_one(tmp_path: Path) -> None:
    for number in range(20):
        path = abandoned(tmp_path)
        path.rename(tmp_path / path.name.replace("0123abcd", f"{number:08x}"))
        lock_of(path).rename(lock_of(tmp_path / path.name.replace("0123abcd", f"{number:08x}")))
    start = threading.Barrier(4)

    def work(number: int) -> tuple[int, list[ScratchFolder]]:
        start.wait()
        mine = [ScratchFolder(tmp_path) for _ in range(5)] if number % 2 else []
        return remove_dead(tmp_path), mine

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(work, range(4)))
    assert sum(removed for removed, _ in done) == 20
    living = [folder for _, folders in done for folder in folders]
    assert len(living) == 10
    assert all(folder.path.is_dir() and lock_of(folder.path).exists() for folder in living)
    for folder in living:
        folder.remove()
        folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_does_not_remove_its_parents_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ScratchFolder(tmp_path)
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: folder._owner + 1)
        folder.remove()
    assert folder.path.is_dir()
    folder.remove()
    assert not folder.path.exists()


def test_nobody_else_may_look_into_the_folder(tmp_path: Path) -> None:
    folder = ScratchFolder(tmp_path / "made" / "too")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.remove()
    assert (tmp_path / "made" / "too").is_dir()
