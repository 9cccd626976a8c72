"""The whole network: an image is encoded once, then any number of prompts are decoded on it.

::

    image  -> backbone -> pixel decoder -> ImageEncoding   once per tile      (`encode_image`)
    prompt -> tokens   -> text encoder  -> TextEncoding    once per prompt set (`encode_text`)
    both   -> mask decoder -> matching  -> PromptMasks     once per tile and prompt (`decode`)

BiomedParse v1 (Zhao et al., Nature Methods 2024), inference only.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from wsiparse.choices import Mode
from wsiparse.recognize.biomedparse.backbone import FocalBackbone
from wsiparse.recognize.biomedparse.config import NetworkConfig
from wsiparse.recognize.biomedparse.decoder import ImageEncoding, MaskDecoder, QueryEmbeddings
from wsiparse.recognize.biomedparse.matching import best_queries, similarity
from wsiparse.recognize.biomedparse.pixel_decoder import PixelDecoder
from wsiparse.recognize.biomedparse.text import TextEncoding

__all__ = ["BiomedParseNetwork", "PromptMasks", "normalise", "to_probabilities"]

#: "solo": each prompt is decoded alone, its mask independent of the others; "joint": all prompts' tokens together.

#: ImageNet statistics on the 0-255 scale, RGB. The third deviation is 0.225 * 255.
_MEAN: Final = (123.675, 116.280, 103.530)
_STD: Final = (58.395, 57.120, 57.375)


@dataclass(frozen=True, slots=True)
class PromptMasks:
    """One mask for each tile and prompt.

    Parameters
    ----------
    logits : (B, P, S / 4, S / 4) float32
    matched : (B, P) int64, the query that was taken
    scores : (B, Q, P) float32, scaled cosine of every query and prompt
    """

    logits: Tensor
    matched: Tensor
    scores: Tensor


def normalise(image: Tensor) -> Tensor:
    """RGB grey levels 0-255 to the network's zero-mean input.

    Parameters
    ----------
    image : (B, 3, H, W) of a float dtype

    Returns
    -------
    (B, 3, H, W), same dtype
    """
    mean = torch.tensor(_MEAN, device=image.device, dtype=image.dtype).view(3, 1, 1)
    std = torch.tensor(_STD, device=image.device, dtype=image.dtype).view(3, 1, 1)
    return (image - mean) / std


def to_probabilities(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask logits to probabilities: bilinear on the logits, then the sigmoid.

    Parameters
    ----------
    logits : (B, P, h, w) of a float dtype
    size : (height, width), px; at the logits' own size nothing is interpolated

    Returns
    -------
    (B, P, height, width), same dtype, 0-1
    """
    if tuple(logits.shape[2:]) != tuple(size):
        logits = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    return logits.sigmoid()


class _SegmentationHead(nn.Module):
    """Holds both decoders under the checkpoint's prefix "sem_seg_head"."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder(config)
        self.predictor = MaskDecoder(config)


class BiomedParseNetwork(nn.Module):
    """The network; parameter names are those of the published checkpoint.

    Build it with `wsiparse.recognize.biomedparse.checkpoint`, which also fills it.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = FocalBackbone(config)
        self.sem_seg_head = _SegmentationHead(config)

    @property
    def _decoder(self) -> MaskDecoder:
        return self.sem_seg_head.predictor

    @torch.inference_mode()
    def encode_image(self, image: Tensor, half: torch.dtype | None = None) -> ImageEncoding:
        """Everything that depends on the image alone.

        Parameters
        ----------
        image : (B, 3, S, S), RGB grey levels 0-255 in the dtype of the weights, S a multiple of 32
        half : bfloat16 or float16 to run the backbone in mixed precision; the rest keeps the weights' own
        """
        full = image.dtype
        with torch.autocast(image.device.type, dtype=half) if half is not None else nullcontext():
            fine, medium, coarse, coarsest = self.backbone(normalise(image))
        maps = (fine.to(full), medium.to(full), coarse.to(full), coarsest.to(full))
        del fine, medium, coarse, coarsest
        return self._decoder.encode(self.sem_seg_head.pixel_decoder(maps))

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[Sequence[int]]) -> TextEncoding:
        """Embeddings of prompts given as token ids (see `ClipTokenizer.encode`).

        Raises
        ------
        ValueError
            If there is no prompt, or one is empty or longer than the context.
        """
        encoding: TextEncoding = self._decoder.lang_encoder(prompts)
        return encoding

    @torch.inference_mode()
    def decode(self, image: ImageEncoding, text: TextEncoding, mode: Mode = "solo") -> PromptMasks:
        """One mask per tile and prompt.

        In "solo" mode prompts run one after the other on the shared encoding: a prompt's mask is the same, bit for
        bit, whichever others run. In "joint" mode their tokens are concatenated and see each other.

        Parameters
        ----------
        image : B encoded tiles
        text : P encoded prompts
        mode : "solo" or "joint"

        Raises
        ------
        ValueError
            If `mode` is neither.
        """
        if mode == "joint":
            return self._match(image, self._decoder(image, torch.cat(text.tokens)), text.classes)
        if mode != "solo":
            raise ValueError(f"mode {mode!r} is neither 'solo' nor 'joint'")
        parts = [
            self._match(image, self._decoder(image, tokens), text.classes[p : p + 1])
            for p, tokens in enumerate(text.tokens)
        ]
        return PromptMasks(
            logits=torch.cat([part.logits for part in parts], dim=1),
            matched=torch.cat([part.matched for part in parts], dim=1),
            scores=torch.cat([part.scores for part in parts], dim=2),
        )

    def _match(self, image: ImageEncoding, queries: QueryEmbeddings, classes: Tensor) -> PromptMasks:
        """Masks of the matched queries only: the other hundred are never drawn."""
        scores = similarity(queries.captions, classes, self._decoder.lang_encoder.logit_scale)
        matched = best_queries(scores)
        chosen = queries.masks.gather(1, matched[:, :, None].expand(-1, -1, queries.masks.shape[2]))
        b, height, width, c = image.mask_features.shape
        logits = chosen @ image.mask_features.view(b, height * width, c).transpose(1, 2)
        return PromptMasks(logits.view(b, -1, height, width), matched, scores)
