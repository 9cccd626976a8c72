from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.train.painted import write_tiles
from wsiparse.errors import ConfigError
from wsiparse.train.data import read_sets
from wsiparse.train.recipe import Recipe, SetRecipe, load_recipe


def recipe(**sets: SetRecipe) -> Recipe:
    return Recipe(sets=sets)


def test_tiles_are_divided_by_the_beginnings_of_their_names(tmp_path: Path) -> None:
    write_tiles(tmp_path / "a", 12)
    (only,) = read_sets([tmp_path / "a"], recipe(a=SetRecipe(held_out=("tile_03", "tile_1"))))
    assert [t.name for t in only.held_out] == ["tile_03", "tile_10", "tile_11"]
    assert len(only.seen) == 9


def test_a_folder_without_a_recipe_holds_every_tenth_tile_out(tmp_path: Path) -> None:
    write_tiles(tmp_path / "a", 12)
    (only,) = read_sets([tmp_path / "a"], recipe())
    assert [t.name for t in only.held_out] == ["tile_00", "tile_10"]


def test_classes_follow_their_labels_whatever_the_ids(tmp_path: Path) -> None:
    drawn = np.zeros((6, 8), np.uint16)
    drawn[1:3, 1:3], drawn[4:6, 4:8] = 700, 20
    Image.fromarray(drawn).save(tmp_path / "t.label.png")
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "t.jpg")
    (tmp_path / "t.types.json").write_text('{"700": 2, "20": 4}')
    (only,) = read_sets([tmp_path], recipe(**{tmp_path.name: SetRecipe()}))
    (tile,) = only.seen
    assert tile.labels is not None
    assert tile.classes[tile.labels[1, 1]] == 2
    assert tile.classes[tile.labels[5, 5]] == 4
    assert tile.classes[tile.labels[0, 0]] == 0
    assert set(only.sha256) == {"t.jpg", "t.label.png", "t.types.json"}


def test_points_keep_their_classes(tmp_path: Path) -> None:
    write_tiles(tmp_path / "a", 1, points=True)
    (only,) = read_sets([tmp_path / "a"], recipe(a=SetRecipe()))
    rows = json.loads((tmp_path / "a" / "tile_00.points.json").read_text())
    points = only.seen[0].points
    assert points is not None
    np.testing.assert_array_equal(points, [row[:2] for row in rows])
    assert only.seen[0].classes.tolist() == [row[2] for row in rows]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda p: None, "no such folder"),
        (lambda p: p.mkdir(), "no annotated tile"),
        (lambda p: (write_tiles(p, 1), (p / "tile_00.png").write_bytes(b"no picture")), "tile_00.png: cannot be read"),
        (lambda p: (write_tiles(p, 1), (p / "tile_00.types.json").write_text("[1]")), "types.json: cannot be read"),
        (lambda p: (write_tiles(p, 1), (p / "tile_00.types.json").write_text("{")), "types.json: cannot be read"),
        (
            lambda p: (write_tiles(p, 1, points=True), (p / "tile_00.points.json").write_text("[[1, 2]]")),
            "points.json: cannot be read",
        ),
        (
            lambda p: (write_tiles(p, 1), Image.new("L", (5, 5)).save(p / "tile_00.label.png")),
            r"label.png: 5 x 5 px, but the tile has 96 x 96",
        ),
        (
            lambda p: (write_tiles(p, 1), Image.new("RGB", (96, 96)).save(p / "tile_00.label.png")),
            r"label.png: .*one channel",
        ),
    ],
)
def test_a_bad_tile_is_told_in_one_line_with_its_file(tmp_path: Path, fault: object, told: str) -> None:
    fault(tmp_path / "a")  # type: ignore[operator]
    with pytest.raises(ConfigError, match=told) as error:
        read_sets([tmp_path / "a"], recipe())
    assert "\n" not in str(error.value)
    assert str(tmp_path / "a") in str(error.value)


def test_sets_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    folders = [write_tiles(tmp_path / "deep" / "b", 1), write_tiles(tmp_path / "z" / "a", 1)]
    assert [s.name for s in read_sets(folders, recipe())] == ["a", "b"]


def test_a_folder_given_twice_and_one_all_held_out_are_refused(tmp_path: Path) -> None:
    write_tiles(tmp_path / "a", 2)
    with pytest.raises(ConfigError, match="two folders"):
        read_sets([tmp_path / "a", tmp_path / "a"], recipe())
    with pytest.raises(ConfigError, match="every tile is held out"):
        read_sets([tmp_path / "a"], recipe(a=SetRecipe(held_out=("tile",))))


def test_the_recipe_of_the_shipped_weights_is_one() -> None:
    shipped = load_recipe(ROOT / "configs" / "train_embedded.yaml")
    assert [c.name for c in shipped.classes] == ["epithelial", "inflammatory", "connective"]
    assert all(s.licence in ("Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0") for s in shipped.sets.values())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stepz: 5", "unknown key 'stepz'; did you mean 'steps'"),
        ("sets: {a: {shar: 1}}", "sets.a: unknown key 'shar'; did you mean 'share'"),
        ("steps: 0", "steps: "),
        ("crop_px: 100", "crop_px: "),
        ("sets: {a: {zoom: [1.2, 0.8]}}", "sets.a: "),
        ("outline_points_at: [1.5]", "outline_points_at"),
        ("classes: [{name: x, annotated: 1}, {name: x, annotated: 2}]", "classes: "),
        ("[1, 2]", "no mapping"),
        ("a: b: c", "not a YAML file"),
    ],
)
def test_a_wrong_recipe_is_told_in_one_line_with_its_key(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_recipe(tmp_path / "r.yaml")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_recipe_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the recipe"):
        load_recipe(tmp_path / "none.yaml")
