from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wsiparse.types import ClassCount, SlideSummary
from wsiparse.write.manifest import done_record, write_done
from wsiparse.write.publish import desk, publish_desk

SUMMARY = SlideSummary("s", "engine", 1.0, 0.0, (ClassCount("A", "cell", 1, 2.0, "found"),))


def fill(own: Path, digest: str, text: str, *more: str) -> None:
    """Results on a desk: a file, a folder, and DONE.json."""
    (own / "objects.zarr").mkdir()
    (own / "objects.zarr" / "zarr.json").write_text(text, encoding="ascii")
    for name in ("counts.csv", *more):
        (own / name).write_text(text, encoding="ascii")
    write_done(own, ["objects.zarr", "counts.csv", *more], digest, SUMMARY, {"unreadable": []})


def test_results_move_from_the_desk_and_the_desk_goes(tmp_path: Path) -> None:
    with desk(tmp_path / "slide") as own:
        fill(own, "d", "one")
        assert done_record(tmp_path / "slide") is None
        publish_desk(own, tmp_path / "slide", "d")
    assert sorted(p.name for p in (tmp_path / "slide").iterdir()) == ["DONE.json", "counts.csv", "objects.zarr"]
    assert done_record(tmp_path / "slide", "d") is not None


def test_new_results_replace_old_ones_and_what_only_those_had_goes(tmp_path: Path) -> None:
    for digest, text, more in (("d", "one", ["cells.part002.geojson.gz"]), ("e", "two", [])):
        with desk(tmp_path) as own:
            fill(own, digest, text, *more)
            (tmp_path / "exports").mkdir()
            publish_desk(own, tmp_path, digest)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["DONE.json", "counts.csv", "objects.zarr"]
    assert (tmp_path / "objects.zarr" / "zarr.json").read_text(encoding="ascii") == "two"
    assert done_record(tmp_path, "d") is None


def test_a_desk_that_is_not_published_leaves_the_old_results_alone(tmp_path: Path) -> None:
    with desk(tmp_path) as own:
        fill(own, "d", "one")
        publish_desk(own, tmp_path, "d")
    with desk(tmp_path) as own:
        (own / "counts.csv").write_text("half", encoding="ascii")
    assert done_record(tmp_path, "d") is not None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["DONE.json", "counts.csv", "objects.zarr"]


def test_many_publishing_the_same_results_at_once_leave_them_whole(tmp_path: Path) -> None:

    def one(start: threading.Barrier) -> None:
        with desk(tmp_path) as own:
            fill(own, "d", "same")
            start.wait()
            publish_desk(own, tmp_path, "d")

    for _ in range(10):
        start = threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, [start] * 4))
        assert done_record(tmp_path, "d") is not None
        assert sorted(p.name for p in tmp_path.iterdir()) == ["DONE.json", "counts.csv", "objects.zarr"]


def test_desks_of_dead_processes_of_this_machine_are_cleared_and_no_others(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    host = socket.gethostname()
    left = tmp_path / f".tmp-desk-{host}-{dead.stdout.decode().strip()}-0011"
    mine = tmp_path / f".tmp-desk-{host}-{os.getpid()}-0022"
    other = tmp_path / ".tmp-desk-elsewhere-1-0033"
    for path in (left, mine, other):
        path.mkdir()
    with desk(tmp_path):
        assert not left.exists()
        assert mine.exists()
        assert other.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../keep", "/", "a/../../keep"])
def test_what_a_record_from_elsewhere_names_outside_its_folder_stays(tmp_path: Path, name: str) -> None:
    slide, keep = tmp_path / "slide", tmp_path / "keep"
    keep.mkdir()
    with desk(slide) as own:
        fill(own, "d", "one")
        publish_desk(own, slide, "d")
    record = json.loads((slide / "DONE.json").read_text(encoding="utf-8"))
    record["files"][name] = {"bytes": 0}
    (slide / "DONE.json").write_text(json.dumps(record), encoding="utf-8")
    (slide / "mine.txt").touch()
    with desk(slide) as own:
        fill(own, "e", "two")
        publish_desk(own, slide, "e")
    assert keep.is_dir()
    assert (slide / "mine.txt").exists()
    assert done_record(slide, "e") is not None
