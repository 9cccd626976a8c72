"""Everything that is decided about a slide before its first tile is read: frames, tissue, tiles, stain, digest."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.config import RunConfig
from wsiparse.coords import SNAP, Frame, frame_at
from wsiparse.errors import PlanError, TileReadError
from wsiparse.machine import available_memory_bytes
from wsiparse.recognize.base import (
    calibrate,
    limits_of,
    wants_sample,
)
from wsiparse.recognize.registry import engine_of
from wsiparse.results.report_inputs import png_bytes
from wsiparse.run.artefacts import Artefact, artefacts_of, left_out_line, spoilt_shape, without_artefacts
from wsiparse.run.drawn_tissue import DrawnTissue, read_tissue
from wsiparse.run.engine import Engine, Scale
from wsiparse.slides import Slide, require_mpp, survey
from wsiparse.tiling import (
    WHOLE,
    AnalysisArea,
    Region,
    RegionClasses,
    TilePlan,
    TileSize,
    background_colour,
    covered_mm2,
    find_tissue,
    microns_told,
    off_slide,
    plan_tiles,
    read_regions,
    union_on_slide,
    whole_slide_area,
)
from wsiparse.types import (
    Box,
    EngineInfo,
    PromptKind,
    PromptSet,
    RecognizerSpec,
)

__all__ = [
    "OVERVIEW_MPP",
    "Pass",
    "Prepared",
    "SlideOverview",
    "analysis_area",
    "check_memory",
    "chosen_cells",
    "overlay_offset",
    "prepare",
]

log = logging.getLogger("wsiparse")

#: Scale at which tissue is told from glass, um per px (dark nuclei are smaller than a pixel there).
OVERVIEW_MPP: Final = 8.0

#: Slides are enlarged at most so much for the network (within `coords.SNAP`): 20x for what was learned on 40x.
MAX_ENLARGEMENT: Final = 2.0

#: Facts of an engine that change no result.
_NO_RESULT: Final = ("any_size", "fixed_tile", "base_bytes", "bytes_per_px")

#: Patches of tissue an engine may look at once per slide to learn its stain, and their edge in field px.
SAMPLE_PATCHES: Final = 32
SAMPLE_PX: Final = 256
#: Cells drawn for them first where there are artefacts: most lie in none.
_DRAWN_CELLS: Final = 16 * SAMPLE_PATCHES


@dataclass(frozen=True, slots=True)
class Pass:
    """One scale of one slide: which tiles are read for it.

    Parameters
    ----------
    scale : prompts and engine, calibrated to this slide's stain
    plan : tiles to read, their grid, the analysed area
    """

    scale: Scale
    plan: TilePlan


@dataclass(frozen=True, eq=False)
class SlideOverview:
    """What was seen and said of a slide before its first tile is read; kept for its report.

    Parameters
    ----------
    overview : the picture that tissue was found on, a PNG: a gigapixel slide's takes tens of megabytes otherwise
    foreign : (h, w) bool, pen, ink and black that were kept out of the tissue
    artefacts : what was found on the tissue at a finer scale, a row a kind
    roi : region of interest in the tissue that was drawn, level-0 px, with artefacts, or None
    regions : of the region of interest, level-0 px, with their classes; those left out included
    region_file : name and sha256 of the file they are of, or None
    notes : what was left aside of it, a line each
    taken : how its classes are taken, in one line
    tissue : as the user drew it, or None for what was found
    spoilt : a line where much is left out as artefacts, else ""
    """

    overview: bytes
    foreign: NDArray[np.bool_]
    artefacts: tuple[Artefact, ...]
    roi: BaseGeometry | None
    regions: tuple[Region, ...]
    region_file: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    taken: str = ""
    tissue: DrawnTissue | None = None
    spoilt: str = ""

    @property
    def told(self) -> tuple[str, ...]:
        """What is said of artefacts and regions while the slide is analysed."""
        told: tuple[str, ...] = (self.spoilt,) if self.spoilt else ()
        told += () if self.tissue is None else tuple(f"{self.tissue.file[0]}: {line}" for line in self.tissue.notes)
        if self.region_file is None:
            return told
        return (*told, *(f"{self.region_file[0]}: {line}" for line in self.notes), self.taken)


@dataclass(frozen=True, slots=True)
class Prepared:
    """All decisions about one slide, before any tile is read.

    Parameters
    ----------
    passes : one for each scale; they share the analysed area
    prompts : all prompts of the run; class id = position + 1
    title : of the engine
    digest : sha256 over everything that shapes the result
    ground : for the report
    """

    passes: tuple[Pass, ...]
    prompts: PromptSet
    title: str
    digest: str
    ground: SlideOverview

    @property
    def spec(self) -> RecognizerSpec:
        """The engine of the first pass, calibrated to the slide."""
        return self.passes[0].scale.spec

    @property
    def area_mm2(self) -> float:
        """The analysed area, mm^2."""
        return self.passes[0].plan.area_mm2

    def pass_of(self, kind: PromptKind) -> Pass | None:
        """The pass whose frame the objects of a kind live in, or None without prompts of that kind."""
        wanted = set(self.prompts.of_kind(kind))
        return next((p for p in self.passes if wanted.intersection(p.scale.positions)), None)

    def frames(self) -> dict[PromptKind, Frame]:
        """Frame of each kind's coordinates; a kind without prompts takes that of the first pass."""
        kinds: tuple[PromptKind, ...] = ("cell", "region")
        return {kind: (self.pass_of(kind) or self.passes[0]).plan.frame for kind in kinds}


def overlay_offset(slide: Slide, config: RunConfig) -> tuple[int, int]:
    """Where overlays and regions of interest have their origin, level-0 px: the bounds for QuPath, else (0, 0)."""
    return (slide.bounds.x, slide.bounds.y) if config.coords == "qupath" else (0, 0)


def analysis_area(
    slide: Slide, config: RunConfig, roi: Path | None, drawn: DrawnTissue | None, classes: RegionClasses
) -> tuple[AnalysisArea, SlideOverview]:
    """Where objects of a slide are counted, and what was seen of it.

    Parameters
    ----------
    slide : open, with a known mpp
    config : run settings: coordinates of the files, whether everything counts as tissue, what is done with artefacts
    roi : GeoJSON file of the regions to analyse, or None
    drawn : tissue as the user drew it, or None for what is found
    classes : of regions that are tumour and stroma
    """
    offset = overlay_offset(slide, config)
    seen = survey(slide, OVERVIEW_MPP)
    picture, frame = seen.picture, seen.frame
    told_units = partial(microns_told, overview=frame, slide_size=slide.size, mpp=require_mpp(slide), offset=offset)
    geometry, regions, file, notes, taken = None, tuple[Region, ...](), None, tuple[str, ...](), ""
    if roi is not None:
        found = read_regions(roi, offset=offset)
        off = off_slide(found, slide.size, str(roi))
        geometry, regions = union_on_slide(found, slide.size, str(roi)), found.regions
        taken = f"{roi.name}: classes of regions: {classes.told([r.class_name for r in regions])}"
        notes = (*found.notes, *off)
        with roi.expanduser().open("rb") as data:
            file = roi.name, hashlib.file_digest(data, "sha256").hexdigest()
    looked = find_tissue(picture, frame.mean_mpp)
    tissue, foreign = looked.mask, looked.artefacts
    cells = None if drawn is None else drawn.cells(frame)
    reach = geometry if drawn is None else drawn.within(geometry)
    # ink is looked for on tissue that only its user sees, too; focus is judged where there is stain
    places = foreign if cells is None else foreign | cells
    artefacts = artefacts_of(slide, config, frame, (tissue, places), background_colour(picture)[0])
    region = without_artefacts(reach, artefacts, slide.size)
    if drawn is not None and cells is not None:
        area, foreign = AnalysisArea(slide.size, frame, cells, region), np.zeros_like(foreign)
        drawn = replace(drawn, notes=(*drawn.notes, *told_units(drawn.shape, tissue)))
    elif config.whole_slide:
        area, foreign = whole_slide_area(slide.size, frame, region), np.zeros_like(foreign)
    else:
        # what cannot be seen may be tissue: its tiles are read, and those that are unreadable are told
        cover = np.where(seen.lost, np.uint8(WHOLE), looked.shares)
        area = AnalysisArea(slide.size, frame, cover > 0, region, cover=cover)
    if geometry is not None:
        notes += told_units(geometry, tissue)
    mpp = require_mpp(slide)
    line = ""
    if region is not reach or any(a.doubted for a in artefacts):
        before = covered_mm2(area.shares, frame, slide.size, mpp, region=reach)
        line = left_out_line(artefacts, before, area.area_mm2(mpp))
    return area, SlideOverview(png_bytes(picture), foreign, artefacts, reach, regions, file, notes, taken, drawn, line)


def _tile_around(canvas: tuple[int, int], info: EngineInfo) -> int:
    """Edge of the smallest tile that holds a whole canvas with its halo: small slides need no larger one."""
    needed = max(canvas) + 2 * info.halo_px
    return -(-needed // info.align_px) * info.align_px


def _sample(slide: Slide, plan: TilePlan, spoilt: BaseGeometry | None) -> NDArray[np.uint8]:
    """Patches of tissue (N, 256, 256, 3) uint8 at the plan's frame, the same whatever the tiling.

    Centres are overview cells of tissue outside of artefacts, level-0 px, drawn by their place alone: a cell more or
    less at the tissue's edge, as a paler stain leaves it, or an artefact, moves no patch.
    """
    cells = np.argwhere(plan.area.tissue)
    if spoilt is not None:
        cells = chosen_cells(cells, _DRAWN_CELLS)
        middles = (cells[:, ::-1] + 0.5) * np.asarray(plan.area.overview.downsample)
        cells = cells[~shapely.contains_xy(spoilt, middles)]
    if len(cells) == 0:
        return np.zeros((0, SAMPLE_PX, SAMPLE_PX, 3), np.uint8)
    chosen = chosen_cells(cells, SAMPLE_PATCHES)
    scale = np.asarray(plan.area.overview.downsample) / np.asarray(plan.frame.downsample)
    patches = []
    for x, y in np.floor((chosen[:, ::-1] + 0.5) * scale).astype(int):
        try:
            patches.append(slide.read(Box(x - SAMPLE_PX // 2, y - SAMPLE_PX // 2, SAMPLE_PX, SAMPLE_PX), plan.frame))
        except TileReadError as err:
            log.warning("stain sample skipped: %s", err)
    return np.stack(patches) if patches else np.zeros((0, SAMPLE_PX, SAMPLE_PX, 3), np.uint8)


def chosen_cells(cells: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Some of the cells, in their order: drawn by their place alone, so always the same.

    Parameters
    ----------
    cells : (N, 2) int64, row and column
    most : how many, at most

    Returns
    -------
    (M, 2) int64, M <= `most`
    """
    return cells[np.sort(np.argsort(_lots(cells), kind="stable")[:most])]


def _lots(cells: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(N,) a number for each cell, (N, 2) row and column, as good as random and always the same (splitmix64)."""
    z = (cells[:, 0].astype(np.uint64) << np.uint64(32)) + cells[:, 1].astype(np.uint64)
    z = z * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return z ^ (z >> np.uint64(31))


def _tissue_mm2(plan: TilePlan) -> float:
    """Tissue of the whole slide, mm^2: what the sample is taken from, whatever the region of interest."""
    area = plan.area
    return covered_mm2(area.shares, area.overview, area.slide_size, plan.slide_mpp)


def prepare(
    slide: Slide, config: RunConfig, engine: Engine, roi: Path | None = None, tissue: Path | None = None
) -> Prepared:
    """Decide everything about one slide: frames, tissue, tiles, stain.

    Parameters
    ----------
    slide : open, with a known mpp
    config : run settings
    engine : made from the same settings
    roi : GeoJSON file of the regions to analyse, level-0 px; None for all tissue
    tissue : GeoJSON file of the slide's tissue, level-0 px; None for what is found

    Raises
    ------
    MissingMppError, PlanError, RoiError, TileReadError
    """
    for scale in engine.scales:
        _check_enlargement(slide, scale.info)
    offset = overlay_offset(slide, config)
    classes = RegionClasses(config.tumour_classes, config.stroma_classes)
    drawn = None if tissue is None else read_tissue(tissue, slide.size, offset)
    area, ground = analysis_area(slide, config, roi, drawn, classes)
    spoilt = spoilt_shape(ground.artefacts)
    passes = tuple(_pass_of(slide, scale, area, config, spoilt) for scale in engine.scales)
    settings: dict[str, Any] = {
        "passes": [
            {
                "plan": p.plan.digest(),
                "positions": list(p.scale.positions),
                "engine": {k: v for k, v in asdict(p.scale.info).items() if k not in _NO_RESULT},
                "spec": _shaping(p.scale.spec),
            }
            for p in passes
        ],
        "reader": slide.reader,
        "offset": offset,
        "min_recognition": config.min_recognition,
        "labels": config.ngff if config.labels else None,
        "compartments": config.compartments,
        "regions": [(region.class_name, region.geometry.wkb_hex) for region in ground.regions],
        "artefacts": [(a.kind, a.left_out, hashlib.sha256(a.geometry.wkb).hexdigest()) for a in ground.artefacts],
    }
    if config.tumour_classes or config.stroma_classes:
        settings["classes"] = [config.tumour_classes, config.stroma_classes]
    if drawn is not None:
        settings["drawn tissue"] = drawn.file[1]
    if config.tumour_is_epithelium:
        settings["tumour is epithelium"] = True
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return Prepared(passes, engine.prompts, engine.title, digest, ground)


def _shaping(spec: RecognizerSpec) -> dict[str, Any]:
    """What of a spec shapes results: which engine it is, and its weights, `EngineInfo` says."""
    idle = engine_of(spec.engine).idle_options
    known = {k: v for k, v in asdict(spec).items() if k not in ("engine", "weights")}
    return known | {"options": [[name, value] for name, value in spec.options if name not in idle]}


def check_memory(prepared: Prepared, config: RunConfig) -> None:
    """See that one batch of tiles fits into the memory of this machine, where tiles or batches were asked for.

    Raises
    ------
    PlanError
        If it does not: the run would be killed, or end in the middle.
    """
    most = available_memory_bytes()
    if most is None or (config.tile_size is None and config.tile_um is None and config.batch_size == 1):
        return
    for work in prepared.passes:
        info = work.scale.info
        needed = info.base_bytes + config.batch_size * info.bytes_per_px * info.tile_px**2
        if needed > most:
            fits = math.isqrt(max(most - info.base_bytes, 0) // (2 * info.bytes_per_px)) // 256 * 256
            raise PlanError(
                f"{config.batch_size} tile(s) of {info.tile_px} px at once take about {needed / 1e9:.0f} GB of memory, "
                f"and this process may have {most / 1e9:.0f} GB. Choose --batch-size 1 and --tile-size "
                f"{max(fits, 256)} or less, or leave both out."
            )


def _check_enlargement(slide: Slide, info: EngineInfo) -> None:
    """`PlanError` where the network would see pixels enlarged more than twofold: nothing can be told on them."""
    mpp = require_mpp(slide)
    times = max(mpp) / info.mpp
    if times > MAX_ENLARGEMENT * (1 + SNAP):
        raise PlanError(
            f"{slide.path.name}: pixels of {max(mpp):.4g} um ({slide.mpp_source}) are too coarse for this engine, "
            f"which sees {info.mpp:g} um per px: they would be enlarged {times:.3g}-fold. Take a scan with pixels of "
            f"at most {MAX_ENLARGEMENT * info.mpp:g} um, or replace a wrong size with --override-mpp."
        )


def _pass_of(slide: Slide, scale: Scale, area: AnalysisArea, config: RunConfig, spoilt: BaseGeometry | None) -> Pass:
    mpp = require_mpp(slide)
    info, spec = scale.info, scale.spec
    frame = frame_at(slide.size, mpp, info.mpp)
    if config.tile_size is None and config.tile_um is None and not info.fixed_tile:
        info = replace(info, tile_px=min(info.tile_px, _tile_around(frame.size, info)))
    plan = plan_tiles(
        slide_name=slide.name,
        fingerprint=slide.fingerprint,
        slide_size=slide.size,
        slide_mpp=mpp,
        frame=frame,
        tiles=TileSize(info.tile_px, info.halo_px, info.align_px),
        area=area,
    )
    if wants_sample(spec):
        spec = calibrate(spec, _sample(slide, plan, spoilt), _tissue_mm2(plan))
        for warning in limits_of(spec).warnings:
            log.warning("%s", warning)
    return Pass(Scale(scale.positions, spec, info), plan)
