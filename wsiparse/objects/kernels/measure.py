"""Area, position, classes and summed bytes of groups of runs."""

from __future__ import annotations

from numba import njit

from wsiparse.objects.kernels.types import Bytes, Ints, Longs


@njit(cache=True, nogil=True)
def measure_shape(start: Longs, ys: Ints, x0: Ints, x1: Ints, area: Longs, sum_x: Longs, sum_y: Longs) -> None:
    """Integer sums per group: pixels, doubled x and doubled y of the pixel centres.

    Parameters
    ----------
    start : (G + 1,) int64
    ys, x0, x1 : (R,) int32, of each run, canvas px
    area : (G,) int64, written: px
    sum_x, sum_y : (G,) int64, written: px, doubled
    """
    for g in range(len(start) - 1):
        n = 0
        sx = 0
        sy = 0
        for k in range(start[g], start[g + 1]):
            a, b = int(x0[k]), int(x1[k])
            n += b - a
            sx += b * b - a * a
            sy += (b - a) * (2 * int(ys[k]) + 1)
        area[g] = n
        sum_x[g] = sx
        sum_y[g] = sy


@njit(cache=True, nogil=True)
def measure_classes(
    start: Longs, x0: Ints, x1: Ints, src: Longs, classes: Bytes, confidence: Bytes, sums: Longs, present: Longs
) -> None:
    """Confidence and pixels per group and class; class c counts in column c - 1.

    Parameters
    ----------
    start : (G + 1,) int64
    x0, x1 : (R,) int32, of each run, px
    src : (R,) int64, where each run's first pixel lies in the planes
    classes, confidence : (n,) uint8, flat planes; 1..P, and probability times 255
    sums, present : (G, P) int64, come zeroed: confidence, and px
    """
    for g in range(len(start) - 1):
        for k in range(start[g], start[g + 1]):
            s = src[k]
            for i in range(s, s + x1[k] - x0[k]):
                c = int(classes[i]) - 1
                sums[g, c] += int(confidence[i])
                present[g, c] += 1


@njit(cache=True, nogil=True)
def sum_bytes(start: Longs, x0: Ints, x1: Ints, src: Longs, plane: Bytes, out: Longs) -> None:
    """Sum of a flat plane over the pixels of every group.

    Parameters
    ----------
    start : (G + 1,) int64
    x0, x1 : (R,) int32, of each run, px
    src : (R,) int64, where each run's first pixel lies in the plane
    plane : (n,) uint8
    out : (G,) int64, written
    """
    for g in range(len(start) - 1):
        total = 0
        for k in range(start[g], start[g + 1]):
            pixels = plane[src[k] : src[k] + x1[k] - x0[k]]
            for i in range(len(pixels)):
                total += int(pixels[i])
        out[g] = total
