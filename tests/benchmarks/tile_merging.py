"""What one does without component closure: objects of overlapping tiles, and polygons merged over the overlaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tests.benchmarks.nuclei_field import NucleiField
from wsiparse.objects.runs import components
from wsiparse.objects.split import SplitPixels, split_runs
from wsiparse.objects.table import sum_classes, sum_od, table_of_runs
from wsiparse.stitch import Stitcher
from wsiparse.types import Box, ObjectTable

TILE = 1024
OVERLAP = 64


def overlapping_tiles(size: tuple[int, int]) -> Iterator[Box]:
    """Tiles of 1024 px that share 64 with each neighbour, cut to the canvas."""
    for y in range(0, max(1, size[1] - OVERLAP), TILE - OVERLAP):
        for x in range(0, max(1, size[0] - OVERLAP), TILE - OVERLAP):
            yield Box(x, y, min(TILE, size[0] - x), min(TILE, size[1] - y))


def objects_of_tile(mask: NDArray[np.uint8], box: Box, split: SplitPixels) -> ObjectTable:
    """Split and traced as if the tile were all there is; canvas px. The same kernels, nothing of the stitcher."""
    instances = split_runs(components(mask, (box.x, box.y)), None, split)
    sums, od = sum_classes(instances, mask.ravel(), mask.ravel(), 1), sum_od(instances, mask.ravel())
    return table_of_runs(instances, *sums, od=od)


def read(field: NucleiField, box: Box) -> NDArray[np.uint8]:
    return field.mask(box.x, box.y, box.width, box.height)


def tile_by_tile(field: NucleiField, split: SplitPixels) -> list[ObjectTable]:
    """Every overlapping tile's objects, not merged."""
    return [objects_of_tile(read(field, box), box, split) for box in overlapping_tiles(field.size)]


def stitched(field: NucleiField, split: SplitPixels, block_px: int = 512) -> list[ObjectTable]:
    """Exact objects through the stitcher."""
    stitcher = Stitcher(field.size, block_px, 1, split)
    found = []
    for i in range(len(stitcher)):
        mask = read(field, stitcher.box(i))
        found.append(stitcher.add(stitcher.digest(i, mask, mask, mask)))
    return found


def polygons_of(table: ObjectTable) -> NDArray[np.object_]:
    rings = (table.ring_offsets, table.polygon_offsets)
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, table.coords.astype(np.float64), rings))


def merge_polygons(polygons: NDArray[np.object_], tile: NDArray[np.int64]) -> NDArray[np.object_]:
    """Union of polygons of different tiles that share area, found with an STRtree."""
    tree = shapely.STRtree(polygons)
    a, b = tree.query(polygons, predicate="intersects")
    pair = (a < b) & (tile[a] != tile[b])
    a, b = a[pair], b[pair]
    shared = shapely.area(shapely.intersection(polygons[a], polygons[b])) > 0
    a, b = a[shared], b[shared]
    n = len(polygons)
    count, group = connected_components(coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n, n)), directed=False)
    size = np.bincount(group, minlength=count)
    merged = [polygons[size[group] == 1]]
    order = np.argsort(group, kind="stable")
    order = order[size[group[order]] > 1]
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []
    merged.append(np.array([shapely.unary_union(polygons[part]) for part in parts], object))
    return np.concatenate(merged)


def merge_tables(tables: list[ObjectTable]) -> NDArray[np.object_]:
    """All objects of overlapping tiles as merged polygons."""
    tile = np.repeat(np.arange(len(tables)), [len(t) for t in tables])
    return merge_polygons(polygons_of(ObjectTable.concat(tables)), tile)


def errors(found: NDArray[np.object_], truth: ObjectTable) -> tuple[int, int]:
    """Objects of the whole canvas that are not among `found` exactly, and found ones that are no object."""
    wanted = set(shapely.to_wkb(shapely.normalize(polygons_of(truth))).tolist())
    corners = shapely.simplify(found, 0)  # unions keep points along straight sides
    got = shapely.to_wkb(shapely.normalize(corners)).tolist()
    return len(wanted - set(got)), len(got) - len(wanted & set(got))


def without_border_copies(table: ObjectTable, box: Box) -> ObjectTable:
    """Only the objects whose centroid lies in the tile's own share of the overlaps: the usual remedy for copies."""
    half = OVERLAP // 2
    x, y = table.centroid.T
    own = (x >= box.x + half * (box.x > 0)) & (y >= box.y + half * (box.y > 0))
    own &= (x < box.x + TILE - half) & (y < box.y + TILE - half)
    return table if own.all() else replace(table.take(np.flatnonzero(own)))
