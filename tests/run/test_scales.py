"""Two scales in one run: cells and regions seen at different microns per pixel, with recognition scores."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import zarr

import wsiparse
from tests.exact_engine import COLOURS, INFO, STROMA, ExactRecognizer
from wsiparse.config import RunConfig
from wsiparse.coords import Frame
from wsiparse.errors import ConfigError
from wsiparse.parallel.dask import LocalExecutor
from wsiparse.parallel.progress import Quiet
from wsiparse.recognize import base
from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.embedded.folder import FolderEngine
from wsiparse.recognize.stain import od_bytes
from wsiparse.report.stats.summary import summarise
from wsiparse.run import engine as engine_module
from wsiparse.run import tiles
from wsiparse.run.engine import Engine
from wsiparse.run.pipeline import analyse
from wsiparse.run.slide import Job, RunSetup, run_slide
from wsiparse.slides import MemorySlide
from wsiparse.slides.synthetic import write_svs
from wsiparse.types import ObjectTable, Prompt, PromptSet, RecognitionGrid, RecognizerSpec, TileGrid

CONFIG = RunConfig.model_validate(
    {
        "engine": "embedded",
        "whole_slide": True,
        "block_size": 100,
        "prompts": [
            {"text": "a", "class_name": "Cells", "kind": "cell"},
            {"text": "b", "class_name": "Glands", "kind": "region"},
        ],
    }
)


def picture() -> np.ndarray:
    """Cells of 8 x 8 px and one region of 200 x 120 px with a hole of 40 x 40, all on even coordinates."""
    image = np.empty((400, 600, 3), np.uint8)
    image[:] = STROMA
    image[100:220, 300:500] = COLOURS[1]
    image[140:180, 360:400] = STROMA
    for y in range(20, 380, 40):
        image[y : y + 8, 40:48] = COLOURS[0]
    return image


class Judged(ExactRecognizer):
    """Exact, of one prompt's colour only, with statistics that tell tiles apart."""

    def __init__(self, prompts: PromptSet) -> None:
        super().__init__(prompts)
        self._texts = [p.text for p in prompts]

    def with_prompts(self, prompts: PromptSet) -> Judged:
        return Judged(prompts)

    def __call__(self, images: np.ndarray):
        colours = [COLOURS["ab".index(text)] for text in self._texts]
        hits = np.stack([np.all(images == np.array(c, np.uint8), axis=-1) for c in colours], axis=1)
        drawn = hits.any(axis=(2, 3))[..., None].astype(np.float32)
        return replace(
            ExactRecognizer.__call__(self, images),
            probabilities=hits.astype(np.float32),
            statistics=drawn.repeat(4, -1),
        )


@pytest.fixture(autouse=True)
def two_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    def scales(spec: RecognizerSpec, mpp: float | None = None):
        parts = []
        for k, at in ((0, 0.5), (1, 1.0)):
            own = replace(spec, prompts=PromptSet((spec.prompts[k],)))
            parts.append(((k,), own, replace(INFO, mpp=at, tile_px=128)))
        return tuple(parts)

    def recognition_scores(spec, positions, grid, tiles):
        shape = (len(positions), grid.rows, grid.columns)
        statistics = np.full((*shape, 4), np.nan, np.float32)
        for index, values in tiles:
            statistics[:, index // grid.columns, index % grid.columns] = values
        scores = np.where(np.isnan(statistics[..., 0]), np.nan, 0.0).astype(np.float32)
        scores[:, 0] += 0.9  # the first row of tiles is sure, the rest is not
        return RecognitionGrid(positions, grid, statistics, scores)

    monkeypatch.setattr(engine_module, "check_prompts", lambda spec: None)
    monkeypatch.setattr(FolderEngine, "scale_guess", lambda self, recognizer, look: None)  # no nuclei here
    monkeypatch.setattr(DeclaredEngine, "completed", lambda self, asked, *, strict=False: (tuple(asked), ()))
    monkeypatch.setattr(engine_module, "scales_of", scales)
    monkeypatch.setattr(tiles, "recognition_grid", recognition_scores)
    monkeypatch.setattr(engine_module, "load_recognizer", lambda spec: Judged(spec.prompts))


def test_each_kind_has_its_own_frame_and_exact_level0_areas() -> None:
    result = analyse(MemorySlide(picture(), 0.5), CONFIG)
    assert (result.frames["cell"].downsample, result.frames["region"].downsample) == ((1.0, 1.0), (2.0, 2.0))
    assert (len(result.cells), len(result.regions)) == (9, 1)
    assert set(result.cells.area_px.tolist()) == {64}
    assert set(result.cells.class_id.tolist()) == {1}
    assert set(result.regions.class_id.tolist()) == {2}
    [gland] = shapely.from_ragged_array(shapely.GeometryType.POLYGON, *result.regions.ragged(result.frames["region"]))
    expected = shapely.box(300, 100, 500, 220).difference(shapely.box(360, 140, 400, 180))
    assert gland.equals(expected)


def test_the_network_is_loaded_once_and_shared_by_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(engine_module, "load_recognizer", lambda spec: loaded.append(spec) or Judged(spec.prompts))
    engine = Engine(CONFIG)
    for _ in range(2):
        for scale in engine.scales:
            engine.recognizers.of(scale.spec)
    assert len(loaded) == 1


def test_a_run_writes_both_kinds_and_the_scores(tmp_path: Path) -> None:
    write_svs(tmp_path / "s.svs", picture(), compression=None)
    outcome = run_slide(
        Job(tmp_path / "s.svs"), RunSetup(tmp_path / "r", CONFIG, Engine(CONFIG), LocalExecutor(2), Quiet())
    )
    assert outcome.summary is not None
    assert [(c.class_name, c.n, c.area_um2) for c in outcome.summary.counts] == [
        ("Cells", 9, 9 * 16.0),
        ("Glands", 1, (200 * 120 - 1600) * 0.25),
    ]
    [cells, glands] = (
        json.loads(gzip.decompress((outcome.folder / f"{kind}.geojson.gz").read_bytes()))["features"]
        for kind in ("cells", "regions")
    )
    assert len(cells) == 9
    assert glands[0]["properties"]["isLocked"] is True
    group = zarr.open_group(outcome.folder / "objects.zarr", mode="r")
    for k, (rows, columns) in enumerate(((7, 10), (4, 5))):
        scores = np.asarray(group[f"recognition/scale-{k}/scores"])
        assert scores.shape == (1, rows, columns)
        assert (scores[0, 0] > 0.8).all()
    found = wsiparse.read_objects(outcome.folder)
    for features, frame in ((cells, found["kind"] == "cell"), (glands, found["kind"] == "region")):
        numbers = [feature["properties"]["measurements"] for feature in features]
        for name, column in (("Recognition score", "recognition_score"), ("Mean OD", "mean_od")):
            assert [m[name] for m in numbers] == pytest.approx(found[column][frame].tolist(), abs=0.0006)
    first_row = found["y_px"][: len(cells)] - 4 < 64  # squares of 8 px, by their first row
    expected = np.where(first_row, np.float32(0.9), np.float32(0.0))
    assert found["recognition_score"][: len(cells)].tolist() == expected.tolist()
    od = [od_bytes(np.array(colour, np.uint8)) / 100 for colour in COLOURS]
    assert found["mean_od"][: len(cells)] == pytest.approx(od[0])
    assert found["mean_od"][len(cells) :] == pytest.approx(od[1])


def test_objects_in_memory_know_their_recognition_score() -> None:
    result = analyse(MemorySlide(picture(), 0.5), CONFIG)
    first_row = result.cells.first_px[:, 0] < result.prepared.passes[0].plan.grid.stride
    np.testing.assert_array_equal(result.cells.recognition, np.where(first_row, 0.9, 0.0).astype(np.float32))
    assert np.isfinite(result.regions.recognition).all()


def test_objects_of_unsure_tiles_are_left_out_whole() -> None:
    everything = analyse(MemorySlide(picture(), 0.5), CONFIG)
    sure = analyse(MemorySlide(picture(), 0.5), CONFIG.updated({"min_recognition": 0.5}))
    stride = everything.prepared.passes[0].plan.grid.stride
    first_row = everything.cells.first_px[:, 0] < stride
    assert 0 < first_row.sum() < len(everything.cells)
    assert len(sure.cells) == first_row.sum()
    assert set(sure.cells.area_px.tolist()) == {64}


GRID = TileGrid((40, 20), 20, 0)
SCORES = np.array([[[0.01, 0.9]], [[np.nan, np.nan]]], np.float32)
STATISTICS = np.ones((2, 1, 2, 4), np.float32)


def test_an_object_is_judged_by_its_class_in_the_tile_of_its_first_pixel() -> None:
    grid = RecognitionGrid((3, 1), GRID, STATISTICS, SCORES)
    one = np.zeros(4, np.int64)
    table = ObjectTable(
        coords=np.zeros((0, 2), np.int32),
        ring_offsets=np.zeros(1, np.int64),
        polygon_offsets=np.zeros(5, np.int64),
        class_id=np.array([4, 4, 2, 1], np.uint8),
        score=one.astype(np.float32),
        area_px=one,
        centroid=np.zeros((4, 2)),
        # the last is of another scale, whose canvas may be larger
        first_px=np.array([[19, 19], [0, 20], [0, 0], [900, 900]], np.int32),
        class_share=np.zeros((4, 0), np.float32),
    )
    np.testing.assert_array_equal(grid.of_objects(table), np.array([0.01, 0.9, np.nan, np.nan], np.float32))


def test_a_verdict_needs_objects_and_a_believable_score() -> None:
    prompts = PromptSet((Prompt("a", "A"), Prompt("b", "B"), Prompt("c", "C")))
    low = RecognitionGrid((0, 2), GRID, STATISTICS, np.array([[[0.01, 0.02]], [[0.3, 0.5]]], np.float32))
    row = ObjectTable(
        coords=np.zeros((0, 2), np.int32),
        ring_offsets=np.zeros(1, np.int64),
        polygon_offsets=np.zeros(3, np.int64),
        class_id=np.array([1, 2], np.uint8),
        score=np.zeros(2, np.float32),
        area_px=np.ones(2, np.int64),
        centroid=np.zeros((2, 2)),
        first_px=np.zeros((2, 2), np.int32),
        class_share=np.zeros((2, 0), np.float32),
    )
    frame = Frame((40, 20), (1.0, 1.0), (1.0, 1.0))
    summary = summarise([(row, frame)], prompts, slide="s", engine="e", analysed_mm2=1.0, recognition=[low])
    assert [c.verdict for c in summary.counts] == ["low score", "found", "not found"]


def test_prompts_of_one_kind_at_two_scales_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "engine_info", lambda spec: INFO)
    prompts = PromptSet((Prompt("a", "A", input_mpp=0.25), Prompt("b", "B", input_mpp=0.5)))
    with pytest.raises(ConfigError, match=r"cell prompts ask for 0\.25 and 0\.5 um per pixel"):
        base.scales_of(RecognizerSpec("biomedparse", prompts))
