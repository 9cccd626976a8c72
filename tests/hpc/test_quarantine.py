"""Chunks that end the process which computes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hpc.runs import SETTINGS, digests, run

#: Runs at the start of every Python process whose path names its folder: reading one spot of the slide ends a worker
#: process the way the kernel does when memory runs out, as often as the file `deaths` says.
FAULT = """
import os, signal, sys
if "spawn_main" in " ".join(sys.orig_argv):
    from pathlib import Path
    from wsiparse.slides import openslide
    read = openslide.OpenSlideSlide.read
    def deadly(self, box, frame):
        if frame.mean_mpp < 1 and box.x <= 700 < box.x1 and box.y <= 500 < box.y1:
            left = Path({deaths!r})
            if (n := int(left.read_text())) > 0:
                left.write_text(str(n - 1))
                os.kill(os.getpid(), signal.SIGKILL)
        return read(self, box, frame)
    openslide.OpenSlideSlide.read = deadly
"""


def deadly_environment(folder: Path, deaths: int) -> dict[str, str]:
    folder.mkdir()
    (folder / "deaths").write_text(str(deaths), encoding="ascii")
    (folder / "sitecustomize.py").write_text(FAULT.format(deaths=str(folder / "deaths")), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


LOCAL = ("--scheduler", "local", "-n", "2", "--reader", "openslide")


@pytest.fixture(scope="module")
def undisturbed_openslide(tmp_path_factory: pytest.TempPathFactory, slide: Path) -> dict[str, str]:
    results = tmp_path_factory.mktemp("openslide")
    assert run(slide, "-o", results, "--reader", "openslide", *SETTINGS).returncode == 0
    return digests(results)


def test_a_chunk_whose_worker_died_once_is_done_by_another(
    slide: Path, undisturbed_openslide: dict[str, str], tmp_path: Path
) -> None:
    fault = deadly_environment(tmp_path / "fault", 1)
    done = run(slide, "-o", tmp_path / "r", *LOCAL, *SETTINGS, **fault)
    assert (tmp_path / "fault" / "deaths").read_text(encoding="ascii") == "0", "the fault struck"
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "r") == undisturbed_openslide


def test_a_chunk_that_kills_its_workers_is_given_up_and_the_next_run_tries_it_again(
    slide: Path, undisturbed_openslide: dict[str, str], tmp_path: Path
) -> None:
    fault = deadly_environment(tmp_path / "fault", 2)
    done = run(slide, "-o", tmp_path / "r", *LOCAL, *SETTINGS, **fault)
    assert done.returncode == 3, done.stderr
    assert "64 UNREADABLE TILES" in done.stdout
    [record] = [json.loads(p.read_text(encoding="utf-8")) for p in (tmp_path / "r").glob("slides/*/DONE.json")]
    assert {u["reason"] for u in record["unreadable"]} == {
        "computing its chunk ended a worker process 2 times (out of memory, or a crash in a library)"
    }
    assert record["summary"]["unreadable_mm2"] > 0
    again = run(slide, "-o", tmp_path / "r", *LOCAL, *SETTINGS, **fault)
    assert again.returncode == 0, again.stderr
    assert digests(tmp_path / "r") == undisturbed_openslide
