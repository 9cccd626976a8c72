"""Distance to the outside of a run's component, exact and smoothed along the component's own links.

The exact one in two passes, along columns and then along rows by the lower envelope of parabolas: Felzenszwalb &
Huttenlocher, "Distance transforms of sampled functions", Theory of Computing 8, 415-428, 2012; in whole numbers after
Meijster, Roerdink & Hesselink, "A general algorithm for computing distance transforms in linear time", ISMM 2000.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from wsiparse.objects.kernels.types import Ints, Longs

#: Fixed-point steps per px of a distance while it is smoothed.
FINE = 256
#: Above this length the lower envelope of the distance transform beats the local search in short runs.
SHORT_RUN = 48
#: floor(FINE * sqrt(i)): nearly all distances inside cells are short.
_SQUARE_ROOTS = np.floor(np.sqrt(np.arange(1024.0)) * FINE).astype(np.int32)


@njit(cache=True, nogil=True)
def _row_distances(column: Ints, first: int, n: int, out: Ints, vertex: Longs, left: Longs) -> None:
    """Lower envelope of the parabolas (i - j)^2 + column[j]^2 along one run, in linear time.

    Felzenszwalb & Huttenlocher (2012), with Meijster's integer separation; the voids at both ends are sites too.
    """
    top = 0
    vertex[0] = 0
    left[0] = 0
    for u in range(1, n + 2):
        gu = int(column[first - 1 + u])
        gu *= gu
        while top >= 0:
            v = vertex[top]
            gv = int(column[first - 1 + v])
            gv *= gv
            t = left[top]
            if (t - v) * (t - v) + gv > (t - u) * (t - u) + gu:
                top -= 1
            else:
                break
        if top < 0:
            top = 0
            vertex[0] = u
            left[0] = 0
        else:
            v = vertex[top]
            gv = int(column[first - 1 + v])
            # last position where v is not farther than u
            w = 1 + (u * u - v * v + gu - gv * gv) // (2 * (u - v))
            if w <= n + 1:
                top += 1
                vertex[top] = u
                left[top] = w
    for i in range(n + 1, -1, -1):
        v = vertex[top]
        if 1 <= i <= n:
            g = int(column[first - 1 + v])
            out[first - 1 + i] = (i - v) * (i - v) + g * g
        if i == left[top]:
            top -= 1


@njit(cache=True, nogil=True)
def squared_distances(
    x0: Ints, x1: Ints, slot: Longs, upper: Ints, lower: Ints, length: Ints, column: Ints, out: Ints, short_run: int
) -> None:
    """Exact squared Euclidean distance (px^2) from every pixel to the nearest pixel outside its component.

    Outside the canvas is outside the component. Distance to the background equals distance to the component's own
    complement: a shortest 4-connected staircase towards another component leaves this one through background, which
    is no farther.

    Parameters
    ----------
    x0, x1 : (R,) int32, of each run, px
    slot : (R,) int64, first slot of each run
    upper, lower, length : (J,) int32, stretches as `link_slots` writes them
    column : (S,) int32, scratch, comes zeroed
    out : (S,) int32, px^2; comes zeroed and keeps 0 on voids
    short_run : px; longer runs use the linear-time envelope instead of a local search
    """
    runs = len(x0)
    longest = 0
    for k in range(runs):
        s, n = slot[k], x1[k] - x0[k]
        longest = max(longest, n)
        column[s : s + n] = 1
        out[s : s + n] = 1
    for j in range(len(length)):
        t, u, n = upper[j], lower[j], length[j]
        above, below = column[t : t + n], column[u : u + n]
        for i in range(n):
            below[i] = above[i] + 1
    for j in range(len(length) - 1, -1, -1):
        t, u, n = upper[j], lower[j], length[j]
        above, below = out[t : t + n], out[u : u + n]
        for i in range(n):
            above[i] = below[i] + 1
    for i in range(len(out)):
        column[i] = min(column[i], out[i])
    scratch = longest + 2 if longest > short_run else 0
    vertex = np.empty(scratch, np.int64)
    left = np.empty(scratch, np.int64)
    for k in range(runs):
        s, n = slot[k], int(x1[k] - x0[k])
        if n > short_run:
            _row_distances(column, s, n, out, vertex, left)
            continue
        row, found = column[s : s + n], out[s : s + n]
        for i in range(n):
            # the distance to the ends of the run bounds the search, so it stays inside
            best = min(int(row[i]), i + 1, n - i)
            best *= best
            step = 1
            square = 1
            while square < best:
                a = min(int(row[np.uint64(i - step)]), int(row[np.uint64(i + step)]))
                best = min(best, a * a + square)
                step += 1
                square = step * step
            found[i] = best


@njit(cache=True, nogil=True)
def distance_levels(squared: Ints, out: Ints) -> None:
    """sqrt of squared distances, rounded down; voids stay 0.

    Parameters
    ----------
    squared : (S,) int32, px^2
    out : (S,) int32, 1/FINE px; may be `squared` itself
    """
    for i in range(len(squared)):
        d = squared[i]
        out[i] = _SQUARE_ROOTS[np.uint64(d)] if d < len(_SQUARE_ROOTS) else int(math.sqrt(float(d)) * FINE)


@njit(cache=True, nogil=True)
def diffuse(
    x0: Ints,
    x1: Ints,
    slot: Longs,
    upper: Ints,
    lower: Ints,
    length: Ints,
    values: Ints,
    flow: Ints,
    steps: int,
    weight: int,
) -> None:
    """Explicit heat flow in place on the component's own 4-neighbour graph, none over its border.

    Each step: v += weight / 256 * sum over neighbours (v_n - v), rounded to nearest. `steps` steps have variance
    2 * steps * weight / 256 px^2 per axis.

    Parameters
    ----------
    x0, x1 : (R,) int32, of each run, px
    slot : (R,) int64, first slot of each run
    upper, lower, length : (J,) int32, stretches as `link_slots` writes them
    values : (S,) int32, any unit; changed in place on pixels
    flow : (S,) int32, scratch
    steps : >= 0
    weight : weight of a step, 1/256
    """
    for _ in range(steps):
        for k in range(len(x0)):
            s, n = slot[k], x1[k] - x0[k]
            v, f = values[s : s + n], flow[s : s + n]
            before = 0
            for i in range(n - 1):
                after = v[i + 1] - v[i]
                f[i] = after - before
                before = after
            f[n - 1] = -before
        for j in range(len(length)):
            t, u, n = upper[j], lower[j], length[j]
            v_above, v_below, above, below = values[t : t + n], values[u : u + n], flow[t : t + n], flow[u : u + n]
            for i in range(n):
                step = v_above[i] - v_below[i]
                below[i] += step
                above[i] -= step
        for k in range(len(x0)):
            s, n = slot[k], x1[k] - x0[k]
            v, f = values[s : s + n], flow[s : s + n]
            for i in range(n):
                v[i] += (f[i] * weight + 128) >> 8
