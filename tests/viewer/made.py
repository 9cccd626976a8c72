"""Small results to look at, made without a run: known pixels, any names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from tests.strategies import blobs
from wsiparse.coords import Frame, um2_per_px
from wsiparse.export.labels import write_labels
from wsiparse.objects.table import build_table
from wsiparse.report.slide import redo_slide_report
from wsiparse.report.stats.summary import summarise
from wsiparse.results.folder import REPORT_INPUTS, write_done
from wsiparse.results.report_inputs import ReportInputs, png_bytes, write_report_inputs
from wsiparse.slides import open_slide
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.types import ObjectTable, Prompt, PromptKind, PromptSet

Pixels = NDArray[np.uint8]

ENGINE = "exact test engine"

PROMPTS = PromptSet(
    (
        Prompt("nuclei", "Nuclei", "#e04000"),
        Prompt("inflammatory cells", "Inflammatory", "#0040ff"),
        Prompt("tumour area", "Tumour", "#008000", kind="region"),
        Prompt("glands", "Glands", "#a000a0", kind="region"),
        Prompt("mitoses", "Mitoses", "#202020"),
    )
)


@dataclass(frozen=True)
class Truth:
    """The pixels that results were made of.

    Parameters
    ----------
    cells : (H, W) class ids, 0 background, field px of the cells
    regions : class id -> (h, w) bool, field px of the regions, which may overlap
    frames : by kind
    """

    cells: Pixels
    regions: Mapping[int, NDArray[np.bool_]]
    frames: Mapping[PromptKind, Frame]

    def mask(self, class_id: int) -> NDArray[np.bool_]:
        return self.regions.get(class_id, self.cells == class_id)


def truth(size: tuple[int, int] = (1500, 1100), *, sparse: bool = False) -> Truth:
    """Cells at half the slide's scale, regions at a fifth; the last class stays empty.

    Parameters
    ----------
    size : of the slide, level-0 px
    sparse : leave everything but the top left corner empty
    """
    (w, h), (rw, rh) = ((size[0] // step, size[1] // step) for step in (2, 5))
    cells = blobs(h, w, 1, 3.0, 0.6) * np.where(blobs(h, w, 2, 20.0, 0.0), 1, 2).astype(np.uint8)
    regions = {3: blobs(rh, rw, 3, 12.0, 0.2), 4: blobs(rh, rw, 4, 12.0, 0.2)}
    if sparse:
        cells = np.pad(blobs(60, 60, 1, 3.0, 0.6).astype(np.uint8), ((0, h - 60), (0, w - 60)))
        regions = {k: np.zeros_like(mask) for k, mask in regions.items()}
    frames: dict[PromptKind, Frame] = {
        "cell": Frame((w, h), (2.0, 2.0), (1.0, 1.0)),
        "region": Frame((rw, rh), (5.0, 5.0), (2.5, 2.5)),
    }
    return Truth(cells, regions, frames)


def _table(values: Pixels) -> ObjectTable:
    """The 4-connected components of equal values as objects."""
    labels, count = np.zeros(values.shape, np.int32), 0
    for value in np.unique(values[values > 0]):
        found, n = ndimage.label(values == value)
        labels += np.where(found > 0, found + count, 0).astype(np.int32)
        count += n
    return build_table(labels, count, values, np.full(values.shape, 200, np.uint8), len(PROMPTS))


def _write_inputs(folder: Path, facts: dict[str, Any], regions: Sequence[tuple[str, BaseGeometry]]) -> None:
    """What a report of everything on the slide is made of, which is all tissue."""
    size = [int(v) for v in facts["size"]]
    step = 8.0 / facts["mpp"][0]
    shape = tuple(-(-n // int(step)) for n in size[::-1])
    inputs = ReportInputs(
        slide=facts,
        offset=(0, 0),
        overview=Frame((shape[1], shape[0]), (step, step), (8.0, 8.0)),
        picture=np.full((*shape, 3), 200, np.uint8),
        tissue=np.ones(shape, np.bool_),
        artefacts=np.zeros(shape, np.bool_),
        whole_slide=True,
        roi=None,
        regions=tuple(regions),
        unreadable=(),
    )
    write_report_inputs(folder / REPORT_INPUTS, inputs, png_bytes(inputs.picture), {})


def make(
    results: Path,
    found: Truth,
    *,
    size: tuple[int, int] = (1500, 1100),
    name: str = "made",
    prompts: PromptSet = PROMPTS,
    slide: Path | None = None,
    labels: bool = True,
    unreadable: int = 0,
    regions: Sequence[tuple[str, BaseGeometry]] = (),
    report: bool = True,
) -> Path:
    """A finished slide's folder below `results`, with a run's own file that says where the slide is; its path."""
    folder = results / "slides" / "made__00000000"
    folder.mkdir(parents=True)
    tables = [_table(found.cells)] + [_table(mask * np.uint8(k)) for k, mask in found.regions.items()]
    facts: dict[str, Any] = {
        "mpp_source": "made",
        "vendor": "made",
        "reader": "auto",
        "name": name,
        "fingerprint": "0f1e",
        "size": list(size),
        "mpp": [0.5, 0.5],
    }
    if slide is not None:
        with open_slide(slide) as opened:
            facts |= {"fingerprint": opened.fingerprint, "size": list(opened.size), "mpp": list(opened.mpp or ())}
    with ObjectSorter(folder / "unsorted", frames=found.frames, prompts=prompts) as sorter:
        for table in tables:
            sorter.append(table)
        sorter.finish(folder / "objects.zarr", engine=ENGINE, slide=facts)
    reader = ObjectsReader(folder / "objects.zarr")
    _write_inputs(folder, facts, regions)
    files = ["objects.zarr", REPORT_INPUTS]
    if labels:
        write_labels(folder / "labels.ome.zarr", reader)
        files.append("labels.ome.zarr")
    layers = [(t, found.frames["region" if k else "cell"]) for k, t in enumerate(tables)]
    area = found.cells.size * um2_per_px(found.frames["cell"]) / 1e6
    summary = summarise(layers, prompts, slide=name, engine=ENGINE, analysed_mm2=area)
    write_done(folder, files, "digest", summary, {"unreadable": [{"tile": i} for i in range(unreadable)]})
    if report:
        redo_slide_report(folder, None, None)
    if slide is not None:
        (results / "run-20260101T000000Z-000000.json").write_text(
            json.dumps(
                {
                    "state": "finished",
                    "host": "elsewhere",
                    "pid": 1,
                    "slides": [{"path": str(slide), "folder": folder.name, "status": "done"}],
                }
            )
        )
    return folder
