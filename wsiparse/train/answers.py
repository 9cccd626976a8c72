"""What a network answers on a whole tile: maps, nuclei, classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsiparse.objects.split import SplitPixels, split_cells
from wsiparse.recognize.embedded.compact import PLAIN_MAPS, CompactNetwork

__all__ = ["SPLIT", "Cut", "classes_of", "maps_of", "nuclei_of"]


@dataclass(frozen=True, slots=True)
class Cut:
    """How maps become nuclei.

    Parameters
    ----------
    foreground : a pixel of a higher foreground belongs to a nucleus
    centre_share : of the centre map in the landscape; the foreground has the rest
    boundary_share : how much of the boundary is taken off
    sigma_px : smoothing of the landscape
    persistence : least rise of a peak above its saddle, grey levels
    min_area_px : smaller nuclei are dropped
    min_foreground : nuclei of a lower mean foreground are dropped
    """

    foreground: float = 0.5
    centre_share: float = 0.7
    boundary_share: float = 0.0
    sigma_px: float = 1.0
    persistence: float = 7.0
    min_area_px: int = 24
    min_foreground: float = 0.6


SPLIT: Final = Cut()


def maps_of(network: CompactNetwork, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Maps of one tile, of any size, mirrored at the bottom and right up to a multiple of 16 px.

    Parameters
    ----------
    network : in eval mode
    rgb : (H, W, 3) uint8 at 0.5 um/px

    Returns
    -------
    (3 + classes, H, W) float32, 0-1: foreground, centre and boundary; the classes share 1
    """
    height, width = rgb.shape[:2]
    stride = network.shape.stride_px
    padded = np.pad(rgb, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="symmetric")
    device = network.head.weight.device
    with torch.inference_mode():
        x = torch.from_numpy(padded).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
        logits = network(x.contiguous(memory_format=torch.channels_last)).float()[0]
        shares = [torch.sigmoid(logits[:PLAIN_MAPS]), torch.softmax(logits[PLAIN_MAPS:], 0)]
        maps: NDArray[np.float32] = torch.cat(shares).cpu().numpy()
    return maps[:, :height, :width]


def nuclei_of(maps: NDArray[np.float32], cut: Cut = SPLIT) -> tuple[NDArray[np.int32], int]:
    """Nuclei of a tile.

    Parameters
    ----------
    maps : (M, H, W) float32, M at least 3, as of `maps_of`
    cut : the settings

    Returns
    -------
    (H, W) int32 labels 1..n, 0 background, and n
    """
    mixed = cut.centre_share * maps[1] + (1 - cut.centre_share) * maps[0] - cut.boundary_share * maps[2]
    smooth = np.rint(np.clip(gaussian_filter(mixed, cut.sigma_px), 0, 1) * 255).astype(np.uint8)
    split = SplitPixels(landscape="stored", smoothing_px=0, persistence=cut.persistence, min_area_px=cut.min_area_px)
    labels, n = split_cells(maps[0] > cut.foreground, smooth, split)
    area = np.bincount(labels.ravel(), minlength=n + 1)
    mean = np.bincount(labels.ravel(), maps[0].ravel(), minlength=n + 1) / np.maximum(area, 1)
    keep = mean >= cut.min_foreground
    keep[0] = False
    number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return number[labels], int(keep.sum())


def classes_of(maps: NDArray[np.float32], labels: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Class of each nucleus: the class map with the largest sum over its pixels.

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
    sums = [np.bincount(labels.ravel(), m.ravel(), minlength=n + 1)[1:] for m in maps[PLAIN_MAPS:]]
    return np.asarray(np.argmax(sums, axis=0) + 1, np.int64)
