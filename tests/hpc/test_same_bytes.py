"""Whoever recognises the tiles, the results are the same to the last byte."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.hpc.runs import SETTINGS, command, digests, environment, run, start, wherever


@pytest.mark.parametrize("executor", [["threads", "-n", "1"], ["threads", "-n", "3"], ["local", "-n", "2"]])
def test_threads_and_local_processes_give_the_bytes_of_a_serial_run(
    executor: list[str], slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    done = run(slide, "-o", tmp_path / "r", "--scheduler", *executor, *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "r") == undisturbed
    [text] = (tmp_path / "r").glob("slides/*/log.txt")
    [total] = re.findall(r"waited for tiles .* of (\S+) thread-seconds", text.read_text(encoding="utf-8"))
    assert float(total) > 0


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def dask_cluster(folder: Path, workers: int, *options: str) -> Iterator[str]:
    """A `dask scheduler` and its `dask worker` processes, as a user starts them."""
    address = f"tcp://127.0.0.1:{free_port()}"
    dask = [sys.executable, "-m", "dask"]
    with ExitLog(folder) as log:
        begun = [
            subprocess.Popen(
                [*dask, "scheduler", "--host", "127.0.0.1", "--port", address.rsplit(":", 1)[1], "--no-dashboard"],
                stdout=log.file,
                stderr=log.file,
                env=environment(),
            )
        ]
        for _ in range(workers):
            begun.append(
                subprocess.Popen(
                    [*dask, "worker", address, "--no-dashboard", "--local-directory", str(folder), *options],
                    stdout=log.file,
                    stderr=log.file,
                    env=environment(),
                )
            )
        try:
            yield address
        finally:
            for process in reversed(begun):
                process.terminate()
            for process in begun:
                process.wait(30)


class ExitLog:
    """A log file that is shown when something fails in the block."""

    def __init__(self, folder: Path) -> None:
        self.file = (folder / "dask.log").open("w+", encoding="utf-8")

    def __enter__(self) -> ExitLog:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.file.seek(0)
            print(self.file.read())
        self.file.close()


@pytest.mark.parametrize(
    "options", [["--nthreads", "1"], ["--nthreads", "2", "--resources", "recognise=1"]], ids=["plain", "resources"]
)
def test_a_running_dask_cluster_gives_the_bytes_of_a_serial_run(
    options: list[str], slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    with dask_cluster(tmp_path, 2, *options) as address:
        done = run(slide, "-o", tmp_path / "r", "--scheduler", address, *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "r") == undisturbed


def test_no_dask_scheduler_at_an_address_is_one_line(slide: Path, tmp_path: Path) -> None:
    done = run(slide, "-o", tmp_path / "r", "--scheduler", "tcp://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: tcp://127.0.0.1:1: no Dask scheduler answers")


def test_tile_shards_merged_give_the_bytes_of_a_serial_run(
    slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    for i in (3, 1, 2):  # shards may run in any order
        done = run(slide, "-o", tmp_path / "r", "--shard", f"{i}/3", "--shard-by", "tiles", *SETTINGS)
        assert done.returncode == 0, done.stderr
    merged = subprocess.run(
        command("merge", tmp_path / "r"), env=environment(), capture_output=True, text=True, check=False
    )
    assert merged.returncode == 0, merged.stderr
    assert digests(tmp_path / "r") == undisturbed


def test_a_merge_with_a_shard_missing_says_so_and_goes_on_later(
    slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    def merge() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command("merge", tmp_path / "r"), env=environment(), capture_output=True, text=True, check=False
        )

    run(slide, "-o", tmp_path / "r", "--shard", "2/2", "--shard-by", "tiles", *SETTINGS)
    early = merge()
    assert early.returncode == 3
    # which of the two shares is the larger depends on the slide's name
    assert re.search(r"[23] of 5 parts are missing", early.stderr)
    run(slide, "-o", tmp_path / "r", "--shard", "1/2", "--shard-by", "tiles", *SETTINGS)
    assert merge().returncode == 0
    assert digests(tmp_path / "r") == undisturbed


def test_slide_shards_of_an_array_job_merged_give_the_bytes_of_one_run(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    for k in range(5):
        shutil.copy(slide, tmp_path / "slides" / f"s{k}.svs")
    whole = run(tmp_path / "slides", "-o", tmp_path / "whole", *SETTINGS)
    assert whole.returncode == 0, whole.stderr
    jobs = [
        start(
            tmp_path / "slides",
            "-o",
            tmp_path / "shards",
            "--shard",
            "auto",
            *SETTINGS,
            SLURM_ARRAY_TASK_ID=str(i),
            SLURM_ARRAY_TASK_MIN="0",
            SLURM_ARRAY_TASK_MAX="3",
            SLURM_ARRAY_TASK_COUNT="4",
        )
        for i in range(4)
    ]
    for job in jobs:
        _, err = job.communicate(timeout=300)
        assert job.returncode == 0, err
        assert "from SLURM_ARRAY_TASK_ID" in err
    assert not (tmp_path / "shards" / "summary.csv").exists(), "jobs of an array share no file"
    merged = subprocess.run(
        command("merge", tmp_path / "shards"), env=environment(), capture_output=True, text=True, check=False
    )
    assert merged.returncode == 0, merged.stderr
    assert digests(tmp_path / "shards") == digests(tmp_path / "whole")


def test_two_runs_at_once_on_one_results_folder_both_end_well(
    slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    for delay in (0.0, 0.4, 1.5):
        results = tmp_path / f"r{delay}"
        first = start(slide, "-o", results, *SETTINGS)
        time.sleep(delay)
        second = start(slide, "-o", results, *SETTINGS)
        said = [process.communicate(timeout=300) for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), said
        assert digests(results) == undisturbed
        assert not list(results.rglob("work-*"))


def test_a_slide_staged_on_local_disk_gives_the_same_bytes_and_leaves_nothing_there(
    slide: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    done = run(slide, "-o", tmp_path / "r", "--stage-dir", tmp_path / "node", *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "r") == undisturbed
    assert list((tmp_path / "node").iterdir()) == []


def test_a_slide_at_an_address_gives_the_same_bytes(slide: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """No line for each request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(slide.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{slide.name}"
        done = run(address, "-o", tmp_path / "r", *SETTINGS)
        missing = run(address.replace("slide.svs", "none.svs"), "-o", tmp_path / "m", *SETTINGS)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert wherever(digests(tmp_path / "r")) == wherever(undisturbed)
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: ")
