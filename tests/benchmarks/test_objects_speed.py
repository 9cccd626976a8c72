"""Objects: how fast, next to what one would take otherwise, on the same input in the same run.

    pytest tests/benchmarks/test_objects_speed.py --benchmark-enable --benchmark-columns=min,mean -s

Times are CPU time; the figure in brackets is the ratio to the fastest of a group. Without ``--benchmark-enable`` the
same code runs on little input and only the results are compared. Slide-sized runs: `run_scale`, `run_merge`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from tests.benchmarks import tile_merging
from tests.benchmarks.measuring import measuring
from tests.benchmarks.nuclei_field import NucleiField
from wsiparse.objects.panoptic import combine_cells
from wsiparse.objects.runs import label_runs
from wsiparse.objects.scores import Agreement, overlap_agreement
from wsiparse.objects.split import SplitPixels, split_cells
from wsiparse.objects.trace import trace_runs
from wsiparse.types import ObjectTable

Labels = NDArray[np.int32]
SPLIT = SplitPixels()


# ---------------------------------------------------------------------------------------------------- split


@pytest.fixture(scope="module")
def truths(request: pytest.FixtureRequest) -> list[Labels]:
    """Tiles of touching nuclei, 30 % of them in clusters, as truth labels."""
    size, count = (1024, 4) if measuring(request.config) else (300, 1)
    field = NucleiField((4432, 1108))
    return [field.truth(i * size, 0, size, size) for i in range(count)]


def split_by_us(mask: NDArray[np.bool_]) -> Labels:
    return split_cells(mask, None, SPLIT)[0]


def split_by_scikit_image(mask: NDArray[np.bool_]) -> Labels:
    """The textbook: smoothed distance transform, local maxima, watershed."""
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1.0)
    peaks = peak_local_max(distance, min_distance=5, labels=ndimage.label(mask)[0])
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    found: Labels = watershed(-distance, markers, mask=mask).astype(np.int32)
    return found


@pytest.mark.benchmark(group="split touching nuclei", timer=time.process_time)
@pytest.mark.parametrize("splitter", [split_by_us, split_by_scikit_image])
def test_splitting(
    benchmark: BenchmarkFixture, truths: list[Labels], splitter: Callable[[NDArray[np.bool_]], Labels]
) -> None:
    masks = [truth > 0 for truth in truths]
    found = benchmark.pedantic(lambda: [splitter(mask) for mask in masks], rounds=5, warmup_rounds=1)
    score = sum((overlap_agreement(t, f) for t, f in zip(truths, found, strict=True)), Agreement())
    benchmark.extra_info.update(f1=score.overlap_f1, pq=score.pq, nuclei=score.truth)
    if splitter is split_by_us:
        assert score.overlap_f1 >= 0.99


# ---------------------------------------------------------------------------------------------------- trace


@pytest.fixture(scope="module")
def labels(truths: list[Labels]) -> tuple[Labels, int]:
    return split_cells(truths[0] > 0, None, SPLIT)


def contours_by_us(labels: Labels, n: int) -> tuple[int, float]:
    coords, rings, outlines = trace_runs(label_runs(labels, n))
    polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, coords.astype(np.float64), (rings, outlines))
    return n, float(shapely.area(polygons).sum())


def trace_by_us(labels: Labels, n: int) -> Any:
    return trace_runs(label_runs(labels, n))


def trace_by_opencv(labels: Labels, n: int) -> Any:
    """One call per bounding box, as instance outlines are commonly made."""
    cv2 = pytest.importorskip("cv2")
    found = []
    for i, box in enumerate(ndimage.find_objects(labels, n), 1):
        own = (labels[box] == i).view(np.uint8)
        contours, _ = cv2.findContours(own, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        found.append([c[:, 0] + (box[1].start, box[0].start) for c in contours])
    return found


@pytest.mark.benchmark(group="trace", timer=time.process_time)
@pytest.mark.parametrize("tracer", [trace_by_us, trace_by_opencv])
def test_tracing(benchmark: BenchmarkFixture, labels: tuple[Labels, int], tracer: Callable[[Labels, int], Any]) -> None:
    image, n = labels
    found = benchmark.pedantic(tracer, labels, rounds=5, warmup_rounds=1)
    if tracer is trace_by_us:
        assert contours_by_us(image, n) == (n, (image > 0).sum())
        area = float((image > 0).sum())
    else:
        area = sum(float(shapely.Polygon(c[0]).area) for c in found if len(c[0]) > 2)
    benchmark.extra_info.update(objects=n, area_bias=area / float((image > 0).sum()) - 1)


# --------------------------------------------------------------------------------------------------- stitch


class Remembered(NucleiField):
    """A field whose windows are made once, so that making them does not count."""

    def mask(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        store: dict[tuple[int, int, int, int], NDArray[np.uint8]] = self.__dict__.setdefault("store", {})
        if (x, y, width, height) not in store:
            store[x, y, width, height] = super().mask(x, y, width, height)
        return store[x, y, width, height]


@pytest.fixture(scope="module")
def field(request: pytest.FixtureRequest) -> NucleiField:
    edge = 277 * (19 if measuring(request.config) else 4)
    return Remembered((edge, edge))


def stitched_512(field: NucleiField) -> list[ObjectTable]:
    return tile_merging.stitched(field, SPLIT, 512)


def stitched_1024(field: NucleiField) -> list[ObjectTable]:
    return tile_merging.stitched(field, SPLIT, 1024)


def stitched_2048(field: NucleiField) -> list[ObjectTable]:
    return tile_merging.stitched(field, SPLIT, 2048)


def overlapping_tiles_without_merging(field: NucleiField) -> list[ObjectTable]:
    return tile_merging.tile_by_tile(field, SPLIT)


@pytest.mark.benchmark(group="split + trace of a field", timer=time.process_time)
@pytest.mark.parametrize(
    "way", [stitched_512, stitched_1024, stitched_2048, overlapping_tiles_without_merging], ids=lambda way: way.__name__
)
def test_stitching_against_overlapping_tiles(
    benchmark: BenchmarkFixture, field: NucleiField, way: Callable[[NucleiField], list[ObjectTable]]
) -> None:
    found = ObjectTable.concat(benchmark.pedantic(way, (field,), rounds=5, warmup_rounds=1))
    benchmark.extra_info.update(nuclei=field.count, objects=len(found))
    if way is not overlapping_tiles_without_merging:
        truth = ObjectTable.concat(stitched_1024(field))
        assert tile_merging.errors(tile_merging.polygons_of(found), truth) == (0, 0)


@pytest.mark.benchmark(group="merge of overlapping tiles", timer=time.process_time)
def test_merging_polygons(benchmark: BenchmarkFixture, field: NucleiField) -> None:
    tiles = overlapping_tiles_without_merging(field)
    merged = benchmark.pedantic(tile_merging.merge_tables, (tiles,), rounds=3)
    lost, made_up = tile_merging.errors(merged, ObjectTable.concat(stitched_1024(field)))
    benchmark.extra_info.update(nuclei=field.count, lost_or_changed=lost, made_up=made_up)
    assert len(merged) > 0


# ------------------------------------------------------------------------------------------------- panoptic


@pytest.fixture(scope="module")
def maps(request: pytest.FixtureRequest) -> NDArray[np.float32]:
    """Probabilities of five prompts with overlapping blobs."""
    size = 256 if measuring(request.config) else 24
    random = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(random.standard_normal((5, size, size)), (0, 6, 6))
    return (1 / (1 + np.exp(-4 * noise / noise.std()))).astype(np.float32)


THRESHOLDS = np.full(5, 0.5, np.float32)


def default_rule_by_us(maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    return combine_cells(maps, THRESHOLDS)[0]


def default_rule_pixel_by_pixel(maps: NDArray[np.float32]) -> NDArray[np.uint8]:
    out = np.zeros(maps.shape[1:], np.uint8)
    for y in range(maps.shape[1]):
        for x in range(maps.shape[2]):
            here = {t: maps[t, y, x] for t in range(len(maps)) if maps[t, y, x] > THRESHOLDS[t]}
            if here:
                out[y, x] = max(here, key=lambda t: here[t]) + 1
    return out


@pytest.mark.benchmark(group="panoptic, default rule", timer=time.process_time)
@pytest.mark.parametrize("rule", [default_rule_by_us, default_rule_pixel_by_pixel])
def test_default_rule(benchmark: BenchmarkFixture, maps: NDArray[np.float32], rule: Callable[[Any], Any]) -> None:
    found = benchmark.pedantic(rule, (maps,), rounds=5, warmup_rounds=1)
    np.testing.assert_array_equal(found, default_rule_by_us(maps))
