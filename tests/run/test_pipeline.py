from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from tests.exact_engine import COLOURS, INFO, ExactRecognizer, flat_picture
from wsiparse.config import PromptConfig, RunConfig
from wsiparse.coords import Frame
from wsiparse.errors import TileReadError
from wsiparse.recognize import base
from wsiparse.recognize.stain import od_bytes
from wsiparse.run import engine as engine_module
from wsiparse.run.engine import Engine
from wsiparse.run.pipeline import analyse
from wsiparse.run.plan import prepare
from wsiparse.slides import MemorySlide, open_slide
from wsiparse.slides.synthetic import write_svs
from wsiparse.types import Box, ObjectTable, RecognizerSpec

PROMPTS = (PromptConfig(text="inflammatory cells"), PromptConfig(text="nuclei"))
WHOLE = RunConfig(engine="embedded", whole_slide=True, prompts=PROMPTS)


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(spec: RecognizerSpec) -> ExactRecognizer:
        return ExactRecognizer(spec.prompts)

    monkeypatch.setattr(base, "engine_info", lambda spec: INFO)
    monkeypatch.setattr(engine_module, "load_recognizer", load)


def same(a: ObjectTable, b: ObjectTable) -> bool:
    pairs = [(getattr(a, name), getattr(b, name)) for name in ObjectTable.__dataclass_fields__]
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)


def check_truth(objects: ObjectTable, image_truth: object) -> None:
    truth = image_truth.labels  # type: ignore[attr-defined]
    assert len(objects) == truth.max()
    assert sorted(objects.area_px.tolist()) == sorted(np.bincount(truth.ravel())[1:].tolist())
    assert (objects.class_id == 1).sum() == image_truth.inflammatory.sum()  # type: ignore[attr-defined]


def test_a_memory_slide_gives_its_true_counts_and_areas() -> None:
    image, truth = flat_picture(700, 500)
    result = analyse(MemorySlide(image, 0.5), WHOLE)
    check_truth(result.cells, truth)
    polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, *result.cells.ragged(result.frames["cell"]))
    assert shapely.is_valid(polygons).all()
    assert shapely.area(polygons).sum() == (truth.labels > 0).sum()


def test_optical_density_is_that_of_the_slides_own_pixels() -> None:
    """A colour a nucleus: what an object has is the mean over exactly its pixels, whatever the tiles and blocks."""
    image, truth = flat_picture(600, 420, seed=8)
    flat = od_bytes(np.array([*COLOURS], np.uint8)) / np.float32(100)
    for change in ({}, {"tile_size": 128, "overlap": 32, "block_size": 77}):
        cells = analyse(MemorySlide(image, 0.5), WHOLE.updated(change)).cells
        np.testing.assert_allclose(cells.mean_od, flat[cells.class_id - 1])
    image = image + np.random.default_rng(0).integers(0, 4, image.shape, np.uint8) * (truth.labels == 0)[..., None]
    noisy = analyse(MemorySlide(image, 0.5), WHOLE).cells
    assert noisy.mean_od.tolist() == cells.mean_od.tolist()


@pytest.mark.parametrize("reader", ["direct", "openslide", "tiffslide"])
def test_a_written_pyramid_gives_the_same_objects_as_memory(tmp_path: Path, reader: str) -> None:
    image, truth = flat_picture(700, 500, seed=1)
    write_svs(tmp_path / "exact.svs", image, compression=None)
    with open_slide(tmp_path / "exact.svs", reader=reader) as slide:
        result = analyse(slide, WHOLE)
    check_truth(result.cells, truth)
    assert same(result.cells, analyse(MemorySlide(image, 0.5), WHOLE).cells)


@pytest.mark.parametrize(
    "change",
    [
        {"tile_size": 128, "overlap": 32},
        {"tile_size": 512, "overlap": 0},
        {"block_size": 64},
        {"block_size": 333},
        {"block_size": 4096},
        {"batch_size": 3},
    ],
)
def test_tiles_blocks_and_batches_change_no_object(change: dict[str, int]) -> None:
    image, _ = flat_picture(600, 420, seed=2)
    slide = MemorySlide(image, 0.5)
    assert same(analyse(slide, WHOLE).cells, analyse(slide, WHOLE.updated(change)).cells)


def test_workers_change_no_object() -> None:
    image, _ = flat_picture(600, 420, seed=3)
    slide = MemorySlide(image, 0.5)
    assert same(analyse(slide, WHOLE, workers=1).cells, analyse(slide, WHOLE, workers=3).cells)


def test_a_finer_slide_gives_level0_polygons_of_the_right_size() -> None:
    image, truth = flat_picture(300, 200, seed=4)
    fine = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    result = analyse(MemorySlide(fine, 0.25), WHOLE)
    check_truth(result.cells, truth)
    coords, _ = result.cells.ragged(result.frames["cell"])
    np.testing.assert_array_equal(coords, 2.0 * result.cells.coords)


def test_a_roi_keeps_the_cells_whose_centroid_lies_in_it(tmp_path: Path) -> None:
    image, _ = flat_picture(700, 500, seed=5)
    path = tmp_path / "roi.geojson"
    path.write_text(
        '{"type":"Polygon","coordinates":[[[100.5,80],[420,90],[380,400],[120,350],[100.5,80]]]}', encoding="utf-8"
    )
    result = analyse(MemorySlide(image, 0.5), WHOLE, roi=path)
    everything = analyse(MemorySlide(image, 0.5), WHOLE).cells
    roi = shapely.Polygon([(100.5, 80), (420, 90), (380, 400), (120, 350)])
    inside = shapely.contains_xy(roi, everything.centroid[:, 0], everything.centroid[:, 1])
    assert 0 < inside.sum() < len(everything)
    assert same(result.cells, everything.take(np.flatnonzero(inside)))
    assert result.prepared.area_mm2 == pytest.approx(roi.area * 0.25e-6)


def test_the_digest_changes_with_what_shapes_results_and_only_then() -> None:
    image, _ = flat_picture(200, 200)
    slide = MemorySlide(image, 0.5)

    def digest(change: dict[str, object]) -> str:
        config = WHOLE.updated(change)
        return prepare(slide, config, Engine(config)).digest

    assert digest({}) == digest({"block_size": 64, "num_workers": 5})
    for change in ({"mpp": 1.0}, {"min_area_um2": 3.0}, {"tile_size": 512}, {"prompts": ({"text": "nuclei"},)}):
        assert digest(change) != digest({})


class Scratched(MemorySlide):
    """A slide that cannot be read where a box touches any of the given level-0 boxes."""

    bad: tuple[Box, ...] = ()

    def read(self, box: Box, frame: Frame) -> np.ndarray:
        for b in self.bad:
            if box.x < b.x1 and b.x < box.x1 and box.y < b.y1 and b.y < box.y1:
                raise TileReadError(f"{self.name}: a scratch at {b}")
        return super().read(box, frame)


def test_an_unreadable_core_costs_itself_and_unreadable_context_costs_nothing() -> None:
    image, _ = flat_picture(600, 420, seed=6)
    config = WHOLE.updated({"tile_size": 192, "overlap": 64})  # cores of 128 px
    whole = analyse(MemorySlide(image, 0.5), config)
    slide = Scratched(image, 0.5)
    slide.bad = (Box(300, 200, 10, 10),)  # inside the core of column 2, row 1, and in the context of no other
    slide.bad += (Box(130, 130, 4, 4),)  # inside the core of column 1, row 1, and in the context of its neighbours
    scratched = analyse(slide, config)
    lost = {(u.core.x // 128, u.core.y // 128) for u in scratched.unreadable}
    assert lost == {(2, 1), (1, 1)}

    def outside(table: ObjectTable) -> set[tuple[int, ...]]:
        """Objects that stay clear of the lost cores (128-384 x 128-256)."""
        reach = 16
        x, y = table.centroid.T
        clear = (x < 128 - reach) | (x > 384 + reach) | (y < 128 - reach) | (y > 256 + reach)
        return {tuple(v) for v in table.first_px[clear].tolist()}

    assert outside(scratched.cells) == outside(whole.cells)
    assert len(scratched.cells) < len(whole.cells)
