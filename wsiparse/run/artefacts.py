"""Artefacts of one slide, looked for once, before its first tile: which parts are left out, and which only reported."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.artefacts.find import ARTEFACT_MPP, COARSEST_FOCUS_MPP, Ground, find_artefacts
from wsiparse.choices import ArtefactKind
from wsiparse.config import RunConfig
from wsiparse.coords import Frame, frame_at
from wsiparse.errors import TileReadError
from wsiparse.machine import available_cores
from wsiparse.parallel.threads import map_ordered
from wsiparse.slides import Slide, require_mpp
from wsiparse.tiling.geometry import polygonal
from wsiparse.tiling.polygons import united
from wsiparse.types import Box

__all__ = ["Artefact", "artefacts_of", "left_out_line", "spoilt_shape", "without_artefacts"]

log = logging.getLogger("wsiparse")

#: So much of the tissue left out is said at the end of a run.
_NOTED_SHARE: Final = 0.05
#: Ink over a larger share of the tissue is not believed: tissue under old blood, or another stain, looks like it.
_MOST_INK: Final = 0.5
#: Cells of tissue that this share is judged on.
_JUDGED_CELLS: Final = 20_000


@dataclass(frozen=True, eq=False, slots=True)
class Artefact:
    """One kind of artefact on a slide.

    Parameters
    ----------
    kind : of it
    geometry : Polygon or MultiPolygon, level-0 px, perhaps empty
    left_out : whether it is taken out of the analysed area
    doubted : too much of the tissue to be believed, therefore only reported
    """

    kind: ArtefactKind
    geometry: BaseGeometry
    left_out: bool
    doubted: bool = False


def artefacts_of(
    slide: Slide,
    config: RunConfig,
    overview: Frame,
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    background: NDArray[np.float32],
) -> tuple[Artefact, ...]:
    """Look for the kinds of artefacts that the settings ask for; those that cannot be judged on a slide are left away.

    Parameters
    ----------
    slide : open, with a known mpp
    config : run settings
    overview : frame of the masks
    masks : (h, w) bool each, overview px: tissue; pen and black that were told from it
    background : (3,) float32, colour of glass, 0-255
    """
    use = config.artefact_use
    mpp = max(require_mpp(slide))
    kinds: list[ArtefactKind] = [kind for kind, asked in use.items() if asked != "off"]
    if mpp > COARSEST_FOCUS_MPP:
        kinds = [kind for kind in kinds if kind != "out_of_focus"]
    if not kinds or not (masks[0] | masks[1]).any():
        return tuple(Artefact(kind, shapely.MultiPolygon(), use[kind] == "exclude") for kind in kinds)
    frame = frame_at(slide.size, require_mpp(slide), max(ARTEFACT_MPP, mpp))

    def read(box: Box) -> NDArray[np.uint8] | None:
        try:
            return slide.read(box, frame)
        except TileReadError as err:
            # its tiles are unreadable to the network as well, and reported as such
            log.debug("not looked at for artefacts: %s", err)
            return None

    workers = config.num_workers or available_cores()
    found = find_artefacts(
        read,
        Ground(frame, slide.size, overview, *masks, background),
        kinds,
        each=lambda look, blocks: map_ordered(look, blocks, workers=workers),
    )
    doubted = "ink" in kinds and _share(masks[0], overview, found.shapes["ink"]) > _MOST_INK
    return tuple(
        Artefact(
            kind,
            found.shapes[kind],
            use[kind] == "exclude" and not (doubted and kind == "ink"),
            doubted and kind == "ink" and use[kind] == "exclude",
        )
        for kind in kinds
    )


def _share(tissue: NDArray[np.bool_], overview: Frame, shape: BaseGeometry) -> float:
    """How much of the tissue lies in a shape, by the middles of some of its cells."""
    cells = np.argwhere(tissue)
    if not len(cells) or shape.is_empty:
        return 0.0
    cells = cells[:: -(-len(cells) // _JUDGED_CELLS)]
    middles = (cells[:, ::-1] + 0.5) * np.asarray(overview.downsample)
    shapely.prepare(shape)
    return float(shapely.contains_xy(shape, middles).mean())


def without_artefacts(
    roi: BaseGeometry | None, artefacts: tuple[Artefact, ...], slide_size: tuple[int, int]
) -> BaseGeometry | None:
    """A region of interest without the artefacts that are left out; None for no restriction.

    Parameters
    ----------
    roi : polygonal, level-0 px, or None for the whole slide
    slide_size : (width, height), level-0 px
    """
    out = [a.geometry for a in artefacts if a.left_out and not a.geometry.is_empty]
    if not out:
        return roi
    ground = shapely.box(0, 0, *slide_size) if roi is None else roi
    return polygonal(shapely.difference(ground, united(out)))


def spoilt_shape(artefacts: tuple[Artefact, ...]) -> BaseGeometry | None:
    """All artefacts of a slide that are believed, level-0 px, those only reported included; None without any."""
    shapes = [a.geometry for a in artefacts if not a.geometry.is_empty and not a.doubted]
    return united(shapes) if shapes else None


def left_out_line(artefacts: tuple[Artefact, ...], before_mm2: float, after_mm2: float) -> str:
    """What is said where much tissue is left out, or would be by a measure that is not believed; else "".

    Parameters
    ----------
    before_mm2, after_mm2 : analysed area with and without the artefacts that are left out
    """
    if any(a.doubted for a in artefacts):
        return (
            f"more than {_MOST_INK:.0%} of the tissue looks like ink: this is not believed, so nothing is left out as "
            "ink, and counts may be wrong; see artefacts.geojson"
        )
    lost = before_mm2 - after_mm2
    if lost <= _NOTED_SHARE * before_mm2:
        return ""
    kinds = " and ".join(a.kind.replace("_", " ") for a in artefacts if a.left_out and not a.geometry.is_empty)
    return (
        f"{lost:.3g} of {before_mm2:.3g} mm2 of tissue are left out as {kinds}: see artefacts.geojson; "
        "--keep-artefacts counts there all the same"
    )
