"""Every call that writes fails once, or from then on: one line, nothing half-written, and the next run is right."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.hpc.runs import environment
from wsiparse.slides.synthetic import paint_he, write_svs

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD and /proc are Linux's")

#: Cores of 64 px on a slide of 320 x 256 px: 20 tiles.
SETTINGS = ("--engine", "classical", "--tile-size", "128", "--overlap", "64")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """fault.c, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    made = tmp_path_factory.mktemp("shim") / "fault.so"
    source = ROOT / "tests" / "hpc" / "fault.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"], check=True)
    return made


class Disk:
    """Commands whose disk fails at places that can be chosen."""

    def __init__(self, shim: Path, place: Path) -> None:
        self._shim, self._place = shim, place
        for k, seed in enumerate((5, 6)):
            write_svs(place / f"s{k}.svs", paint_he(320, 256, seed=seed).image)

    def run(self, *slides: str) -> list[str]:
        return ["run", *(str(self._place / f"{name}.svs") for name in slides), "-o", "RESULTS", *SETTINGS]

    def try_points(
        self, command: list[str], points: list[list[int]], start: Path | None = None
    ) -> list[dict[str, Any]]:
        plan = self._place / "plan.json"
        told = {"command": command, "points": points, "start": str(start) if start is not None else None}
        plan.write_text(json.dumps(told), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "tests.hpc.faulty", str(self._place), str(plan)],
            env=environment(LD_PRELOAD=str(self._shim)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        shutil.rmtree(self._place / "warm", ignore_errors=True)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(found) == len(points), done.stderr
        return found


@pytest.fixture
def disk(shim: Path, tmp_path: Path) -> Disk:
    return Disk(shim, tmp_path)


def check(found: list[dict[str, Any]], whole: dict[str, Any], codes: set[int]) -> None:
    for one in found:
        where = (one["point"], one["err"], one["again_err"])
        lines = one["err"].strip().splitlines()
        assert "Traceback" not in one["err"], where
        assert "no known kind" not in one["err"], where
        assert one["code"] in codes | {0}, where
        # a file that could not be closed well has its bytes all the same: then all is well, and nothing is said
        assert len(lines) == (one["code"] != 0), where
        assert not one["left"], where
        assert one["again"] == 0, where
        assert not one["left_again"], where
        # pages have the day they were made: after midnight they are others
        dated = () if one["day"] == whole["day"] else ("report.html",)
        made, right = ({k: v for k, v in of["digests"].items() if not k.endswith(dated)} for of in (one, whole))
        assert made == right, where


def points_of(calls: int, step: int, first: int = 0) -> list[list[int]]:
    """Every `step`-th call: an error of the disk, once; or a disk that is full from there on."""
    once = [[n, errno.EIO, 0] for n in range(first, calls, 2 * step)]
    return once + [[n, errno.ENOSPC, 1] for n in range(first + step, calls, 2 * step)]


def test_a_fault_at_some_places_of_a_run(disk: Disk) -> None:
    [whole] = disk.try_points(disk.run("s0"), [[-1, 0, 0]])
    assert whole["code"] == 0
    assert whole["calls"] > 300, "the shim sees what is written"
    found = disk.try_points(disk.run("s0"), points_of(whole["calls"], whole["calls"] // 9, 2))
    check(found, whole, {1, 3})
    assert sum(one["code"] != 0 for one in found) >= 5, "most of them are met"


def test_a_fault_at_some_places_of_an_export_and_a_report(disk: Disk, tmp_path: Path) -> None:
    from wsiparse.cli.main import main

    start = tmp_path / "start"
    with pytest.raises(SystemExit):
        main([word.replace("RESULTS", str(start)) for word in disk.run("s0")])
    for command in (["report", "RESULTS"], ["export", "RESULTS", "-f", "csv", "-f", "geojson"]):
        [whole] = disk.try_points(command, [[-1, 0, 0]], start)
        assert whole["code"] == 0
        check(disk.try_points(command, points_of(whole["calls"], max(1, whole["calls"] // 4)), start), whole, {1, 3})


@pytest.mark.nightly
@pytest.mark.parametrize("slides", [("s0",), ("s0", "s1")], ids=["one slide", "two slides"])
def test_a_fault_at_every_place_of_a_run(slides: tuple[str, ...], disk: Disk) -> None:
    [whole] = disk.try_points(disk.run(*slides), [[-1, 0, 0]])
    points = [
        [n, error, lasting] for n in range(whole["calls"]) for error, lasting in ((errno.EIO, 0), (errno.ENOSPC, 1))
    ]
    check(disk.try_points(disk.run(*slides), points), whole, {1, 3})
