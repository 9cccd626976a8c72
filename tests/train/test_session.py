from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.train.painted import TINY, painted, write_tiles
from wsiparse.errors import OutputError
from wsiparse.recognize.embedded.compact import load_compact
from wsiparse.train.loop import Progress
from wsiparse.train.recipe import Recipe, SetRecipe
from wsiparse.train.session import train_model


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Outlines with classes, and points of which the recipe makes outlines on the way."""
    folder = tmp_path_factory.mktemp("tiles")
    return [write_tiles(folder / "drawn", 6), write_tiles(folder / "dots", 3, points=True, first=50)]


def recipe(**changes: object) -> Recipe:
    sets = {"drawn": SetRecipe(share=2, held_out=("tile_00",), licence="CC0-1.0"), "dots": SetRecipe()}
    return Recipe.model_validate({**TINY, "outline_points_at": (0.4, 0.7), "sets": sets, **changes})


class KilledError(Exception):
    """Thrown where a process would be gone."""


def killed_at(step: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step >= step:
            raise KilledError

    return report


@pytest.fixture(scope="module")
def undisturbed(tiles: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("models") / "my-nuclei"
    assert train_model(tiles, recipe(), output)
    return output


def test_a_model_folder_is_whole_and_says_what_it_is_made_of(undisturbed: Path) -> None:
    names = {p.name for p in undisturbed.iterdir()}
    assert names == {"model.yaml", "weights.safetensors", "data.json", "recipe.yaml", "figures.json", "curves.png"}
    card = yaml.safe_load((undisturbed / "model.yaml").read_text())
    content = (undisturbed / "weights.safetensors").read_bytes()
    assert card["weights"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["output"]["classes"] == {3: "epithelial", 4: "inflammatory", 5: "connective"}
    assert card["licence"] == "CC0-1.0, not stated"
    network = load_compact(content)
    assert card["input"]["halo_px"] == network.shape.reach_px
    data = json.loads((undisturbed / "data.json").read_text())
    assert [(d["set"], d["tiles"], d["held_out"]) for d in data] == [("dots", 3, []), ("drawn", 5, ["tile_00"])]
    assert data[1]["nuclei"] == sum(len(painted(k)[2]) for k in range(1, 6))
    assert len(data[1]["sha256"]) == 18
    with Image.open(undisturbed / "curves.png") as picture:
        assert picture.size[0] > 300


def test_a_stopped_training_goes_on_to_the_weights_of_an_undisturbed_one(
    tiles: list[Path], undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "my-nuclei"
    for step in (20, 40):  # before and after points got outlines; the second is the last step, not yet saved
        with pytest.raises(KilledError):
            train_model(tiles, recipe(), output, report=killed_at(step))
        assert not (output / "model.yaml").exists()
    assert train_model(tiles, recipe(), output)
    for name in ("weights.safetensors", "figures.json", "model.yaml", "curves.png"):
        assert (output / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_a_finished_model_is_left_as_it_is_and_another_training_does_not_replace_it(
    tiles: list[Path], undisturbed: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in undisturbed.iterdir()}
    assert not train_model(tiles, recipe(), undisturbed)
    with pytest.raises(OutputError, match="holds another model"):
        train_model(tiles, recipe(seed=5), undisturbed)
    assert {p: p.stat().st_mtime_ns for p in undisturbed.iterdir()} == before


def test_a_stopped_training_is_not_overwritten_by_another_one(tiles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        train_model(tiles, recipe(), tmp_path / "m", report=killed_at(20))
    with pytest.raises(OutputError, match="stopped training of other tiles or by another recipe"):
        train_model(tiles[:1], recipe(), tmp_path / "m")


def test_a_damaged_checkpoint_is_told(tiles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        train_model(tiles, recipe(), tmp_path / "m", report=killed_at(20))
    (tmp_path / "m" / "training" / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(OutputError, match="cannot go on from this checkpoint"):
        train_model(tiles, recipe(), tmp_path / "m")


def test_another_seed_gives_other_weights(tiles: list[Path], undisturbed: Path, tmp_path: Path) -> None:
    train_model(tiles, recipe(seed=5), tmp_path / "m")
    assert (tmp_path / "m" / "weights.safetensors").read_bytes() != (undisturbed / "weights.safetensors").read_bytes()


def test_a_small_training_learns_to_find_and_name_painted_nuclei(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "drawn", 12)
    longer = recipe(steps=240, batch=4, average=0.97, measure_every=240, ink=0.0, bare=0.0)
    losses: list[float] = []
    train_model([folder], longer, tmp_path / "m", report=lambda p: losses.append(p.losses["total"]))
    figures = json.loads((tmp_path / "m" / "figures.json").read_text())["held_out"]["drawn"]
    assert losses[-1] < losses[0] / 2
    assert figures["f1"] > 0.85
    assert min(figures[f"{name}_f1"] for name in ("epithelial", "inflammatory", "connective")) > 0.6


def test_classes_that_nobody_annotated_are_not_claimed(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "drawn", 3, typed=False)
    said: list[str] = []
    train_model([folder], recipe(steps=2, sets={}), tmp_path / "m", say=said.append)
    card = yaml.safe_load((tmp_path / "m" / "model.yaml").read_text())
    assert card["output"]["classes"] == {}
    assert sum(line.startswith("notice: no nucleus of class") for line in said) == 3
    assert load_compact((tmp_path / "m" / "weights.safetensors").read_bytes()).shape.classes == 0


def test_a_set_of_the_recipe_that_was_not_given_is_told(tiles: list[Path], tmp_path: Path) -> None:
    said: list[str] = []
    train_model(tiles[:1], recipe(steps=1), tmp_path / "m", say=said.append)
    assert "notice: the recipe has a set dots, but no folder of that name was given" in said
    assert list(yaml.safe_load((tmp_path / "m" / "recipe.yaml").read_text())["sets"]) == ["drawn"]


def test_a_killed_process_goes_on_to_the_same_weights(tiles: list[Path], undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe().model_dump(mode="json")))
    output = tmp_path / "my-nuclei"
    arguments = ["train", *map(str, tiles), "-o", str(output), "--recipe", str(tmp_path / "recipe.yaml")]
    command = [sys.executable, "-m", "wsiparse", *arguments, "--device", "cpu", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        checkpoint = output / "training" / "checkpoint.safetensors"
        while process.poll() is None and not checkpoint.exists():
            pass
        os.kill(process.pid, signal.SIGKILL)
    subprocess.run(command, check=True, capture_output=True)
    for name in ("weights.safetensors", "model.yaml"):
        assert (output / name).read_bytes() == (undisturbed / name).read_bytes(), name
