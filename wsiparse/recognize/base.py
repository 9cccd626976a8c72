"""What every recognizer is, which ones there are, and how one is built.

Nothing here imports torch: facts and checks are cheap, the engine itself is imported when it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import ConfigError, WeightsError
from wsiparse.recognize import classical, embedded
from wsiparse.recognize.biomedparse import engine as biomedparse
from wsiparse.recognize.device import check_device_name, resolve_device
from wsiparse.recognize.inflammatory import RULE_LIMITS
from wsiparse.recognize.prompts import NUCLEI_ONLY, check_nucleus_prompts, role_of
from wsiparse.recognize.score import load_distributions, prompt_scores
from wsiparse.recognize.strength import StainFacts, stain_strength, tissue_is_enough
from wsiparse.types import (
    Box,
    EngineInfo,
    EngineLimits,
    PromptKind,
    PromptSet,
    Recognition,
    RecognitionGrid,
    RecognizerSpec,
    TileGrid,
)

__all__ = [
    "ENGINES",
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

ENGINES: Final = ("embedded", "classical", "biomedparse")
PRECISIONS: Final = ("auto", "float32", "bf16", "fp16")


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
    """Facts of the engine a spec names, without loading it (BiomedParse: its weights file is hashed).

    Raises
    ------
    ConfigError
        If the engine, device or precision is unknown.
    WeightsError
        If the engine's weights are missing.
    """
    _check_names(spec)
    if spec.engine == "embedded":
        return embedded.engine_info()
    if spec.engine == "classical":
        return classical.engine_info()
    checkpoint = biomedparse.find_checkpoint(Path(spec.weights)) if spec.weights else None
    if checkpoint is None or not checkpoint.is_file():
        raise WeightsError(
            f"engine 'biomedparse': no weights {'at ' + spec.weights if spec.weights else 'given'}. "
            "Run `wsiparse weights fetch`, then give the file to --weights."
        )
    return biomedparse.engine_info(biomedparse.sha256_of(checkpoint))


def on_this_machine(spec: RecognizerSpec) -> RecognizerSpec:
    """The spec with device "auto" replaced by the one it stands for here: results may differ in a bit between devices.

    Raises
    ------
    ConfigError
        If the device is not there.
    """
    _check_names(spec)
    return spec if spec.engine == "classical" else replace(spec, device=resolve_device(spec.device))


def scales_of(
    spec: RecognizerSpec, mpp: float | None = None
) -> tuple[tuple[tuple[int, ...], RecognizerSpec, EngineInfo], ...]:
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
    info = engine_info(spec)
    if spec.engine != "biomedparse":
        return ((tuple(range(len(spec.prompts))), spec, replace(info, mpp=mpp or info.mpp)),)
    wanted = [biomedparse.scale_of(prompt, mpp) for prompt in spec.prompts]
    kinds: tuple[PromptKind, ...] = ("cell", "region")
    for kind in kinds:
        of_kind = sorted({wanted[i] for i in spec.prompts.of_kind(kind)})
        if len(of_kind) > 1:
            raise ConfigError(
                f"the {kind} prompts ask for {' and '.join(f'{m:g}' for m, _, _ in of_kind)} um per pixel, but objects "
                f"of one kind share one grid. Give all {kind} prompts the same input_mpp, or make two runs."
            )
    parts = []
    for scale in sorted(set(wanted)):
        positions = tuple(i for i, w in enumerate(wanted) if w == scale)
        prompts = PromptSet(tuple(spec.prompts[i] for i in positions))
        # every tile is resized for the network: what it needs does not depend on the tile's own size
        needed = info.bytes_per_px * info.tile_px**2 // scale[1] ** 2
        facts = replace(info, mpp=scale[0], tile_px=scale[1], halo_px=scale[2], bytes_per_px=needed)
        parts.append((positions, replace(spec, prompts=prompts), facts))
    return tuple(parts)


def check_prompts(spec: RecognizerSpec) -> None:
    """Refuse prompts the engine does not answer, before anything is read or loaded.

    Raises
    ------
    PromptError
        If an engine without a language model is asked for anything but nuclei and inflammatory cells.
    """
    if spec.engine in ("embedded", "classical"):
        info = engine_info(spec)
        check_nucleus_prompts(spec.prompts, info.title, info.mpp)


def load_recognizer(spec: RecognizerSpec) -> Recognizer:
    """Build the recognizer of a spec; the only call that imports torch.

    Raises
    ------
    PromptError, ConfigError, WeightsError
        If a prompt is not answered, the device is not there, or weights are missing.
    """
    _check_names(spec)
    check_prompts(spec)
    if spec.engine == "embedded":
        from wsiparse.recognize.embedded.recognizer import EmbeddedRecognizer

        return EmbeddedRecognizer(spec)
    if spec.engine == "classical":
        return classical.ClassicalRecognizer(spec)
    from wsiparse.recognize.biomedparse.recognizer import load_recognizer as load_biomedparse

    own = replace(spec, device=resolve_device(spec.device))
    return load_biomedparse(own, mode=spec.mode, compile_backbone=spec.compiled)


def operations_per_tile(spec: RecognizerSpec) -> float | None:
    """Floating-point operations of one tile with all prompts of a spec, where the engine is heavy enough to count."""
    if spec.engine != "biomedparse":
        return None
    return biomedparse.operations_per_tile(len(spec.prompts))


def wants_sample(spec: RecognizerSpec) -> bool:
    """Whether `calibrate` makes anything of a sample of the slide."""
    return spec.engine in ("embedded", "classical")


def calibrate(spec: RecognizerSpec, sample: NDArray[np.uint8], tissue_mm2: float) -> RecognizerSpec:
    """The spec with what its engine learns from a sample of the slide, once for all tiles.

    Anything estimated per tile would make results depend on the tiling; what needs an estimate (the strength of the
    stain; the classical engine: stain vectors and global threshold too) gets it here. BiomedParse's spec stays as it
    is.

    Parameters
    ----------
    spec : of any engine
    sample : (N, H, W, 3) uint8 patches of tissue at the engine's scale; N = 0 leaves the engine's fixed values
    tissue_mm2 : tissue of the slide; little of it does not tell how strongly the slide is stained
    """
    if not (wants_sample(spec) and len(sample)):
        return spec
    strength = stain_strength(sample) if tissue_is_enough(tissue_mm2) else None
    if spec.engine == "classical":
        return replace(spec, calibration=classical.calibration_of(sample, strength))
    return spec if strength is None else replace(spec, calibration=(strength,))


def stain_of(spec: RecognizerSpec) -> StainFacts | None:
    """What a calibrated spec knows of the slide's stain; None for an engine that takes every slide as it is."""
    if not wants_sample(spec):
        return None
    known = spec.calibration[7:] if spec.engine == "classical" else spec.calibration
    return StainFacts(known[0] if known else None)


def limits_of(spec: RecognizerSpec) -> EngineLimits:
    """What a report must say of an engine's answers on one slide.

    Parameters
    ----------
    spec : calibrated to the slide
    """
    asked = {role_of(prompt.text) for prompt in spec.prompts}
    stain = stain_of(spec)
    if stain is None:
        return EngineLimits()
    rule = "inflammatory cells" in asked
    return EngineLimits(
        classes_by_rule=True,
        stain_strength=stain.strength,
        warnings=(stain.flag,) if rule and stain.flag else (),
        sentences=(NUCLEI_ONLY, *((RULE_LIMITS,) if rule else ())),
    )


def recognition_grid(
    spec: RecognizerSpec,
    positions: tuple[int, ...],
    grid: TileGrid,
    tiles: Sequence[tuple[int, NDArray[np.float32]]],
) -> RecognitionGrid | None:
    """Scores of every tile and prompt, or None for an engine that has no such statistics.

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
    if spec.engine != "biomedparse":
        return None
    shape = (len(positions), grid.rows, grid.columns)
    statistics = np.full((*shape, 4), np.nan, np.float32)
    for index, values in tiles:
        statistics[:, index // grid.columns, index % grid.columns] = values
    path = biomedparse.find_checkpoint(Path(spec.weights)).parent / biomedparse.SCORE_FILE
    known = load_distributions(path) if path.is_file() else {}
    texts = [prompt.text for prompt in spec.prompts]
    flat = np.moveaxis(statistics, 0, 2).reshape(-1, len(positions), 4)
    scores = np.full(flat.shape[:2], np.nan, np.float32)
    read = np.isfinite(flat).all(axis=(1, 2))
    scores[read] = prompt_scores(flat[read], texts, known)
    return RecognitionGrid(positions, grid, statistics, scores.T.reshape(shape))


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
    if spec.engine not in ENGINES:
        raise ConfigError(f"engine '{spec.engine}' is unknown: choose one of {', '.join(ENGINES)}.")
    check_device_name(spec.device)
    if spec.precision not in PRECISIONS:
        raise ConfigError(f"precision '{spec.precision}' is unknown: choose one of {', '.join(PRECISIONS)}.")
    if spec.engine == "classical" and spec.device not in ("auto", "cpu"):
        raise ConfigError(f"device '{spec.device}': the classical engine runs on the CPU only. Use --device cpu.")
