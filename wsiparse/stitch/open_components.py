"""Open components between blocks: nodes in a union-find forest, their runs and bytes in growing arrays.

It holds what has been seen of components that still wait for a block. Its size follows the frontier between
arrived and missing blocks (plus the runs of components that span much of the canvas), not the number of objects.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects.runs import Runs
from wsiparse.stitch import kernels
from wsiparse.stitch.block import BlockResult

__all__ = ["OpenComponents"]

#: Node columns (int64).
_COLUMNS: Final = ("parent", "sibling", "pending", "px", "run_at", "run_count", "byte_at", "byte_count", "od")

#: Arrays are not compacted below this many runs or bytes.
_SLACK: Final = 1 << 16


class OpenComponents:
    """The open components of all arrived blocks.

    Parameters
    ----------
    n_classes : number of prompts
    planes : byte planes kept per pixel, 0 for regions
    most_px : components of more pixels are never split: their bytes are given up
    """

    def __init__(self, n_classes: int, planes: int, most_px: int) -> None:
        self.n_classes, self.most_px = n_classes, most_px
        self._node = {name: np.full(64, -1, np.int64) for name in _COLUMNS}
        self._sums, self._present = np.zeros((64, n_classes), np.int64), np.zeros((64, n_classes), np.int64)
        self._free = np.arange(63, -1, -1, dtype=np.int64)  # a stack: the last is taken first
        self._free_count = 64
        self._runs = _three(0)
        self._planes = [np.zeros(0, np.uint8) for _ in range(planes)]
        self._run_used = self._byte_used = 0
        self._run_limit = self._byte_limit = _SLACK

    @property
    def nodes(self) -> int:
        """Open pieces held."""
        return len(self._free) - self._free_count

    @property
    def open_px(self) -> int:
        """Pixels of the open components."""
        parent = self._node["parent"]
        roots = np.flatnonzero(parent == np.arange(len(parent)))
        return int(self._node["px"][roots].sum())

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        numbers = (*self._node.values(), self._sums, self._present, self._free)
        return sum(a.nbytes for a in numbers) + sum(a.nbytes for a in self._runs) + sum(a.nbytes for a in self._planes)

    # ------------------------------------------------------------------------------------------ growing

    def add(self, digest: BlockResult) -> NDArray[np.int64]:
        """Take the open components of a block in; (n,) int64, their nodes."""
        runs, n = digest.runs, len(digest.runs)
        nodes = self._allocate(n)
        if not n:
            return nodes
        run_at, byte_at = self._append(runs, digest.planes)
        pixels = runs.pixels()
        node = self._node
        node["parent"][nodes] = nodes
        node["sibling"][nodes] = nodes
        node["pending"][nodes] = 0
        node["px"][nodes] = pixels
        node["run_at"][nodes] = run_at + runs.start[:-1]
        node["run_count"][nodes] = np.diff(runs.start)
        node["byte_at"][nodes] = byte_at + (runs.src[runs.start[:-1]] if digest.planes else 0)
        node["byte_count"][nodes] = pixels if digest.planes else 0
        node["od"][nodes] = digest.od
        self._sums[nodes] = digest.sums
        self._present[nodes] = digest.present
        return nodes

    def _allocate(self, n: int) -> NDArray[np.int64]:
        while self._free_count < n:
            size = len(self._free)
            for name in _COLUMNS:
                self._node[name] = np.concatenate([self._node[name], np.full(size, -1, np.int64)])
            grown = np.zeros((size, self.n_classes), np.int64)
            self._sums = np.concatenate([self._sums, grown])
            self._present = np.concatenate([self._present, grown])
            free = np.empty(2 * size, np.int64)
            free[:size] = np.arange(2 * size - 1, size - 1, -1)
            free[size : size + self._free_count] = self._free[: self._free_count]
            self._free, self._free_count = free, size + self._free_count
        self._free_count -= n
        return self._free[self._free_count : self._free_count + n].copy()

    def _append(self, runs: Runs, planes: tuple[NDArray[np.uint8], ...]) -> tuple[int, int]:
        n, size = len(runs.y), len(planes[0]) if planes else 0
        if self._run_used + n > self._run_limit or self._byte_used + size > self._byte_limit:
            self.compact()
        run_at, byte_at = self._run_used, self._byte_used
        y, x0, x1 = self._runs
        self._runs = (_put(y, run_at, runs.y), _put(x0, run_at, runs.x0), _put(x1, run_at, runs.x1))
        for i, plane in enumerate(planes):
            self._planes[i] = _put(self._planes[i], byte_at, plane)
        self._run_used, self._byte_used = run_at + n, byte_at + size
        return run_at, byte_at

    def compact(self) -> None:
        """Forget finished components, and the bytes of those that have grown too large to be split."""
        node = self._node
        nodes = np.flatnonzero(node["parent"] >= 0)
        count = int(node["run_count"][nodes].sum())
        runs = _three(count)
        kernels.compact_runs(nodes, node["run_at"], node["run_count"], *self._runs, *runs)
        self._runs, self._run_used = runs, count
        if self._planes:
            roots = np.empty(len(nodes), np.int64)
            kernels.roots_of(node["parent"], nodes, roots)
            node["byte_count"][nodes[node["px"][roots] > self.most_px]] = 0
            kept = nodes[node["byte_count"][nodes] > 0]
            lengths = node["byte_count"][kept]
            total = int(lengths.sum())
            for i, plane in enumerate(self._planes):
                self._planes[i] = np.empty(total, np.uint8)
                kernels.compact_bytes(kept, node["byte_at"], node["byte_count"], plane, self._planes[i])
            node["byte_at"][kept] = np.cumsum(lengths) - lengths
            self._byte_used = total
        self._run_limit, self._byte_limit = 2 * self._run_used + _SLACK, 2 * self._byte_used + _SLACK

    # ------------------------------------------------------------------------------------------ uniting

    def wait(self, segments: NDArray[np.int64]) -> None:
        """The nodes of these border segments wait for one more block (before they are united with any other).

        Parameters
        ----------
        segments : (n, 3) int64, first and past last canvas px, node
        """
        np.add.at(self._node["pending"], segments[:, 2], 1)

    def unite(self, mine: NDArray[np.int64], theirs: NDArray[np.int64]) -> None:
        """Unite over a seam both of whose blocks have arrived; `theirs` waited for it.

        Parameters
        ----------
        mine, theirs : (n, 3) and (m, 3) int64, first and past last canvas px, node; sorted
        """
        node = self._node
        kernels.settle(node["parent"], node["pending"], theirs)
        kernels.unite_seam(node["parent"], node["sibling"], node["pending"], node["px"], mine, theirs)

    def settle(self, segments: NDArray[np.int64]) -> None:
        """The block these segments waited for has arrived and is empty there.

        Parameters
        ----------
        segments : (n, 3) int64, first and past last canvas px, node
        """
        kernels.settle(self._node["parent"], self._node["pending"], segments)

    def closed(self, nodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Roots of the components that wait for nothing any more; they must be taken or they are lost.

        Parameters
        ----------
        nodes : (n,) int64, of the components that are asked about

        Returns
        -------
        (k,) int64, each root once
        """
        out = np.empty(len(nodes), np.int64)
        n = kernels.closed_roots(self._node["parent"], self._node["pending"], nodes, out)
        return out[:n]

    def sizes(self, roots: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) int64: px of the components of `roots`, (n,) int64."""
        return self._node["px"][roots]

    # ------------------------------------------------------------------------------------------ taking

    def take(
        self, roots: NDArray[np.int64], with_planes: bool
    ) -> tuple[Runs, tuple[NDArray[np.uint8], ...], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Remove components and hand them out whole.

        Parameters
        ----------
        roots : (n,) int64
        with_planes : whether their bytes are wanted

        Returns
        -------
        runs : one group a root, runs joined over seams
        planes : (bytes,) uint8 each, flat, none unless asked for
        sums, present : (n, n_classes) int64
        od : (n,) int64
        """
        node = self._node
        count, pieces = kernels.count_members(roots, node["sibling"], node["run_count"])
        members, group, src = np.empty(count, np.int64), np.empty(pieces, np.int64), np.empty(pieces, np.int64)
        y, x0, x1 = _three(pieces)
        links = (node["sibling"], node["run_at"], node["run_count"], node["byte_at"])
        kernels.collect(roots, *links, *self._runs, members, group, y, x0, x1, src)
        order = np.lexsort((x0, y, group))
        start, at = np.empty(len(roots) + 1, np.int64), np.empty(pieces, np.int64)
        joined = _three(pieces)
        n, pixels = kernels.join_pieces(order, group, y, x0, x1, start, *joined, at)
        planes: list[NDArray[np.uint8]] = []
        if with_planes:
            for plane in self._planes:
                out = np.empty(pixels, np.uint8)
                kernels.copy_pieces(order, x0, x1, src, plane, out)
                planes.append(out)
        runs = Runs(start, joined[0][:n], joined[1][:n], joined[2][:n], at[:n])
        sums = np.zeros((len(roots), self.n_classes), np.int64)
        present = np.zeros_like(sums)
        od = np.zeros(len(roots), np.int64)
        kernels.sum_members(roots, node["sibling"], self._sums, self._present, node["od"], sums, present, od)
        node["parent"][members] = -1
        self._free[self._free_count : self._free_count + count] = members
        self._free_count += count
        return runs, tuple(planes), sums, present, od


_T = TypeVar("_T", bound=np.generic)
_Ints = NDArray[np.int32]


def _three(n: int) -> tuple[_Ints, _Ints, _Ints]:
    """Empty columns y, x0, x1."""
    return np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)


def _put(array: NDArray[_T], at: int, values: NDArray[_T]) -> NDArray[_T]:
    """`array` with `values` written from position `at` on, grown where it is too short."""
    needed = at + len(values)
    if needed > len(array):
        grown = np.empty(max(needed, len(array) + len(array) // 2), array.dtype)
        grown[:at] = array[:at]
        array = grown
    array[at:needed] = values
    return array
