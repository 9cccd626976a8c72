"""Tiles to one map for each prompt with a compact network that names nuclei.

Every nucleus belongs to one class, the one whose map has the largest sum over its pixels; nuclei are split in the
tile, where they have context, exactly as they will be downstream. A prompt for a class gets the foreground on nuclei
of that class; the prompt "nuclei" gets all that no other prompt asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from wsiparse.errors import PromptError
from wsiparse.objects.split import SplitPixels, split_cells
from wsiparse.recognize.arithmetic import arithmetic_of
from wsiparse.recognize.embedded.compact import PLAIN_MAPS, CompactNetwork
from wsiparse.recognize.embedded.cut import CUT, Cut, class_of_each, landscape_of
from wsiparse.recognize.embedded.openvino import OpenVinoMaps
from wsiparse.recognize.instances import in_tile_split
from wsiparse.recognize.prompts import role_of
from wsiparse.types import EngineInfo, PromptSet, Recognition, RecognizerSpec

__all__ = [
    "ALL_NUCLEI",
    "CLASS_WORDS",
    "ClassRecognizer",
    "batch_maps",
    "class_of_text",
    "network_for",
    "share_by_class",
]

#: Position of the prompt that wants every nucleus which no other prompt asks for.
ALL_NUCLEI: Final = -1

#: Class of a pixel of no nucleus.
_OUTSIDE: Final = -2

_DTYPES: Final = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

#: Class of a network -> other words for it. Neoplastic epithelium is epithelium to the network.
CLASS_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "epithelial": ("epithelial cells", "epithelial cell", "epithelial nuclei", "epithelium"),
    "inflammatory": ("inflammatory cells", "inflammatory cell", "inflammatory nuclei"),
    "connective": ("connective tissue cells", "connective tissue cell", "connective cells", "connective tissue nuclei"),
}


def class_of_text(text: str, classes: Sequence[str]) -> int | None:
    """Which class of a network a prompt asks for: its position, `ALL_NUCLEI`, or None for anything else.

    >>> class_of_text("Inflammatory cells", ["epithelial", "inflammatory"])
    1
    """
    if role_of(text) == "nuclei":
        return ALL_NUCLEI
    plain = " ".join(text.casefold().replace("-", " ").replace("_", " ").split()).rstrip(".")
    words = (CLASS_WORDS.get(name, (f"{name} cells", f"{name} nuclei")) for name in classes)
    return next((k for k, known in enumerate(words) if plain in known), None)


def network_for(network: CompactNetwork, spec: RecognizerSpec) -> CompactNetwork | OpenVinoMaps:
    """The network as a resolved spec wants it: by OpenVINO, or on a device and of a dtype of PyTorch's.

    Parameters
    ----------
    network : without BatchNorm, in eval mode, float32, on the processor; PyTorch moves it in place
    spec : see `wsiparse.recognize.arithmetic.resolved`

    Raises
    ------
    ConfigError
        If this machine has not got that runtime, in that version.
    """
    arithmetic_of(spec.device, spec.precision, spec.runtime)
    if spec.runtime.startswith("openvino"):
        return OpenVinoMaps(network, spec.precision)
    moved = network.to(device=spec.device, dtype=_DTYPES[spec.precision])
    return moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


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


def share_by_class(
    foreground: NDArray[np.float32], class_of_pixel: NDArray[np.int64] | None, asked: Sequence[int]
) -> NDArray[np.float32]:
    """One probability map for each prompt, such that every nucleus belongs to one of them at most.

    Parameters
    ----------
    foreground : (H, W) float32, probability of being nucleus
    class_of_pixel : (H, W) int64, class of the pixel's nucleus, less than 0 outside; None when no class is asked for
    asked : class of each prompt, or `ALL_NUCLEI`

    Returns
    -------
    (P, H, W) float32
    """
    maps = np.empty((len(asked), *foreground.shape), np.float32)
    named = [k for k in asked if k != ALL_NUCLEI]
    for target, wanted in zip(maps, asked, strict=True):
        if class_of_pixel is None or not named:
            target[:] = foreground
        elif wanted == ALL_NUCLEI:
            np.multiply(foreground, ~np.isin(class_of_pixel, named), out=target)
        else:
            np.multiply(foreground, class_of_pixel == wanted, out=target)
    return maps


class ClassRecognizer:
    """A compact network as a recognizer (`wsiparse.recognize.base.Recognizer`).

    Parameters
    ----------
    network : in eval mode, on its device, or what OpenVINO made of it (`network_for`)
    info : facts of the engine
    classes : names of the class maps, in order
    prompts : what is asked for
    cut : how maps become nuclei

    Raises
    ------
    PromptError
        If a prompt is not answered, or two ask for the same.
    """

    def __init__(
        self,
        network: CompactNetwork | OpenVinoMaps,
        info: EngineInfo,
        classes: Sequence[str],
        prompts: PromptSet,
        cut: Cut = CUT,
    ) -> None:
        self.info = info
        self._network, self._classes, self._cut = network, tuple(classes), cut
        self._asked = self._positions(prompts)
        self._threshold = min(prompt.threshold for prompt in prompts)
        self._split: SplitPixels = in_tile_split(info)

    def _positions(self, prompts: PromptSet) -> tuple[int, ...]:
        asked: list[int] = []
        for prompt in prompts:
            position = class_of_text(prompt.text, self._classes)
            if position is None:
                known = ", ".join(["'nuclei'", *(f"'{CLASS_WORDS.get(c, (c,))[0]}'" for c in self._classes)])
                raise PromptError(f"prompt {prompt.text!r}: this engine ({self.info.title}) answers only {known}.")
            if position in asked:
                raise PromptError(f"prompt {prompt.text!r}: asked for already under another name. Leave one out.")
            asked.append(position)
        return tuple(asked)

    def with_prompts(self, prompts: PromptSet) -> ClassRecognizer:
        """The same network asked for other prompts."""
        return ClassRecognizer(self._network, self.info, self._classes, prompts, self._cut)

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
        maps = batch_maps(self._network, images)
        b, _, h, w = maps.shape
        probabilities = np.empty((b, len(self._asked), h, w), np.float32)
        landscape = np.empty((b, h, w), np.uint8)
        for k in range(b):
            landscape[k] = landscape_of(maps[k], self._cut)
            found = None
            if any(position != ALL_NUCLEI for position in self._asked):
                labels, n = split_cells(maps[k, 0] > self._threshold, landscape[k], self._split)
                classes = class_of_each(maps[k, PLAIN_MAPS:], labels, n)
                found = np.concatenate([[_OUTSIDE], classes])[labels]
            probabilities[k] = share_by_class(maps[k, 0], found, self._asked)
        return Recognition(probabilities, landscape)
