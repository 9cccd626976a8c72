"""Simple measures of a slide's quality, and which slides of a cohort stand out. Pure.

Measured on the small overview, so they see what an overview can show: little tissue, gross blur, pale or strange stain.
Focus within a nucleus is not seen at 8 um per px; overviews are comparable only when made at the same scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = [
    "LEAST_SLIDES",
    "LEAST_TISSUE_MM2",
    "OUTLIER_Z",
    "SlideFlags",
    "SlideQuality",
    "flag_slides",
    "robust_z",
    "slide_quality",
]

Floats = NDArray[np.float64]

LEAST_TISSUE_MM2: Final = 1.0
#: Rows of the overview measured at a time.
_ROWS: Final = 256
#: |modified z| above this is an outlier (Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993, p. 11).
OUTLIER_Z: Final = 3.5
#: A cohort of fewer slides has no outliers.
LEAST_SLIDES: Final = 8


@dataclass(frozen=True, slots=True)
class SlideQuality:
    """Measures of one slide.

    Parameters
    ----------
    tissue_mm2 : analysed tissue
    mpp : pixel size of the overview, um per px
    laplacian_variance : variance of the Laplacian of the grey image over tissue / variance of the grey image there,
        1/px^4 (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000); None without tissue
    tenengrad : mean squared Sobel gradient over tissue / variance of the grey image there, 1/px^2 (Tenenbaum,
        Accommodation in Computer Vision, 1970; Krotkov, Int. J. Computer Vision 1, 223-237, 1988); None without tissue
    mean_od : mean optical density ln(background / intensity) of red, green and blue over tissue; None without tissue
    """

    tissue_mm2: float
    mpp: float
    laplacian_variance: float | None
    tenengrad: float | None
    mean_od: tuple[float, float, float] | None


def slide_quality(
    overview: NDArray[np.uint8],
    tissue: NDArray[np.bool_],
    *,
    mpp: float,
    tissue_mm2: float,
    background: Sequence[float] = (255.0, 255.0, 255.0),
) -> SlideQuality:
    """Measure a slide on its overview.

    Parameters
    ----------
    overview : (h, w, 3) uint8 RGB
    tissue : (h, w) bool, same pixels; sharpness is taken a pixel inside it, so that the tissue's edge does not count
    mpp : um per px
    tissue_mm2 : analysed tissue, mm^2
    background : colour of empty glass

    Raises
    ------
    ValueError
        If `overview` or `tissue` has another shape or dtype.
    """
    if overview.ndim != 3 or overview.shape[2] != 3 or overview.dtype != np.uint8:
        raise ValueError(f"an overview must be (h, w, 3) uint8, got {overview.dtype} {overview.shape}")
    if tissue.shape != overview.shape[:2] or tissue.dtype != np.bool_:
        raise ValueError(f"tissue must be bool {overview.shape[:2]}, got {tissue.dtype} {tissue.shape}")
    if not tissue.any():
        return SlideQuality(tissue_mm2, mpp, None, None, None)
    inside = ndimage.binary_erosion(tissue, np.ones((3, 3)))
    contrast, edges, squared = _sharpness(overview, inside)
    laplacian = tenengrad = None
    if inside.any():
        # contrast in the denominator: a pale stain is not a blurred one; a flat picture has no edges
        laplacian = edges / contrast if contrast > 0 else 0.0
        tenengrad = squared / contrast if contrast > 0 else 0.0
    counts = np.zeros((3, 256), np.int64)
    for top in range(0, len(tissue), _ROWS):
        colours = overview[top : top + _ROWS][tissue[top : top + _ROWS]]
        for k in range(3):
            counts[k] += np.bincount(colours[:, k], minlength=256)
    red, green, blue = (
        float(own @ np.log(max(float(glass), 1.0) / np.maximum(np.arange(256.0), 1.0)) / own.sum())
        for own, glass in zip(counts, background, strict=True)
    )
    return SlideQuality(tissue_mm2, mpp, laplacian, tenengrad, (red, green, blue))


def _sharpness(overview: NDArray[np.uint8], inside: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Variance of grey, variance of its Laplacian and mean squared Sobel gradient over some pixels; 0 without any.

    Some rows at a time: the overview of a large slide has tens of millions of pixels.
    """
    h = len(inside)
    n = int(inside.sum())
    if not n:
        return 0.0, 0.0, 0.0
    sums = np.zeros(5)
    for top in range(0, h, _ROWS):
        a, b = max(0, top - 1), min(h, top + _ROWS + 1)
        own = slice(top - a, min(top + _ROWS, h) - a)
        # mean of the three: weights of luminance belong to displays
        grey = overview[a:b].astype(np.float64).mean(axis=2)
        here = inside[top : top + _ROWS]
        level = grey[own][here]
        edges = ndimage.laplace(grey, mode="nearest")[own][here]
        sums += (level.sum(), (level * level).sum(), edges.sum(), (edges * edges).sum(), 0.0)
        for axis in (0, 1):
            sums[4] += (ndimage.sobel(grey, axis, mode="nearest")[own][here] ** 2).sum()
    grey_mean, edge_mean = sums[0] / n, sums[2] / n
    return (
        max(float(sums[1] / n - grey_mean**2), 0.0),
        max(float(sums[3] / n - edge_mean**2), 0.0),
        float(sums[4] / n),
    )


def robust_z(values: Sequence[float | None]) -> list[float | None]:
    """Modified z score of each value: 0.6745 (x - median) / MAD (Iglewicz and Hoaglin 1993).

    None for missing values, and for all when there are fewer than `LEAST_SLIDES` or more than half are alike (MAD = 0).
    """
    known = np.array([v for v in values if v is not None and math.isfinite(v)], np.float64)
    if len(known) < LEAST_SLIDES:
        return [None] * len(values)
    middle = float(np.median(known))
    spread = float(np.median(np.abs(known - middle)))
    if spread <= 1e-12 * max(abs(middle), 1e-300):
        return [None] * len(values)
    return [None if v is None or not math.isfinite(v) else 0.6745 * (v - middle) / spread for v in values]


@dataclass(frozen=True, slots=True)
class SlideFlags:
    """What stands out about a slide.

    Parameters
    ----------
    low_tissue : less tissue than `LEAST_TISSUE_MM2`
    blurred : log sharpness, by both measures, is an outlier of the cohort on the low side
    stain : channels ("red", "green", "blue") whose mean optical density is an outlier of the cohort
    z : modified z scores behind it: "laplacian_variance", "tenengrad", "od_red", "od_green", "od_blue"
    """

    low_tissue: bool
    blurred: bool
    stain: tuple[str, ...]
    z: Mapping[str, float | None]

    @property
    def any(self) -> bool:
        """Whether anything stands out."""
        return self.low_tissue or self.blurred or bool(self.stain)


def flag_slides(slides: Sequence[SlideQuality], *, least_tissue_mm2: float = LEAST_TISSUE_MM2) -> list[SlideFlags]:
    """Flags of each slide among its cohort, in the order given; the order changes nothing else."""

    def logs(values: list[float | None]) -> list[float | None]:
        # a flat picture (0) is far below any other
        return [None if v is None else math.log(max(v, 1e-12)) for v in values]

    colours = ("red", "green", "blue")
    columns: dict[str, list[float | None]] = {
        "laplacian_variance": robust_z(logs([s.laplacian_variance for s in slides])),
        "tenengrad": robust_z(logs([s.tenengrad for s in slides])),
    }
    for k, colour in enumerate(colours):
        columns[f"od_{colour}"] = robust_z([None if s.mean_od is None else s.mean_od[k] for s in slides])
    out = []
    for i, slide in enumerate(slides):
        z = {name: column[i] for name, column in columns.items()}
        sharp = (z["laplacian_variance"], z["tenengrad"])
        out.append(
            SlideFlags(
                slide.tissue_mm2 < least_tissue_mm2,
                all(v is not None and v < -OUTLIER_Z for v in sharp),
                tuple(c for c in colours if abs(z[f"od_{c}"] or 0.0) > OUTLIER_Z),
                z,
            )
        )
    return out
