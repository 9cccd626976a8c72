"""A recognizer that a program hands in, as an engine: for notebooks and networks that are in memory already."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from wsiparse.config import PromptConfig
from wsiparse.recognize.base import Recognizer
from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.types import EngineInfo, PromptSet, Recognition, RecognizerSpec

__all__ = ["GivenEngine"]

_METHODS = ("limit_threads", "with_prompts")


class GivenEngine(DeclaredEngine):
    """The engine of one recognizer, which answers whatever it is asked.

    What it finds has a digest of its weights, if ``info.weights_sha256`` says which they are; else a digest of its own
    in every call, so that results of two models are never taken for one another's.

    Parameters
    ----------
    recognizer : a `Recognizer`

    Raises
    ------
    ValueError
        If it is none; the text says what it lacks.
    """

    any_words = True
    devices = ("cpu", "cuda", "mps")
    licence, source = "of its author", "handed in by the program"

    def __init__(self, recognizer: Recognizer) -> None:
        info = getattr(recognizer, "info", None)
        if not isinstance(info, EngineInfo):
            raise ValueError(
                "recognizer: an object whose attribute info is an EngineInfo is needed, got "
                f"{type(recognizer).__name__} with info of type {type(info).__name__}"
            )
        lacking = [name for name in _METHODS if not callable(getattr(recognizer, name, None))]
        lacking += [] if callable(recognizer) else ["__call__"]
        if lacking:
            raise ValueError(f"recognizer: {type(recognizer).__name__} has no method {', '.join(lacking)}")
        if not info.title.strip():
            raise ValueError("recognizer: info.title is empty, and every output says it")
        self.name, self.title = f"given:{info.name}", info.title
        self._recognizer = recognizer
        self._info = info if info.weights_sha256 else replace(info, weights_sha256=secrets.token_hex(32))

    def info(self, spec: RecognizerSpec) -> EngineInfo:
        """The recognizer's own facts."""
        return self._info

    def load(self, spec: RecognizerSpec) -> Recognizer:
        """The recognizer for the prompts of a spec; what it returns is looked at."""
        return _Checked(self._recognizer.with_prompts(spec.prompts), spec.prompts, self._info)

    def completed(
        self, asked: Sequence[PromptConfig], *, strict: bool = False
    ) -> tuple[tuple[PromptConfig, ...], tuple[str, ...]]:
        """The prompts as they were asked; nuclei where none were."""
        return tuple(asked) or (PromptConfig(text="nuclei", class_name="Nuclei"),), ()


class _Checked:
    """A recognizer whose every answer is looked at."""

    def __init__(self, recognizer: Recognizer, prompts: PromptSet, info: EngineInfo) -> None:
        self.info = info
        self._recognizer, self._prompts = recognizer, prompts

    def __call__(self, images: NDArray[np.uint8]) -> Recognition:
        found = self._recognizer(images)
        if not isinstance(found, Recognition):
            raise ValueError(f"recognizer: a Recognition is needed, got {type(found).__name__}")
        wanted = (len(images), len(self._prompts), *images.shape[1:3])
        if found.probabilities.shape != wanted:
            raise ValueError(
                f"recognizer: probabilities of shape {wanted} (pictures, prompts, height, width) are needed, got "
                f"{found.probabilities.shape}"
            )
        if found.probabilities.size and not (found.probabilities.min() >= 0 and found.probabilities.max() <= 1):
            raise ValueError("recognizer: probabilities must lie between 0 and 1; some are outside, or not numbers")
        if found.landscape is None and self.info.split.landscape == "stored":
            raise ValueError("recognizer: info.split wants a landscape, and none was returned")
        return found

    def limit_threads(self) -> None:
        self._recognizer.limit_threads()

    def with_prompts(self, prompts: PromptSet) -> Recognizer:
        return _Checked(self._recognizer.with_prompts(prompts), prompts, self.info)
