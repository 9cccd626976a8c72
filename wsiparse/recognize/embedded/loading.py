"""Weights of a compact network, checked against their card and tried on one small picture."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
import torch

from wsiparse.errors import WeightsError
from wsiparse.recognize.arithmetic import resolved
from wsiparse.recognize.card import ModelCard
from wsiparse.recognize.device import resolve_device
from wsiparse.recognize.embedded.classes import batch_maps
from wsiparse.recognize.embedded.compact import CompactNetwork, load_compact
from wsiparse.recognize.embedded.openvino import OpenVinoMaps
from wsiparse.types import RecognizerSpec

__all__ = ["network_for", "tried_network"]

_DTYPES: Final = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def tried_network(content: bytes, name: str, card: ModelCard, spec: RecognizerSpec) -> CompactNetwork | OpenVinoMaps:
    """The network of a model folder on its device, in eval mode, or what OpenVINO made of it.

    Slides differ in their spec (the strength of their stain) and share the network: the last ones are kept.

    Parameters
    ----------
    content : content of the weights file
    name : name of the file, for errors
    card : card of the folder
    spec : device, precision and runtime

    Raises
    ------
    WeightsError
        If the weights are damaged, do not have the classes of the card or its scale of pooling, or answer no numbers.
    ConfigError
        If the device or the runtime, in its version, is not there, or the precision does not run on it.
    """
    spec = resolved(replace(spec, device=resolve_device(spec.device)))
    network = _network(content, name, spec.device, spec.precision, spec.runtime)
    shape = network.shape
    if shape.classes != len(card.classes):
        raise WeightsError(
            f"{name}: {shape.classes} class maps, but the card names {len(card.classes)} ({', '.join(card.classes)}). "
            "Copy the whole folder again."
        )
    if card.input.multiple_of % shape.stride_px:
        raise WeightsError(
            f"{name}: the network pools {shape.stride_px} px, but the card says multiple_of {card.input.multiple_of}. "
            f"Set it to {shape.stride_px}."
        )
    return network


@lru_cache(maxsize=2)
def _network(content: bytes, name: str, device: str, precision: str, runtime: str) -> CompactNetwork | OpenVinoMaps:
    network = network_for(load_compact(content, name), device, precision, runtime)
    ramp = np.arange(64, dtype=np.uint8) * 4
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(200)), axis=-1)
    if not np.isfinite(batch_maps(network, picture[None])).all():
        raise WeightsError(f"{name}: the network answers no numbers (NaN). Its weights are damaged: train it again.")
    return network


def network_for(network: CompactNetwork, device: str, precision: str, runtime: str) -> CompactNetwork | OpenVinoMaps:
    """The network as a resolved spec wants it: by OpenVINO, or on a device and of a dtype of PyTorch's.

    Parameters
    ----------
    network : without BatchNorm, in eval mode, float32, on the processor; PyTorch moves it in place
    device, precision, runtime : see `wsiparse.recognize.arithmetic.resolved`
    """
    if runtime.startswith("openvino"):
        return OpenVinoMaps(network, precision)
    return network.to(device=device, dtype=_DTYPES[precision])
