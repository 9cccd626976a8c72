"""Tiles to one map for each prompt with a compact network that names nuclei.

Nuclei are split in the tile, where they have context, exactly as they will be downstream. Every nucleus belongs to one
prompt at most; which of its pixels say which class is dealt by `wsiparse.recognize.embedded.shares`. A probability is
that of being nucleus, on a scale on which 0.5 is the model's own cut.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from wsiparse.objects.split import SplitPixels, split_cells
from wsiparse.recognize.embedded.compact import PLAIN_MAPS, CompactNetwork
from wsiparse.recognize.embedded.cut import CUT, Cut, calibrated, landscape_of
from wsiparse.recognize.embedded.openvino import OpenVinoMaps
from wsiparse.recognize.embedded.shares import ALL_NUCLEI, class_sums, deal_nuclei
from wsiparse.recognize.instances import in_tile_split
from wsiparse.recognize.prompts import NUCLEI, Answer, check_nucleus_prompts
from wsiparse.recognize.strength import at_reference, byte_table
from wsiparse.types import EngineInfo, PromptSet, Recognition

__all__ = ["ClassRecognizer", "NucleusMaps", "NucleusRecognizer", "batch_maps"]


def batch_maps(network: CompactNetwork | OpenVinoMaps, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Maps of a batch; sizes that are no multiples of 16 are mirrored at the bottom and right and cut again.

    Parameters
    ----------
    network : in eval mode, of any float dtype; or what OpenVINO made of it
    images : (B, H, W, 3) uint8 RGB at 0.5 um/px

    Returns
    -------
    (B, 3 + classes, H, W) float32, 0-1: foreground, centre and boundary; the classes of a pixel share 1
    """
    height, width = images.shape[1:3]
    stride = network.shape.stride_px
    pad = (-height % stride, -width % stride)
    # a copy in any case: arrays of readers may be read-only, which torch dislikes
    padded = np.pad(images, ((0, 0), (0, pad[0]), (0, pad[1]), (0, 0)), mode="symmetric")
    if isinstance(network, OpenVinoMaps):
        return network(padded)[:, :, :height, :width]
    weight = network.head.weight
    with torch.inference_mode():
        # NHWC memory seen as NCHW is exactly channels_last
        pixels = torch.from_numpy(padded).to(weight.device).permute(0, 3, 1, 2)
        logits = network((pixels.float() / 127.5 - 1).to(weight.dtype)).float()
        shares = (torch.sigmoid(logits[:, :PLAIN_MAPS]), torch.softmax(logits[:, PLAIN_MAPS:], 1))
        maps: NDArray[np.float32] = torch.cat(shares, 1).cpu().numpy()
    return maps[:, :, :height, :width]


class NucleusMaps(NamedTuple):
    """What a network says of the nuclei of one tile.

    Parameters
    ----------
    foreground : (H, W) float32, probability of being nucleus, on a scale on which 0.5 is the model's own cut
    landscape : (H, W) uint8, high inside each nucleus and low between neighbours
    classes : (C, H, W) float32, 0-1, in order of the class maps; C may be 0
    """

    foreground: NDArray[np.float32]
    landscape: NDArray[np.uint8]
    classes: NDArray[np.float32]


class NucleusRecognizer(abc.ABC):
    """A network that finds and names nuclei as a recognizer (`wsiparse.recognize.base.Recognizer`).

    Parameters
    ----------
    info : facts of the engine
    texts : the prompt that each class map answers, in order of the maps
    answers : of the engine; each of its texts is "nuclei" or one of `texts`
    prompts : what is asked for
    least_share : a nucleus whose largest class has less is of no class, 0-1

    Raises
    ------
    PromptError
        If a prompt is not answered, or two ask for the same.
    """

    def __init__(
        self,
        info: EngineInfo,
        texts: Sequence[str],
        answers: Mapping[str, Answer],
        prompts: PromptSet,
        *,
        least_share: float = 0.0,
    ) -> None:
        self.info = info
        self._texts, self._answers = tuple(texts), answers
        self._least_share = least_share
        self._split: SplitPixels = in_tile_split(info)
        self._ask(prompts)

    @abc.abstractmethod
    def nuclei(self, images: NDArray[np.uint8]) -> Iterator[NucleusMaps]:
        """Maps of each tile of a batch, (B, H, W, 3) uint8 RGB."""

    def _ask(self, prompts: PromptSet) -> None:
        used = check_nucleus_prompts(prompts, self.info.title, self.info.mpp, self._answers)
        self._asked = tuple(ALL_NUCLEI if text == NUCLEI else self._texts.index(text) for text in used)
        thresholds = {prompt.threshold for prompt in prompts}
        self._threshold = min(thresholds)
        # pixels between two thresholds would count for one prompt and be holes for the other
        self._whole = len(thresholds) > 1

    def with_prompts(self, prompts: PromptSet) -> Self:
        """The same network asked for other prompts."""
        other = copy.copy(self)
        other._ask(prompts)
        return other

    def limit_threads(self) -> None:
        """Run the calling thread's network on one core: workers are threads, and each takes one."""
        torch.set_num_threads(1)

    def __call__(self, images: NDArray[np.uint8]) -> Recognition:
        """Recognise a batch of tiles.

        Parameters
        ----------
        images : (B, H, W, 3) uint8 RGB at the engine's scale

        Returns
        -------
        Recognition: probabilities (B, P, H, W) float32 and landscape (B, H, W) uint8
        """
        b, h, w = images.shape[:3]
        probabilities = np.zeros((b, len(self._asked), h, w), np.float32)
        landscape = np.empty((b, h, w), np.uint8)
        for k, maps in enumerate(self.nuclei(images)):
            landscape[k] = maps.landscape
            foreground = maps.foreground
            if self._asked == (ALL_NUCLEI,):
                probabilities[k, 0] = foreground
                continue
            labels, n = split_cells(foreground > self._threshold, landscape[k], self._split)
            sums = class_sums(foreground, maps.classes, labels, n)
            prompt = deal_nuclei(foreground, labels, sums, self._asked, self._least_share, whole=self._whole)
            for p in range(len(self._asked)):
                np.multiply(foreground, prompt == p, out=probabilities[k, p])
        return Recognition(probabilities, landscape)


class ClassRecognizer(NucleusRecognizer):
    """A compact network as a recognizer.

    Parameters
    ----------
    network : in eval mode, on its device, or what OpenVINO made of it (`wsiparse.recognize.embedded.loading`)
    info, texts, answers, prompts, least_share : see `NucleusRecognizer`
    cut : how maps become nuclei
    strength : of the slide's stain, which is shown at the reference strength; None to show pixels as they are

    Raises
    ------
    PromptError
        If a prompt is not answered, or two ask for the same.
    """

    def __init__(
        self,
        network: CompactNetwork | OpenVinoMaps,
        info: EngineInfo,
        texts: Sequence[str],
        answers: Mapping[str, Answer],
        prompts: PromptSet,
        *,
        cut: Cut = CUT,
        least_share: float = 0.0,
        strength: float | None = None,
    ) -> None:
        super().__init__(info, texts, answers, prompts, least_share=least_share)
        self._network, self._cut = network, cut
        self._bytes = byte_table(strength)

    def nuclei(self, images: NDArray[np.uint8]) -> Iterator[NucleusMaps]:
        """Maps of each tile of a batch, (B, H, W, 3) uint8 RGB."""
        for maps in batch_maps(self._network, at_reference(images, self._bytes)):
            foreground = calibrated(maps[0], self._cut.foreground)
            yield NucleusMaps(foreground, landscape_of(maps, self._cut), maps[PLAIN_MAPS:])
