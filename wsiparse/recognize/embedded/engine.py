"""The declaration of the embedded network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.arithmetic import by_torch
from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.device import resolve_device
from wsiparse.recognize.embedded import TITLE, engine_info
from wsiparse.recognize.embedded.folder import FolderEngine
from wsiparse.recognize.ruled import RuledEngine, strength_of
from wsiparse.types import EngineInfo, RecognizerSpec

if TYPE_CHECKING:
    from wsiparse.recognize.base import Recognizer

__all__ = ["ENGINE", "folder_engine"]


class _Embedded(RuledEngine):
    """The network that ships with the package."""

    name = "embedded"
    title = TITLE
    licence = "weights: CC0-1.0"
    source = "this package"
    devices = ("cpu", "cuda", "mps")
    automatic = True

    def info(self, spec: RecognizerSpec) -> EngineInfo:
        """Facts of the engine."""
        return engine_info()

    def resolve(self, spec: RecognizerSpec) -> RecognizerSpec:
        """The device that "auto" stands for; PyTorch computes, float32 unless asked."""
        return by_torch(replace(spec, device=resolve_device(spec.device)), "float32")

    def load(self, spec: RecognizerSpec) -> Recognizer:
        """The recognizer, its weights read."""
        from wsiparse.recognize.embedded.recognizer import EmbeddedRecognizer

        return EmbeddedRecognizer(spec)

    def calibrated(self, spec: RecognizerSpec, sample: NDArray[np.uint8], tissue_mm2: float) -> RecognizerSpec:
        """The strength of the slide's stain."""
        strength = strength_of(sample, tissue_mm2)
        return spec if strength is None else replace(spec, calibration=(strength,))


def folder_engine(path: Path) -> DeclaredEngine:
    """The engine of a model folder; what is wrong with its card is told here.

    Raises
    ------
    WeightsError
        As `FolderEngine`.
    """
    return FolderEngine(path)


ENGINE: Final = _Embedded()
