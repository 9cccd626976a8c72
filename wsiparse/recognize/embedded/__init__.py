"""The embedded nucleus network: `network` (layers and weights), `recognizer` (tiles to probabilities).

This file imports no torch, so the engine's facts cost nothing.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

from wsiparse.errors import WeightsError
from wsiparse.types import EngineInfo, SplitSettings

__all__ = ["HALO_PX", "MPP", "STRIDE_PX", "TITLE", "WEIGHTS", "engine_info", "weights_bytes"]

#: File of the weights, beside this module (CC0).
WEIGHTS: Final = "wsiparse_nuclei.safetensors"

TITLE: Final = "embedded network, not BiomedParse"

#: The scale it was trained at, um per px.
MPP: Final = 0.5

#: Edge of the network's coarsest cell, px: tiles agree on their overlap only if their origins differ by a multiple.
STRIDE_PX: Final = 16

#: The receptive field reaches 103 px, but from the border of an aligned tile only 96 px inwards: from there on maps are
#: exact. Smoothing and nuclei on the core's edge look a few px further, where maps differ by less than a grey level.
HALO_PX: Final = 96


def weights_bytes() -> bytes:
    """The weights file.

    Raises
    ------
    WeightsError
        If it is absent from the installed package.
    """
    source = files(__name__).joinpath(WEIGHTS)
    if not source.is_file():
        raise WeightsError(
            f"{WEIGHTS}: the embedded network's weights are not in the installation. Reinstall wsiparse."
        )
    return source.read_bytes()


def engine_info() -> EngineInfo:
    """Facts of the engine; split settings lie on plateaus of what ``scripts/evaluate_embedded.py`` measures."""
    return EngineInfo(
        name="embedded",
        title=TITLE,
        mpp=MPP,
        tile_px=1024,
        halo_px=HALO_PX,
        align_px=STRIDE_PX,
        split=SplitSettings(
            landscape="stored", smoothing_um=0.0, persistence=7.0, min_area_um2=6.0, min_confidence=0.75
        ),
        weights_sha256=hashlib.sha256(weights_bytes()).hexdigest(),
        base_bytes=420 << 20,
        bytes_per_px=390,
    )
