from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.imports.files import outlines, qupath
from tests.train.painted import TINY, write_tiles
from wsiparse.cli.main import COMMANDS
from wsiparse.objects.scores import centroids_of
from wsiparse.slides.synthetic import paint_he

#: Commands whose example is about a results folder that is there already.
OF_RESULTS = {"ask", "mcp", "status", "merge", "verify", "export", "report", "view", "evaluate", "compare", "teach"}


def write_labels(path: Path) -> None:
    """Every painted nucleus of the demo slide by its kind."""
    painted = paint_he(640, 512, seed=7)
    ids, points = centroids_of(painted.labels)
    rows = [f"{x},{y},{'A' if painted.inflammatory[i - 1] else 'B'}" for i, (x, y) in zip(ids, points, strict=True)]
    path.write_text("\n".join(["x,y,class", *rows]))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_whose_example_works(
    name: str, wsiparse: Callable, demo_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = wsiparse(name, "--help")
    assert said.code == 0
    text = re.sub(r"\s+", " ", said.out)
    example = re.search(r"Example: wsiparse (.+?)(?= Options:)", text)
    assert example is not None, f"{name} --help ends its text with an example"
    if name == "view" and not (ROOT / "wsiparse" / "viewer" / "static" / "vendor").is_dir():
        pytest.skip("needs OpenSeadragon: run scripts/build_viewer.sh")
    (tmp_path / "slides").mkdir()
    shutil.copy(demo_slide, tmp_path / "slides")
    monkeypatch.chdir(tmp_path)
    if name in OF_RESULTS:
        assert wsiparse("run", "slides", "-o", "results").code == 0
    if name == "evaluate":
        (tmp_path / "truth").mkdir()
        (tmp_path / "truth" / "demo.points.csv").write_text("x,y,class\n300,250,Tumor\n")
    if name == "teach":
        (tmp_path / "labels").mkdir()
        write_labels(tmp_path / "labels" / "demo.points.csv")
    if name == "compare":
        shutil.copytree("results", "other_results")
    if name == "import":
        shutil.copy(demo_slide, tmp_path / "slide.svs")
        qupath(tmp_path / "cells.geojson", outlines(6))
    if name == "train":
        write_tiles(tmp_path / "tiles" / "mine", 2)
        (tmp_path / "recipe.yaml").write_text(json.dumps({**TINY, "steps": 2}))
    if name == "mcp":
        pytest.importorskip("mcp", reason="needs the package mcp: pip install 'wsiparse[mcp]'")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))  # it serves until this ends
    ran = wsiparse(*shlex.split(example.group(1)))
    assert ran.code == 0, ran.err


def test_the_list_of_commands_tells_what_each_does(wsiparse: Callable) -> None:
    said = wsiparse("--help")
    assert said.code == 0
    for name, (_, text) in COMMANDS.items():
        assert name in said.out
        assert text in said.out


def test_an_unknown_command_is_wrong_usage(wsiparse: Callable) -> None:
    assert wsiparse("rum").code == 2


def test_a_missing_argument_is_wrong_usage(wsiparse: Callable) -> None:
    assert wsiparse("run", "x.svs").code == 2


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return {line.split(".")[0] for line in out.stdout.splitlines()}


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not imported_by("import wsiparse") & {"torch", "dask", "numba", "zarr", "numpy", "scipy", "click"}


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    assert not imported_by("import wsiparse.cli.main") & {"torch", "dask", "numba", "zarr", "scipy", "pydantic"}


def test_every_public_name_resolves() -> None:
    import wsiparse

    assert list(wsiparse.__all__) == sorted(wsiparse.__all__)
    for name in wsiparse.__all__:
        assert getattr(wsiparse, name) is not None
