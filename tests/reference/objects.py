"""Slow twins of the kernels, by other algorithms: SciPy, scikit-image, heaps and unit edges on dense images.

They exist to be compared with. What they share with the kernels is the definition (integers, raster order of ties),
not the method.
"""

from __future__ import annotations

import heapq
from array import array

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.objects.split import SplitPixels, smoothing_steps

__all__ = [
    "combine_cells",
    "components",
    "distance_levels",
    "flood",
    "seeds",
    "smoothed",
    "split_cells",
    "squared_distances",
    "squared_distances_at_once",
    "trace_labels",
]

Labels = NDArray[np.int32]
Levels = NDArray[np.int64]


def components(mask: NDArray[np.bool_]) -> tuple[Labels, int]:
    """4-connected components of a mask, (H, W) bool, numbered 1.. in raster order of their first pixel.

    Returns
    -------
    labels : (H, W) int32, 0 background
    n : how many
    """
    labels, n = ndimage.label(mask)
    return _in_raster_order(labels.astype(np.int32)), int(n)


def _in_raster_order(labels: Labels) -> Labels:
    ids, first = np.unique(labels, return_index=True)
    first = first[ids > 0]
    ids = ids[ids > 0]
    number = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    number[ids[np.argsort(first)]] = np.arange(1, len(ids) + 1)
    return number[labels]


def squared_distances(labels: Labels) -> Levels:
    """Exact squared distance to the nearest pixel outside the own component, one component at a time.

    Parameters
    ----------
    labels : (H, W) int32, 0 background

    Returns
    -------
    (H, W) int64, px^2
    """
    out = np.zeros(labels.shape, np.int64)
    for i, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        own = np.pad(labels[box] == i, 1)
        squared = np.rint(ndimage.distance_transform_edt(own) ** 2).astype(np.int64)
        out[box] += squared[1:-1, 1:-1]
    return out


def squared_distances_at_once(mask: NDArray[np.bool_]) -> Levels:
    """Exact squared distance to the nearest background pixel: the same, see `kernels.squared_distances`.

    Parameters
    ----------
    mask : (H, W) bool

    Returns
    -------
    (H, W) int64, px^2
    """
    return np.asarray(np.rint(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] ** 2).astype(np.int64))


def distance_levels(squared: Levels) -> Levels:
    """sqrt in 1/256 px, rounded down: (H, W) int64 of (H, W) int64, px^2."""
    return np.asarray(np.floor(np.sqrt(squared.astype(np.float64)) * 256).astype(np.int64))


def smoothed(values: Levels, labels: Labels, smoothing_px: float) -> Levels:
    """Heat flow between 4-neighbours of the same component, on the dense image.

    Parameters
    ----------
    values : (H, W) int64, 1/256 px
    labels : (H, W) int32, 0 background
    smoothing_px : sigma, px

    Returns
    -------
    (H, W) int64, 1/256 px
    """
    steps, weight = smoothing_steps(smoothing_px)
    around = np.pad(labels, 1)
    inner = labels > 0
    for _ in range(steps):
        padded = np.pad(values, 1)
        total = np.zeros_like(values)
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
            window = (slice(dy, dy + labels.shape[0]), slice(dx, dx + labels.shape[1]))
            total += np.where((around[window] == labels) & inner, padded[window] - values, 0)
        values = values + (total * weight + 128) // 256
    return values


def seeds(level: Levels, mask: NDArray[np.bool_], persistence: int, relative: int) -> list[tuple[int, int]]:
    """Peaks (y, x) that rise `persistence` and `relative` / 1024 of their level above the saddle to a higher one.

    Read off the max-tree (Salembier et al., 1998), built by flooding from a priority queue with a stack of open nodes
    (Wilkinson, ICIP 2011): every node knows its highest pixel, first in raster order on ties; where a child's is not
    its parent's, that peak ends.

    Parameters
    ----------
    level : (H, W) int64, higher inside
    mask : (H, W) bool, where peaks may be
    persistence, relative : in steps of `level`, and in 1/1024 of it
    """
    image = np.pad(np.where(mask, level + 1, 0).astype(np.int64), 1)
    width, value = image.shape[1], image.ravel().tolist()
    waits = [v > 0 for v in value]
    found = set()

    def close(node: tuple[int, list[int]]) -> int:
        base, peaks = node
        best = min(peaks, key=lambda q: (-value[q], q))
        for peak in peaks:
            rise = value[peak] - base
            if peak != best and rise >= persistence and rise * 1024 >= relative * (value[peak] - 1):
                found.add(peak)
        return best

    for start in np.flatnonzero(image).tolist():
        if not waits[start]:
            continue
        waits[start] = False
        heap = [(-value[start], start)]
        nodes: list[tuple[int, list[int]]] = []
        while heap:
            key, p = heapq.heappop(heap)
            # nothing higher waits: the nodes above this level are complete
            while nodes and nodes[-1][0] > value[p]:
                best = close(nodes.pop())
                if not nodes or nodes[-1][0] < value[p]:
                    nodes.append((value[p], []))
                nodes[-1][1].append(best)
            if not nodes or nodes[-1][0] < value[p]:
                nodes.append((value[p], []))
            nodes[-1][1].append(p)
            for q in (p - width, p - 1, p + 1, p + width):
                if waits[q]:
                    waits[q] = False
                    heapq.heappush(heap, (-value[q], q))
                    if value[q] > value[p]:  # climb first, come back later
                        heapq.heappush(heap, (key, p))
                        break
        while nodes:
            best = close(nodes.pop())
            if nodes:
                nodes[-1][1].append(best)
            else:
                found.add(best)
    return sorted((p // width - 1, p % width - 1) for p in found)


def flood(level: Levels, mask: NDArray[np.bool_], start: list[tuple[int, int]]) -> Labels:
    """Labels 1.. flooded from the seeds in descending level through a heap, first come first served on a level.

    Parameters
    ----------
    level : (H, W) int64, higher inside
    mask : (H, W) bool, where labels may be
    start : (y, x) of each seed

    Returns
    -------
    (H, W) int32, 0 where no seed leads
    """
    width = mask.shape[1] + 2
    # outside the mask counts as taken; arrays of machine integers, for a canvas of lists would not fit
    labels = array("i", np.pad(np.where(mask, 0, -1), 1, constant_values=-1).astype(np.int32).tobytes())
    value = array("i", np.pad(level, 1).astype(np.int32).tobytes())
    heap = []
    for i, (y, x) in enumerate(start, 1):
        p = (y + 1) * width + x + 1
        labels[p] = i
        heap.append((-value[p], i, p))
    heapq.heapify(heap)
    age = len(heap)
    while heap:
        key, _, p = heapq.heappop(heap)
        for q in (p - width, p - 1, p + 1, p + width):
            if labels[q] == 0:
                labels[q] = labels[p]
                age += 1
                heapq.heappush(heap, (max(key, -value[q]), age, q))
    return np.maximum(np.frombuffer(labels, np.int32).reshape(-1, width)[1:-1, 1:-1], 0)


def _instances(level: Levels, mask: NDArray[np.bool_], start: list[tuple[int, int]]) -> Labels:
    """`flood`, with components of a single seed painted at once."""
    labels, n = components(mask)
    owner = np.array([labels[y, x] for y, x in start], np.int64)
    several = np.bincount(owner, minlength=n + 1) > 1
    contested = [seed for seed, c in zip(start, owner, strict=True) if several[c]]
    found = flood(level, mask & several[labels], contested)
    return np.where((labels > 0) & ~several[labels], labels + len(contested), found).astype(np.int32)


def split_cells(
    foreground: NDArray[np.bool_], landscape: NDArray[np.uint8] | None, settings: SplitPixels
) -> tuple[Labels, int]:
    """`wsiparse.objects.split.split_cells`.

    Parameters
    ----------
    foreground : (H, W) bool
    landscape : (H, W) uint8, high inside each cell, or None for "distance"
    settings : `min_confidence` plays no part

    Returns
    -------
    labels : (H, W) int32, 0 background
    n : number of instances
    """
    labels, _ = components(foreground)
    large = np.bincount(labels.ravel()) > settings.max_component_px
    large[0] = False
    mask = foreground & ~large[labels]
    relative = round(settings.relative_persistence * 1024)
    unit = 16
    level = np.zeros(labels.shape, np.int64)
    if settings.landscape == "distance":
        values = distance_levels(squared_distances_at_once(mask))
        level += (smoothed(values, np.where(mask, labels, 0).astype(np.int32), settings.smoothing_px) + 8) // 16
    else:
        assert landscape is not None
        level += landscape
        unit, relative = 1, 0
    persistence = max(1, int(np.ceil(settings.persistence * unit - 1e-9)))
    instances = _instances(level, mask, seeds(level, mask, persistence, relative))
    instances = np.where(large[labels], labels + instances.max(initial=0), instances).astype(np.int32)
    small = np.bincount(instances.ravel()) < settings.min_area_px
    small[0] = False
    instances = _in_raster_order(np.where(small[instances], 0, instances).astype(np.int32))
    return instances, int(instances.max(initial=0))


def trace_labels(
    labels: Labels, n: int, origin: tuple[int, int] = (0, 0)
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """`wsiparse.objects.trace.trace_labels`, by chaining the unit edges of the pixel grid.

    Every unit edge between two labels is walked with the object on the right hand on screen. Where two edges of an
    object leave one point the chain turns left, which crosses to the diagonal neighbour.

    Parameters
    ----------
    labels : (H, W) int32, 0 background
    n : number of labels
    origin : x, y of the first pixel on the canvas, px

    Returns
    -------
    coords : (V, 2) int32, x then y, canvas px
    ring_offsets : (R + 1,) int64
    polygon_offsets : (n + 1,) int64
    """
    height, width = labels.shape
    padded = np.pad(labels, 1).astype(np.int64)
    edges = []
    for dy, dx in ((1, 0), (0, 1)):
        first = padded[: padded.shape[0] - dy, : padded.shape[1] - dx]
        second = padded[dy:, dx:]
        y, x = np.nonzero(first != second)
        a, b = first[y, x], second[y, x]
        if dy:  # boundary y, from x - 1 to x; its lower side is walked east (0), its upper side west (2)
            edges += [(b, y, x - 1, np.zeros_like(x)), (a, y, x, np.full_like(x, 2))]
        else:  # boundary x, from y - 1 to y; its left side is walked south (1), its right side north (3)
            edges += [(a, y - 1, x, np.ones_like(x)), (b, y, x, np.full_like(x, 3))]
    name, y, x, heading = (np.concatenate(column) for column in zip(*edges, strict=True))
    real = name > 0
    name, y, x, heading = name[real], y[real], x[real], heading[real]
    order = np.lexsort((heading, x, y, name))
    name, y, x, heading = name[order], y[order], x[order], heading[order]
    dx, dy = np.array([1, 0, -1, 0])[heading], np.array([0, 1, 0, -1])[heading]

    def corner(at_y: NDArray[np.int64], at_x: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray((name * (height + 1) + at_y) * (width + 1) + at_x)

    here = corner(y, x)
    following = np.searchsorted(here, corner(y + dy, x + dx))
    second = np.minimum(following + 1, len(here) - 1)
    forked = (here[second] == here[following]) & (second != following)
    following = np.where(forked & (heading[second] == (heading + 3) % 4), second, following)
    turns = np.ones(len(name), np.bool_)
    turns[following] = heading[following] != heading

    coords: list[int] = []
    rings, rings_of = [0], np.zeros(n + 1, np.int64)
    successor, is_corner, visited = following.tolist(), turns.tolist(), [False] * len(name)
    for begin in range(len(successor)):
        if visited[begin]:
            continue
        edge = begin
        while not visited[edge]:
            visited[edge] = True
            if is_corner[edge]:
                coords.append(edge)
            edge = successor[edge]
        coords.append(begin)
        rings.append(len(coords))
        rings_of[name[begin]] += 1
    index = np.array(coords, np.int64)
    points = np.column_stack([x[index] + origin[0], y[index] + origin[1]]).astype(np.int32)
    return points, np.array(rings, np.int64), np.cumsum(rings_of)


def combine_cells(
    probabilities: NDArray[np.float32], thresholds: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """`wsiparse.objects.panoptic.combine_cells` with whole-array NumPy.

    Parameters
    ----------
    probabilities : (P, H, W) float32 in [0, 1]
    thresholds : (P,) float32

    Returns
    -------
    winner, confidence : (H, W) uint8
    """
    above = np.where(probabilities > thresholds[:, None, None], probabilities, np.float32(-1))
    winner = above.argmax(axis=0)
    best = above.max(axis=0).astype(np.float64)
    confidence = np.clip(np.floor(best * 255 + 0.5), 1, 255)
    hit = best >= 0
    return np.where(hit, winner + 1, 0).astype(np.uint8), np.where(hit, confidence, 0).astype(np.uint8)
