"""Held-out figures: how well a network finds and names the nuclei of tiles that shaped nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wsiparse.objects.scores import Agreement, centroids_of, class_agreement, overlap_agreement, point_agreement
from wsiparse.recognize.embedded.compact import CompactNetwork
from wsiparse.recognize.embedded.cut import CUT, Cut
from wsiparse.train.answers import classes_of, maps_of, nuclei_of
from wsiparse.train.data import Tile
from wsiparse.train.recipe import Recipe

__all__ = ["SetFigures", "measure_set"]


@dataclass(slots=True)
class SetFigures:
    """Sums over the tiles of a set.

    Parameters
    ----------
    nuclei : detection and, with outlines, overlap
    classes : end to end, by class name; misses, false detections and wrong classes count
    outlined : whether overlap figures mean anything
    partial : whether found nuclei without annotation mean nothing
    """

    nuclei: Agreement = field(default_factory=Agreement)
    classes: dict[str, Agreement] = field(default_factory=dict)
    outlined: bool = True
    partial: bool = False

    def as_numbers(self) -> dict[str, float]:
        """By name: f1, precision, recall, pq, count_bias, and f1 and count_bias of each class; absent if unknown."""
        n = self.nuclei
        out = {"recall": n.recall}
        if not self.partial:
            out |= {"f1": n.f1, "precision": n.precision, "count_bias": n.found / max(n.truth, 1) - 1}
            if self.outlined:
                out["pq"] = n.pq
        for name, agreement in self.classes.items():
            if agreement.truth:
                out[f"{name}_f1"] = agreement.f1
                out[f"{name}_count_bias"] = agreement.found / agreement.truth - 1
        return out


def measure_set(
    network: CompactNetwork, tiles: Sequence[Tile], recipe: Recipe, *, partial: bool = False, cut: Cut = CUT
) -> SetFigures:
    """Figures of some tiles.

    Parameters
    ----------
    network : in eval mode
    tiles : with their annotation
    recipe : names and numbers of the classes
    partial : whether nuclei without annotation may lie anywhere: only matched nuclei count then
    """
    figures = SetFigures(partial=partial, outlined=all(t.labels is not None for t in tiles))
    numbers = np.array([0, *(c.annotated for c in recipe.classes)], np.int64)
    for tile in tiles:
        maps = maps_of(network, tile.rgb)
        labels, n = nuclei_of(maps, cut)
        _, found = centroids_of(labels)
        found_class = numbers[classes_of(maps, labels, n)]
        if tile.labels is None:
            assert tile.points is not None
            truth, truth_class = tile.points, tile.classes
            agreement = point_agreement(truth, found)
        else:
            ids, truth = centroids_of(tile.labels)
            truth_class = tile.classes[ids]
            agreement = overlap_agreement(tile.labels, labels)
        figures.nuclei = figures.nuclei + agreement
        if not tile.typed:
            continue
        for k in recipe.classes:
            one = class_agreement(truth, truth_class, found, found_class, k.annotated)
            figures.classes[k.name] = figures.classes.get(k.name, Agreement()) + one
    return figures
