"""What napari is given: pictures, label images and points that lie on each other, in the colours of the classes."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.conftest import ROOT
from wsiparse.errors import OutputError
from wsiparse.napari.reader import get_reader, read_layers
from wsiparse.slides.synthetic import paint_he, write_svs
from wsiparse.store.read import ObjectsReader


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from wsiparse.cli.main import main

    place = tmp_path_factory.mktemp("napari")
    write_svs(place / "a.svs", paint_he(480, 400, seed=3).image)
    with pytest.raises(SystemExit) as stop:
        main(["run", str(place / "a.svs"), "-o", str(place / "results"), "--engine", "classical"])
    assert not stop.value.code
    return place / "results"


def slide_in(results: Path) -> Path:
    return next((results / "slides").iterdir())


def layers_of(results: Path, kind: str) -> list[tuple[Any, dict[str, Any]]]:
    return [(data, arguments) for data, arguments, own in read_layers(str(results)) if own == kind]


def test_the_manifest_names_the_reader_and_is_installed_with_the_package() -> None:
    path = ROOT / "wsiparse" / "napari" / "napari.yaml"
    manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    [command] = manifest["contributions"]["commands"]
    module, _, name = command["python_name"].partition(":")
    assert getattr(importlib.import_module(module), name) is get_reader
    [reader] = manifest["contributions"]["readers"]
    assert reader["command"] == command["id"]
    assert reader["accepts_directories"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'wsiparse = "wsiparse.napari:napari.yaml"' in project
    assert '"wsiparse.napari" = ["napari.yaml"]' in project


def test_only_results_are_ours(results: Path, tmp_path: Path) -> None:
    assert get_reader(str(results)) is read_layers
    assert get_reader([str(slide_in(results))]) is read_layers
    for other in (
        str(tmp_path),
        str(results.parent / "a.svs"),
        str(tmp_path / "nowhere"),
        [str(results), str(results)],
    ):
        assert get_reader(other) is None


def test_picture_labels_and_points_lie_on_each_other(results: Path) -> None:
    [(picture, placed)] = layers_of(results, "image")
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    um = [n * step for n, step in zip(picture.shape[:2], placed["scale"], strict=True)]
    assert um == pytest.approx([200.0, 240.0], abs=8.0)
    classes, arguments = next((d, a) for d, a in layers_of(results, "labels") if a["name"] == "cell classes")
    assert [level.shape for level in classes] == sorted((level.shape for level in classes), reverse=True)
    reader = ObjectsReader(slide_in(results) / "objects.zarr")
    shown = np.asarray(classes[0])
    total = hit = 0
    for (places, point), prompt in zip(layers_of(results, "points"), reader.prompts, strict=True):
        assert point["name"] == f"{prompt.class_name} (cells)"
        assert point["face_color"] == prompt.colour
        position = list(reader.prompts).index(prompt)
        assert arguments["colormap"][position + 1] == prompt.colour
        assert len(places) == len(point["features"]["detection_probability"])
        pixel = np.floor(places / np.array(arguments["scale"])).astype(int)
        total += len(places)
        hit += int((shown[pixel[:, 0], pixel[:, 1]] == position + 1).sum())
    assert total == reader.count("cell") > 20
    assert hit > 0.95 * total  # the middle of a bent nucleus may lie beside it


def test_instances_are_hidden_and_as_many_as_objects(results: Path) -> None:
    instances, arguments = next((d, a) for d, a in layers_of(results, "labels") if a["name"] == "cells")
    assert not arguments["visible"]
    ids = np.unique(np.asarray(instances[0]))
    assert len(ids) - 1 == ObjectsReader(slide_in(results) / "objects.zarr").count("cell")


def test_without_label_images_there_are_points(results: Path, tmp_path: Path, wsiparse: Callable) -> None:
    out = tmp_path / "r"
    assert wsiparse("run", results.parent / "a.svs", "-o", out, "--engine", "classical", "--no-labels").code == 0
    assert not layers_of(out, "labels")
    assert layers_of(out, "points")


def test_several_slides_none_and_damaged_ones_are_refused(results: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(results, tmp_path / "r"))
    slide = slide_in(mine)
    shutil.copytree(slide, mine / "slides" / f"{slide.name[:-8]}00000000")
    with pytest.raises(OutputError, match="2 finished slides"):
        read_layers(str(mine))
    assert read_layers(str(slide))
    next((slide / "objects.zarr").rglob("c/0")).write_bytes(b"")
    with pytest.raises(OutputError, match="damaged"):
        read_layers(str(slide))
    for folder in (mine / "slides").iterdir():
        (folder / "DONE.json").unlink()
    with pytest.raises(OutputError, match="no finished slide"):
        read_layers(str(mine))
