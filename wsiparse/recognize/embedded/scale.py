"""The pixel size that nuclei look like: what the network finds at several assumed sizes, compared with known tiles.

Seen too large, nuclei come out in pieces and with doubt; too small, they merge and are missed. Size alone tells little:
the median nucleus of a lymphoid tile is 4.5 um across, that of a carcinoma 7.5. So the size, spread, number, share of
the area and confidence of what is found, at five assumed sizes a step of 1.32 apart, are put into one quadratic form,
fitted by ridge regression to tiles of known scale, for the logarithm of true over assumed size. It is asked near
the size at which the network is surest, and the answers that say "about here" are averaged.

The numbers lie beside the weights in ``scale.json``, with how they were made; a model folder without it cannot tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects.split import split_cells
from wsiparse.recognize.declared import ScaleGuess, ScalePatches
from wsiparse.recognize.instances import in_tile_split
from wsiparse.types import EngineInfo, Recognition

__all__ = ["SCALE_FILE", "STEP", "ScaleForm", "guess_of", "measure", "read_form", "rows_of", "tell_scale"]

Floats = NDArray[np.float64]

SCALE_FILE: Final = "scale.json"

#: Ratio of neighbouring assumed sizes, and the steps around one that are looked at together.
STEP: Final = 2 ** (1 / 2.5)
_AROUND: Final = (-2, -1, 0, 1, 2)
#: Sizes that are tried, 0.054 to 2.6 um per px; answers lie between the third and the last but two.
_ALL: Final = tuple(0.5 * STEP**k for k in range(-8, 7))

#: Nuclei that count: at least this many px, and as sure as this.
_LEAST_PX: Final = 24
_LEAST_SURE: Final = 0.63
#: Fewer nuclei tell nothing.
_LEAST_N: Final = 8
#: An answer further away than this (log) counts little.
_NEAR: Final = 0.8
#: And one so many steps from the surest size does not count.
_NEAR_STEPS: Final = 2
#: Mean confidence at its surest size, and nuclei at the size itself, from which on an answer is good or rough.
_GOOD: Final = 0.86
_ROUGH: Final = 0.80
_ENOUGH: Final = 30
#: Nine of ten good answers lie within the first factor, of others within the second, measured on tiles of known scale.
_RANGES: Final = (1.2, 1.5)

#: One step's numbers.
_NUMBERS: Final = 8


@dataclass(frozen=True, eq=False)
class ScaleForm:
    """The quadratic form.

    Parameters
    ----------
    mean, spread : (40,) float64 of the numbers it was fitted to
    weights : (861,) float64, constant, linear and quadratic terms
    """

    mean: Floats
    spread: Floats
    weights: Floats

    def __call__(self, rows: Floats) -> Floats:
        """Logarithm of true over assumed size, (N,) float64, of rows (N, 40) float64."""
        return np.asarray(_terms(rows, self.mean, self.spread) @ self.weights)


def _terms(rows: Floats, mean: Floats, spread: Floats) -> Floats:
    # what is far from all known tiles is taken for the most unusual of them
    z = np.clip((rows - mean) / spread, -3, 3)
    i, j = np.triu_indices(z.shape[1])
    return np.concatenate([np.ones((len(z), 1)), z, z[:, i] * z[:, j]], axis=1)


def read_form(folder: Path) -> ScaleForm | None:
    """The form of a model folder; None where it has none that can be used."""
    try:
        facts: dict[str, Any] = json.loads((folder / SCALE_FILE).read_text(encoding="utf-8"))
        form = ScaleForm(*(np.asarray(facts[name], np.float64) for name in ("mean", "spread", "weights")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    n = _NUMBERS * len(_AROUND)
    shapes = form.mean.shape, form.spread.shape, form.weights.shape
    return form if shapes == ((n,), (n,), (1 + n + n * (n + 1) // 2,)) else None


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found at one assumed size: numbers, mean confidence, and how many nuclei there are."""

    numbers: Floats
    sure: float
    n: int


def measure(
    recognize: Callable[[NDArray[np.uint8]], Recognition], info: EngineInfo, patches: Sequence[NDArray[np.uint8]]
) -> _Found | None:
    """Numbers of the nuclei in some patches, all together; None with too few nuclei.

    Parameters
    ----------
    recognize : all nuclei, one prompt, of pictures (B, H, W, 3) uint8
    info : facts of the engine
    patches : (H, W, 3) uint8 each, as the network sees them
    """
    split = in_tile_split(info)
    area, sure, px, inside, sharp = [], [], 0, 0.0, 0.0
    for patch in patches:
        answer = recognize(patch[None])
        assert answer.landscape is not None, "of a network"
        probability = answer.probabilities[0, 0]
        labels, n = split_cells(probability > 0.5, answer.landscape[0], split)
        count = np.bincount(labels.ravel(), minlength=n + 1)[1:]
        total = np.bincount(labels.ravel(), weights=probability.ravel(), minlength=n + 1)[1:]
        area.append(count)
        sure.append(total / np.maximum(count, 1))
        px += probability.size
        inside += float((probability > 0.5).sum())
        sharp += float(2 * np.abs(probability - 0.5).sum())
    if not px:
        return None
    areas, sures = np.concatenate(area), np.concatenate(sure)
    chosen = (areas >= _LEAST_PX) & (sures > _LEAST_SURE)
    found = int((areas > 0).sum())
    areas, sures = areas[chosen], sures[chosen]
    if len(areas) < _LEAST_N:
        return None
    radius = np.log(np.sqrt(areas / np.pi))
    numbers = [np.median(radius), np.percentile(radius, 80), sures.mean(), np.percentile(sures, 75)]
    numbers += [np.log(len(areas) / px * 1e4), np.log(inside / px + 0.01), sharp / px, radius.std()]
    return _Found(np.array(numbers, np.float64), float(sures.mean()), found)


def rows_of(found: Sequence[_Found | None]) -> dict[int, Floats]:
    """Rows for the form, (40,) float64 each, by place among assumed sizes a step apart that have all neighbours."""
    rows = {}
    for place in range(2, len(found) - 2):
        near = [one.numbers for k in _AROUND if (one := found[place + k]) is not None]
        if len(near) == len(_AROUND):
            rows[place] = np.concatenate(near)
    return rows


def _surest(found: Sequence[_Found | None]) -> int:
    """Place with the highest mean confidence, smoothed over its neighbours among those that found nuclei."""
    places = [place for place, one in enumerate(found) if one is not None]
    sure = np.array([one.sure for one in found if one is not None])
    smooth = np.convolve(sure, [0.25, 0.5, 0.25], "same")
    smooth[[0, -1]] = 0  # they lack a neighbour
    return places[int(np.argmax(smooth))]


def guess_of(form: ScaleForm, found: Mapping[float, _Found | None]) -> ScaleGuess | None:
    """What the form makes of numbers at assumed sizes a step apart, ascending; None where it cannot know."""
    sizes, all_found = list(found), list(found.values())
    rows = rows_of(all_found)
    if not rows:
        return None
    # far from the truth, where no tiles were fitted, answers mean nothing: those near the surest size are taken
    places = [place for place in rows if abs(place - _surest(all_found)) <= _NEAR_STEPS]
    if not places:
        return None
    answers = form(np.stack([rows[place] for place in places]))
    weight = np.exp(-((answers / _NEAR) ** 2) / 2) + 1e-9
    size = float(np.exp((weight * (np.log([sizes[k] for k in places]) + answers)).sum() / weight.sum()))
    nearest = min((k for k, one in enumerate(all_found) if one), key=lambda k: abs(np.log(sizes[k] / size)))
    there = all_found[nearest]
    surest = max(one.sure for one in all_found if one is not None)
    enough = there is not None and there.n >= _ENOUGH
    # where all answers point away, the size lies outside of the range that was looked at
    inside = sizes[0] < size < sizes[-1] and float(np.abs(answers).min()) < _NEAR
    trust: Literal["good", "rough", "none"] = "none"
    if enough and inside and surest >= _ROUGH:
        trust = "good" if surest >= _GOOD else "rough"
    factor = _RANGES[trust != "good"]
    return ScaleGuess(size, size / factor, size * factor, trust)


def tell_scale(
    form: ScaleForm,
    recognize: Callable[[NDArray[np.uint8]], Recognition],
    info: EngineInfo,
    look: ScalePatches,
) -> ScaleGuess | None:
    """The pixel size that nuclei look like; None where the network cannot know.

    Parameters
    ----------
    form : of the model folder
    recognize : all nuclei, one prompt, of pictures (B, H, W, 3) uint8
    info : facts of the engine
    look : gives patches, (H, W, 3) uint8 each, as the network would see them if level-0 pixels were of a size
    """
    return guess_of(form, {size: measure(recognize, info, look(size)) for size in _ALL})
