"""What a network answers on a whole tile: maps, nuclei, classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects.split import SplitPixels, split_cells
from wsiparse.recognize.embedded.classes import batch_maps
from wsiparse.recognize.embedded.compact import PLAIN_MAPS, CompactNetwork
from wsiparse.recognize.embedded.cut import CUT, Cut, class_of_each, landscape_of

__all__ = ["classes_of", "maps_of", "nuclei_of"]


def maps_of(network: CompactNetwork, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Maps of one tile of any size.

    Parameters
    ----------
    network : in eval mode
    rgb : (H, W, 3) uint8 at 0.5 um/px

    Returns
    -------
    (3 + classes, H, W) float32, 0-1, as of `wsiparse.recognize.embedded.classes.batch_maps`
    """
    maps: NDArray[np.float32] = batch_maps(network, rgb[None])[0]
    return maps


def nuclei_of(maps: NDArray[np.float32], cut: Cut = CUT) -> tuple[NDArray[np.int32], int]:
    """Nuclei of a tile.

    Parameters
    ----------
    maps : (M, H, W) float32, M at least 3, as of `maps_of`
    cut : the settings

    Returns
    -------
    (H, W) int32 labels 1..n, 0 background, and n
    """
    split = SplitPixels(landscape="stored", smoothing_px=0, persistence=cut.persistence, min_area_px=cut.min_area_px)
    labels, n = split_cells(maps[0] > cut.foreground, landscape_of(maps, cut), split)
    area = np.bincount(labels.ravel(), minlength=n + 1)
    mean = np.bincount(labels.ravel(), maps[0].ravel(), minlength=n + 1) / np.maximum(area, 1)
    keep = mean >= cut.min_foreground
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return number[labels], int(keep.sum())


def classes_of(maps: NDArray[np.float32], labels: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Class of each nucleus.

    Parameters
    ----------
    maps : (M, H, W) float32, as of `maps_of`
    labels : (H, W) int32, 1..n, 0 is background
    n : number of nuclei

    Returns
    -------
    (n,) int64, 1.. in the order of the class maps; 0 where there are none
    """
    if len(maps) == PLAIN_MAPS:
        return np.zeros(n, np.int64)
    return class_of_each(maps[PLAIN_MAPS:], labels, n) + 1
