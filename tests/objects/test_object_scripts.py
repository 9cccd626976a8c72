"""The two scripts that show what the objects are worth: exactness on any field, quality on drawn nuclei."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.strategies import SHAPES, two_discs

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def call(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    return int(module.main())


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """All named shapes on one canvas, in three classes."""
    canvas = np.zeros((40, 8 * 22), np.uint8)
    for i, shape in enumerate(SHAPES):
        canvas[3:24, 22 * i + 1 : 22 * i + 21] = shape(21, 20) * (i % 3 + 1)
    path = tmp_path / "field.npy"
    np.save(path, canvas)
    return path


@pytest.mark.parametrize("kind", ["cells", "regions"])
def test_a_field_is_certified_when_all_settings_agree(
    field: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = call(load("certify_objects"), monkeypatch, field, "--classes", kind, "--blocks", "9,16", "--orders", "2")
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[-1] == "all the same"
    digests = {word for line in lines[1:-1] for word in line.split() if len(word) == 64}
    assert len(digests) == 1


def test_a_difference_to_the_reference_is_an_exit_code_of_1(
    field: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load("certify_objects")
    honest = module.whole_canvas
    monkeypatch.setattr(module, "whole_canvas", lambda *given: honest(*given).take(np.array([0])))
    assert call(module, monkeypatch, field, "--blocks", "16", "--orders", "1", "--threads", "1") == 1
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.parametrize("column", ["score", "mean_od"])
def test_a_column_that_depends_on_the_tiling_is_noticed(
    column: str, field: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The outlines agree, a column does not."""
    module = load("certify_objects")
    honest = module.stitched

    def off(layer: np.ndarray, od: np.ndarray, setting: object, *rest: object) -> object:
        table = honest(layer, od, setting, *rest)
        if setting.block_px == 16:  # type: ignore[attr-defined]
            getattr(table, column)[:] += 0.01
        return table

    monkeypatch.setattr(module, "stitched", off)
    assert call(module, monkeypatch, field, "--blocks", "9,16", "--orders", "1", "--threads", "1") == 1
    assert "DIFFERENT (columns)" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [np.zeros((3, 3), np.int64), np.zeros(3, np.uint8), np.zeros((0, 3), np.uint8)])
def test_what_is_no_class_map_is_refused(
    wrong: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "wrong.npy", wrong)
    assert call(load("certify_objects"), monkeypatch, tmp_path / "wrong.npy") == 2
    assert "expected an (H, W) uint8 class map" in capsys.readouterr().err


def test_drawn_nuclei_that_touch_are_scored_per_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    discs = two_discs(20, 39)
    drawn = discs * (1 + (np.arange(39) > 19)).astype(np.uint16)
    (tmp_path / "ours").mkdir()
    Image.fromarray(drawn.astype(np.uint16)).save(tmp_path / "ours" / "a_40x.label.png")
    assert call(load("evaluate_split"), monkeypatch, tmp_path, "--sets", "ours") == 0
    assert capsys.readouterr().out.startswith("ours F1 1.000 PQ ")
    assert call(load("evaluate_split"), monkeypatch, tmp_path, "--sets", "theirs") == 1


#: F1 at IoU > .5 under a perfect mask; docs/accuracy.md has them too.
FLOORS = {"consep": 0.870, "cpm15": 0.935, "gbm40": 0.965, "tcga_lgg": 0.970}


def test_real_drawn_nuclei_are_told_apart_as_well_as_stated(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(load("evaluate_split"), monkeypatch, shared / "data" / "annotated")
    found = {words[0]: float(words[2]) for words in map(str.split, capsys.readouterr().out.splitlines())}
    assert found.keys() == FLOORS.keys()
    assert all(found[name] >= floor for name, floor in FLOORS.items())
