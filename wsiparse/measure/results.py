"""Results as they are measured: facts of each finished slide, its nuclei in microns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import to_level0
from wsiparse.errors import OutputError
from wsiparse.measure.truth import SlideFacts
from wsiparse.results.find import find_results
from wsiparse.results.folder import done_record, report_inputs_in, summary_of
from wsiparse.results.report_inputs import read_report_inputs
from wsiparse.results.runlog import read_entries
from wsiparse.results.whole import check_whole
from wsiparse.store.read import ObjectsReader

__all__ = ["MeasuredSlide", "Nuclei", "measured_slides"]

_MARGIN_UM: Final = 50.0


@dataclass(frozen=True, eq=False)
class Nuclei:
    """Cells of a slide, in the order of its objects.

    Parameters
    ----------
    points : (N, 2) float64, centroids, x then y, um
    class_id : (N,) uint8, position in the prompts + 1
    shapes : (N,) polygons, um, dtype object, or None where they were not asked for
    """

    points: NDArray[np.float64]
    class_id: NDArray[np.uint8]
    shapes: NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.class_id)


@dataclass(frozen=True, eq=False)
class MeasuredSlide:
    """A finished slide of results.

    Parameters
    ----------
    folder : its results folder
    reader : its objects
    facts : for annotations
    fingerprint : of the slide
    roi : region of interest of the run, level-0 px, or None
    analysed_mm2 : tissue that was analysed
    """

    folder: Path
    reader: ObjectsReader
    facts: SlideFacts
    fingerprint: str
    roi: BaseGeometry | None
    analysed_mm2: float

    @property
    def name(self) -> str:
        """Of the slide."""
        return str(self.reader.slide["name"]).encode(errors="replace").decode()

    def nuclei(self, near: BaseGeometry | None = None, *, outlines: bool = True) -> Nuclei:
        """Its cells.

        Parameters
        ----------
        near : only those whose centroid lies within 50 um of the bounds of this, um; None for all
        outlines : whether polygons are wanted
        """
        frame, mpp = self.reader.frames["cell"], np.array(self.facts.mpp)
        points, classes, shapes = [], [], []
        for table in self.reader.batches("cell"):
            where = to_level0(table.centroid, frame) * mpp
            if near is not None:
                x0, y0, x1, y1 = near.bounds
                low, high = np.array([x0, y0]) - _MARGIN_UM, np.array([x1, y1]) + _MARGIN_UM
                rows = np.flatnonzero(((where >= low) & (where <= high)).all(axis=1))
                table, where = table.take(rows), where[rows]
            points.append(where)
            classes.append(table.class_id)
            if outlines and len(table):
                coords, offsets = table.ragged(frame)
                shapes.append(shapely.from_ragged_array(shapely.GeometryType.POLYGON, coords * mpp, offsets))
        return Nuclei(
            np.concatenate([np.zeros((0, 2)), *points]),
            np.concatenate([np.zeros(0, np.uint8), *classes]),
            np.concatenate([np.zeros(0, object), *shapes]) if outlines else None,
        )


def measured_slides(results: Path) -> tuple[list[MeasuredSlide], list[str]]:
    """The finished slides of results, and a line for each that is not finished.

    Parameters
    ----------
    results : folder of a run, or of one slide in it

    Raises
    ------
    OutputError
        If it is neither, no slide is finished, or a finished one is damaged.
    """
    found = find_results(results)
    done = [folder for folder in found.slides if done_record(folder) is not None]
    if not done:
        raise OutputError(f"{results}: no finished slide here. Run the same `wsiparse run` again to finish.")
    files = {e.folder: Path(e.path).name for e in read_entries(done[0].absolute().parent.parent)}
    notes = [f"{folder}: not finished, left out" for folder in found.slides if folder not in done]
    return [_slide(folder, files.get(folder.name, "")) for folder in done], notes


def _slide(folder: Path, file: str) -> MeasuredSlide:
    inputs_folder = report_inputs_in(folder)
    record = check_whole(folder, "objects.zarr", inputs_folder.name)
    reader = ObjectsReader(folder / "objects.zarr")
    inputs = read_report_inputs(inputs_folder)
    stem = str(inputs.slide["name"])
    names = tuple(dict.fromkeys(n for n in (folder.name, file, Path(file).stem, stem, Path(stem).stem) if n))
    return MeasuredSlide(
        folder,
        reader,
        SlideFacts(names, inputs.size, inputs.mpp, inputs.offset),
        str(inputs.slide["fingerprint"]),
        inputs.roi,
        summary_of(record).analysed_mm2,
    )
