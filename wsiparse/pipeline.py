"""The straight line: slide -> plan -> field -> objects. One function per hop, in the order they run.

`analyse` walks it in memory; `wsiparse.run` walks it for folders of slides and writes the results.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from wsiparse.config import RunConfig, prompt_set
from wsiparse.coords import frame_at, to_level0
from wsiparse.errors import TileReadError
from wsiparse.field.store import Field, memory_field
from wsiparse.field.tiles import FieldTile, core_field
from wsiparse.objects.split import split_pixels
from wsiparse.recognize.base import (
    Recognizer,
    calibrate,
    check_prompts,
    engine_info,
    load_recognizer,
    mirror_outside,
    wants_sample,
)
from wsiparse.schedule import map_ordered
from wsiparse.slides import Slide, overview, overview_frame, require_mpp
from wsiparse.stitch.digest import BlockDigest
from wsiparse.stitch.stitcher import Stitcher
from wsiparse.tiling import AnalysisArea, TilePlan, plan_tiles, read_roi, tissue_mask, whole_slide_area
from wsiparse.types import Box, EngineInfo, ObjectTable, PromptKind, RecognizerSpec, Unreadable

__all__ = [
    "Analysis",
    "Prepared",
    "Progress",
    "Quiet",
    "analyse",
    "layers_of",
    "objects_of",
    "overlay_offset",
    "prepare",
    "recognise",
    "spec_of",
]

log = logging.getLogger("wsiparse")

#: Scale at which tissue is told from glass, um per px (dark nuclei are smaller than a pixel there).
OVERVIEW_MPP: Final = 8.0

#: Patches of tissue an engine may look at once per slide to learn its stain, and their edge in field px.
SAMPLE_PATCHES: Final = 24
SAMPLE_PX: Final = 256


class Stage(Protocol):
    """A running stage of known length."""

    def advance(self, steps: int = 1) -> None:
        """Count finished steps."""


class Progress(Protocol):
    """Where the pipeline tells how far it is."""

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """Open a stage of `total` steps."""


class _Silence:
    def advance(self, steps: int = 1) -> None:
        """Nobody listens."""


class Quiet:
    """Progress that says nothing."""

    def stage(self, title: str, total: int, unit: str) -> AbstractContextManager[Stage]:
        """A stage nobody sees."""
        return nullcontext(_Silence())


@dataclass(frozen=True, slots=True)
class Prepared:
    """All decisions about one slide, before any tile is read.

    Parameters
    ----------
    plan : tiles to read, their grid, the analysed area
    spec : what workers build their recognizer from, calibrated to this slide's stain
    info : the engine's facts, user overrides included
    digest : sha256 over everything that shapes the result
    """

    plan: TilePlan
    spec: RecognizerSpec
    info: EngineInfo
    digest: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """Objects of one slide in memory.

    Parameters
    ----------
    objects : in raster order of first pixel; `objects.ragged(frame)` gives level-0 polygons for shapely
    prepared : plan, frame and engine they come from
    unreadable : tiles that could not be read
    """

    objects: ObjectTable
    prepared: Prepared
    unreadable: tuple[Unreadable, ...]


def spec_of(config: RunConfig) -> RecognizerSpec:
    """The recognizer a configuration asks for; checks the prompts without loading the network.

    Raises
    ------
    PromptError, WeightsError, ConfigError
        If the engine does not answer a prompt, has no weights, or the configuration contradicts itself.
    """
    engine = config.engine
    if engine == "auto":
        engine = "biomedparse" if config.weights else "embedded"
    spec = RecognizerSpec(
        engine=engine,
        prompts=prompt_set(config),
        device=config.device,
        precision=config.precision,
        weights=config.weights or "",
    )
    check_prompts(spec)
    return spec


def _info_of(spec: RecognizerSpec, config: RunConfig) -> EngineInfo:
    """The engine's facts with the user's overrides; `overlap` is twice the halo."""
    info = engine_info(spec)
    split = info.split
    if config.min_area_um2 is not None:
        split = replace(split, min_area_um2=config.min_area_um2)
    halo = info.halo_px if config.overlap is None else config.overlap // 2
    return replace(
        info, split=split, mpp=config.mpp or info.mpp, halo_px=halo, tile_px=config.tile_size or info.tile_px
    )


def overlay_offset(slide: Slide, config: RunConfig) -> tuple[int, int]:
    """Where overlays and regions of interest have their origin, level-0 px: the bounds for QuPath, else (0, 0)."""
    return (slide.bounds.x, slide.bounds.y) if config.coords == "qupath" else (0, 0)


def _analysis_area(slide: Slide, roi: Path | None, *, whole: bool, offset: tuple[int, int]) -> AnalysisArea:
    geometry = read_roi(roi, slide.size, offset=offset) if roi is not None else None
    if whole:
        return whole_slide_area(slide.size, overview_frame(slide, OVERVIEW_MPP), geometry)
    picture, frame = overview(slide, OVERVIEW_MPP)
    return AnalysisArea(slide.size, frame, tissue_mask(picture, frame.mean_mpp), geometry)


def _tile_around(canvas: tuple[int, int], info: EngineInfo) -> int:
    """Edge of the smallest tile that holds a whole canvas with its halo: small slides need no larger one."""
    needed = max(canvas) + 2 * info.halo_px
    return -(-needed // info.align_px) * info.align_px


def _sample(slide: Slide, plan: TilePlan) -> NDArray[np.uint8]:
    """Patches of tissue (N, 256, 256, 3) uint8 at the plan's frame, the same whatever the tiling.

    Centres are overview cells of tissue, evenly spaced in raster order.
    """
    cells = np.argwhere(plan.area.tissue)
    if len(cells) == 0:
        return np.zeros((0, SAMPLE_PX, SAMPLE_PX, 3), np.uint8)
    chosen = cells[np.unique(np.linspace(0, len(cells) - 1, SAMPLE_PATCHES).astype(np.int64))]
    scale = np.asarray(plan.area.overview.downsample) / np.asarray(plan.frame.downsample)
    patches = []
    for x, y in np.floor((chosen[:, ::-1] + 0.5) * scale).astype(int):
        try:
            patches.append(slide.read(Box(x - SAMPLE_PX // 2, y - SAMPLE_PX // 2, SAMPLE_PX, SAMPLE_PX), plan.frame))
        except TileReadError as err:
            log.warning("stain sample skipped: %s", err)
    return np.stack(patches) if patches else np.zeros((0, SAMPLE_PX, SAMPLE_PX, 3), np.uint8)


def prepare(slide: Slide, config: RunConfig, roi: Path | None = None) -> Prepared:
    """Decide everything about one slide: frame, tissue, tiles, stain.

    Parameters
    ----------
    slide : open, with a known mpp
    config : run settings
    roi : GeoJSON file of the regions to analyse, level-0 px; None for all tissue

    Raises
    ------
    MissingMppError, PlanError, RoiError, PromptError, TileReadError
    """
    mpp = require_mpp(slide)
    spec = spec_of(config)
    info = _info_of(spec, config)
    frame = frame_at(slide.size, mpp, info.mpp)
    if config.tile_size is None:
        info = replace(info, tile_px=min(info.tile_px, _tile_around(frame.size, info)))
    plan = plan_tiles(
        slide_name=slide.name,
        fingerprint=slide.fingerprint,
        slide_size=slide.size,
        slide_mpp=mpp,
        frame=frame,
        tile_px=info.tile_px,
        halo_px=info.halo_px,
        align_px=info.align_px,
        area=_analysis_area(slide, roi, whole=config.whole_slide, offset=overlay_offset(slide, config)),
    )
    if wants_sample(spec):
        spec = calibrate(spec, _sample(slide, plan))
    settings: dict[str, Any] = {
        "engine": {k: v for k, v in asdict(info).items() if k not in ("base_bytes", "bytes_per_px")},
        "spec": asdict(spec),
        "reader": slide.reader,
        "offset": list(overlay_offset(slide, config)),
    }
    return Prepared(plan, spec, info, plan.digest(settings))


def read_field(
    slide: Slide, prepared: Prepared, recognizer: Recognizer, indices: Sequence[int]
) -> tuple[list[FieldTile], list[Unreadable]]:
    """Hops 1-3 for a batch of tiles: read, recognise, cut the cores. An unreadable tile costs only itself."""
    plan, tiles, images, lost = prepared.plan, [], [], []
    for index in indices:
        tile = plan.grid[index]
        try:
            images.append(mirror_outside(slide.read(tile.box, plan.frame), tile.box, plan.frame.size))
            tiles.append(tile)
        except TileReadError as err:
            log.warning("tile %d unreadable: %s", index, err)
            lost.append(Unreadable(index, tile.core, str(err)))
    if not tiles:
        return [], lost
    recognition = recognizer(np.stack(images))
    prompts = prepared.spec.prompts
    cores = [
        core_field(recognition, k, tile, prompts, plan.area.field_mask(tile.core, plan.frame))
        for k, tile in enumerate(tiles)
    ]
    return cores, lost


def recognise(
    slide: Slide, prepared: Prepared, indices: Sequence[int], *, workers: int, batch: int, progress: Progress
) -> Iterator[tuple[list[FieldTile], list[Unreadable]]]:
    """Field bytes of the given tiles, batch by batch in index order, on `workers` threads of one core each."""
    if not indices:
        return
    recognizer = load_recognizer(prepared.spec)
    batches = [indices[k : k + batch] for k in range(0, len(indices), batch)]
    with progress.stage("recognise", len(indices), "tiles") as stage:
        for cores, lost in map_ordered(
            lambda some: read_field(slide, prepared, recognizer, some),
            batches,
            workers=workers,
            initializer=recognizer.limit_threads,
        ):
            stage.advance(len(cores) + len(lost))
            yield cores, lost


def layers_of(prepared: Prepared) -> list[tuple[PromptKind, int]]:
    """The layers of the field: ("cell", 0) when any prompt is a cell, then ("region", r) for each region prompt."""
    prompts = prepared.spec.prompts
    cells: list[tuple[PromptKind, int]] = [("cell", 0)] if prompts.of_kind("cell") else []
    return cells + [("region", r) for r in range(len(prompts.of_kind("region")))]


def objects_of(
    field: Field, prepared: Prepared, layer: tuple[PromptKind, int], *, block_px: int, workers: int, progress: Progress
) -> Iterator[ObjectTable]:
    """Hop 4 for one layer: every object, once, as soon as its last pixel is known; field px, no promised order.

    Cells outside the analysed area (by their centroid) are left out; a region is cut where the field was cut.
    """
    kind, r = layer
    plan, prompts = prepared.plan, prepared.spec.prompts
    split = split_pixels(prepared.info.split, plan.frame) if kind == "cell" else None
    stitcher = Stitcher(plan.grid.canvas, block_px, n_classes=len(prompts), split=split)
    region_class = np.uint8(prompts.of_kind("region")[r] + 1 if kind == "region" else 0)
    occupied = _occupied_blocks(plan, stitcher)

    def digest(i: int) -> BlockDigest:
        cells, regions = field.read(stitcher.box(i))
        if kind == "cell":
            return stitcher.digest(i, cells[0], cells[1], cells[2])
        return stitcher.digest(i, (regions[r] > 0) * region_class, regions[r], None)

    def kept(table: ObjectTable) -> ObjectTable:
        if kind == "region" or len(table) == 0:
            return table
        inside = plan.area.keeps(to_level0(table.centroid, plan.frame))
        return table if inside.all() else table.take(np.flatnonzero(inside))

    with progress.stage(f"objects ({kind}s)", len(occupied), "blocks") as stage:
        for i in sorted(set(range(len(stitcher))).difference(occupied)):
            yield kept(stitcher.add_empty(i))
        for block in map_ordered(digest, occupied, workers=workers):
            yield kept(stitcher.add(block))
            stage.advance()
    assert stitcher.finished


def _occupied_blocks(plan: TilePlan, stitcher: Stitcher) -> list[int]:
    """Blocks that meet the core of a kept tile, ascending."""
    wanted = np.zeros((plan.grid.rows, plan.grid.columns), np.bool_)
    wanted.flat[np.asarray(plan.kept, np.int64)] = True
    s = plan.grid.stride
    found = []
    for i in range(len(stitcher)):
        box = stitcher.box(i)
        if wanted[box.y // s : (box.y1 - 1) // s + 1, box.x // s : (box.x1 - 1) // s + 1].any():
            found.append(i)
    return found


def analyse(
    slide: Slide,
    config: RunConfig,
    *,
    roi: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Analysis:
    """The whole road in memory: for notebooks, tests and evaluation of small slides.

    Parameters
    ----------
    slide : open slide of known mpp
    config : run settings
    roi : GeoJSON file of the regions to analyse
    workers : threads; changes no result
    progress : where to tell how far it is

    Returns
    -------
    Analysis with all objects, cells first, then regions layer by layer, each in raster order
    """
    progress = progress or Quiet()
    prepared = prepare(slide, config, roi)
    tiles: list[FieldTile] = []
    lost: list[Unreadable] = []
    for cores, bad in recognise(
        slide, prepared, prepared.plan.kept.tolist(), workers=workers, batch=config.batch_size, progress=progress
    ):
        tiles += cores
        lost += bad
    field = memory_field(prepared.plan.grid, len(prepared.spec.prompts.of_kind("region")), tiles)
    tables = []
    for layer in layers_of(prepared):
        found = objects_of(field, prepared, layer, block_px=config.block_size, workers=workers, progress=progress)
        tables.append(in_raster_order(found))
    return Analysis(ObjectTable.concat(tables), prepared, tuple(lost))


def in_raster_order(batches: Iterable[ObjectTable]) -> ObjectTable:
    """All rows of all batches as one table sorted by first pixel."""
    table = ObjectTable.concat(list(batches))
    return table.take(table.raster_order())
