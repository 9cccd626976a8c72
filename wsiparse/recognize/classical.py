"""Nuclei without a network: hematoxylin against its surround. For a quick look at well-stained H&E.

A pixel is nuclear when its hematoxylin exceeds both a global threshold of the slide and the mean of the tissue around
it. The mean counts tissue only: a strand of keratin or a torn edge in glass is compared with itself, not with the
glass. Foreground is split on its distance transform, and what has not the shape of a nucleus is dropped: thin, bent
or huge pieces, and ridges, whose second curvature is near zero (Frangi et al., MICCAI 1998, use the same eigenvalues
for the opposite end).

All windows are smaller than the halo, and what belongs to the slide as a whole (strength of its stain, stain vectors,
global threshold) is estimated once from a sample of it (`calibration_of`), so results do not depend on the tiling.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.objects.split import split_cells
from wsiparse.recognize.inflammatory import STRENGTH, InflammatoryRule, find_inflammatory
from wsiparse.recognize.instances import Nuclei, in_tile_split, measure_nuclei
from wsiparse.recognize.prompts import INFLAMMATORY, check_nucleus_prompts, share_nuclei
from wsiparse.recognize.ruled import RuledEngine, strength_of
from wsiparse.recognize.stain import OD_OF_BYTE, RUIFROK, fit_stains, hematoxylin_lut, otsu, through_lut
from wsiparse.recognize.strength import REFERENCE, at_reference, byte_table
from wsiparse.types import EngineInfo, PromptSet, Recognition, RecognizerSpec, SplitSettings

__all__ = ["ENGINE", "MPP", "RULE", "TITLE", "ClassicalRecognizer", "calibration_of", "engine_info"]

TITLE: Final = "classical, not BiomedParse"

#: The scale its windows are made for, um per px.
MPP: Final = 0.5

#: Window of the surround (reach 30 px), smoothing and one nucleus.
_HALO_PX: Final = 64

_DEFAULT_LEVEL: Final = 0.3  # global threshold without a sample of the slide
_LEVEL_RANGE: Final = (0.12, 0.45)  # Otsu on a sample without nuclei, or of nuclei only, says nothing
_TISSUE_HEMATOXYLIN: Final = 0.03
_GLASS_OD: Final = 0.2  # sum over the channels

_SIGMA_PX: Final = 1.0
_WINDOW_PX: Final = 61
_GLASS_WEIGHT: Final = 0.2  # of a window without any tissue; keeps the mean finite and lone cells visible
_GLOBAL_SHARE: Final = 0.6
_LOCAL_SHARE: Final = 0.27
_CONFIDENCE_SPAN: Final = 2.0
_INK_RATIO: Final = 0.8  # green OD below this share of red OD: cyan ink, not hematoxylin
_MAX_HOLE_PX: Final = 60
_BOX_UNIT: Final = 4096  # steps per unit of OD in window sums

_SMOOTHING_UM: Final = 0.5
_PERSISTENCE_UM: Final = 0.2
_MIN_AREA_UM2: Final = 6.0

_MIN_AXIS_RATIO: Final = 0.2
_MIN_ELLIPSE_FILL: Final = 0.7
_MAX_AREA_PX: Final = 400
_BLOB_SIGMA_PX: Final = 4.0
_MIN_CURVATURE: Final = 0.07  # scale-normalised, as a share of the global threshold

#: The rule; this engine's probabilities do not tell clear nuclei from doubtful ones.
RULE: Final = InflammatoryRule()


def engine_info() -> EngineInfo:
    """Facts of the engine."""
    return EngineInfo(
        name="classical",
        title=TITLE,
        mpp=MPP,
        tile_px=1024,
        halo_px=_HALO_PX,
        align_px=1,
        split=SplitSettings(
            landscape="distance",
            smoothing_um=_SMOOTHING_UM,
            persistence=_PERSISTENCE_UM,
            min_area_um2=_MIN_AREA_UM2,
            min_confidence=0.565,
        ),
    )


class _Classical(RuledEngine):
    """The declaration of the classical engine."""

    name = "classical"
    title = TITLE
    licence = "Apache-2.0"
    source = "this package, without weights"

    def info(self, spec: RecognizerSpec) -> EngineInfo:
        """Facts of the engine."""
        return engine_info()

    def load(self, spec: RecognizerSpec) -> ClassicalRecognizer:
        """The recognizer."""
        return ClassicalRecognizer(spec)

    def strength_in(self, calibration: tuple[float, ...]) -> float | None:
        """The eighth number."""
        return calibration[7] if len(calibration) > 7 else None

    def calibrated(self, spec: RecognizerSpec, sample: NDArray[np.uint8], tissue_mm2: float) -> RecognizerSpec:
        """Stain vectors and threshold too."""
        return replace(spec, calibration=calibration_of(sample, strength_of(sample, tissue_mm2)))


def calibration_of(sample: NDArray[np.uint8], strength: float | None = None) -> tuple[float, ...]:
    """Stain vectors and global threshold of a slide, and the strength of its stain.

    Parameters
    ----------
    sample : (N, H, W, 3) uint8, N >= 1, patches of tissue at 0.5 um/px
    strength : strength of the slide's stain, None where it is not known

    Returns
    -------
    Seven numbers rounded to six decimals, of the slide at the reference strength: hematoxylin RGB, eosin RGB, threshold
    of smoothed hematoxylin; the strength is the eighth, where it is known
    """
    sample = at_reference(sample, byte_table(strength))
    stains = fit_stains(sample)
    lut = hematoxylin_lut(stains)
    smooth = np.stack([_smooth(through_lut(patch, lut), _SIGMA_PX) for patch in sample])
    tissue = smooth[smooth > _TISSUE_HEMATOXYLIN]
    threshold = otsu(tissue) if len(tissue) else _DEFAULT_LEVEL
    numbers = [*stains.ravel(), min(max(threshold, _LEVEL_RANGE[0]), _LEVEL_RANGE[1])]
    return tuple(round(float(v), 6) for v in (*numbers, *([] if strength is None else [strength])))


class ClassicalRecognizer:
    """Hematoxylin thresholds as a recognizer; build it with `wsiparse.recognize.base.load_recognizer`.

    Parameters
    ----------
    spec : prompts, and `calibration` of the slide (empty: Ruifrok's vectors and a fixed threshold)

    Raises
    ------
    PromptError
        If a prompt is not answered.
    ValueError
        If `calibration` holds neither 0, 7 nor 8 numbers.
    """

    def __init__(self, spec: RecognizerSpec) -> None:
        self.info: EngineInfo = engine_info()
        self._roles = check_nucleus_prompts(spec.prompts, TITLE, MPP)
        self._threshold = min(prompt.threshold for prompt in spec.prompts)
        numbers = spec.calibration or (*RUIFROK.ravel(), _DEFAULT_LEVEL)
        if len(numbers) not in (7, 8):
            raise ValueError(f"the classical engine's calibration holds 7 numbers or 8, got {len(numbers)}")
        self._bytes = byte_table(numbers[7] if len(numbers) == 8 else None)
        self._stain_factor = 1.0 if self._bytes is None else STRENGTH / REFERENCE
        self._lut = hematoxylin_lut(np.array(numbers[:6], np.float64).reshape(2, 3))
        self._level = np.float32(numbers[6])
        self._split = in_tile_split(self.info)

    def with_prompts(self, prompts: PromptSet) -> ClassicalRecognizer:
        """The same engine asked for other prompts."""
        other = copy.copy(self)
        other._roles = check_nucleus_prompts(prompts, TITLE, MPP)
        other._threshold = min(prompt.threshold for prompt in prompts)
        return other

    def limit_threads(self) -> None:
        """Nothing to do: NumPy and SciPy filters run on the calling thread."""

    def __call__(self, images: NDArray[np.uint8]) -> Recognition:
        """Recognise a batch of tiles.

        Parameters
        ----------
        images : (B, H, W, 3) uint8 RGB at 0.5 um/px

        Returns
        -------
        Recognition: probabilities (B, P, H, W) float32, no landscape
        """
        return Recognition(np.stack([self._tile(image) for image in at_reference(images, self._bytes)]))

    def _tile(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        hematoxylin = through_lut(rgb, self._lut)
        foreground = _foreground(rgb, hematoxylin, self._level)
        labels, n = split_cells(foreground > self._threshold, None, self._split)
        nuclei = measure_nuclei(labels, n, rgb, foreground, stain_factor=self._stain_factor)
        kept = self._nuclear(nuclei, labels, hematoxylin)
        foreground *= np.concatenate([[True], kept])[labels]
        inflammatory = None
        if INFLAMMATORY in self._roles:
            inflammatory = np.concatenate([[False], find_inflammatory(nuclei, RULE)])[labels]
        return share_nuclei(foreground, self._roles, inflammatory)

    def _nuclear(
        self, nuclei: Nuclei, labels: NDArray[np.int32], hematoxylin: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """(n,) which instances have the shape of a nucleus."""
        curvature = _second_curvature(_smooth(hematoxylin, _BLOB_SIGMA_PX)) * np.float32(_BLOB_SIGMA_PX**2)
        peak = np.full(len(nuclei) + 1, -np.inf, np.float32)
        inside = labels > 0
        np.maximum.at(peak, labels[inside], curvature[inside])
        kept: NDArray[np.bool_] = (
            (nuclei.axis_ratio > _MIN_AXIS_RATIO)
            & (nuclei.ellipse_fill > _MIN_ELLIPSE_FILL)
            & (nuclei.area_px < _MAX_AREA_PX)
            & (peak[1:] > _MIN_CURVATURE * self._level)
        )
        return kept


def _smooth(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(ndimage.gaussian_filter(image, sigma, truncate=3.0, output=np.float32))


def _foreground(rgb: NDArray[np.uint8], hematoxylin: NDArray[np.float32], level: np.float32) -> NDArray[np.float32]:
    """(H, W) probability of being nucleus: 0.5 at the threshold, one more per twice the global threshold."""
    smooth = _smooth(hematoxylin, _SIGMA_PX)
    od = OD_OF_BYTE[rgb]
    tissue = (od.sum(axis=2) > _GLASS_OD).astype(np.float32)
    share = _box_mean(tissue, _WINDOW_PX)
    surround = _box_mean(smooth * tissue, _WINDOW_PX) / (share * (1 - _GLASS_WEIGHT) + _GLASS_WEIGHT)
    threshold = np.maximum(_GLOBAL_SHARE * level, surround + _LOCAL_SHARE * level)
    probability = np.clip(0.5 + (smooth - threshold) / (_CONFIDENCE_SPAN * level), 0, 1).astype(np.float32)
    probability[_box_mean(od[..., 1] - _INK_RATIO * od[..., 0], 3) <= 0] = 0
    return _fill_small_holes(probability)


def _box_mean(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Mean over a square window; integer sums, so that it does not depend on where the tile begins."""
    reach = size // 2
    grid = np.pad(np.rint(image * _BOX_UNIT).astype(np.int32), reach, mode="reflect")
    # running sums may wrap around 2^32; differences of a window's worth do not
    total = np.zeros((grid.shape[0] + 1, grid.shape[1] + 1), np.uint32)
    np.cumsum(grid.view(np.uint32), axis=0, dtype=np.uint32, out=total[1:, 1:])
    np.cumsum(total[1:, 1:], axis=1, dtype=np.uint32, out=total[1:, 1:])
    rows = total[size:] - total[:-size]
    window = (rows[:, size:] - rows[:, :-size]).view(np.int32)
    return np.asarray(window.astype(np.float32) / np.float32(size * size * _BOX_UNIT))


def _fill_small_holes(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raise background enclosed by a nucleus (vesicular chromatin) just above 0.5, up to `_MAX_HOLE_PX`."""
    holes, n = ndimage.label(probability <= 0.5)
    area = np.bincount(holes.ravel(), minlength=n + 1)
    small = area <= _MAX_HOLE_PX
    # a piece that reaches the tile's border is not enclosed
    small[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = False
    small[0] = False
    probability[small[holes]] = np.nextafter(np.float32(0.5), np.float32(1))
    return probability


def _second_curvature(smooth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Smaller curvature of the surface, positive on blobs, near 0 on ridges: minus the larger Hessian eigenvalue."""
    yy, xx, yx = (np.zeros_like(smooth) for _ in range(3))
    yy[1:-1] = smooth[2:] + smooth[:-2] - 2 * smooth[1:-1]
    xx[:, 1:-1] = smooth[:, 2:] + smooth[:, :-2] - 2 * smooth[:, 1:-1]
    yx[1:-1, 1:-1] = (smooth[2:, 2:] + smooth[:-2, :-2] - smooth[2:, :-2] - smooth[:-2, 2:]) / 4
    return np.asarray(-((yy + xx) / 2 + np.hypot((yy - xx) / 2, yx)), dtype=np.float32)


ENGINE: Final = _Classical()
