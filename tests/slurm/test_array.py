"""`scripts/slurm_array.sbatch` on a real controller: stopped and requeued tasks, and the bytes of one plain run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from tests.slurm.controller import Slurm
from wsiparse.slides.synthetic import paint_he, write_svs

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

SCRIPT: Final = Path(__file__).resolve().parents[2] / "scripts" / "slurm_array.sbatch"
#: Small tiles, so that the largest slide has several chunks and a task can be stopped between them.
OPTIONS: Final = ("--engine", "embedded", "--tile-size", "256", "--overlap", "96")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six generated slides; the first, by far the largest, is the work of the first task."""
    folder = tmp_path_factory.mktemp("slides")
    write_svs(folder / "a.svs", np.tile(paint_he(1280, 1024, seed=1).image, (2, 2, 1)))
    for k, (width, height) in enumerate([(480, 448), (448, 448), (448, 384), (384, 384), (384, 352)]):
        write_svs(folder / f"{'bcdef'[k]}.svs", paint_he(width, height, seed=k + 2).image)
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk of the node; what is compiled once stays."""
    return tmp_path_factory.mktemp("local")


def published(results: Path) -> dict[str, bytes]:
    """Every file of the results that is a result: not the logs, nor what each run says about itself."""
    files = {p.relative_to(results).as_posix(): p for p in (results / "slides").rglob("*") if p.is_file()}
    files["summary.csv"] = results / "summary.csv"
    return {name: path.read_bytes() for name, path in files.items() if not name.endswith("/log.txt")}


def chunks(results: Path, slide: str) -> Iterator[Path]:
    """The chunks that are published of a slide under way."""
    return results.glob(f"slides/{slide}__*/work-*/scale-*/part-*.json")


class Site:
    """Submits from a folder of its own."""

    def __init__(self, slurm: Slurm, results: Path, local: Path) -> None:
        self.slurm, self.results = slurm, results
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{slurm.environment['PATH']}",
            "WSIPARSE_LOCAL": str(local),
        }

    def submit(self, tasks: int, *work: object) -> tuple[int, int]:
        """Numbers of the array job and of the job that joins."""
        limits = ("--cpus-per-task=1", "--mem=1500M", "--time=30")
        said = self.slurm.call(SCRIPT, "submit", tasks, *limits, "--", *work, "-o", self.results, *OPTIONS, **self.env)
        array, join = re.findall(r"job (\d+)", said)
        return int(array), int(join)

    def wait_for_a_chunk(self, job: int, task: int, slide: str) -> None:
        """Until the task has published a chunk and has more to do."""
        self.slurm.wait_until(lambda: any(chunks(self.results, slide)), f"chunk of {slide}.svs", 120)
        assert self.state(job)[task][0] == "RUNNING"

    def state(self, job: int) -> dict[int, tuple[str, str, int]]:
        """State, exit code and restarts of each task (0: not an array)."""
        return {
            int(task.get("ArrayTaskId", "0")): (task["JobState"], task["ExitCode"], int(task["Restarts"]))
            for task in self.slurm.tasks(job)
            if re.fullmatch(r"\d+", task.get("ArrayTaskId", "0"))  # tasks not begun share a record, "3-4"
        }

    def end(self, job: int) -> dict[int, tuple[str, str, int]]:
        self.slurm.wait(job, 300)
        return self.state(job)

    def log(self, job: int, task: int) -> str:
        return (self.results / "logs" / f"array-{job}_{task}.log").read_text(encoding="utf-8")


def test_an_array_with_a_requeued_task_gives_the_bytes_of_one_plain_run(
    slurm: Slurm, slides: Path, local: Path, tmp_path: Path, wsiparse: Callable[..., Any]
) -> None:
    site = Site(slurm, tmp_path / "array", local)
    array, join = site.submit(4, slides)
    site.wait_for_a_chunk(array, 1, "a")
    slurm.call("scontrol", "requeue", f"{array}_1")

    assert site.end(array) == {task: ("COMPLETED", "0:0", int(task == 1)) for task in (1, 2, 3, 4)}
    assert "turn 2" in site.log(array, 1)
    assert site.end(join) == {0: ("COMPLETED", "0:0", 0)}
    assert wsiparse("run", slides, "-o", tmp_path / "plain", *OPTIONS).code == 0
    plain, merged = published(tmp_path / "plain"), published(site.results)
    assert sorted(merged) == sorted(plain)
    assert [name for name in plain if merged[name] != plain[name]] == []
    (log,) = site.results.glob("slides/a__*/log.txt")
    assert "the rest is there" in log.read_text(encoding="utf-8")
    assert not [path for path in local.iterdir() if path.name.startswith("wsiparse-stage")]


def test_a_task_warned_of_its_time_limit_ends_with_143_and_the_same_command_goes_on(
    slurm: Slurm, slides: Path, local: Path, tmp_path: Path, wsiparse: Callable[..., Any]
) -> None:
    site = Site(slurm, tmp_path / "array", local)
    work = (slides / "a.svs", "--shard-by", "tiles")
    array, join = site.submit(2, *work)
    site.wait_for_a_chunk(array, 2, "a")
    # what --signal=B:TERM@120 sends when the limit is near: SIGTERM to the process of the batch script, no other
    slurm.call("scancel", "--batch", "--signal=TERM", f"{array}_2")

    ended = site.end(array)
    assert ended[1] == ("COMPLETED", "0:0", 0)
    assert ended[2] == ("FAILED", "143:0", 0)
    assert site.end(join) == {0: ("FAILED", "3:0", 0)}

    array, join = site.submit(2, *work)
    assert site.end(array) == dict.fromkeys((1, 2), ("COMPLETED", "0:0", 0))
    assert site.end(join) == {0: ("COMPLETED", "0:0", 0)}
    assert wsiparse("run", slides / "a.svs", "-o", tmp_path / "plain", *OPTIONS).code == 0
    assert published(site.results) == published(tmp_path / "plain")
