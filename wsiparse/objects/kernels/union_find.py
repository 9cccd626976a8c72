"""Union-find: the root of a tree of parents.

Numba's on-disk cache notices changes of a kernel's own file only: whoever changes this function must clear the caches.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from wsiparse.objects.kernels.types import Ints, Longs


@njit(cache=True, nogil=True)
def find_root(parent: Ints | Longs, i: int) -> int:
    """The root of element i; every second element passed on the way is hung closer to it.

    Path halving (Tarjan & van Leeuwen, J. ACM 31, 245-281, 1984).

    Parameters
    ----------
    parent : (n,) int32 or int64, changed in place; a root is its own parent
    i : 0 <= i < n
    """
    here = np.int64(i)
    up = parent[np.uint64(here)]
    while up != here:
        above = parent[np.uint64(up)]
        parent[np.uint64(here)] = above
        here = np.int64(above)
        up = parent[np.uint64(here)]
    return int(here)
