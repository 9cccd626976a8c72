"""The straight line in memory: slide -> plan -> field (`wsiparse.run.tiles`) -> objects (`wsiparse.run.blocks`).

`wsiparse.run.batch` goes the same way for folders of slides and writes the results.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wsiparse.config import RunConfig
from wsiparse.coords import Frame
from wsiparse.export.objectframe import ObjectFrame
from wsiparse.export.reading import tables_frame
from wsiparse.field.store import memory_field
from wsiparse.field.tiles import FieldTile
from wsiparse.machine import own_version
from wsiparse.parallel.progress import Progress, Quiet
from wsiparse.parallel.threads import Waits
from wsiparse.report.stats.summary import nothing_told
from wsiparse.run.blocks import BlockWork, in_raster_order, layers_of, objects_of
from wsiparse.run.engine import Engine
from wsiparse.run.plan import Prepared, prepare
from wsiparse.run.tiles import TileWork, recognise, recognition_scores
from wsiparse.slides import Slide
from wsiparse.types import ObjectTable, PromptKind, Unreadable

if TYPE_CHECKING:
    import geopandas
    import pandas

__all__ = ["Analysis", "analyse"]

log = logging.getLogger("wsiparse")


@dataclass(frozen=True, slots=True, repr=False)
class Analysis:
    """Objects of one slide or image in memory.

    Parameters
    ----------
    cells, regions : in raster order of first pixel, field px; `objects`, `to_pandas` and `polygons` have level-0 px
    frames : frame of each kind's coordinates
    prepared : plans and engine they come from
    unreadable : tiles that could not be read

    Examples
    --------
    >>> import wsiparse
    >>> from wsiparse.slides.synthetic import paint_he
    >>> found = wsiparse.recognise(paint_he(256, 256, seed=1).image, 0.5, ["nuclei"], engine="classical")
    >>> found.to_pandas()["area_um2"].median().item()
    61.5
    """

    cells: ObjectTable
    regions: ObjectTable
    frames: dict[PromptKind, Frame]
    prepared: Prepared
    unreadable: tuple[Unreadable, ...]

    def __repr__(self) -> str:
        lost = f", {len(self.unreadable)} unreadable tiles" if self.unreadable else ""
        counts = f"{len(self.cells)} cells, {len(self.regions)} regions on {self.prepared.area_mm2:.3g} mm2{lost}"
        return f"Analysis({counts}; {self.prepared.title})"

    def objects(self) -> ObjectFrame:
        """All objects as the table that `wsiparse.read_objects` gives, cells first: level-0 px, um, polygons, ids."""
        plan = self.prepared.passes[0].plan
        facts = {
            "version": own_version(),
            "engine": self.prepared.title,
            "slide": plan.fingerprint,
            "name": plan.slide_name,
            "slide_id": plan.slide_name,
            "size": list(plan.slide_size),
            "mpp": list(plan.slide_mpp),
            "unit": "level-0 px",
            "origin": [0, 0],
        }
        return tables_frame({"cell": self.cells, "region": self.regions}, self.frames, self.prepared.prompts, facts)

    def polygons(self) -> NDArray[np.object_]:
        """(N,) shapely polygons, dtype object, of all objects, cells first, level-0 px (an image's own), holes kept."""
        return self.objects().polygons()

    def to_pandas(self) -> pandas.DataFrame:
        """A row an object, cells first; the columns of `wsiparse export`, x_px and y_px in level-0 px; needs pandas."""
        return self.objects().to_pandas()

    def to_geopandas(self) -> geopandas.GeoDataFrame:
        """`to_pandas` with the polygons as geometry, level-0 px, no coordinate reference system; needs geopandas."""
        return self.objects().to_geopandas()


def analyse(
    slide: Slide,
    config: RunConfig,
    *,
    engine: Engine | None = None,
    roi: Path | None = None,
    tissue: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Analysis:
    """All steps in memory: for notebooks, tests and evaluation of small slides.

    Parameters
    ----------
    slide : open slide of known mpp
    config : run settings
    engine : of the same settings; None to make it
    roi : GeoJSON file of the regions to analyse
    tissue : GeoJSON file of the slide's tissue; None for what is found
    workers : threads; changes no result
    progress : where to tell how far it is

    Returns
    -------
    Analysis with all objects
    """
    progress = progress or Quiet()
    engine = engine or Engine(config)
    prepared = prepare(slide, config, engine, roi, tissue)
    lost: list[Unreadable] = []
    found: dict[PromptKind, list[ObjectTable]] = {"cell": [], "region": []}
    for scale_pass in prepared.passes:
        tiles: list[FieldTile] = []
        for cores, bad in recognise(
            slide,
            scale_pass,
            engine.recognizers.of(scale_pass.scale.spec),
            scale_pass.plan.kept.tolist(),
            TileWork(workers, workers if workers > 1 else 0, config.batch_size, progress, Waits()),
        ):
            tiles += cores
            lost += bad
        field = memory_field(scale_pass.plan.grid, len(scale_pass.scale.spec.prompts.of_kind("region")), tiles)
        recognition = recognition_scores(scale_pass, [(t.index, t.statistics) for t in tiles])
        for layer in layers_of(scale_pass):
            found[layer[0]] += objects_of(
                field,
                scale_pass,
                prepared.prompts,
                layer,
                BlockWork(config.block_size, workers, progress),
                recognition=recognition,
                min_recognition=config.min_recognition,
            )
    cells = in_raster_order(found["cell"])
    nothing = nothing_told(prepared.prompts, len(cells), prepared.area_mm2)
    if nothing:
        log.warning("%s", nothing)
    return Analysis(cells, in_raster_order(found["region"]), prepared.frames(), prepared, tuple(lost))
