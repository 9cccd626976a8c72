"""Notebooks are run cell by cell in one namespace, a cell's last expression being what it shows, as Jupyter does."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL.Image import Image

import wsiparse
from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))


def cells_of(name: str) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads((FOLDER / name).read_text(encoding="utf-8"))["cells"]
    return cells


class Executed(NamedTuple):
    names: dict[str, Any]
    shown: list[Any]
    folder: Path


def execute(name: str, folder: Path) -> Executed:
    """What the names stand for in the end, and what the cells showed."""
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, cell in enumerate(cells_of(name)):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        where = f"{name}, cell {number}"
        exec(compile(tree, where, "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), where, "eval"), names))
    return Executed(names, shown, folder)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return execute("slide_to_report.ipynb", folder)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_without_outputs_in_the_format_that_jupyter_reads(name: str) -> None:
    notebook = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        keys = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            keys |= {"execution_count", "outputs"}
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        assert set(cell) == keys


def test_the_notebook_ends_in_results_on_disk(executed: Executed) -> None:
    folder = executed.folder / executed.names["folder"]
    assert folder.is_dir()
    assert (folder / "report.html").is_file()


def test_it_shows_tables_and_a_picture(executed: Executed) -> None:
    tables = [value for value in executed.shown if isinstance(value, pd.DataFrame)]
    assert len(tables) >= 4
    assert all(len(table) for table in tables)
    (picture,) = (value for value in executed.shown if isinstance(value, Image))
    assert picture.size == (512, 512)
    assert np.asarray(picture).std() > 10


def test_its_densities_are_counts_over_analysed_tissue(executed: Executed) -> None:
    folder = executed.folder / executed.names["folder"]
    objects = wsiparse.read_objects(folder)
    area = executed.names["report"]["area"]["analysed_mm2"]
    density = executed.names["density"].set_index("class")
    for name in objects.class_names:
        n = int((objects["class"] == name).sum())
        assert density.loc[name, "n"] == n > 0
        assert density.loc[name, "density_per_mm2"] == pytest.approx(n / area, rel=1e-4)


def test_its_last_table_compares_with_the_painted_truth(executed: Executed) -> None:
    last, painted = executed.shown[-1].set_index("class"), executed.names["painted"]
    assert last.loc["all nuclei", "true"] == len(painted.truth)
    assert last.loc["all nuclei", "found"] == len(executed.names["table"])
    assert last[["precision", "recall"]].to_numpy().min() >= 0
    assert last[["precision", "recall"]].to_numpy().max() <= 1
