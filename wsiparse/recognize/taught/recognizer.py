"""Nuclei of a base engine, each with the class that was taught."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects.panoptic import combine_cells
from wsiparse.objects.split import SplitPixels, split_cells
from wsiparse.recognize.base import Recognizer
from wsiparse.recognize.embedded.shares import ALL_NUCLEI, prompt_of_pixels, wanted_shares
from wsiparse.recognize.instances import in_tile_split
from wsiparse.recognize.prompts import NUCLEI, Answer, check_nucleus_prompts
from wsiparse.recognize.strength import at_reference, byte_table
from wsiparse.recognize.taught.features import measure_features
from wsiparse.recognize.taught.model import TaughtModel, probabilities
from wsiparse.types import EngineInfo, PromptSet, Recognition

__all__ = ["TaughtRecognizer", "shares_of"]

#: Steps of a probability, so that shares are whole numbers.
_WHOLE = 1 << 16


def shares_of(
    winner: NDArray[np.uint8], confidence: NDArray[np.uint8], labels: NDArray[np.int32], n: int, n_prompts: int
) -> NDArray[np.float64]:
    """What each of the base engine's prompts has of each nucleus, as the stitcher sums it.

    Parameters
    ----------
    winner, confidence : (H, W) uint8, of `wsiparse.objects.panoptic.combine_cells`
    labels : (H, W) int32, 1..n
    n : number of nuclei
    n_prompts : of the base engine

    Returns
    -------
    (n, n_prompts) float64, 0-1, of float32 precision as tables of objects have it
    """
    inside = labels > 0
    place = (labels[inside].astype(np.int64) - 1) * (n_prompts + 1) + winner[inside]
    sums = np.bincount(place, confidence[inside], minlength=n * (n_prompts + 1)).reshape(n, n_prompts + 1)[:, 1:]
    shares = sums / np.maximum(sums.sum(axis=1, keepdims=True), 1)
    return np.asarray(shares.astype(np.float32).astype(np.float64))


class TaughtRecognizer:
    """A taught model as a recognizer (`wsiparse.recognize.base.Recognizer`).

    Parameters
    ----------
    model : taught
    base : the engine's recognizer, asked for `model.base.prompts`
    info : facts of this engine
    answers : of this engine
    prompts : what is asked for
    strength : of the slide's stain, as the base engine sees it; None for pixels as they are

    Raises
    ------
    PromptError
        If a prompt is not answered, or two ask for the same.
    """

    def __init__(
        self,
        model: TaughtModel,
        base: Recognizer,
        info: EngineInfo,
        answers: Mapping[str, Answer],
        prompts: PromptSet,
        strength: float | None,
    ) -> None:
        self.info = info
        self._model, self._base, self._answers = model, base, answers
        self._bytes = byte_table(strength)
        self._thresholds = np.array([p.threshold for p in model.base.prompts], np.float32)
        self._split: SplitPixels = in_tile_split(info)
        self._ask(prompts)

    def _ask(self, prompts: PromptSet) -> None:
        used = check_nucleus_prompts(prompts, self.info.title, self.info.mpp, self._answers)
        names = [c.name for c in self._model.classes]
        self._asked = tuple(ALL_NUCLEI if text == NUCLEI else names.index(text) for text in used)
        # pixels between two thresholds would count for one prompt and be holes for the other
        self._whole = len({prompt.threshold for prompt in prompts}) > 1

    def with_prompts(self, prompts: PromptSet) -> TaughtRecognizer:
        """The same model asked for other prompts."""
        other = copy.copy(self)
        other._ask(prompts)
        return other

    def limit_threads(self) -> None:
        """As the base engine's."""
        self._base.limit_threads()

    def __call__(self, images: NDArray[np.uint8]) -> Recognition:
        """Recognise a batch of tiles.

        Parameters
        ----------
        images : (B, H, W, 3) uint8 RGB at 0.5 um/px

        Returns
        -------
        Recognition: probabilities (B, P, H, W) float32, and the base engine's landscape
        """
        found = self._base(images)
        b, _, h, w = found.probabilities.shape
        pixels = at_reference(images, self._bytes)
        out = np.zeros((b, len(self._asked), h, w), np.float32)
        for k in range(b):
            winner, confidence = combine_cells(found.probabilities[k], self._thresholds)
            foreground = np.where(winner > 0, found.probabilities[k].max(axis=0), np.float32(0))
            landscape = found.landscape[k] if found.landscape is not None else None
            labels, n = split_cells(winner > 0, landscape, self._split)
            features = measure_features(labels, n, np.ascontiguousarray(pixels[k]))
            if self._model.own_shares:
                own = shares_of(winner, confidence, labels, n, len(self._thresholds))
                features = np.concatenate([features, own], axis=1)
            sums = np.rint(probabilities(self._model, features) * _WHOLE).astype(np.int64)
            wanted = wanted_shares(sums, self._asked, self._model.doubt, whole=self._whole)
            prompt = prompt_of_pixels(foreground, labels, wanted)
            for p in range(len(self._asked)):
                np.multiply(foreground, prompt == p, out=out[k, p])
        return Recognition(out, found.landscape)
