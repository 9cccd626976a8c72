"""Objects as the table people work with: level-0 coordinates, class names, measurements, ids.

Every tabular format is made of `ObjectFrame`, so all of them tell the same numbers under the same names::

    id                str    UUIDv5 (see `wsiparse.store.ids`)
    class, kind       str    class name; "cell" or "region"
    x_px, y_px        float  centroid, level-0 px
    x_um, y_um        float  the same in microns, from the same origin
    area_px           float  area, level-0 px^2
    area_um2, ...     float  the measurements of `wsiparse.store.measure`; NaN where an object has none
    mean_od           float  one of them: mean optical density
    recognition_score float  if the engine has such scores; NaN for classes without
    share_<class>     float  one for each cell class, if there are several
    slide_id          str    name of the slide's results folder, the same in every row: tables can be put together
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.export.extras import optional
from wsiparse.store.sort import KINDS
from wsiparse.types import PromptSet

if TYPE_CHECKING:
    import geopandas
    import pandas

__all__ = ["ObjectFrame", "Outlines", "column_name", "id_texts"]

_FIXED: Final = ("id", "class", "kind", "x_px", "y_px", "x_um", "y_um", "area_px")
_DASH_AFTER: Final = (4, 6, 8, 10)


@dataclass(frozen=True, eq=False)
class Outlines:
    """Polygons as a ragged array; offsets as in `wsiparse.types.ObjectTable`.

    Parameters
    ----------
    coords : (V, 2) float64, x then y, level-0 px less the offset
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64
    """

    coords: NDArray[np.float64]
    ring_offsets: NDArray[np.int64]
    polygon_offsets: NDArray[np.int64]

    def polygons(self) -> NDArray[Any]:
        """(N,) shapely polygons, dtype object."""
        offsets = (self.ring_offsets, self.polygon_offsets)
        found: NDArray[Any] = shapely.from_ragged_array(shapely.GeometryType.POLYGON, self.coords, offsets)
        return found

    def bounds(self) -> NDArray[np.float64]:
        """(N, 4) float64: smallest x, smallest y, largest x, largest y of each polygon."""
        starts = self.ring_offsets[self.polygon_offsets[:-1]]
        if not len(starts):
            return np.zeros((0, 4))
        low, high = (ufunc.reduceat(self.coords, starts, axis=0) for ufunc in (np.minimum, np.maximum))
        return np.concatenate([low, high], axis=1)


@dataclass(frozen=True, eq=False, repr=False)
class ObjectFrame:
    """A table of objects; ``frame["area_um2"]`` is a column (see the module), `columns` lists them.

    Parameters
    ----------
    facts : where the objects come from, as JSON values: version, engine, slide fingerprint, id, name, size and mpp,
        unit and origin of the coordinates
    prompts : names, colours and kinds of the classes
    uuid : (N, 16) uint8, the bytes of each id
    class_id : (N,) uint8, position in `prompts` + 1
    centroid : (N, 2) float64, x then y, level-0 px less the origin
    area_px : (N,) float64, level-0 px^2
    measured : names of the M measurements, as columns
    decimals : (M,) int64, decimals worth writing as text
    values : (N, M) float64, NaN where an object has no such number
    outlines : the polygons, or None if they were not asked for

    Examples
    --------
    >>> import wsiparse
    >>> from pathlib import Path
    >>> objects = wsiparse.read_objects(next(Path("results/slides").iterdir()))
    >>> objects.columns[:6]
    ('id', 'class', 'kind', 'x_px', 'y_px', 'x_um')
    >>> table = objects.to_pandas()
    >>> len(table) == len(objects)
    True
    """

    facts: Mapping[str, Any]
    prompts: PromptSet
    uuid: NDArray[np.uint8]
    class_id: NDArray[np.uint8]
    centroid: NDArray[np.float64]
    area_px: NDArray[np.float64]
    measured: tuple[str, ...]
    decimals: NDArray[np.int64]
    values: NDArray[np.float64]
    outlines: Outlines | None = None

    def __len__(self) -> int:
        return len(self.class_id)

    def __repr__(self) -> str:
        counts = np.bincount(self.class_id, minlength=len(self.prompts) + 1)[1:].tolist()
        told = ", ".join(f"{n} {name}" for name, n in zip(self.class_names, counts, strict=True))
        return f"ObjectFrame({told}; {len(self.columns)} columns{'' if self.outlines else ', no outlines'})"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return (*_FIXED, *self.measured, "slide_id")

    @property
    def slide_id(self) -> str:
        """Name of the slide's results folder, which no other slide of these results has; in memory the slide's name."""
        return str(self.facts["slide_id"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, prompt order; a class id is a position in it + 1."""
        return tuple(prompt.class_name for prompt in self.prompts)

    @property
    def mpp(self) -> tuple[float, float]:
        """Microns per level-0 px, x and y."""
        x, y = self.facts["mpp"]
        return float(x), float(y)

    def __getitem__(self, column: str) -> NDArray[Any]:
        """One column, (N,): text as ``<U``, numbers as float64.

        Raises
        ------
        KeyError
            If there is no such column.
        """
        if column == "id":
            return id_texts(self.uuid).astype("U36")
        if column in ("class", "kind"):
            texts = self.class_names if column == "class" else tuple(prompt.kind for prompt in self.prompts)
            return np.array(texts)[self.class_id.astype(np.intp) - 1]
        if column in ("x_px", "y_px"):
            return self.centroid[:, "xy".index(column[0])]
        if column in ("x_um", "y_um"):
            axis = "xy".index(column[0])
            return self.centroid[:, axis] * self.mpp[axis]
        if column == "area_px":
            return self.area_px
        if column == "slide_id":
            return np.full(len(self), self.slide_id)
        if column in self.measured:
            return self.values[:, self.measured.index(column)]
        raise KeyError(f"no column {column!r}; there are {', '.join(self.columns)}")

    def polygons(self) -> NDArray[Any]:
        """(N,) shapely polygons, dtype object, level-0 px less the origin, holes kept.

        Raises
        ------
        ValueError
            If the frame was read without outlines.
        """
        return self.shapes().polygons()

    def shapes(self) -> Outlines:
        """The outlines.

        Raises
        ------
        ValueError
            If the frame was read without outlines.
        """
        if self.outlines is None:
            raise ValueError("these objects were read without outlines")
        return self.outlines

    def to_pandas(self) -> pandas.DataFrame:
        """A ``pandas.DataFrame`` of all columns; class, kind, slide_id are categories, ``attrs["wsiparse"]`` the facts.

        Raises
        ------
        OutputError
            If pandas is not installed.
        """
        frames = optional("pandas", "A data frame")
        data = {name: self[name] for name in self.columns if name not in ("class", "kind", "slide_id")}
        table = frames.DataFrame(data)
        kinds = [prompt.kind for prompt in self.prompts]
        codes = self.class_id.astype(np.int16) - 1
        of_kind = np.array([KINDS.index(kind) for kind in kinds], np.int16)[codes]
        table.insert(1, "class", frames.Categorical.from_codes(codes, list(self.class_names)))
        table.insert(2, "kind", frames.Categorical.from_codes(of_kind, list(KINDS)))
        table["slide_id"] = frames.Categorical.from_codes(np.zeros(len(self), np.int8), [self.slide_id])
        table.attrs["wsiparse"] = dict(self.facts)
        return table

    def to_geopandas(self) -> geopandas.GeoDataFrame:
        """A ``geopandas.GeoDataFrame``: `to_pandas` with the polygons as geometry, no coordinate reference system.

        Raises
        ------
        ValueError
            If the frame was read without outlines.
        OutputError
            If geopandas is not installed.
        """
        frames = optional("geopandas", "A geo data frame")
        return frames.GeoDataFrame(self.to_pandas(), geometry=self.polygons(), crs=None)


def id_texts(uuid: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Ids as text: (N, 16) uint8, their bytes -> (N,) of dtype S36, hyphenated hexadecimal."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((len(uuid), 36), np.uint8)
    place = 0
    for k in range(16):
        if k in _DASH_AFTER:
            text[:, place] = ord("-")
            place += 1
        text[:, place] = digits[uuid[:, k] >> 4]
        text[:, place + 1] = digits[uuid[:, k] & 15]
        place += 2
    return text.view("S36")[:, 0]


def column_name(measurement: str) -> str:
    """The column of a measurement: "Area um^2" is ``area_um2``, "Share Lymphocyte" is ``share_Lymphocyte``."""
    if measurement.startswith("Share "):
        return f"share_{measurement.removeprefix('Share ')}"
    return measurement.lower().replace("^", "").replace(" ", "_")
