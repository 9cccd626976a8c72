"""A painted slide with its truth beside it, and how much of the truth was found.

The picture is made of ellipses on noise: it shows that the whole road works and how counts are compared, and says
nothing about tissue. Nuclei are matched as `wsiparse.objects.scores` matches annotated ones.
"""

from __future__ import annotations

import filecmp
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from wsiparse.atomic import TEMPORARY, output_errors
from wsiparse.config import PromptConfig, prompt_set
from wsiparse.coords import Frame
from wsiparse.export.geojson import OverlayFacts, write_geojson
from wsiparse.export.objectframe import ObjectFrame
from wsiparse.objects import build_table
from wsiparse.objects.scores import Agreement, class_agreement, point_agreement
from wsiparse.recognize.registry import engine_of
from wsiparse.slides.files import file_fingerprint
from wsiparse.slides.synthetic import SyntheticField, paint_he, write_svs
from wsiparse.types import ObjectTable, PromptSet

__all__ = [
    "DEMO_ENGINE",
    "MATCH_RADIUS_UM",
    "MPP",
    "PAINTED",
    "PaintedSlide",
    "compare",
    "paint_slide",
    "painted_field",
]

#: What is painted, and the engine that is to find it.
PAINTED: Final = ("inflammatory cells", "nuclei")
DEMO_ENGINE: Final = "embedded"

#: um per px of painted slides.
MPP: Final = 0.5

#: Largest distance of a found centroid from the true one it is matched with: about half a nucleus.
MATCH_RADIUS_UM: Final = 3.0

#: Longer half axis of nuclei that are not inflammatory: those of epithelium, well above a lymphocyte's.
_LARGE_UM: Final = (5.8, 7.8)

_ENGINE: Final = "painted truth, not recognised"
_CERTAIN: Final = 255


@dataclass(frozen=True, eq=False)
class PaintedSlide:
    """A painted slide on disk and what is on it.

    Parameters
    ----------
    slide : the pyramidal TIFF
    truth_file : GeoJSON of every painted nucleus, as QuPath reads it
    size_px : edge of the square slide, level-0 px
    truth : the same nuclei as a table, level-0 px; class ids are positions in `prompts` + 1
    prompts : inflammatory cells and nuclei, as a run of the demo looks for them
    """

    slide: Path
    truth_file: Path
    size_px: int
    truth: ObjectTable
    prompts: PromptSet


def painted_field(size_px: int, seed: int) -> SyntheticField:
    """What `paint_slide` paints: inflammatory nuclei and clearly larger ones, at `MPP`."""
    return paint_he(size_px, size_px, mpp=MPP, nuclei_per_mm2=2200.0, large_um=_LARGE_UM, seed=seed)


def paint_slide(slide: Path, *, size_px: int, seed: int) -> PaintedSlide:
    """Paint a square slide of `MPP` and write it with truth.geojson beside it; what is there and the same is kept.

    Parameters
    ----------
    slide : file to write, ``X.svs``; its folder is made
    size_px : edge, px; memory is about 150 bytes a pixel
    seed : seed of the random numbers; the same size and seed always give the same bytes

    Raises
    ------
    OutputError
        If the files cannot be written.
    """
    field = painted_field(size_px, seed)
    asked = tuple(PromptConfig(text=text) for text in PAINTED)
    prompts = prompt_set(engine_of(DEMO_ENGINE).completed(asked)[0])
    truth = _truth_of(field, prompts)
    with output_errors(slide):
        slide.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=slide.parent) as own:
            fresh = Path(own) / slide.name
            write_svs(fresh, field.image, mpp=str(MPP))
            # another run may be reading the slide, and would see that it was replaced
            if not (slide.is_file() and filecmp.cmp(fresh, slide, shallow=False)):
                os.replace(fresh, slide)  # noqa: PTH105
    frame = Frame((size_px, size_px), (1.0, 1.0), (MPP, MPP))
    written = write_geojson(
        slide.parent / "truth.geojson",
        [truth],
        OverlayFacts(frame, prompts, file_fingerprint(slide), _ENGINE),
    )
    return PaintedSlide(slide, written.paths[0], size_px, truth, prompts)


def _truth_of(field: SyntheticField, prompts: PromptSet) -> ObjectTable:
    """Every painted nucleus, level-0 px, in the order it was painted."""
    of_text = {prompt.text: np.uint8(k) for k, prompt in enumerate(prompts, 1)}
    of_nucleus = np.where(field.inflammatory, of_text["inflammatory cells"], of_text["nuclei"])
    class_map = np.concatenate([np.zeros(1, np.uint8), of_nucleus])[field.labels]
    certain = np.full(field.labels.shape, _CERTAIN, np.uint8)
    return build_table(field.labels, len(field.inflammatory), class_map, certain, len(prompts))


def compare(painted: PaintedSlide, found: ObjectFrame) -> list[tuple[str, Agreement]]:
    """How well found cells agree with the painted ones: each class, then all nuclei whatever their class.

    All centroids are paired first, one to one and no further apart than `MATCH_RADIUS_UM`; within a class a pair counts
    when both sides are of that class (see `wsiparse.objects.scores.class_agreement`).

    Parameters
    ----------
    painted : the slide
    found : its cells, level-0 px, of the prompts in `painted`

    Raises
    ------
    ValueError
        If `found` is of other classes.
    """
    if found.prompts != painted.prompts:
        raise ValueError(f"found are {found.class_names}, painted {[p.class_name for p in painted.prompts]}")
    truth, radius = painted.truth, MATCH_RADIUS_UM / MPP
    rows = [
        (
            prompt.class_name,
            class_agreement(truth.centroid, truth.class_id, found.centroid, found.class_id, k, radius, unlabelled=None),
        )
        for k, prompt in enumerate(painted.prompts, 1)
    ]
    return [*rows, ("all nuclei", point_agreement(truth.centroid, found.centroid, radius))]
