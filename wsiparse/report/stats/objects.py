"""The objects a report counts: those whose centroid lies in analysed tissue, as columns in microns, without outlines.

Cells come first, then regions, each in the order of objects.zarr. About 30 bytes an object: a slide may have millions.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame, to_um, um2_per_px
from wsiparse.report.stats.threshold import AMBIGUOUS_LEAD, is_ambiguous
from wsiparse.report.stats.tissue import Tissue
from wsiparse.types import ObjectTable, PromptKind

__all__ = ["KINDS", "ReportObjects", "objects_in"]

Floats = NDArray[np.float64]

KINDS: Final[tuple[PromptKind, PromptKind]] = ("cell", "region")


@dataclass(frozen=True, eq=False)
class ReportObjects:
    """All counted objects.

    Parameters
    ----------
    um : (N, 2) float64 centroids, x then y, um from the slide's corner
    class_id : (N,) uint8, position in the prompt set + 1
    area_px : (N,) int64, px of the kind's frame
    score : (N,) float32, mean probability
    ambiguous : (N,) bool, class is a close call; False where `shares_known` is not
    n_cells : cells; they are the first rows
    shares_known : whether the cells tell their class shares
    um2_per_px : area of a pixel of each kind
    outside : objects left out, because their centroid lies in area that was left out
    """

    um: Floats
    class_id: NDArray[np.uint8]
    area_px: NDArray[np.int64]
    score: NDArray[np.float32]
    ambiguous: NDArray[np.bool_]
    n_cells: int
    shares_known: bool
    um2_per_px: Mapping[PromptKind, float]
    outside: int

    def __len__(self) -> int:
        return len(self.class_id)

    @property
    def class_index(self) -> NDArray[np.int64]:
        """(N,) int64, position in the prompt set."""
        return self.class_id.astype(np.int64) - 1

    @property
    def is_cell(self) -> NDArray[np.bool_]:
        """(N,) bool."""
        return np.arange(len(self)) < self.n_cells

    def of(self, classes: Iterable[int]) -> NDArray[np.bool_]:
        """(N,) bool: objects of any of these classes, positions in the prompt set."""
        wanted = np.zeros(257, np.bool_)
        wanted[[k + 1 for k in classes]] = True
        chosen: NDArray[np.bool_] = wanted[self.class_id]
        return chosen

    def area_um2(self, chosen: NDArray[np.bool_]) -> Floats:
        """(K,) float64: areas of the K chosen objects, um^2; `chosen` is (N,) bool."""
        unit = np.where(np.flatnonzero(chosen) < self.n_cells, self.um2_per_px["cell"], self.um2_per_px["region"])
        return self.area_px[chosen].astype(np.float64) * unit.astype(np.float64)


def objects_in(
    tissue: Tissue,
    batches: Mapping[PromptKind, Iterable[ObjectTable]],
    frames: Mapping[PromptKind, Frame],
    *,
    lead: float = AMBIGUOUS_LEAD,
) -> ReportObjects:
    """Sort out the objects that count, streaming.

    Parameters
    ----------
    tissue : what was analysed
    batches : tables of each kind, in order
    frames : frames of each kind's pixels
    lead : smallest lead of the largest class share that is no close call
    """
    um: list[Floats] = [np.zeros((0, 2))]
    class_id: list[NDArray[np.uint8]] = [np.zeros(0, np.uint8)]
    area_px: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    score: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
    ambiguous: list[NDArray[np.bool_]] = [np.zeros(0, np.bool_)]
    n_cells = outside = 0
    known = True
    for kind in KINDS:
        for table in batches[kind]:
            points = to_um(table.centroid, frames[kind])
            inside = tissue.contains(points)
            close = np.zeros(len(table), np.bool_)
            if kind == "cell":
                n_cells += int(inside.sum())
                if table.class_share.shape[1] >= 2:
                    close = is_ambiguous(table.class_share, lead)
                elif len(table):
                    known = False
            outside += int((~inside).sum())
            um.append(points[inside])
            class_id.append(table.class_id[inside])
            area_px.append(table.area_px[inside])
            score.append(table.score[inside])
            ambiguous.append(close[inside])
    return ReportObjects(
        um=np.concatenate(um),
        class_id=np.concatenate(class_id),
        area_px=np.concatenate(area_px),
        score=np.concatenate(score),
        ambiguous=np.concatenate(ambiguous),
        n_cells=n_cells,
        shares_known=known,
        um2_per_px={kind: um2_per_px(frames[kind]) for kind in KINDS},
        outside=outside,
    )
