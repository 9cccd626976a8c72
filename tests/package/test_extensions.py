"""A package of somebody else, installed beside this one: its engine, reader and format work without an edit here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.docs.pages import fences
from wsiparse.slides.synthetic import paint_he

POINTS = """[wsiparse.engines]
darkness = stranger.darkness:ENGINE
[wsiparse.readers]
npy = stranger.npy:READER
broken = stranger.absent:READER
odd = stranger.darkness:ENGINE
openslide = stranger.npy:READER
[wsiparse.formats]
points = stranger.points:FORMAT
broken = stranger.absent:FORMAT
csv = stranger.points:FORMAT
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the examples of docs/extending.md are a package, with broken entry points beside them."""
    site = tmp_path_factory.mktemp("site")
    package = site / "stranger"
    package.mkdir()
    (package / "__init__.py").touch()
    examples = fences((ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), "python")
    for name, text in zip(("npy", "darkness", "points"), examples, strict=True):
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    facts = site / "stranger-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def told(installed: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wsiparse", *map(str, arguments)],
        env=installed, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_strangers_reader_engine_and_format_are_run_reported_and_exported(
    installed: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "slides").mkdir()
    np.save(tmp_path / "slides" / "a.npy", paint_he(320, 256, seed=3).image)
    results = tmp_path / "r"
    done = told(
        installed, "run", tmp_path / "slides", "-o", results, "--engine", "darkness", "--slide-mpp", "0.5",
        "--whole-slide", "--scheduler", "serial", "--no-labels",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr.replace("compiling, once: the first run on a machine takes a minute or two longer\n", "")
    [folder] = (results / "slides").iterdir()
    numbers = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert (numbers["engine"], numbers["slide"]["reader"]) == ("darkness, not BiomedParse", "npy")
    wrote = told(installed, "export", results, "--format", "points", "--format", "csv")
    assert wrote.returncode == 0, wrote.stderr
    lines = (folder / "exports" / "points.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == sum(row["n"] for row in numbers["rows"]) > 0
    assert (folder / "exports" / "objects.csv").exists(), "a stranger does not replace a format of this package"


def test_strangers_are_listed_and_broken_ones_cost_one_line(installed: dict[str, str], tmp_path: Path) -> None:
    assert "points" in told(installed, "export", "--help").stdout
    assert "npy" in told(installed, "run", "--help").stdout
    np.save(tmp_path / "a.npy", paint_he(64, 64, seed=3).image)
    for reader, message in (
        ("broken", "reader 'broken' is registered as stranger.absent:READER, which cannot be loaded"),
        ("odd", "reader 'odd' is registered as stranger.darkness:ENGINE, which is no DeclaredReader of that name"),
        ("other", "'other' is not one of"),
    ):
        said = told(installed, "info", tmp_path / "a.npy", "--reader", reader, "--slide-mpp", "0.5")
        assert said.returncode in (1, 2)
        assert message in said.stderr
        assert "Traceback" not in said.stderr
    said = told(installed, "export", tmp_path, "--format", "broken")
    assert said.returncode == 1
    assert said.stderr.startswith(
        "error: format 'broken' is registered as stranger.absent:FORMAT, which cannot be loaded"
    )
    assert len(said.stderr.splitlines()) == 1
    assert told(installed, "info", tmp_path / "a.npy", "--slide-mpp", "0.5").returncode == 0
