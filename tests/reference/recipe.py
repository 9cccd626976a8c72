"""Synthetic weights that anyone can make again: a function of a seed word, a parameter's name and its shape.

They let the arithmetic of the network be compared between implementations without any published weights. Each
parameter has its own generator, seeded by the CRC-32 of "seed|name" and read as raw 64-bit words: the raw stream of
NumPy's PCG64 is covered by its compatibility guarantee, its normal deviates are not. Values are uniform with the mean
and the deviation of the first rule that fits the name. `miniature` is a small network to go with them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.biomedparse.config import NetworkConfig

__all__ = ["miniature", "recipe_array", "recipe_weights"]

#: Values made at a time: keeps the float64 steps of a 25-million-entry table out of memory.
_CHUNK: Final = 1 << 20

_SPREAD_HALF: Final = (
    "level_embed.weight",
    "pn_indicator.weight",
    "spatial_embed.weight",
    "spatial_featured.weight",
)
_TRANSFORMERS: Final = (
    "predictor.transformer_self_attention_layers.",
    "predictor.transformer_cross_attention_layers.",
    "pixel_decoder.transformer.",
    "predictor.transformer_ffn_layers.",
)


def _gain(key: str) -> float:
    if key == "sem_seg_head.predictor.mask_embed.layers.2.weight":
        return 0.4
    if any(part in key for part in _TRANSFORMERS):
        in_predictor = ".predictor." in key
        if key.endswith("in_proj_weight"):
            return 2.0
        if key.endswith("out_proj.weight"):
            return 0.2 if in_predictor else 0.4
        if key.endswith("linear2.weight"):
            return 0.15 if in_predictor else 0.4
        return 1.0
    if ".attn.in_proj_weight" in key:
        return 3.0
    if ".attn.out_proj.weight" in key:
        return 2.0
    return 1.0


def _deviation_and_mean(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    last = key.rpartition(".")[2]
    if key == "dilation_kernel":
        return 0.0, 1.0
    if last == "logit_scale":
        return 0.0, 2.659260036932778
    if last in ("gamma_1", "gamma_2"):
        return 0.05, 0.25
    if key.endswith("token_embedding.weight"):
        return 0.1, 0.0
    if last == "positional_embedding":
        return 0.05, 0.0
    if key.endswith(("query_feat.weight", "query_embed.weight")):
        return 1.0, 0.0
    if key.endswith(_SPREAD_HALF):
        return 0.5, 0.0
    if last in ("class_embed", "lang_proj") or "mask_sptial_embed." in key:
        return shape[0] ** -0.5, 0.0
    if len(shape) == 1:
        if last == "weight":
            return 0.1, 1.0
        return 0.05, -0.75 if "pixel_decoder.layer_" in key else 0.0
    return _gain(key) * math.prod(shape[1:]) ** -0.5, 0.0


def recipe_array(seed: str, key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The parameter `key` under `seed`, (...) float32 of the given shape.

    Parameters
    ----------
    seed : any word
    key : the parameter's name
    shape : of the parameter
    """
    deviation, mean = _deviation_and_mean(key, shape)
    count = math.prod(shape)
    out = np.empty(count, np.float32)
    stream = np.random.PCG64(zlib.crc32(f"{seed}|{key}".encode()))
    for start in range(0, count, _CHUNK):
        raw = stream.random_raw(min(_CHUNK, count - start))
        unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        out[start : start + len(raw)] = mean + deviation * ((2.0 * unit - 1.0) * math.sqrt(3.0))
    return out.reshape(shape)


def recipe_weights(seed: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """All parameters under `seed`, name to (...) float32, from `shapes`, name to shape."""
    return {key: recipe_array(seed, key, shape) for key, shape in shapes.items()}


def miniature() -> NetworkConfig:
    """A network of the same build with 80 thousand weights and a full vocabulary, for tests that finish in seconds.

    No two widths agree, so that a swapped dimension cannot pass unseen.
    """
    return NetworkConfig(
        input_px=64,
        embed_dim=6,
        depths=(1, 1, 2, 1),
        focal_levels=2,
        mlp_ratio=2,
        hidden_dim=16,
        heads=2,
        ffn_dim=20,
        encoder_layers=2,
        decoder_layers=4,
        queries=11,
        norm_groups=4,
        vocabulary=49408,
        context=77,
        text_dim=15,
        text_heads=3,
        text_layers=2,
    )
