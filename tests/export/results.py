"""Results of a run without a run: objects.zarr with cells and regions, a slide's folder that counts as finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.store.tables import ENGINE, FRAME, PROMPTS, blobs, regions
from wsiparse.coords import Frame
from wsiparse.results.folder import write_done
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.types import ObjectTable, PromptSet, RecognitionGrid, SlideSummary, TileGrid

CELLS = blobs()
REGIONS = regions()
SLIDE: dict[str, Any] = {
    "name": "S 1",
    "fingerprint": "0f1e",
    "size": [8192, 8192],
    "mpp": [0.25, 0.25],
    "bounds": [100, 40, 8000, 8100],
}


def judged(positions: tuple[int, ...], stride: int, *, unknown: tuple[int, ...] = (), seed: int = 0) -> RecognitionGrid:
    """Random recognition scores of some prompts in tiles over `FRAME`; those of `unknown` prompts are NaN."""
    rng, grid = np.random.default_rng(seed), TileGrid(FRAME.size, stride + 10, 5)
    scores = rng.random((len(positions), grid.rows, grid.columns)).astype(np.float32)
    scores[[k for k, position in enumerate(positions) if position in unknown]] = np.nan
    return RecognitionGrid(positions, grid, rng.random((*scores.shape, 4)).astype(np.float32), scores)


#: Cells and regions seen at two scales; the first prompt has no score parameters.
JUDGED = (judged((2, 0), 32, unknown=(0,)), judged((1,), 1500, seed=1))


def objects_at(
    path: Path,
    tables: Sequence[ObjectTable] = (CELLS, REGIONS),
    *,
    frame: Frame = FRAME,
    prompts: PromptSet = PROMPTS,
    slide: dict[str, Any] = SLIDE,
    recognition: Sequence[RecognitionGrid] = (),
) -> ObjectsReader:
    """objects.zarr of these tables at `path`, opened."""
    unsorted = path.with_name("unsorted-of-test")
    with ObjectSorter(unsorted, frames={"cell": frame, "region": frame}, prompts=prompts) as sorter:
        for table in tables:
            sorter.append(table)
        sorter.finish(path, engine=ENGINE, slide=slide, recognition=recognition)
    return ObjectsReader(path)


def finished_slide(folder: Path, **changes: Any) -> Path:
    """A slide's results folder with DONE.json; returns it."""
    folder.mkdir(parents=True)
    objects_at(folder / "objects.zarr", **changes)
    (folder / "counts.csv").write_text("slide\n")
    write_done(
        folder, ["objects.zarr", "counts.csv"], "digest", SlideSummary("S 1", ENGINE, 1.0, 0.0, ()), {"unreadable": []}
    )
    return folder
