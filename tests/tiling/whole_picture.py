"""Stained and foreign cells made at once, on the whole picture: what `find_tissue` must find in strips."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.tiling import tissue as rules
from wsiparse.tiling.cover import tissue_cover
from wsiparse.tiling.tissue import FoundTissue, otsu_threshold

Mask = NDArray[np.bool_]


def find_tissue(overview: NDArray[np.uint8], mpp: float) -> FoundTissue:
    speck, piece = (min(area / mpp**2, 0.1 * overview[:, :, 0].size) for area in rules._DROPPED_UM2)
    background, glass = background_colour(overview)
    light = [smooth(overview[:, :, k].astype(np.float32), rules._SMOOTH_UM / mpp) for k in range(3)]
    density = np.stack([np.log(background[k] / np.maximum(light[k], 1.0)) for k in range(3)])
    foreign = foreign_mask(density, mpp)
    noise = spread(density[:, glass & ~foreign])
    densest = density.max(axis=0)
    if foreign.all():
        return FoundTissue(np.zeros(foreign.shape, np.uint8), foreign)
    least = max(rules._LEAST_OD, rules._NOISE_SIGMAS * noise)
    threshold = min(max(otsu_threshold(densest[~foreign]) / 2, least), max(rules._MOST_OD, least))
    sure = (densest > threshold) & ~foreign
    stained = connected((densest > max(threshold / 2, least)) & ~foreign, drop_small(sure, speck))
    pieces = closed(stained, rules._CLOSE_UM / mpp)
    pieces = fill_holes(pieces, rules._LARGEST_HOLE_UM2 / mpp**2) & ~foreign
    return FoundTissue(tissue_cover(overview, mpp, background, stained & drop_small(pieces, piece), foreign), foreign)


def smooth(channel: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(ndimage.gaussian_filter(channel, sigma, mode="nearest"))


def background_colour(overview: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Mask]:
    red, green, blue = (overview[:, :, k] for k in range(3))
    grey = (red.astype(np.float32) + green + blue) / 3
    mean = ndimage.uniform_filter(grey, 3, mode="nearest")
    variance = ndimage.uniform_filter(grey * grey, 3, mode="nearest") - mean * mean
    low, high = overview.min(axis=2), overview.max(axis=2)
    even = ((low >= 185) & (high - low <= 35)) | ((low >= 140) & (high - low <= 15))
    even &= variance <= rules._GLASS_ROUGHNESS**2
    for candidates in (even & (low < 253), even):
        if candidates.sum() >= max(9, rules._LEAST_GLASS * candidates.size):
            colours = overview[candidates]
            near = (np.abs(colours - commonest(colours)) <= rules._GLASS_SPREAD).all(axis=1)
            glass = np.zeros(even.shape, np.bool_)
            glass[candidates] = near
            return np.median(colours[near], axis=0).astype(np.float32), glass
    brightest = np.percentile(overview.reshape(-1, 3), 99.5, axis=0)
    return np.maximum(brightest, rules._GLASS_IF_NONE).astype(np.float32), np.zeros(even.shape, np.bool_)


def commonest(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    counted = []
    for shift in (0, 3):
        cells, members = np.unique((colours.astype(np.int64) + shift) // 6, axis=0, return_inverse=True)
        counts = np.bincount(members.ravel(), minlength=len(cells))
        counted.append((int(counts.max()), np.median(colours[members.ravel() == counts.argmax()], axis=0)))
    return np.asarray(max(counted, key=lambda pair: pair[0])[1], np.float32)


def spread(values: NDArray[np.float32]) -> float:
    if not values.size:
        return 0.0
    return max(1.4826 * float(np.median(np.abs(own - np.median(own)))) for own in values)


def foreign_mask(density: NDArray[np.float32], mpp: float) -> Mask:
    density = np.stack([smooth(channel, rules._STROKE_UM / 3 / mpp) for channel in density])
    radius = rules._STROKE_UM / mpp
    rim = np.ones(density.shape[1:], np.bool_)
    rim[1:-1, 1:-1] = False
    out = np.zeros(density.shape[1:], np.bool_)
    for black, (sure, faint) in zip((True, False, False, False), inks(density), strict=True):
        core = dilated(eroded(sure, radius, outside=False), radius)
        if black:
            core |= connected(sure, sure & rim)
        if core.any():
            out |= dilated(core, rules._FRINGE_UM / mpp)
            out |= connected(faint | core, core)
    return out


def inks(density: NDArray[np.float32]) -> Iterator[tuple[Mask, Mask]]:
    red, green, blue = density
    low, high = density.min(axis=0), density.max(axis=0)
    yield (low > 1.1) & (low > 0.72 * high), (low > 0.15) & (low > 0.75 * high)
    sure = (red > 1.2) & (red >= 0.97 * green) & (blue < 0.5 * red)
    yield sure, (red > 0.12) & (red > 1.1 * green) & (blue < 0.6 * red)
    sure = (red > 0.8) & (green < 0.7 * red) & (blue > 0.35 * red)
    yield sure, (red > 0.1) & (green < 0.75 * red) & (blue > 0.3 * red)
    sure = (green > 1.1) & (blue > 0.75 * green) & (red < 0.22 * green)
    yield sure, (green > 0.15) & (blue > 0.75 * green) & (red < 0.3 * green)


def dilated(mask: Mask, radius: float) -> Mask:
    return np.asarray(ndimage.distance_transform_edt(~mask) <= radius) if mask.any() else mask


def eroded(mask: Mask, radius: float, *, outside: bool = True) -> Mask:
    padded = np.pad(mask, 1, constant_values=outside)
    return mask if padded.all() else np.asarray(ndimage.distance_transform_edt(padded) > radius)[1:-1, 1:-1]


def closed(mask: Mask, radius: float) -> Mask:
    pad = int(radius) + 2
    return eroded(dilated(np.pad(mask, pad), radius), radius)[pad:-pad, pad:-pad] | mask


def connected(mask: Mask, seeds: Mask) -> Mask:
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    return np.isin(labels, labels[seeds]) & mask


def drop_small(mask: Mask, least_px: float) -> Mask:
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    return np.asarray((np.bincount(labels.ravel()) >= least_px)[labels] & mask)


def fill_holes(mask: Mask, most_px: float) -> Mask:
    labels, count = ndimage.label(~mask)
    small = np.bincount(labels.ravel(), minlength=count + 1) <= most_px
    small[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = False
    return np.asarray(mask | (small[labels] & ~mask))
