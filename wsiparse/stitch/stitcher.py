"""Objects of a whole canvas from blocks that arrive in any order.

The canvas is cut into blocks that do not overlap. A 4-connected component that stays inside its block is finished
there. One that touches a border shared with another block is carried as runs, united over seams as blocks arrive, and
finished, by the very same code, once every block it reaches has arrived. What an object becomes depends on its
component's own pixels only; so the set of objects is the same for every block size, order of arrival and number of
threads, and nothing is merged, matched or cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects.split import SplitPixels
from wsiparse.stitch.block import BlockResult, Finished, block_result, empty_table, finish_cells, finish_whole
from wsiparse.stitch.open_components import OpenComponents
from wsiparse.types import MAX_PROMPTS, Box, ObjectTable, TileGrid

__all__ = ["Stitcher"]

#: Components finished together: more pixels at a time would only cost memory.
_FINISH_PX: Final = 1 << 22

#: Left, top, right, bottom; side s of a block lies on side s ^ 2 of its neighbour.
_LEFT, _TOP, _RIGHT, _BOTTOM = range(4)


class Stitcher:
    """Component closure over the blocks of one layer: all cell prompts together, or one region prompt.

    Use: for every block `digest` (pure, any thread), then `add` (one at a time, any order); every `add` returns what
    became final. After the last block `finished` is true and nothing is held any more.

    Parameters
    ----------
    canvas : (width, height), px
    block_px : edge of the square blocks, >= 1; it changes speed and memory, never a result
    n_classes : number of prompts, 1-255
    split : how touching cells are told apart; None for regions, which stay whole
    min_area_px : smaller regions are left out (cells say so in `split`)

    Raises
    ------
    ValueError
        On sizes out of range.
    """

    def __init__(
        self,
        canvas: tuple[int, int],
        block_px: int,
        n_classes: int,
        split: SplitPixels | None,
        min_area_px: int = 0,
    ) -> None:
        if max(canvas) >= 2**31:
            raise ValueError(f"a canvas edge of 2^31 px or more cannot be stored in int32 coordinates: {canvas}")
        if not 1 <= n_classes <= MAX_PROMPTS:
            raise ValueError(f"n_classes must be 1-{MAX_PROMPTS}, got {n_classes}")
        if min_area_px < 0:
            raise ValueError(f"min_area_px must be >= 0, got {min_area_px}")
        self.n_classes, self.split, self.min_area_px = n_classes, split, min_area_px
        self._grid = TileGrid(canvas, block_px, 0)
        planes = 0 if split is None else 4 if split.needs_landscape else 3
        self._carry = OpenComponents(n_classes, planes, 0 if split is None else split.max_component_px)
        self._arrived = np.zeros(len(self._grid), np.bool_)
        self._sides: dict[tuple[int, int], NDArray[np.int64]] = {}
        self.dropped = self.whole = self.objects = 0

    @property
    def canvas(self) -> tuple[int, int]:
        """(width, height), px."""
        return self._grid.canvas

    @property
    def block_px(self) -> int:
        """Edge of a full block, px."""
        return self._grid.tile

    def __len__(self) -> int:
        return len(self._grid)

    def box(self, index: int) -> Box:
        """What block `index` (row-major) covers, canvas px."""
        return self._grid[index].core

    @property
    def finished(self) -> bool:
        """Whether every block has arrived."""
        return bool(self._arrived.all())

    def missing(self) -> NDArray[np.int64]:
        """(n,) int64: blocks that have not arrived, ascending."""
        return np.flatnonzero(~self._arrived)

    @property
    def open_px(self) -> int:
        """Pixels of components that still wait for a block."""
        return self._carry.open_px

    @property
    def carry_bytes(self) -> int:
        """Memory held for open components, bytes."""
        return self._carry.nbytes + sum(s.nbytes for s in self._sides.values())

    # ------------------------------------------------------------------------------------------- blocks

    def digest(
        self,
        index: int,
        classes: NDArray[np.uint8],
        confidence: NDArray[np.uint8],
        od: NDArray[np.uint8],
        landscape: NDArray[np.uint8] | None = None,
    ) -> BlockResult:
        """Everything about block `index` that does not need its neighbours; changes nothing, thread-safe.

        Parameters
        ----------
        classes : (H, W) uint8 of ``box(index)``: 0 background, 1..n_classes; for regions the one layer's pixels
        confidence : (H, W) uint8, probability times 255
        od : (H, W) uint8, optical density times `wsiparse.types.OD_STEPS`
        landscape : (H, W) uint8; needed when `split` floods a stored landscape, otherwise ignored

        Raises
        ------
        ValueError
            On shapes, dtypes or classes out of range, or a missing landscape.
        """
        box = self.box(index)
        given: dict[str, NDArray[np.uint8] | None] = {"classes": classes, "confidence": confidence, "od": od}
        if self.split is not None and self.split.needs_landscape:
            given["landscape"] = landscape
        planes = []
        for name, image in given.items():
            if image is None:
                raise ValueError(f"block {index}: the splitter floods a stored landscape, got None")
            image = np.asarray(image)
            if image.shape != (box.height, box.width) or image.dtype != np.uint8:
                raise ValueError(
                    f"block {index}: {name} must be {(box.height, box.width)} uint8, got {image.shape} of {image.dtype}"
                )
            planes.append(np.ascontiguousarray(image))
        if int(planes[0].max()) > self.n_classes:
            raise ValueError(f"block {index}: class {planes[0].max()} is outside 1..{self.n_classes}")
        return block_result(index, box, self.canvas, tuple(planes), self.n_classes, self.split, self.min_area_px)

    def add(self, digest: BlockResult) -> ObjectTable:
        """Take a block in and return every object that became final, canvas px, in no particular order.

        Raises
        ------
        ValueError
            If there is no such block, or it has arrived before.
        """
        self._arrive(digest.index)
        nodes = self._carry.add(digest)
        mine = []
        for segments in digest.sides:
            own = segments.copy()
            own[:, 2] = nodes[own[:, 2]]
            mine.append(own)
        touched = [nodes]
        meet = []
        for side, neighbour in self._neighbours(digest.index):
            if self._arrived[neighbour]:
                theirs = self._sides.pop((neighbour, side ^ 2), None)
                if theirs is not None:
                    meet.append((mine[side], theirs))
                    touched.append(theirs[:, 2])
            elif len(mine[side]):
                self._carry.wait(mine[side])
                self._sides[digest.index, side] = mine[side]
        for own, theirs in meet:
            self._carry.unite(own, theirs)
        return self._finish(digest.finished, np.concatenate(touched))

    def add_empty(self, index: int) -> ObjectTable:
        """Take in a block without foreground; as `add` of its digest, without making one.

        Raises
        ------
        ValueError
            If there is no such block, or it has arrived before.
        """
        self._arrive(index)
        touched = [np.zeros(0, np.int64)]
        for side, neighbour in self._neighbours(index):
            theirs = self._sides.pop((neighbour, side ^ 2), None)
            if theirs is not None:
                self._carry.settle(theirs)
                touched.append(theirs[:, 2])
        return self._finish(Finished(empty_table(self.n_classes)), np.concatenate(touched))

    def _arrive(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise ValueError(f"block {index} of {len(self)}")
        if self._arrived[index]:
            raise ValueError(f"block {index} has arrived before")
        self._arrived[index] = True

    def _neighbours(self, index: int) -> Iterator[tuple[int, int]]:
        columns = self._grid.columns
        column = index % columns
        if column > 0:
            yield _LEFT, index - 1
        if index >= columns:
            yield _TOP, index - columns
        if column < columns - 1:
            yield _RIGHT, index + 1
        if index + columns < len(self):
            yield _BOTTOM, index + columns

    def _finish(self, closed: Finished, nodes: NDArray[np.int64]) -> ObjectTable:
        roots = self._carry.closed(nodes)
        done = [closed]
        if len(roots):
            sizes = self._carry.sizes(roots)
            large = sizes > (0 if self.split is None else self.split.max_component_px)
            for batch in _batches(roots[large], sizes[large]):
                runs, _, sums, present, od = self._carry.take(batch, with_planes=False)
                if self.split is None:
                    done.append(finish_whole(runs, sums, present, od, self.min_area_px))
                else:
                    s = self.split
                    done.append(finish_whole(runs, sums, present, od, s.min_area_px, s.min_confidence, len(batch)))
            if self.split is not None:
                for batch in _batches(roots[~large], sizes[~large]):
                    runs, planes, *_ = self._carry.take(batch, with_planes=True)
                    done.append(finish_cells(runs, planes, self.n_classes, self.split))
        table = ObjectTable.concat([f.table for f in done])
        self.dropped += sum(f.dropped for f in done)
        self.whole += sum(f.whole for f in done)
        self.objects += len(table)
        return table


def _batches(roots: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut a list of components where their pixels exceed the batch limit; none is ever cut itself."""
    if len(roots):
        cuts = np.flatnonzero(np.diff((np.cumsum(sizes) - sizes) // _FINISH_PX)) + 1
        yield from np.split(roots, cuts)
