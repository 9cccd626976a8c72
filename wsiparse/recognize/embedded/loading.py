"""Weights of a compact network, checked against their card and tried on one small picture."""

from __future__ import annotations

import numpy as np

from wsiparse.errors import WeightsError
from wsiparse.recognize.card import ModelCard
from wsiparse.recognize.embedded.classes import batch_maps, network_for
from wsiparse.recognize.embedded.compact import CompactNetwork, load_compact
from wsiparse.recognize.embedded.openvino import OpenVinoMaps
from wsiparse.types import RecognizerSpec

__all__ = ["tried_network"]


def tried_network(content: bytes, name: str, card: ModelCard, spec: RecognizerSpec) -> CompactNetwork | OpenVinoMaps:
    """The network of a model folder on its device, in eval mode.

    Parameters
    ----------
    content : of the weights file
    name : of the file, for errors
    card : of the folder
    spec : with device, runtime and precision resolved

    Raises
    ------
    WeightsError
        If the weights are damaged, do not have the classes of the card or its scale of pooling, or answer no numbers.
    ConfigError
        If this machine has not got that runtime, in that version.
    """
    network = load_compact(content, name)
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
    runnable = network_for(network, spec)
    ramp = np.arange(64, dtype=np.uint8) * 4
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(200)), axis=-1)
    if not np.isfinite(batch_maps(runnable, picture[None])).all():
        raise WeightsError(f"{name}: the network answers no numbers (NaN). Its weights are damaged: train it again.")
    return runnable
