"""What every recognizer is, and what the rest of the program asks of an engine.

Nothing here imports torch: facts and checks are cheap, the engine itself is imported when it is loaded. What an engine
says of itself is in `wsiparse.recognize.declared`, which there are in `wsiparse.recognize.registry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from wsiparse.choices import Precision, words
from wsiparse.errors import ConfigError
from wsiparse.recognize.declared import ScaleOf
from wsiparse.recognize.device import check_device_name
from wsiparse.recognize.registry import engine_of
from wsiparse.recognize.strength import StainFacts
from wsiparse.types import (
    Box,
    EngineInfo,
    EngineLimits,
    PromptSet,
    Recognition,
    RecognitionGrid,
    RecognizerSpec,
    TileGrid,
)

__all__ = [
    "Recognizer",
    "calibrate",
    "check_prompts",
    "engine_info",
    "limits_of",
    "load_recognizer",
    "mirror_outside",
    "on_this_machine",
    "operations_per_tile",
    "recognition_grid",
    "scales_of",
    "stain_of",
    "wants_sample",
]

PRECISIONS: Final = words(Precision)


class Recognizer(Protocol):
    """Tiles in, probabilities out; the same tile gives the same numbers whatever the rest of the batch."""

    info: EngineInfo

    def __call__(self, images: NDArray[np.uint8]) -> Recognition:
        """Recognise a batch: (B, H, W, 3) uint8 -> (B, P, H, W) probabilities, landscape (B, H, W) or None."""

    def limit_threads(self) -> None:
        """Tell the engine's libraries that the calling thread may use one core."""

    def with_prompts(self, prompts: PromptSet) -> Recognizer:
        """The same engine asked for other prompts; weights are shared."""


def engine_info(spec: RecognizerSpec) -> EngineInfo:
    """Facts of the engine a spec names, without loading it (weights may be hashed).

    Raises
    ------
    ConfigError
        If the engine, device or precision is unknown.
    WeightsError
        If the engine's weights are missing.
    """
    _check_names(spec)
    return engine_of(spec.engine).info(spec)


def on_this_machine(spec: RecognizerSpec) -> RecognizerSpec:
    """The spec with every "auto" replaced by what it stands for here: results may differ in a bit between devices,
    runtimes and precisions.

    Raises
    ------
    ConfigError
        If the device or the runtime is not there.
    """
    _check_names(spec)
    return engine_of(spec.engine).resolve(spec)


def scales_of(spec: RecognizerSpec, mpp: float | None = None) -> tuple[ScaleOf, ...]:
    """The scales at which an engine wants to see the slide, each with its prompts.

    Parameters
    ----------
    spec : with all prompts of the run
    mpp : overrides the engine's own scale for prompts that do not name one

    Returns
    -------
    For each scale: positions of its prompts, a spec with these prompts only, the engine's facts at that scale

    Raises
    ------
    ConfigError
        If cell prompts, or region prompts, ask for different scales: objects of one kind share one pixel grid.
    """
    return engine_of(spec.engine).scales(spec, engine_info(spec), mpp)


def check_prompts(spec: RecognizerSpec) -> None:
    """Refuse devices, options and prompts the engine does not take, before anything is read or loaded.

    Raises
    ------
    ConfigError
        If the engine does not run on the device, or has no such option.
    PromptError
        If an engine without a language model is asked for what it does not answer.
    """
    _check_names(spec)
    engine_of(spec.engine).check(spec)


def load_recognizer(spec: RecognizerSpec) -> Recognizer:
    """Build the recognizer of a spec; the only call that imports torch.

    Raises
    ------
    PromptError, ConfigError, WeightsError
        If a prompt is not answered, the device is not there, or weights are missing.
    """
    check_prompts(spec)
    return engine_of(spec.engine).load(spec)


def operations_per_tile(spec: RecognizerSpec) -> float | None:
    """Floating-point operations of one tile with all prompts of a spec, where the engine is heavy enough to count."""
    return engine_of(spec.engine).operations_per_tile(spec)


def wants_sample(spec: RecognizerSpec) -> bool:
    """Whether `calibrate` makes anything of a sample of the slide."""
    return engine_of(spec.engine).wants_sample()


def calibrate(spec: RecognizerSpec, sample: NDArray[np.uint8], tissue_mm2: float) -> RecognizerSpec:
    """The spec with what its engine learns from a sample of the slide, once for all tiles.

    Anything estimated per tile would make results depend on the tiling; what needs an estimate (the strength of the
    stain; the classical engine: stain vectors and global threshold too) gets it here. The spec of an engine that
    estimates nothing stays as it is.

    Parameters
    ----------
    spec : spec of any engine
    sample : (N, H, W, 3) uint8 patches of tissue at the engine's scale; N = 0 leaves the engine's fixed values
    tissue_mm2 : tissue of the slide; little of it does not tell how strongly the slide is stained
    """
    return engine_of(spec.engine).calibrated(spec, sample, tissue_mm2) if len(sample) else spec


def stain_of(spec: RecognizerSpec) -> StainFacts | None:
    """What a calibrated spec knows of the slide's stain; None for an engine that takes every slide as it is."""
    return engine_of(spec.engine).stain_of(spec)


def limits_of(spec: RecognizerSpec) -> EngineLimits:
    """What a report must say of an engine's answers on one slide.

    Parameters
    ----------
    spec : calibrated to the slide
    """
    return engine_of(spec.engine).limits(spec)


def recognition_grid(
    spec: RecognizerSpec,
    positions: tuple[int, ...],
    grid: TileGrid,
    tiles: Sequence[tuple[int, NDArray[np.float32]]],
) -> RecognitionGrid | None:
    """The engine's own scores: see `wsiparse.recognize.declared.DeclaredEngine.recognition_grid`.

    Parameters
    ----------
    spec : whose prompts the statistics are of
    positions : of these prompts in the run's prompt set
    grid : the tiles
    tiles : index and statistics, (P, 4) float32, of each tile that was read

    Raises
    ------
    WeightsError
        If the score parameters lie beside the weights but are damaged; without them all scores are NaN.
    """
    return engine_of(spec.engine).recognition_grid(spec, positions, grid, tiles)


def mirror_outside(image: NDArray[np.uint8], box: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A tile's pixels with what lies outside the canvas replaced by the mirrored inside.

    A network takes the straight edge between tissue and a plain fill for an edge of the tissue and loses the nuclei
    along it; the mirror image (without repeating the edge pixel) is seamless.

    Parameters
    ----------
    image : (box.height, box.width, 3) uint8
    box : where it was read, frame px
    size : (width, height) of the canvas, frame px; the box must meet it

    Returns
    -------
    (box.height, box.width, 3) uint8; `image` itself when the box lies inside

    Raises
    ------
    ValueError
        If the box misses the canvas or does not match the image.
    """
    inside = box.clip(size)
    if inside is None or image.shape[:2] != (box.height, box.width):
        raise ValueError(f"image of shape {image.shape} read at {box} does not meet a canvas of {size}")
    if inside == box:
        return image
    top, left = inside.y - box.y, inside.x - box.x
    part = image[top : top + inside.height, left : left + inside.width]
    return np.pad(part, ((top, box.y1 - inside.y1), (left, box.x1 - inside.x1), (0, 0)), mode="reflect")


def _check_names(spec: RecognizerSpec) -> None:
    engine = engine_of(spec.engine)
    check_device_name(spec.device)
    if spec.precision not in PRECISIONS:
        raise ConfigError(f"precision '{spec.precision}' is unknown: choose one of {', '.join(PRECISIONS)}.")
    engine.check_device(spec.device)
