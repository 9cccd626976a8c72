"""Finished slides with known cells, written without a run: objects.zarr, report_inputs/, DONE.json and their report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry.base import BaseGeometry

from tests.report.patterns import irregular_tissue, tumour_truth, two_densities
from wsiparse.coords import Frame
from wsiparse.recognize.targets import TARGETS
from wsiparse.report.data import load
from wsiparse.report.pictures import square_images
from wsiparse.report.slide import redo_slide_report
from wsiparse.report.stats.objects import KINDS
from wsiparse.report.stats.squares import pictured_boxes
from wsiparse.report.stats.summary import summarise
from wsiparse.report.stats.tissue import Tissue
from wsiparse.results.folder import REPORT_INPUTS, write_done
from wsiparse.results.report_inputs import PicturedSquare, ReportInputs, png_bytes, write_report_inputs
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.types import Box, EngineLimits, ObjectTable, Prompt, PromptSet

__all__ = ["MPP", "PROMPTS", "Content", "tumour_slide", "write_slide"]

Floats = NDArray[np.float64]

ENGINE = "made for tests, not BiomedParse"
#: um per level-0 px, and level-0 px per field px of both kinds.
MPP, STEP = 0.5, {"cell": 1.0, "region": 2.0}

#: What BiomedParse answers; class ids 1 to 6.
PROMPTS = PromptSet(tuple(Prompt(t.text, t.class_name, t.colour, t.kind, t.threshold) for t in TARGETS))
NEOPLASTIC, INFLAMMATORY, CONNECTIVE, EPITHELIAL, DEAD, GLANDS = range(6)


@dataclass(frozen=True, eq=False)
class Content:
    """What lies on a slide.

    Parameters
    ----------
    tissue : cells of 8 um
    points : class position -> (N, 2) about where its objects lie, um
    """

    tissue: Tissue
    points: Mapping[int, Floats] = field(default_factory=dict)


def tumour_slide(
    width_mm: float, height_mm: float, seed: int, *, immune: tuple[float, float] = (300.0, 700.0)
) -> Content:
    """A lobed or round tumour in stroma, with immune cells at one density inside and another outside, per mm2."""
    tissue = irregular_tissue(width_mm, height_mm, seed)
    inside = tumour_truth(tissue, "lobed" if min(width_mm, height_mm) > 2.5 else "round")
    densities = {NEOPLASTIC: (3000.0, 60.0), INFLAMMATORY: immune, CONNECTIVE: (200.0, 1500.0), DEAD: (40.0, 10.0)}
    points = {k: two_densities(tissue, inside, both, 10 * seed + k) for k, both in densities.items()}
    points[GLANDS] = two_densities(tissue, inside, (4.0, 1.0), 10 * seed + GLANDS)
    return Content(tissue, points)


def _rectangles(um: Floats, class_id: int, kind: str, tissue: Tissue, random: np.random.Generator) -> ObjectTable:
    """Upright rectangles about the given points that stay on the slide."""
    step = STEP[kind] * MPP
    size = np.floor(np.array(tissue.slide_um) / step).astype(np.int64)
    n = len(um)
    edges = random.integers(6, 16, (n, 2)) if kind == "cell" else random.integers(30, 80, (n, 2))
    edges = np.minimum(edges, size)
    corner = np.clip(np.floor(um / step).astype(np.int64) - edges // 2, 0, size - edges)
    far = corner + edges
    rings = np.stack(
        [
            np.stack([corner[:, 0], corner[:, 1]], 1),
            np.stack([far[:, 0], corner[:, 1]], 1),
            np.stack([far[:, 0], far[:, 1]], 1),
            np.stack([corner[:, 0], far[:, 1]], 1),
            np.stack([corner[:, 0], corner[:, 1]], 1),
        ],
        axis=1,
    )
    cells = len(PROMPTS.of_kind("cell"))
    shares = np.zeros((n, 0), np.float32)
    if kind == "cell":
        shares = random.dirichlet(np.full(cells, 0.3), n).astype(np.float32) if n else np.zeros((0, cells), np.float32)
        # the object's class has the largest share
        top, rows = shares.argmax(axis=1), np.arange(n)
        shares[rows, top], shares[rows, class_id - 1] = shares[rows, class_id - 1].copy(), shares[rows, top].copy()
    return ObjectTable(
        coords=rings.reshape(-1, 2).astype(np.int32),
        ring_offsets=np.arange(n + 1, dtype=np.int64) * 5,
        polygon_offsets=np.arange(n + 1, dtype=np.int64),
        class_id=np.full(n, class_id, np.uint8),
        score=random.uniform(0.505, 0.995, n).astype(np.float32),
        area_px=edges.prod(axis=1).astype(np.int64),
        centroid=(corner + far) / 2,
        first_px=corner[:, ::-1].astype(np.int32),
        class_share=shares,
    )


def _picture(tissue: Tissue, random: np.random.Generator) -> NDArray[np.uint8]:
    noise = random.normal(0, 9, (*tissue.mask.shape, 1)) + random.normal(0, 4, (*tissue.mask.shape, 3))
    pink = np.array([205.0, 140.0, 190.0]) + noise
    glass = 243.0 + random.normal(0, 1, (*tissue.mask.shape, 3))
    return np.clip(np.where(tissue.mask[..., None], pink, glass), 0, 255).astype(np.uint8)


def write_slide(
    results: Path,
    name: str,
    content: Content,
    *,
    seed: int = 0,
    prompts: PromptSet = PROMPTS,
    regions: Sequence[tuple[str, object]] = (),
    unreadable: Sequence[tuple[float, float, float, float]] = (),
    unreadable_facts: int = 0,
    roi: BaseGeometry | None = None,
    limits: EngineLimits | None = None,
    slide_facts: Mapping[str, object] | None = None,
    found_artefacts: tuple[tuple[str, BaseGeometry, bool], ...] = (),
) -> Path:
    """A finished slide's folder; the centres of objects may move by half a px from where they were to be.

    Parameters
    ----------
    prompts : those of `PROMPTS`, or fewer of them from the start
    regions : (class, polygon in level-0 px) of a region file
    unreadable : cores of unreadable tiles, level-0 px
    roi : level-0 px, as a run makes it of its region file
    limits : of the engine
    slide_facts : further facts of the slide
    found_artefacts : kind, polygon in level-0 px, whether it was left out
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    folder = results / "slides" / f"{''.join(c if c.isalnum() else '_' for c in name)[:60]}__{digest}"
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    tissue = content.tissue
    size = tuple(max(1, round(v / MPP)) for v in tissue.slide_um)
    facts = {"name": name, "fingerprint": digest * 8, "size": list(size), "mpp": [MPP, MPP], "mpp_source": "test"}
    facts |= {"vendor": "made", "reader": "none", "bounds": [0, 0, *size], **(slide_facts or {})}
    frames = {
        kind: Frame(tuple(max(1, int(s // STEP[kind])) for s in size), (STEP[kind],) * 2, (STEP[kind] * MPP,) * 2)
        for kind in KINDS
    }
    with ObjectSorter(folder / "unsorted", frames=frames, prompts=prompts) as sorter:
        for k in range(len(prompts)):
            table = _rectangles(content.points.get(k, np.zeros((0, 2))), k + 1, prompts[k].kind, tissue, random)
            if len(table):
                sorter.append(table)
        sorter.finish(folder / "objects.zarr", engine=ENGINE, slide=facts)
    reader = ObjectsReader(folder / "objects.zarr")
    picture = _picture(tissue, random)
    h, w = tissue.mask.shape
    step = tissue.cell_um[0] / MPP
    inputs = ReportInputs(
        slide=facts,
        offset=(0, 0),
        overview=Frame((w, h), (step, step), tissue.cell_um),
        picture=picture,
        tissue=tissue.mask,
        artefacts=np.zeros_like(tissue.mask),
        whole_slide=False,
        roi=roi,
        found_artefacts=found_artefacts,
        limits=limits or EngineLimits(),
        regions=tuple(regions),
        unreadable=tuple(unreadable),
    )
    loaded = load(reader, inputs)
    boxes = pictured_boxes(loaded.source, loaded.settings)
    full = Image.fromarray(picture)

    def read(box: Box) -> NDArray[np.uint8]:
        part = full.crop(tuple(int(v / step) for v in (box.x, box.y, box.x1, box.y1)))
        return np.asarray(part.resize((box.width, box.height)))

    images = square_images(boxes, read)
    squares = tuple(PicturedSquare(box, f"spots/{k}.jpg") for k, box in enumerate(boxes, 1))
    inputs = ReportInputs(**{n: getattr(inputs, n) for n in inputs.__dataclass_fields__} | {"squares": squares})
    write_report_inputs(folder / REPORT_INPUTS, inputs, png_bytes(picture), images)
    layers = [(batch, frames[kind]) for kind in KINDS for batch in reader.batches(kind)]
    summary = summarise(layers, prompts, slide=name, engine=ENGINE, analysed_mm2=loaded.source.tissue.area_mm2)
    write_done(folder, ["objects.zarr", REPORT_INPUTS], "digest", summary, {"unreadable": [{}] * unreadable_facts})
    redo_slide_report(folder, None, None)
    return folder
