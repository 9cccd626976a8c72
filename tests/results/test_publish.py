from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from wsiparse.atomic import one_at_a_time, temporary_name
from wsiparse.errors import OutputError
from wsiparse.results.folder import done_record, own_record, write_done
from wsiparse.results.publish import publish_staged, staging
from wsiparse.results.whole import check_whole
from wsiparse.types import ClassCount, SlideSummary

SUMMARY = SlideSummary("s", "engine", 1.0, 0.0, (ClassCount("A", "cell", 1, 2.0, "found"),))


def fill(own: Path, digest: str, text: str, *more: str) -> None:
    """Results on a desk: a file, a folder, and DONE.json."""
    (own / "objects.zarr").mkdir()
    (own / "objects.zarr" / "zarr.json").write_text(text, encoding="ascii")
    for name in ("counts.csv", *more):
        (own / name).write_text(text, encoding="ascii")
    write_done(own, ["objects.zarr", "counts.csv", *more], digest, SUMMARY, {"unreadable": []})


def test_results_move_from_the_desk_and_the_desk_goes(tmp_path: Path) -> None:
    with staging(tmp_path / "slide") as own:
        fill(own, "d", "one")
        assert done_record(tmp_path / "slide") is None
        publish_staged(own, tmp_path / "slide", "d")
    assert sorted(p.name for p in (tmp_path / "slide").iterdir()) == ["DONE.json", "counts.csv", "objects.zarr"]
    assert done_record(tmp_path / "slide", "d") is not None


def test_new_results_replace_old_ones_and_what_only_those_had_goes(tmp_path: Path) -> None:
    for digest, text, more in (("d", "one", ["cells.part002.geojson.gz"]), ("e", "two", [])):
        with staging(tmp_path) as own:
            fill(own, digest, text, *more)
            (tmp_path / "exports").mkdir()
            publish_staged(own, tmp_path, digest)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["DONE.json", "counts.csv", "objects.zarr"]
    assert (tmp_path / "objects.zarr" / "zarr.json").read_text(encoding="ascii") == "two"
    assert done_record(tmp_path, "d") is None


def test_a_desk_that_is_not_published_leaves_the_old_results_alone(tmp_path: Path) -> None:
    with staging(tmp_path) as own:
        fill(own, "d", "one")
        publish_staged(own, tmp_path, "d")
    with staging(tmp_path) as own:
        (own / "counts.csv").write_text("half", encoding="ascii")
    assert done_record(tmp_path, "d") is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["DONE.json", "counts.csv", "objects.zarr"]


def test_many_publishing_the_same_results_at_once_leave_them_whole(tmp_path: Path) -> None:

    def one(start: threading.Barrier) -> None:
        with staging(tmp_path) as own:
            fill(own, "d", "same")
            start.wait()
            publish_staged(own, tmp_path, "d")

    for _ in range(10):
        start = threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, [start] * 4))
        assert done_record(tmp_path, "d") is not None
        assert sorted(p.name for p in tmp_path.iterdir()) == ["DONE.json", "counts.csv", "objects.zarr"]


def test_what_dead_processes_of_this_machine_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    name = temporary_name("staging")
    left = [name.replace(f"-{os.getpid()}-", f"-{dead.stdout.decode().strip()}-"), ""]
    left[1] = left[0].replace("staging", "summary.csv")
    kept = [name, ".tmp-01234567-1-89abcdef-staging", ".tmp-x", ".tmp-demo", "notes.txt"]
    for entry in (left[0], *kept[:2]):
        (tmp_path / entry).mkdir()
    for entry in (left[1], *kept[2:]):
        (tmp_path / entry).touch()
    with staging(tmp_path) as own:
        assert {path.name for path in tmp_path.iterdir()} == {*kept, own.name}


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.parametrize("verb", ["export", "report"])
def test_a_killed_export_or_report_is_cleaned_up_by_the_next_one(
    verb: str, demo_slide: Path, wsiparse: Callable, tmp_path: Path
) -> None:
    """Killed while it writes, by a signal that nobody can catch."""
    results = tmp_path / "r"
    assert wsiparse("run", demo_slide, "-o", results, "--engine", "classical").code == 0
    arguments = (verb, str(results), *(("-f", "csv") if verb == "export" else ()))
    script = (
        "import os, signal, sys\n"
        "from wsiparse import atomic\n"
        "atomic._sync_file = lambda path: os.kill(os.getpid(), signal.SIGKILL)\n"
        "atomic.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from wsiparse.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(results.rglob(".tmp-*"))
    assert wsiparse(*arguments).code == 0
    assert not list(results.rglob(".tmp-*"))


@pytest.mark.parametrize("name", ["", ".", "..", "../keep", "/", "a/../../keep"])
def test_what_a_record_from_elsewhere_names_outside_its_folder_stays(tmp_path: Path, name: str) -> None:
    slide, keep = tmp_path / "slide", tmp_path / "keep"
    keep.mkdir()
    with staging(slide) as own:
        fill(own, "d", "one")
        publish_staged(own, slide, "d")
    record = json.loads((slide / "DONE.json").read_text(encoding="utf-8"))
    record["files"][name] = {"bytes": 0}
    (slide / "DONE.json").write_text(json.dumps(record), encoding="utf-8")
    (slide / "mine.txt").touch()
    with staging(slide) as own:
        fill(own, "e", "two")
        publish_staged(own, slide, "e")
    assert keep.is_dir()
    assert (slide / "mine.txt").exists()
    assert done_record(slide, "e") is not None


def publish_often(folder: Path, name: str, start: Any) -> None:
    """In a process of its own: results of one kind, again and again, whoever else publishes there."""
    start.wait()
    for k in range(25):
        with staging(folder) as own:
            fill(
                own,
                f"{name}{k}",
                f"{name}{k}",
                *(f"cells.part{i:03}.geojson.gz" for i in range(5 if name == "a" else 9)),
            )
            publish_staged(own, folder, f"{name}{k}")


@pytest.mark.skipif(os.name == "nt", reason="needs the lock")
def test_two_processes_that_replace_each_other_s_results_leave_those_of_one(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    both = [spawn.Process(target=publish_often, args=(tmp_path, name, start)) for name in "ab"]
    for process in both:
        process.start()
    start.wait()
    seen = 0
    while any(process.is_alive() for process in both):
        with suppress(OutputError), one_at_a_time(tmp_path):
            record = own_record(tmp_path)
            if record is not None:
                seen += 1
                entries = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".tmp-")}
                assert entries == {*record["files"], "DONE.json"}
                check_whole(tmp_path, *record["files"])
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert seen > 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp-")) == []


def test_a_lock_of_a_process_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".tmp-publishing.lock").touch()
    with one_at_a_time(tmp_path):
        assert (tmp_path / ".tmp-publishing.lock").exists() or os.name == "nt"
    assert not list(tmp_path.glob(".tmp-*")) or os.name == "nt"


def test_a_file_system_without_locks_is_used_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with staging(tmp_path / "slide") as own:
        fill(own, "d", "one")
        publish_staged(own, tmp_path / "slide", "d")
    assert done_record(tmp_path / "slide", "d") is not None
