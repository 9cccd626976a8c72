"""A card and its network as a recognizer: nuclei, whatever the network says of them, and regions."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from wsiparse.errors import WeightsError
from wsiparse.recognize.card import ModelCard
from wsiparse.recognize.embedded.classes import NucleusMaps, NucleusRecognizer
from wsiparse.recognize.embedded.cut import Cut, calibrated, landscape_of
from wsiparse.recognize.exported.calibration import SlideFacts
from wsiparse.recognize.exported.energy import hover_landscape, label_landscape
from wsiparse.recognize.exported.inputs import InputMaker
from wsiparse.recognize.exported.maps import activated, class_maps, edge_of, foreground_of, role, single
from wsiparse.recognize.exported.networks import Network, joined
from wsiparse.recognize.exported.star import star_labels
from wsiparse.recognize.prompts import Answer, answer_of
from wsiparse.types import EngineInfo, PromptSet, Recognition

__all__ = ["CardNuclei", "CardRegions", "TileMaps", "try_network"]

#: Share of the smaller of two star-convex candidates that they may have in common.
_OVERLAP: Final = 0.4

#: Edge of the pictures that a network is tried on, px.
_TRIAL_PX: Final = 256


class TileMaps:
    """The raw channels of a tile, checked.

    Parameters
    ----------
    card : of the model
    network : of its file, (1, C, H, W) float32 -> arrays
    facts : of the slide
    name : of the file, for errors
    """

    def __init__(self, card: ModelCard, network: Network, facts: SlideFacts, name: str) -> None:
        self.card, self._network, self._name = card, network, name
        self._inputs = InputMaker(card, facts.stains, facts.low, facts.high, facts.strength)
        self._stride = card.output.stride or 1

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Channels of one tile, at the network's own stride.

        Parameters
        ----------
        image : (H, W, 3) uint8 RGB

        Returns
        -------
        (C, h, w) float32, finite, of the tile without the margin that the network crops

        Raises
        ------
        WeightsError
            If there are fewer channels than the card gives roles, the size is another, or numbers are none (NaN).
        """
        given = self.card.input
        maps = joined(self._network(self._inputs(image)), last=given.layout == "NHWC", name=self._name)
        highest = max(self.card.output.channels.values())
        if len(maps) <= highest:
            raise WeightsError(
                f"{self._name}: answers {len(maps)} channels, but the card gives channel {highest} a role."
            )
        wanted = tuple((side - 2 * given.margin_px) // self._stride for side in image.shape[:2])
        if maps.shape[1:] != wanted:
            found, told = ("x".join(map(str, size)) for size in (maps.shape[1:], wanted))
            raise WeightsError(
                f"{self._name}: answers maps of {found} for a tile of {image.shape[0]}x{image.shape[1]} px, the card "
                f"says {told}. Set output_px and stride in its card."
            )
        if not np.isfinite(maps).all():
            raise WeightsError(f"{self._name}: the network answers no numbers (NaN or infinity). Export it again.")
        return maps

    def enlarged(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps at the stride of the tile, values repeated.

        Parameters
        ----------
        maps : (..., h, w) float32

        Returns
        -------
        (..., H, W) float32
        """
        if self._stride == 1:
            return maps
        return maps.repeat(self._stride, axis=-2).repeat(self._stride, axis=-1)

    def placed(self, maps: NDArray[Any]) -> NDArray[Any]:
        """Maps with the margin that the network crops, where nothing is.

        Parameters
        ----------
        maps : (..., h, w) of any dtype

        Returns
        -------
        (..., H, W), same dtype
        """
        m = self.card.input.margin_px
        return np.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(m, m), (m, m)]) if m else maps


def try_network(maps: TileMaps) -> None:
    """Run a network on two small pictures, the second of another shape where the card says any size.

    Raises
    ------
    WeightsError
        As `TileMaps`, or if a library cannot run it.
    """
    given = maps.card.input
    step = given.multiple_of
    edge = given.tile_px if given.fixed_size else min(given.tile_px, -(-_TRIAL_PX // step) * step + 2 * given.margin_px)
    edge += -edge % step
    for width in [edge] if given.fixed_size else [edge, edge + step]:
        x, y = np.arange(width), np.arange(edge)
        picture = np.stack(np.broadcast_arrays(x % 256, y[:, None] % 256, np.int64(200)), axis=-1).astype(np.uint8)
        maps(picture)


class CardNuclei(NucleusRecognizer):
    """Nuclei of a card of kind nuclei, hover, star or instances.

    Parameters
    ----------
    maps : of the model
    info, answers, prompts : see `wsiparse.recognize.embedded.classes.NucleusRecognizer`
    cut : how maps become nuclei
    """

    def __init__(
        self, maps: TileMaps, info: EngineInfo, answers: Mapping[str, Answer], prompts: PromptSet, cut: Cut
    ) -> None:
        card = maps.card
        text_of = {prompt.of_class: prompt.text for prompt in card.prompts}
        texts = [text_of[name] for name in card.classes]
        super().__init__(info, texts, answers, prompts, least_share=card.output.least_share)
        self._maps, self._cut = maps, cut
        kinds = {"nuclei": self._of_maps, "hover": self._of_hover, "star": self._of_star, "instances": self._of_labels}
        self._kind = kinds[card.output.kind]

    def nuclei(self, images: NDArray[np.uint8]) -> Iterator[NucleusMaps]:
        """Maps of each tile of a batch, (B, H, W, 3) uint8 RGB."""
        for image in images:
            raw = self._maps(image)
            found = self._kind(raw)
            classes = self._maps.enlarged(class_maps(self._maps.card, raw))
            yield NucleusMaps(
                np.asarray(self._maps.placed(found[0]), np.float32),
                np.asarray(self._maps.placed(found[1]), np.uint8),
                np.asarray(self._maps.placed(classes), np.float32),
            )

    def _of_maps(self, raw: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Foreground as it is; landscape of centre or distance, less the boundary."""
        card = self._maps.card
        foreground = foreground_of(card, raw)
        centre, distance = role(card, raw, "centre"), role(card, raw, "distance")
        middle = foreground
        if centre is not None:
            middle = activated(centre[None], single(card))[0]
        elif distance is not None:
            middle = activated(distance[None], "none")[0]
        edge = edge_of(card, raw)
        plain = self._maps.enlarged(np.stack([foreground, middle, edge]))
        return calibrated(plain[0], self._cut.foreground), landscape_of(plain, self._cut)

    def _of_hover(self, raw: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        card = self._maps.card
        channels = card.output.channels
        foreground = foreground_of(card, raw)
        places = [channels["horizontal"], channels["vertical"]]
        plain = self._maps.enlarged(np.concatenate([foreground[None], raw[places]]))
        landscape = hover_landscape(plain[0], plain[1], plain[2], self._cut.sigma_px)
        return calibrated(plain[0], self._cut.foreground), landscape

    def _of_star(self, raw: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        out = self._maps.card.output
        first = out.channels["ray 0"]
        labels, likely = star_labels(
            activated(raw[[out.channels["probability"]]], single(self._maps.card))[0],
            raw[first : first + (out.n_rays or 0)],
            cut=out.cut,
            overlap=out.overlap or _OVERLAP,
            stride=out.stride or 1,
        )
        sure = np.concatenate([np.zeros(1, np.float32), calibrated(likely, out.cut)])
        return sure[labels], label_landscape(labels)

    def _of_labels(self, raw: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        card = self._maps.card
        found = self._maps.enlarged(raw[card.output.channels["labels"]])
        labels = np.rint(np.maximum(found, 0)).astype(np.int32)
        inside = (labels > 0).astype(np.float32)
        likely = role(card, raw, "probability")
        if likely is not None:
            sure = calibrated(self._maps.enlarged(activated(likely[None], single(card))[0]), card.output.cut)
            inside *= np.maximum(sure, np.nextafter(np.float32(0.5), np.float32(1)))  # the label decides
        return inside, label_landscape(labels)


class CardRegions:
    """Regions of a card of kind regions, each class by itself.

    Parameters
    ----------
    maps : of the model
    info : facts of the engine
    answers : of the engine
    prompts : what is asked for
    """

    def __init__(self, maps: TileMaps, info: EngineInfo, answers: Mapping[str, Answer], prompts: PromptSet) -> None:
        self.info = info
        self._maps, self._answers = maps, answers
        self._asked: Sequence[int] = self._places(prompts)

    def _places(self, prompts: PromptSet) -> list[int]:
        card = self._maps.card
        text_of = {prompt.of_class: prompt.text for prompt in card.prompts}
        texts = [text_of[name] for name in card.classes]
        used = [answer_of(prompt.text, self._answers) for prompt in prompts]
        return [texts.index(answer.text) for answer in used if answer is not None]

    def with_prompts(self, prompts: PromptSet) -> CardRegions:
        """The same network asked for other prompts."""
        other = copy.copy(self)
        other._asked = self._places(prompts)
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
        Recognition: probabilities (B, P, H, W) float32 on a scale on which 0.5 is the model's own cut
        """
        card, cut = self._maps.card, self._maps.card.output.cut
        found = np.zeros((len(images), len(self._asked), *images.shape[1:3]), np.float32)
        for k, image in enumerate(images):
            classes = class_maps(card, self._maps(image))[list(self._asked)]
            found[k] = self._maps.placed(self._maps.enlarged(calibrated(classes, cut)))
        return Recognition(found)
