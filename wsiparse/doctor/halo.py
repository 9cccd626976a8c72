"""How much context a model's tiles need: the same picture in two tilings, for wider and wider halos.

Objects at the borders of tiles are wrong where a network sees too little of their surround. With enough context the
tiling changes no object; the smallest such halo is the one that the model needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.config import RunConfig, prompt_set
from wsiparse.coords import frame_at
from wsiparse.errors import PlanError
from wsiparse.recognize.base import engine_info, load_recognizer, on_this_machine
from wsiparse.recognize.registry import engine_of
from wsiparse.run.pipeline import Analysis, analyse
from wsiparse.slides import MemorySlide, Slide, require_mpp, survey
from wsiparse.slides.synthetic import paint_he
from wsiparse.tiling import find_tissue
from wsiparse.types import Box, EngineInfo, RecognizerSpec

__all__ = ["ENOUGH", "HaloRow", "Measured", "built_in_picture", "densest_square", "measure_halo"]

#: Halos that are tried, px; each is raised to what the network takes.
_HALOS: Final = (0, 32, 64, 96, 128)

#: With fewer changes than this share of the objects a halo is enough.
ENOUGH: Final = 0.001

#: Edge of the square that is looked at, px of the engine's scale.
_EDGE_PX: Final = 1024

#: Cores of the two tilings, px: small, so that there are many borders; raised to multiples of what the network takes.
_CORES: Final = (192, 320)

#: The picture of nothing but numbers that is looked at without a slide.
_SEED: Final = 7
_OVERVIEW_MPP: Final = 8.0


@dataclass(frozen=True, slots=True)
class HaloRow:
    """One halo.

    Parameters
    ----------
    halo_px : px of the engine's scale
    objects : found with it
    changed : share of the objects that are others in the other tiling, 0-1
    """

    halo_px: int
    objects: int
    changed: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a model.

    Parameters
    ----------
    spec : with device, runtime and precision
    rows : ascending by halo
    """

    spec: RecognizerSpec
    rows: tuple[HaloRow, ...]

    @property
    def enough(self) -> HaloRow | None:
        """The smallest halo that is enough; None for none, or where nothing was found."""
        found = max((row.objects for row in self.rows), default=0)
        return next((row for row in self.rows if found and row.changed < ENOUGH), None)


def built_in_picture(mpp: float) -> MemorySlide:
    """A painted field of H&E of `_EDGE_PX` px at a scale, um per px."""
    return MemorySlide(paint_he(_EDGE_PX, _EDGE_PX, mpp=mpp, seed=_SEED).image, mpp, name="built-in picture")


def densest_square(slide: Slide, mpp: float) -> MemorySlide:
    """The square of a slide with most tissue, `_EDGE_PX` px at a scale, um per px.

    Raises
    ------
    MissingMppError, PlanError, SlideError
        If the slide has no scale or no tissue, or cannot be read.
    """
    seen = survey(slide, _OVERVIEW_MPP)
    tissue = find_tissue(seen.picture, seen.frame.mean_mpp).mask
    if not tissue.any():
        raise PlanError(f"{slide.path.name}: no tissue to measure on. Give another slide, or none.")
    frame = frame_at(slide.size, require_mpp(slide), mpp)
    width, height = (min(_EDGE_PX, side) for side in frame.size)
    cells = max(1, round(_EDGE_PX * mpp / seen.frame.mean_mpp))
    share = ndimage.uniform_filter(tissue.astype(np.float32), cells, mode="constant")
    row, column = np.unravel_index(int(share.argmax()), share.shape)
    scale = np.asarray(seen.frame.downsample) / np.asarray(frame.downsample)
    x, y = ((np.array([column, row]) + 0.5) * scale - (width / 2, height / 2)).astype(int)
    x, y = (
        int(np.clip(at, 0, side - edge)) for at, side, edge in ((x, frame.size[0], width), (y, frame.size[1], height))
    )
    return MemorySlide(slide.read(Box(x, y, width, height), frame), frame.mpp, name=slide.name)


def measure_halo(engine: str, picture: MemorySlide, said: Callable[[HaloRow], None] = lambda _: None) -> Measured:
    """Load a model and see with which halo the tiling changes none of its objects.

    Parameters
    ----------
    engine : card or folder
    picture : what is looked at
    said : called with each row as soon as it is known

    Raises
    ------
    WsiparseError
        If the model cannot be used.
    """
    config = RunConfig(engine=engine, device="cpu", whole_slide=True)
    asked = prompt_set(engine_of(engine).default_prompts())
    spec = on_this_machine(RecognizerSpec(str(Path(engine).absolute()), asked))
    info = engine_info(spec)
    load_recognizer(spec)
    rows = []
    for halo in _halos(info, engine):
        one, other = (
            _objects(analyse(picture, config.model_copy(update={"tile_size": tile, "overlap": 2 * context})))
            for tile, context in _tilings(info, halo)
        )
        union = len(one) + len(other)
        rows.append(HaloRow(halo, len(one), 1 - 2 * len(one & other) / union if union else 0.0))
        said(rows[-1])
    return Measured(spec, tuple(rows))


def _halos(info: EngineInfo, engine: str) -> list[int]:
    """Halos to try: as wide as what the network crops at least, and leaving something of its tile."""
    step, least = info.align_px, engine_of(engine).least_halo_px()
    halos = {-(-max(halo, least) // step) * step for halo in _HALOS}
    most = info.tile_px // 2 - _wider(step) if info.fixed_tile else max(halos)
    return sorted(halo for halo in halos if halo < most or not info.fixed_tile)


def _wider(step: int) -> int:
    """How much wider the halo of the other tiling is where tiles have one size."""
    return -(-32 // step) * step


def _tilings(info: EngineInfo, halo: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Tile and halo, px, of two tilings: of two cores, or, where tiles have one size, of two halos."""
    if info.fixed_tile:
        return (info.tile_px, halo), (info.tile_px, halo + _wider(info.align_px))
    first, second = (-(-core // info.align_px) * info.align_px + 2 * halo for core in _CORES)
    return (first, halo), (second, halo)


def _objects(found: Analysis) -> set[tuple[int, ...]]:
    """First pixel, area and class of each object."""
    out: set[tuple[int, ...]] = set()
    for table in (found.cells, found.regions):
        columns: list[NDArray[Any]] = [table.first_px[:, 0], table.first_px[:, 1], table.area_px, table.class_id]
        out |= set(zip(*(column.tolist() for column in columns), strict=True))
    return out
