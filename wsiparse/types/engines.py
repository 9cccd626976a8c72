"""What an engine is, and what it says about tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.types.boxes import TileGrid
from wsiparse.types.objects import ObjectTable
from wsiparse.types.prompts import MAX_PROMPTS, PromptSet

__all__ = [
    "UNKNOWN_HALO",
    "EngineInfo",
    "EngineLimits",
    "Recognition",
    "RecognitionGrid",
    "RecognizerSpec",
    "SplitSettings",
]


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """How touching cells are told apart and which are kept, in microns so that one setting fits every scale.

    Parameters
    ----------
    landscape : "stored" (flood the recognizer's map), "distance" (component-masked distance transform)
    smoothing_um : sigma-like radius of the component-local smoothing of the distance transform (0 = none)
    persistence : depth a saddle must lie below the lower of two peaks to keep them apart; grey levels (0-255) of a
        stored landscape, microns for "distance"
    relative_persistence : for "distance", the same depth as a share of the lower peak's height
    min_area_um2 : smaller instances are dropped
    min_confidence : instances with a lower mean probability are dropped, 0-1

    Raises
    ------
    ValueError
        If `landscape` is another word, a number is negative, or `min_confidence` is above 1.
    """

    landscape: Literal["stored", "distance"] = "distance"
    smoothing_um: float = 0.2
    persistence: float = 0.1
    relative_persistence: float = 0.08
    min_area_um2: float = 0.0
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        if self.landscape not in ("stored", "distance"):
            raise ValueError(f"landscape {self.landscape!r} is neither 'stored' nor 'distance'")
        if (
            min(self.smoothing_um, self.persistence, self.relative_persistence, self.min_area_um2) < 0
            or not 0 <= self.min_confidence <= 1
        ):
            raise ValueError(f"split settings out of range: {self}")


#: The halo of an engine that does not know its own.
UNKNOWN_HALO: Final = -1


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What a recognizer is and what it needs of its input.

    Parameters
    ----------
    name : of the engine, or of the model
    title : the words every output carries, e.g. "embedded network, not BiomedParse"
    mpp : microns per pixel it wants, or None when each prompt says
    tile_px : default edge of the read box
    halo_px : context that makes a core independent of the tiling; `UNKNOWN_HALO` where it was not measured
    align_px : tile and halo must be multiples of this
    split : how its masks become instances
    weights_sha256 : "" for engines without weights
    card_sha256 : over what a model's card says of how its weights are run; "" for engines without a card
    any_size : it takes pictures of every size whose sides are multiples of `align_px`, so that of a tile only what is
        analysed, and its context, need be recognised
    fixed_tile : it takes tiles of `tile_px` only
    base_bytes : memory of a process before its first tile, measured on a CPU
    bytes_per_px : working memory of one worker per px of a tile, measured on a CPU
    """

    name: str
    title: str
    mpp: float
    tile_px: int
    halo_px: int
    align_px: int
    split: SplitSettings
    weights_sha256: str = ""
    card_sha256: str = ""
    any_size: bool = False
    fixed_tile: bool = False
    base_bytes: int = 300 << 20
    bytes_per_px: int = 100


@dataclass(frozen=True, slots=True)
class RecognizerSpec:
    """Everything a worker needs to build a recognizer; picklable, a few strings.

    Parameters
    ----------
    engine : name of a registered engine, or the folder of a model
    prompts : what to look for
    device : "cpu", "cuda", "cuda:1", "mps"
    precision : "auto" | "float32" | "bf16" | "fp16"
    runtime : "auto" | "openvino" | "torch", resolved with its version, "openvino 2026.4"; "" for engines without one
    weights : file or folder of the engine's weights, "" where it has its own or none
    calibration : what the engine learned from a sample of this slide (see `wsiparse.recognize.base.calibrate`), its
        own numbers; empty for none
    options : of the engine's own (see `wsiparse.recognize.declared.DeclaredEngine.options`), (name, value) each

    Examples
    --------
    >>> import wsiparse
    >>> from wsiparse.recognize.base import load_recognizer
    >>> spec = wsiparse.RecognizerSpec("classical", wsiparse.PromptSet((wsiparse.Prompt("nuclei", "Nucleus"),)))
    >>> load_recognizer(spec)(np.full((1, 64, 64, 3), 240, np.uint8)).probabilities.shape
    (1, 1, 64, 64)
    """

    engine: str
    prompts: PromptSet
    device: str = "cpu"
    precision: str = "auto"
    weights: str = ""
    calibration: tuple[float, ...] = ()
    runtime: str = "auto"
    options: tuple[tuple[str, str | bool], ...] = ()

    def option(self, name: str, otherwise: str | bool) -> str | bool:
        """The value of one of the engine's own options, `otherwise` where it is not given."""
        return dict(self.options).get(name, otherwise)


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What a report must say of an engine's answers on one slide.

    Parameters
    ----------
    classes_by_rule : each object has one class outright, so that its class shares tell nothing of doubt
    nucleus_probability : an object's probability is that of being a nucleus, whatever its class
    stain_strength : see `wsiparse.recognize.strength`; None where it is not known or not asked for
    warnings : sentences about this slide
    sentences : about the engine on any slide
    scored : objects were made with a threshold, so that their probabilities show what another one would count
    """

    classes_by_rule: bool = False
    nucleus_probability: bool = False
    stain_strength: float | None = None
    warnings: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    scored: bool = True


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a recognizer says about a batch of tiles.

    Parameters
    ----------
    probabilities : (B, P, H, W) float32 in [0, 1], prompt order
    landscape : (B, H, W) uint8, high inside each nucleus and low between neighbours, or None
    statistics : (B, P, 4) float32, what `wsiparse.recognize.score` judges a prompt's presence by, or None

    Raises
    ------
    ValueError
        If `probabilities` has not four axes, or the shape of another array does not match it.
    """

    probabilities: NDArray[np.float32]
    landscape: NDArray[np.uint8] | None = None
    statistics: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.probabilities.ndim != 4:
            raise ValueError(f"probabilities must be (B, P, H, W), got shape {self.probabilities.shape}")
        b, p, h, w = self.probabilities.shape
        if self.landscape is not None and self.landscape.shape != (b, h, w):
            raise ValueError(
                f"landscape {self.landscape.shape} does not match probabilities {self.probabilities.shape}"
            )
        if self.statistics is not None and self.statistics.shape != (b, p, 4):
            raise ValueError(
                f"statistics {self.statistics.shape} do not match probabilities {self.probabilities.shape}"
            )


@dataclass(frozen=True, eq=False)
class RecognitionGrid:
    """How sure each tile is that a prompt is there at all.

    Parameters
    ----------
    positions : of the P prompts in the run's prompt set
    grid : the tiles
    statistics : (P, rows, columns, 4) float32, see `wsiparse.recognize.score`; NaN where no tile was read
    scores : (P, rows, columns) float32 in [0, 1]; NaN where no tile was read or a prompt has no score parameters

    Raises
    ------
    ValueError
        If a shape is not that of `positions` and `grid`.
    """

    positions: tuple[int, ...]
    grid: TileGrid
    statistics: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = (len(self.positions), self.grid.rows, self.grid.columns)
        if self.scores.shape != shape or self.statistics.shape != (*shape, 4):
            raise ValueError(f"scores {self.scores.shape} and statistics {self.statistics.shape} are not {shape}")

    def of_objects(self, table: ObjectTable) -> NDArray[np.float32]:
        """(N,) float32: the score of each object's class in the tile that owns the object's first pixel.

        NaN for objects of other classes, whose pixels may be those of another frame.
        """
        place = np.full(MAX_PROMPTS + 1, -1)
        place[np.asarray(self.positions, np.intp) + 1] = np.arange(len(self.positions))
        prompt = place[table.class_id]
        mine = prompt >= 0
        found = np.full(len(table), np.nan, np.float32)
        row, column = (table.first_px[mine] // self.grid.stride).T
        found[mine] = self.scores[prompt[mine], row, column]
        return found

    def median(self, position: int) -> float | None:
        """Median score of a prompt over the tiles where it drew any mask, None without such a tile or a score."""
        k = self.positions.index(position)
        drawn = self.scores[k][(self.statistics[k, ..., 0] > 0) & np.isfinite(self.scores[k])]
        return float(np.median(drawn)) if drawn.size else None
