"""Tiles to probabilities and landscape with the embedded network.

The network's foreground p is over-confident: nuclei are best cut at 0.8. Probabilities are therefore given on a scale
on which 0.5 is that cut (linear on both sides, `calibrated`), so that a prompt's threshold of 0.5 and a recorded
confidence mean the same for every engine. Above the cut the scale is affine, so means are preserved: a mean of
0.75 is a mean p of 0.9.

The landscape is the centre map evened out by the foreground, g = (c + p) / 2 smoothed with sigma 1.25 px, in 255
grey levels. It is computed here, where the tile has context, so that the splitter may cut blocks anywhere.

Network and rule see the slide at the reference strength of its stain (`wsiparse.recognize.strength`), so a slide that
is paler or darker as a whole gives the same nuclei.
"""

from __future__ import annotations

import copy
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsiparse.errors import ConfigError
from wsiparse.objects.split import split_cells
from wsiparse.recognize.device import resolve_device
from wsiparse.recognize.embedded import MPP, TITLE, engine_info
from wsiparse.recognize.embedded.network import load_network, nucleus_maps
from wsiparse.recognize.inflammatory import STRENGTH, InflammatoryRule, find_inflammatory
from wsiparse.recognize.instances import in_tile_split, measure_nuclei
from wsiparse.recognize.prompts import check_nucleus_prompts, share_nuclei
from wsiparse.recognize.strength import REFERENCE, at_reference, byte_table
from wsiparse.types import EngineInfo, PromptSet, Recognition, RecognizerSpec

__all__ = ["CUT", "RULE", "EmbeddedRecognizer", "calibrated", "landscape_of"]

#: Foreground of the network at which nuclei are cut; 0.5 on the calibrated scale.
CUT: Final = 0.8

_CENTRE_SHARE: Final = 0.5
_SIGMA_PX: Final = 1.25

#: The inflammatory rule; 0.89 on the calibrated scale is a mean foreground of 0.956.
RULE: Final = InflammatoryRule(min_confidence=0.89)

_DTYPES: Final = {"auto": torch.float32, "float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def calibrated(foreground: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability of which 0.5 is the cut, from the foreground of the network; 0, `CUT`, 1 -> 0, 0.5, 1.

    Parameters
    ----------
    foreground : (...) float32 in [0, 1]

    Returns
    -------
    (...) float32, the same shape
    """
    low, high = np.float32(0.5 / CUT), np.float32(0.5 / (1 - CUT))
    return np.where(foreground < CUT, foreground * low, 1 - (1 - foreground) * high)


def landscape_of(foreground: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Landscape of one tile's maps, high inside each nucleus and low between neighbours.

    Parameters
    ----------
    foreground, centre : (H, W) float32 in [0, 1]

    Returns
    -------
    (H, W) uint8
    """
    mixed = _CENTRE_SHARE * centre + (1 - _CENTRE_SHARE) * foreground
    smooth: NDArray[np.float32] = gaussian_filter(mixed, _SIGMA_PX, output=np.float32)
    np.rint(smooth * 255, out=smooth)
    return smooth.astype(np.uint8)


class EmbeddedRecognizer:
    """The embedded network as a recognizer; build it with `wsiparse.recognize.base.load_recognizer`.

    Parameters
    ----------
    spec : prompts, device, precision; `calibration` is the strength of the slide's stain, empty where it is not known

    Raises
    ------
    PromptError
        If a prompt is not answered.
    ConfigError
        If the device is not there, or the precision does not run on it.
    WeightsError
        If the shipped weights are missing or damaged.
    """

    def __init__(self, spec: RecognizerSpec) -> None:
        self.info: EngineInfo = engine_info()
        self._roles = check_nucleus_prompts(spec.prompts, TITLE, MPP)
        self._threshold = min(prompt.threshold for prompt in spec.prompts)
        self._split = in_tile_split(self.info)
        self._bytes = byte_table(spec.calibration[0] if spec.calibration else None)
        self._stain_factor = 1.0 if self._bytes is None else STRENGTH / REFERENCE
        device = resolve_device(spec.device)
        if spec.precision == "fp16" and device == "cpu":
            raise ConfigError("precision 'fp16' needs a GPU: use float32 or bf16 with --device cpu.")
        self._network = load_network(device, _DTYPES[spec.precision])

    def with_prompts(self, prompts: PromptSet) -> EmbeddedRecognizer:
        """The same network asked for other prompts."""
        other = copy.copy(self)
        other._roles = check_nucleus_prompts(prompts, TITLE, MPP)
        other._threshold = min(prompt.threshold for prompt in prompts)
        return other

    def limit_threads(self) -> None:
        """Run the calling thread's network on one core: workers are threads, and each takes one."""
        torch.set_num_threads(1)

    def __call__(self, images: NDArray[np.uint8]) -> Recognition:
        """Recognise a batch of tiles.

        Parameters
        ----------
        images : (B, H, W, 3) uint8 RGB at 0.5 um/px

        Returns
        -------
        Recognition: probabilities (B, P, H, W) float32 and landscape (B, H, W) uint8
        """
        images = at_reference(images, self._bytes)
        maps = nucleus_maps(self._network, images)
        b, _, h, w = maps.shape
        probabilities = np.empty((b, len(self._roles), h, w), np.float32)
        landscape = np.empty((b, h, w), np.uint8)
        for k in range(b):
            landscape[k] = landscape_of(maps[k, 0], maps[k, 1])
            foreground = calibrated(maps[k, 0])
            inflammatory = None
            if "inflammatory cells" in self._roles:
                inflammatory = self._inflammatory(images[k], foreground, landscape[k])
            probabilities[k] = share_nuclei(foreground, self._roles, inflammatory)
        return Recognition(probabilities, landscape)

    def _inflammatory(
        self, rgb: NDArray[np.uint8], foreground: NDArray[np.float32], landscape: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """(H, W) True on nuclei that keep the rule; nuclei are split as they will be downstream."""
        labels, n = split_cells(foreground > self._threshold, landscape, self._split)
        nuclei = measure_nuclei(labels, n, rgb, foreground, stain_factor=self._stain_factor)
        return np.asarray(np.concatenate([[False], find_inflammatory(nuclei, RULE)])[labels])
