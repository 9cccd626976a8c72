"""The nouns: frozen, self-checking values that every part shares. NumPy only.

Arrays are row-major (y, x); points and sizes are x then y; "field px" is a pixel of the frame the network saw
(see `wsiparse.coords`). No function here reads or writes a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame, to_level0

__all__ = [
    "COLUMNS",
    "MAX_PROMPTS",
    "OBJECT_COLUMNS",
    "OD_STEPS",
    "UNKNOWN_HALO",
    "Box",
    "ClassCount",
    "Column",
    "EngineInfo",
    "EngineLimits",
    "ObjectTable",
    "Prompt",
    "PromptKind",
    "PromptSet",
    "Recognition",
    "RecognitionGrid",
    "RecognizerSpec",
    "SlideSummary",
    "SplitSettings",
    "Tile",
    "TileGrid",
    "Unreadable",
]

PromptKind = Literal["cell", "region"]

#: A class id is one byte in the field and 0 is background.
MAX_PROMPTS: Final = 255

#: Steps of a pixel's byte of optical density in the field per OD.
OD_STEPS: Final = 100


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open pixel rectangle [x, x + width) x [y, y + height); may start left of or above the frame.

    Raises
    ------
    ValueError
        If a side is below 1 px.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"box must be at least 1 x 1 px, got {self.width} x {self.height}")

    @property
    def x1(self) -> int:
        """First column right of the box."""
        return self.x + self.width

    @property
    def y1(self) -> int:
        """First row below the box."""
        return self.y + self.height

    def clip(self, size: tuple[int, int]) -> Box | None:
        """The part of the box inside [0, width) x [0, height) of `size`, or None when they do not meet."""
        x0, y0, x1, y1 = max(0, self.x), max(0, self.y), min(size[0], self.x1), min(size[1], self.y1)
        return Box(x0, y0, x1 - x0, y1 - y0) if x0 < x1 and y0 < y1 else None


@dataclass(frozen=True, slots=True)
class Tile:
    """One network input: what it reads and what it owns.

    Parameters
    ----------
    index : position in the grid, row-major
    box : what is read, field px; all tiles of a grid have the same box size, and it may reach past the canvas
    core : the part of the field this tile alone writes, field px, inside both the box and the canvas
    """

    index: int
    box: Box
    core: Box


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Arithmetic of overlapping square tiles whose cores partition a canvas.

    Core k along an axis is [k*stride, (k+1)*stride) cut to the canvas, stride = tile - 2*halo, and its tile reads
    `halo` px more on every side. Origins are therefore multiples of the stride, shifted by the halo: with both
    divisible by the network's own stride every tile sees the same pooling grid.

    Parameters
    ----------
    canvas : (width, height), field px, >= 1
    tile : edge of the square read box, px
    halo : context on each side, px, >= 0; neighbouring tiles overlap by 2*halo

    Raises
    ------
    ValueError
        If a side of the canvas is below 1 px, `halo` is negative, or 2*halo leaves nothing of `tile`.
    """

    canvas: tuple[int, int]
    tile: int
    halo: int

    def __post_init__(self) -> None:
        if min(self.canvas) < 1:
            raise ValueError(f"canvas must be at least 1 x 1 px, got {self.canvas}")
        if self.halo < 0 or self.tile - 2 * self.halo < 1:
            raise ValueError(f"tile {self.tile} px leaves no core inside a halo of {self.halo} px")

    @property
    def stride(self) -> int:
        """Edge of a full core, px."""
        return self.tile - 2 * self.halo

    @property
    def columns(self) -> int:
        """Number of tiles along x."""
        return -(-self.canvas[0] // self.stride)

    @property
    def rows(self) -> int:
        """Number of tiles along y."""
        return -(-self.canvas[1] // self.stride)

    def __len__(self) -> int:
        return self.columns * self.rows

    def __getitem__(self, index: int) -> Tile:
        if not 0 <= index < len(self):
            raise IndexError(f"tile {index} of a grid of {len(self)}")
        row, column = divmod(index, self.columns)
        x, y = column * self.stride, row * self.stride
        core = Box(x, y, min(self.stride, self.canvas[0] - x), min(self.stride, self.canvas[1] - y))
        return Tile(index, Box(x - self.halo, y - self.halo, self.tile, self.tile), core)

    def __iter__(self) -> Iterator[Tile]:
        return (self[i] for i in range(len(self)))


_COLOUR = re.compile(r"^#[0-9a-fA-F]{6}$")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to look for, in words.

    Parameters
    ----------
    text : what the network is asked for, e.g. "inflammatory cells"
    class_name : what outputs call it; no newline, not blank
    colour : "#rrggbb"
    kind : "cell" (split into instances, exclusive per pixel) or "region" (own layer, holes kept, may overlap)
    threshold : probability above which a pixel counts, 0 < threshold < 1
    input_mpp : microns per pixel the network should see, or None for the engine's own scale

    Raises
    ------
    ValueError
        If `text` or `class_name` is blank, `class_name` has several lines, `colour` or `kind` is of another form,
        `threshold` is not between 0 and 1, or `input_mpp` is outside 0.01-20.

    Examples
    --------
    >>> import wsiparse
    >>> wsiparse.Prompt("glandular structure", "Gland", "#00a08a", kind="region").rgb
    (0, 160, 138)
    """

    text: str
    class_name: str
    colour: str = "#808080"
    kind: PromptKind = "cell"
    threshold: float = 0.5
    input_mpp: float | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("a prompt needs words")
        if not self.class_name.strip() or "\n" in self.class_name or "\r" in self.class_name:
            raise ValueError(f"class name {self.class_name!r} must be one line of text")
        if not _COLOUR.match(self.colour):
            raise ValueError(f"colour {self.colour!r} is not of the form #rrggbb")
        if self.kind not in ("cell", "region"):
            raise ValueError(f"kind {self.kind!r} is neither 'cell' nor 'region'")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold} is not between 0 and 1")
        if self.input_mpp is not None and not 0.01 <= self.input_mpp <= 20:
            raise ValueError(f"input_mpp {self.input_mpp} is not between 0.01 and 20")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three bytes."""
        return int(self.colour[1:3], 16), int(self.colour[3:5], 16), int(self.colour[5:7], 16)


@dataclass(frozen=True, slots=True, repr=False)
class PromptSet:
    """Prompts in the order that breaks ties; class id = position + 1, 0 is background. Class names are unique.

    Raises
    ------
    ValueError
        If there are none, more than `MAX_PROMPTS`, or two of the same text or class name.

    Examples
    --------
    >>> import wsiparse
    >>> gland = wsiparse.Prompt("glandular structure", "Gland", kind="region")
    >>> prompts = wsiparse.PromptSet((wsiparse.Prompt("nuclei", "Nucleus"), gland))
    >>> prompts
    PromptSet('nuclei' as 'Nucleus', 'glandular structure' as 'Gland')
    >>> prompts.of_kind("region")
    (1,)
    """

    prompts: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.prompts) <= MAX_PROMPTS:
            raise ValueError(f"between 1 and {MAX_PROMPTS} prompts are needed, got {len(self.prompts)}")
        for what in ("text", "class_name"):
            seen = [getattr(p, what) for p in self.prompts]
            twice = sorted({s for s in seen if seen.count(s) > 1})
            if twice:
                raise ValueError(f"prompt {what} given twice: {', '.join(twice)}")

    def __len__(self) -> int:
        return len(self.prompts)

    def __repr__(self) -> str:
        return f"PromptSet({', '.join(f'{p.text!r} as {p.class_name!r}' for p in self.prompts)})"

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def __getitem__(self, index: int) -> Prompt:
        return self.prompts[index]

    def of_kind(self, kind: PromptKind) -> tuple[int, ...]:
        """Positions of the prompts of one kind, ascending."""
        return tuple(i for i, p in enumerate(self.prompts) if p.kind == kind)


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """How touching cells are told apart and which are kept, in microns so that one setting fits every scale.

    Parameters
    ----------
    landscape : "stored" (flood the recognizer's map), "distance" (component-masked distance transform)
    smoothing_um : sigma-like radius of the component-local smoothing of the distance transform (0 = none)
    persistence : depth a saddle must lie below the lower of two peaks to keep them apart; grey levels (0-255) of a
        stored landscape, microns for "distance"
    relative_persistence : for "distance", the same depth as a share of the lower peak's height
    min_area_um2 : smaller instances are dropped
    min_confidence : instances with a lower mean probability are dropped, 0-1

    Raises
    ------
    ValueError
        If `landscape` is another word, a number is negative, or `min_confidence` is above 1.
    """

    landscape: Literal["stored", "distance"] = "distance"
    smoothing_um: float = 0.2
    persistence: float = 0.1
    relative_persistence: float = 0.08
    min_area_um2: float = 0.0
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        if self.landscape not in ("stored", "distance"):
            raise ValueError(f"landscape {self.landscape!r} is neither 'stored' nor 'distance'")
        if (
            min(self.smoothing_um, self.persistence, self.relative_persistence, self.min_area_um2) < 0
            or not 0 <= self.min_confidence <= 1
        ):
            raise ValueError(f"split settings out of range: {self}")


#: The halo of an engine that does not know its own.
UNKNOWN_HALO: Final = -1


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What a recognizer is and what it needs of its input.

    Parameters
    ----------
    name : of the engine, or of the model
    title : the words every output carries, e.g. "embedded network, not BiomedParse"
    mpp : microns per pixel it wants, or None when each prompt says
    tile_px : default edge of the read box
    halo_px : context that makes a core independent of the tiling; `UNKNOWN_HALO` where it was not measured
    align_px : tile and halo must be multiples of this
    split : how its masks become instances
    weights_sha256 : "" for engines without weights
    card_sha256 : over what a model's card says of how its weights are run; "" for engines without a card
    any_size : it takes pictures of every size whose sides are multiples of `align_px`, so that of a tile only what is
        analysed, and its context, need be recognised
    fixed_tile : it takes tiles of `tile_px` only
    base_bytes : memory of a process before its first tile, measured on a CPU
    bytes_per_px : working memory of one worker per px of a tile, measured on a CPU
    """

    name: str
    title: str
    mpp: float
    tile_px: int
    halo_px: int
    align_px: int
    split: SplitSettings
    weights_sha256: str = ""
    card_sha256: str = ""
    any_size: bool = False
    fixed_tile: bool = False
    base_bytes: int = 300 << 20
    bytes_per_px: int = 100


@dataclass(frozen=True, slots=True)
class RecognizerSpec:
    """Everything a worker needs to build a recognizer; picklable, a few strings.

    Parameters
    ----------
    engine : name of a registered engine, or the folder of a model
    prompts : what to look for
    device : "cpu", "cuda", "cuda:1", "mps"
    precision : "auto" | "float32" | "bf16" | "fp16"
    runtime : "auto" | "openvino" | "torch", resolved with its version, "openvino 2026.4"; "" for engines without one
    weights : file or folder of the engine's weights, "" where it has its own or none
    calibration : what the engine learned from a sample of this slide (see `wsiparse.recognize.base.calibrate`), its
        own numbers; empty for none
    options : of the engine's own (see `wsiparse.recognize.declared.DeclaredEngine.options`), (name, value) each

    Examples
    --------
    >>> import wsiparse
    >>> from wsiparse.recognize.base import load_recognizer
    >>> spec = wsiparse.RecognizerSpec("classical", wsiparse.PromptSet((wsiparse.Prompt("nuclei", "Nucleus"),)))
    >>> load_recognizer(spec)(np.full((1, 64, 64, 3), 240, np.uint8)).probabilities.shape
    (1, 1, 64, 64)
    """

    engine: str
    prompts: PromptSet
    device: str = "cpu"
    precision: str = "auto"
    weights: str = ""
    calibration: tuple[float, ...] = ()
    runtime: str = "auto"
    options: tuple[tuple[str, str | bool], ...] = ()

    def option(self, name: str, otherwise: str | bool) -> str | bool:
        """The value of one of the engine's own options, `otherwise` where it is not given."""
        return dict(self.options).get(name, otherwise)


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What a report must say of an engine's answers on one slide.

    Parameters
    ----------
    classes_by_rule : each object has one class outright, so that its class shares tell nothing of doubt
    nucleus_probability : an object's probability is that of being a nucleus, whatever its class
    stain_strength : see `wsiparse.recognize.strength`; None where it is not known or not asked for
    warnings : sentences about this slide
    sentences : about the engine on any slide
    """

    classes_by_rule: bool = False
    nucleus_probability: bool = False
    stain_strength: float | None = None
    warnings: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a recognizer says about a batch of tiles.

    Parameters
    ----------
    probabilities : (B, P, H, W) float32 in [0, 1], prompt order
    landscape : (B, H, W) uint8, high inside each nucleus and low between neighbours, or None
    statistics : (B, P, 4) float32, what `wsiparse.recognize.score` judges a prompt's presence by, or None

    Raises
    ------
    ValueError
        If `probabilities` has not four axes, or the shape of another array does not match it.
    """

    probabilities: NDArray[np.float32]
    landscape: NDArray[np.uint8] | None = None
    statistics: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.probabilities.ndim != 4:
            raise ValueError(f"probabilities must be (B, P, H, W), got shape {self.probabilities.shape}")
        b, p, h, w = self.probabilities.shape
        if self.landscape is not None and self.landscape.shape != (b, h, w):
            raise ValueError(
                f"landscape {self.landscape.shape} does not match probabilities {self.probabilities.shape}"
            )
        if self.statistics is not None and self.statistics.shape != (b, p, 4):
            raise ValueError(
                f"statistics {self.statistics.shape} do not match probabilities {self.probabilities.shape}"
            )


class Column(NamedTuple):
    """A column of `ObjectTable`.

    Parameters
    ----------
    name : of the field
    dtype : of its values
    per : what it has a row for: an object, a vertex, or (offsets, one row more) a ring or an object
    width : values a row; 0 for a plain number, -1 for as many as there are class shares
    """

    name: str
    dtype: str
    per: Literal["object", "vertex", "ring offset", "object offset"] = "object"
    width: int = 0

    def shape(self, rows: int, rings: int, vertices: int, shares: int) -> tuple[int, ...]:
        """Shape of the column in a table.

        Parameters
        ----------
        rows, rings, vertices : of the table
        shares : class shares of an object
        """
        length = {"object": rows, "vertex": vertices, "ring offset": rings + 1, "object offset": rows + 1}[self.per]
        return (length,) if self.width == 0 else (length, shares if self.width < 0 else self.width)


#: Every column, once: whatever reads, writes, cuts or joins tables goes by this list.
COLUMNS: Final = (
    Column("coords", "<i4", "vertex", 2),
    Column("ring_offsets", "<i8", "ring offset"),
    Column("polygon_offsets", "<i8", "object offset"),
    Column("class_id", "u1"),
    Column("score", "<f4"),
    Column("area_px", "<i8"),
    Column("centroid", "<f8", width=2),
    Column("first_px", "<i4", width=2),
    Column("class_share", "<f4", width=-1),
    Column("mean_od", "<f4"),
    Column("recognition", "<f4"),
)

#: Those with a row an object.
OBJECT_COLUMNS: Final = tuple(column.name for column in COLUMNS if column.per == "object")


@dataclass(frozen=True, slots=True, repr=False)
class ObjectTable:
    """Objects as flat columns, one row an object, polygons as a ragged array (GeoArrow layout).

    Object k owns rings ``polygon_offsets[k]:polygon_offsets[k + 1]``, the first of them its shell, the rest its
    holes; ring r owns ``coords[ring_offsets[r]:ring_offsets[r + 1]]``, closed (last point == first).

    Parameters
    ----------
    coords : (V, 2) int32, x then y, corner coordinates in field px
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64
    class_id : (N,) uint8, position in the prompt set + 1
    score : (N,) float32, mean probability over the object's pixels, 0-1
    area_px : (N,) int64, pixel count == polygon area in field px^2
    centroid : (N, 2) float64, x then y, field px, mean of pixel centres
    first_px : (N, 2) int32, y then x of the first pixel in raster order: the sort key
    class_share : (N, P) float32, summed confidence per cell prompt as a share of the object's total; (N, 0) if unused
    mean_od : (N,) float32, mean optical density of the object's pixels (see `wsiparse.recognize.stain.od_bytes`)
    recognition : (N,) float32, recognition score of the object's class in the tile that owns its first pixel, 0-1

    `mean_od` and `recognition` are NaN where they are not known, and may be left out to say so for all objects.

    Raises
    ------
    ValueError
        If columns disagree on N, or offsets do not end at the length of what they index.

    Examples
    --------
    >>> import wsiparse
    >>> from wsiparse.slides.synthetic import paint_he
    >>> found = wsiparse.recognise(paint_he(256, 256, seed=1).image, 0.5, ["nuclei"], engine="classical")
    >>> large = found.cells.take(np.flatnonzero(found.cells.area_px > 250))
    >>> 0 < len(large) < len(found.cells)
    True
    """

    coords: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    ring_offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    polygon_offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    class_id: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    score: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    area_px: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    centroid: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2), np.float64))
    first_px: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    class_share: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    mean_od: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    recognition: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        n = len(self.class_id)
        for name in ("mean_od", "recognition"):
            if len(getattr(self, name)) == 0 < n:
                object.__setattr__(self, name, np.full(n, np.nan, np.float32))
        rows = {name: len(getattr(self, name)) for name in OBJECT_COLUMNS}
        rows["polygon_offsets"] = len(self.polygon_offsets) - 1
        if any(r != n for r in rows.values()):
            raise ValueError(f"columns disagree on the number of objects: {rows}")
        if int(self.polygon_offsets[-1]) != len(self.ring_offsets) - 1 or int(self.ring_offsets[-1]) != len(
            self.coords
        ):
            raise ValueError("offsets do not end at the length of what they index")

    def __len__(self) -> int:
        return len(self.class_id)

    def __repr__(self) -> str:
        return f"ObjectTable({len(self)} objects, {len(self.coords)} vertices)"

    def ragged(self, frame: Frame) -> tuple[NDArray[np.float64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Coordinates and offsets as ``shapely.from_ragged_array(POLYGON, *table.ragged(frame))`` reads them.

        Returns
        -------
        coordinates : (V, 2) float64, x then y, level-0 px
        offsets : of rings (R + 1,) and polygons (N + 1,), int64
        """
        return to_level0(self.coords, frame), (self.ring_offsets, self.polygon_offsets)

    def take(self, rows: NDArray[np.int64]) -> ObjectTable:
        """The rows of the given numbers, (n,) int64, in the given order, as a new table."""
        rows = np.asarray(rows, dtype=np.int64)
        ring_index, polygon_offsets = _ragged_take(self.polygon_offsets, rows)
        coord_index, ring_offsets = _ragged_take(self.ring_offsets, ring_index)
        return ObjectTable(
            coords=self.coords[coord_index],
            ring_offsets=ring_offsets,
            polygon_offsets=polygon_offsets,
            **{name: getattr(self, name)[rows] for name in OBJECT_COLUMNS},
        )

    def rows(self, start: int, stop: int) -> ObjectTable:
        """Rows [start, stop) as a table; every column but the offsets is a view."""
        if (start, stop) == (0, len(self)):
            return self
        rings = self.polygon_offsets[start : stop + 1]
        vertices = self.ring_offsets[rings[0] : rings[-1] + 1]
        return ObjectTable(
            coords=self.coords[vertices[0] : vertices[-1]],
            ring_offsets=vertices - vertices[0],
            polygon_offsets=rings - rings[0],
            **{name: getattr(self, name)[start:stop] for name in OBJECT_COLUMNS},
        )

    @staticmethod
    def concat(tables: list[ObjectTable]) -> ObjectTable:
        """The rows of all tables, one after the other."""
        tables = [t for t in tables if len(t)] or tables[:1]
        if not tables:
            return ObjectTable()
        if len(tables) == 1:
            return tables[0]
        return ObjectTable(
            coords=np.concatenate([t.coords for t in tables]),
            ring_offsets=_join_offsets([t.ring_offsets for t in tables]),
            polygon_offsets=_join_offsets([t.polygon_offsets for t in tables]),
            **{name: np.concatenate([getattr(t, name) for t in tables]) for name in OBJECT_COLUMNS},
        )

    def raster_order(self) -> NDArray[np.int64]:
        """(N,) int64: row numbers sorted by first pixel (y, then x), ties by class id."""
        return np.lexsort((self.class_id, self.first_px[:, 1], self.first_px[:, 0])).astype(np.int64)


def _join_offsets(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    lengths = [np.diff(p) for p in parts]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths), dtype=np.int64)])


def _ragged_take(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Element indices of the chosen ragged rows, and the offsets of the result."""
    lengths = offsets[rows + 1] - offsets[rows]
    new = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    index = np.arange(int(new[-1]), dtype=np.int64) + np.repeat(offsets[rows] - new[:-1], lengths)
    return index, new


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A tile whose pixels could not be read: its index, its core in field px, and why."""

    index: int
    core: Box
    reason: str


@dataclass(frozen=True, eq=False)
class RecognitionGrid:
    """How sure each tile is that a prompt is there at all.

    Parameters
    ----------
    positions : of the P prompts in the run's prompt set
    grid : the tiles
    statistics : (P, rows, columns, 4) float32, see `wsiparse.recognize.score`; NaN where no tile was read
    scores : (P, rows, columns) float32 in [0, 1]; NaN where no tile was read or a prompt has no score parameters

    Raises
    ------
    ValueError
        If a shape is not that of `positions` and `grid`.
    """

    positions: tuple[int, ...]
    grid: TileGrid
    statistics: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = (len(self.positions), self.grid.rows, self.grid.columns)
        if self.scores.shape != shape or self.statistics.shape != (*shape, 4):
            raise ValueError(f"scores {self.scores.shape} and statistics {self.statistics.shape} are not {shape}")

    def of_objects(self, table: ObjectTable) -> NDArray[np.float32]:
        """(N,) float32: the score of each object's class in the tile that owns the object's first pixel.

        NaN for objects of other classes, whose pixels may be those of another frame.
        """
        place = np.full(MAX_PROMPTS + 1, -1)
        place[np.asarray(self.positions, np.intp) + 1] = np.arange(len(self.positions))
        prompt = place[table.class_id]
        mine = prompt >= 0
        found = np.full(len(table), np.nan, np.float32)
        row, column = (table.first_px[mine] // self.grid.stride).T
        found[mine] = self.scores[prompt[mine], row, column]
        return found

    def median(self, position: int) -> float | None:
        """Median score of a prompt over the tiles where it drew any mask, None without such a tile or a score."""
        k = self.positions.index(position)
        drawn = self.scores[k][(self.statistics[k, ..., 0] > 0) & np.isfinite(self.scores[k])]
        return float(np.median(drawn)) if drawn.size else None


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How much of one class was found.

    Parameters
    ----------
    class_name : as in the prompt set
    kind : "cell" or "region"
    n : objects
    area_um2 : their summed area
    verdict : "found", "not found", "low score" (found, but the masks do not look like the class), or "no cell at all"
        (of any class, on much tissue: no finding)
    recognition : median recognition score of the tiles where a mask was drawn, 0-1; None without score parameters
    """

    class_name: str
    kind: PromptKind
    n: int
    area_um2: float
    verdict: str = ""
    recognition: float | None = None


@dataclass(frozen=True, slots=True)
class SlideSummary:
    """The numbers of one slide.

    Parameters
    ----------
    slide : slide name
    engine : title of the engine, e.g. "embedded network, not BiomedParse"
    analysed_mm2 : tissue (inside the region of interest) whose pixels were read, mm^2
    unreadable_mm2 : tissue left out because its tiles could not be read, mm^2
    counts : one entry per prompt, prompt order
    """

    slide: str
    engine: str
    analysed_mm2: float
    unreadable_mm2: float
    counts: tuple[ClassCount, ...]

    def density(self, n: int) -> float | None:
        """Objects per mm^2 of analysed tissue, None when nothing was analysed."""
        return n / self.analysed_mm2 if self.analysed_mm2 > 0 else None

    @property
    def n_cells(self) -> int:
        """Cells of all classes."""
        return sum(c.n for c in self.counts if c.kind == "cell")
