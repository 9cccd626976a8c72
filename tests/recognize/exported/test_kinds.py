"""Networks whose answers are known: hover, star and label maps become the nuclei that were painted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import wsiparse
from tests.recognize.exported.folders import script_bytes, write_exported
from tests.recognize.exported.test_energy import hover_maps
from tests.recognize.exported.test_engine import look
from tests.recognize.exported.test_star import inside
from tests.recognize.test_folder import same

TYPED = {"prompts": [{"class": "round", "text": "round cells", "colour": "#d55e00"}]}


class Hover(torch.nn.Module):
    """Red is foreground, green and blue are the places in the nucleus; channels np, h, v, and one class where v < 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :1], x[:, 1:] * 2 - 1], 1)


class Star(torch.nn.Module):
    """Red is how likely a pixel is a centre, green the radius in px."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x[:, :1] * 1, (x[:, 1:2] * 255).repeat(1, 32, 1, 1)


class Labels(torch.nn.Module):
    """Red is the label; two classes by green."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.round(x[:, :1] * 255), x[:, 1:2]], 1)


def cells(width: int, height: int, radius: int = 11, seed: int = 3) -> np.ndarray:
    """Labels of discs, some of which touch: the plane is shared out among centres that keep a distance."""
    rng = np.random.default_rng(seed)
    centres: list[tuple[float, float]] = []
    for _ in range(2000):
        y, x = rng.uniform(radius, height - radius), rng.uniform(radius, width - radius)
        if all((y - cy) ** 2 + (x - cx) ** 2 > (1.6 * radius) ** 2 for cy, cx in centres) and len(centres) < 60:
            centres.append((y, x))
    at = np.array(centres)
    y, x = np.mgrid[:height, :width]
    away = np.hypot(y - at[:, :1, None], x - at[:, 1:, None])
    return np.where(away.min(0) < radius, away.argmin(0) + 1, 0).astype(np.int32)


def iou_of_best(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of each true nucleus the largest intersection over union."""
    best = np.zeros(truth.max())
    for k in range(truth.max()):
        mine = truth == k + 1
        for other in np.unique(found[mine & (found > 0)]):
            theirs = found == other
            best[k] = max(best[k], (mine & theirs).sum() / (mine | theirs).sum())
    return best


def painted(analysis: wsiparse.Analysis, shape: tuple[int, int]) -> np.ndarray:
    """Label image of an analysis' objects, of pixels whose centre lies in the outline."""
    import shapely

    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for k, polygon in enumerate(analysis.polygons()):
        x0, y0, x1, y1 = (int(v) for v in polygon.bounds)
        part = (slice(y0, y1), slice(x0, x1))
        labels[part][shapely.contains_xy(polygon, x[part] + 0.5, y[part] + 0.5)] = k + 1
    return labels


def hover_folder(path: Path) -> Path:
    return write_exported(
        path, script_bytes(Hover()), "model.pt",
        output={"kind": "hover", "foreground": 0, "horizontal": 1, "vertical": 2}, split={"persistence": 30.0},
    )  # fmt: skip


def hover_picture(labels: np.ndarray) -> np.ndarray:
    foreground, horizontal, vertical = hover_maps(labels)
    maps = np.stack([foreground, horizontal / 2 + 0.5, vertical / 2 + 0.5], axis=-1)
    return np.rint(maps * 255).astype(np.uint8)


def test_hover_maps_become_the_nuclei_that_were_painted(tmp_path: Path) -> None:
    folder, truth = hover_folder(tmp_path / "m"), cells(420, 300)
    tables = [look(folder, hover_picture(truth), tile_size=tile) for tile in (192, 256, 512)]
    assert len(tables[0].cells) == truth.max()
    found = painted(tables[0], truth.shape)
    np.testing.assert_array_equal(found > 0, truth > 0)
    assert iou_of_best(found, truth).min() > 0.85
    assert same(tables[0].cells, tables[1].cells)
    assert same(tables[0].cells, tables[2].cells)


def test_star_candidates_become_the_stars_that_were_meant(tmp_path: Path) -> None:
    folder = write_exported(
        tmp_path / "m", script_bytes(Star()), "model.pt",
        output={"kind": "star", "foreground": None, "probability": 0, "rays": 1, "n_rays": 32},
    )  # fmt: skip
    rng = np.random.default_rng(1)
    picture = np.zeros((300, 420, 3), np.uint8)
    picture[..., 1] = rng.integers(5, 12, (300, 420))
    centres = [(y, x) for y in range(20, 300, 26) for x in range(20, 400, 26)]
    for y, x in centres:
        picture[y, x, 0] = 220
        picture[y + 1, x + 1, 0] = 180  # a second candidate of the same nucleus
    tables = [look(folder, picture, tile_size=tile) for tile in (192, 256, 512)]
    radii = np.array([picture[y, x, 1] for y, x in centres], float)
    assert len(tables[0].cells) == len(centres)
    order = np.lexsort(np.round((tables[0].cells.centroid - 20) / 26).T)
    area = {r: int(inside(15, 15, np.full(32, r), 31, 31).sum()) for r in np.unique(radii)}
    np.testing.assert_allclose(tables[0].cells.area_px[order], [area[r] for r in radii], atol=2)
    assert same(tables[0].cells, tables[1].cells)
    assert same(tables[0].cells, tables[2].cells)


def label_folder(path: Path) -> Path:
    return write_exported(
        path, script_bytes(Labels()), "model.pt",
        output={"kind": "instances", "foreground": None, "labels": 0, "classes": {1: "round"}}, **TYPED,
    )  # fmt: skip


def label_picture(truth: np.ndarray) -> np.ndarray:
    picture = np.zeros((*truth.shape, 3), np.uint8)
    picture[..., 0] = truth
    picture[..., 1] = np.where(truth > 0, 200, 0)
    return picture


def test_labels_become_just_these_objects(tmp_path: Path) -> None:
    folder, truth = label_folder(tmp_path / "m"), cells(420, 300)
    tables = [look(folder, label_picture(truth), tile_size=tile, min_area_um2=0) for tile in (192, 256, 512)]
    found = painted(tables[0], truth.shape)
    assert len(tables[0].cells) == truth.max()
    assert (iou_of_best(found, truth) == 1).all()
    assert set(tables[0].objects()["class"]) == {"Round"}
    assert same(tables[0].cells, tables[1].cells)
    assert same(tables[0].cells, tables[2].cells)


@pytest.mark.slow
def test_schedulers_and_shards_change_no_object_of_a_model_of_others(tmp_path: Path) -> None:
    folder, truth = hover_folder(tmp_path / "m"), cells(420, 300)
    Image.fromarray(hover_picture(truth)).save(tmp_path / "a.png")

    def command(*words: str) -> None:
        done = subprocess.run([sys.executable, "-m", "wsiparse", *words], cwd=tmp_path, capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr

    def run(name: str, *options: str) -> None:
        command("run", "a.png", "-o", name, "--engine", str(folder), "--slide-mpp", "0.5", "--whole-slide",
                "--tile-size", "192", "--device", "cpu", "--no-labels", *options)  # fmt: skip

    def read(name: str) -> list[list[object]]:
        table = wsiparse.read_objects(next((tmp_path / name / "slides").iterdir()))
        return [table[column].tolist() for column in ("id", "class", "area_px")]

    run("threads", "--scheduler", "threads", "-n", "2")
    assert len(read("threads")[0]) == truth.max()
    run("local", "--scheduler", "local", "-n", "2")
    assert read("local") == read("threads")
    for share in ("1/2", "2/2"):
        run("shards", "--scheduler", "serial", "--shard", share, "--shard-by", "tiles")
    command("merge", "shards")
    assert read("shards") == read("threads")
