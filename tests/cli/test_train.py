from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.train.painted import TINY, write_tiles


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({**TINY, "steps": 4, "measure_every": 2}))
    return path


def test_progress_tells_the_step_the_loss_and_held_out_figures(
    wsiparse: Callable, tmp_path: Path, recipe: Path
) -> None:
    tiles = write_tiles(tmp_path / "mine", 3)
    said = wsiparse("train", tiles, "-o", tmp_path / "model", "--recipe", recipe, "--device", "cpu", "--threads", 1)
    assert said.code == 0, said.err
    assert said.out.strip() == f"trained -> {tmp_path / 'model'}"
    assert "mine: 2 tiles to learn from, 1 held out" in said.err
    assert re.search(r"^step 2/4: loss \d+\.\d{3}", said.err, re.MULTILINE)
    assert re.search(r"^step 4/4: loss \d+\.\d{3}, \d+\.\d\d s a step, 0 min left$", said.err, re.MULTILINE)
    assert len(re.findall(r"^  mine \(held out\): .*epithelial f1 \d", said.err, re.MULTILINE)) == 2
    again = wsiparse("train", tiles, "-o", tmp_path / "model", "--recipe", recipe, "--device", "cpu", "--threads", 1)
    assert again.code == 0
    assert again.out.strip() == f"nothing to do: it is trained -> {tmp_path / 'model'}"


def test_steps_given_win_over_the_recipe(wsiparse: Callable, tmp_path: Path, recipe: Path) -> None:
    tiles = write_tiles(tmp_path / "mine", 2)
    said = wsiparse("train", tiles, "-o", tmp_path / "model", "--recipe", recipe, "--steps", 2, "--device", "cpu")
    assert said.code == 0, said.err
    assert "steps: 2\n" in (tmp_path / "model" / "recipe.yaml").read_text()


def test_known_faults_are_one_line(wsiparse: Callable, tmp_path: Path, recipe: Path) -> None:
    tiles = write_tiles(tmp_path / "mine", 2)
    (tmp_path / "file").write_text("")
    for arguments, told in (
        ((tmp_path / "none", "-o", tmp_path / "m"), "no such folder"),
        ((tiles, "-o", tmp_path / "m", "--recipe", tmp_path / "none.yaml"), "cannot read the recipe"),
        ((tiles, "-o", tmp_path / "m", "--device", "gpu7"), "device 'gpu7' is unknown"),
        ((tiles, "-o", tmp_path / "file", "--recipe", recipe), str(tmp_path / "file")),
    ):
        said = wsiparse("train", *arguments)
        assert said.code == 1
        last = said.err.strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert told in last
    assert wsiparse("train", tiles).code == 2
    assert wsiparse("train", "-o", tmp_path / "m").code == 2
