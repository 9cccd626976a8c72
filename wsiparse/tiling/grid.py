"""Which tiles a slide is cut into, and what that will cost. Pure.

A `TilePlan` is all that workers share: every one of them derives the same tiles, the same kept set and the same
analysed area from it, and its digest names everything that can change a result.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.errors import PlanError
from wsiparse.tiling.area import AnalysisArea
from wsiparse.types import Tile, TileGrid

__all__ = ["FIELD_BYTES_PER_PX", "Estimate", "TilePlan", "TileSize", "estimate", "plan_tiles"]

#: Class, confidence and splitting landscape, a byte each.
FIELD_BYTES_PER_PX: Final = 3

_FORMAT: Final = "wsiparse tile plan 2"


@dataclass(frozen=True, eq=False)
class TilePlan:
    """The tiles of one slide at one scale.

    Parameters
    ----------
    fingerprint : of the slide, sha256 hex
    slide_name : what outputs are called; does not enter the digest
    slide_size : (width, height), level-0 px
    slide_mpp : (x, y), um per level-0 px
    frame : the field's frame
    grid : tiles over the frame; its canvas is the frame's size
    kept : indices of the tiles whose core meets the area's field mask, (n,) int64, ascending
    area : where objects are counted and the field is computed

    Raises
    ------
    ValueError
        If the grid's canvas is not the frame's size, the area is of a slide of another size, or `kept` does not ascend
        within the grid.
    """

    fingerprint: str
    slide_name: str
    slide_size: tuple[int, int]
    slide_mpp: tuple[float, float]
    frame: Frame
    grid: TileGrid
    kept: NDArray[np.int64] = field(repr=False)
    area: AnalysisArea = field(repr=False)

    def __post_init__(self) -> None:
        if self.grid.canvas != self.frame.size:
            raise ValueError(f"grid canvas {self.grid.canvas} is not the frame's size {self.frame.size}")
        if self.area.slide_size != self.slide_size:
            raise ValueError(
                f"the area is for a slide of {self.area.slide_size}, the plan for one of {self.slide_size}"
            )
        if (np.diff(self.kept, prepend=-1, append=len(self.grid)) <= 0).any():
            raise ValueError("kept tiles must be ascending indices into the grid")

    def __len__(self) -> int:
        return len(self.kept)

    def tiles(self) -> list[Tile]:
        """The kept tiles, ascending by index."""
        return [self.grid[int(k)] for k in self.kept]

    @cached_property
    def area_mm2(self) -> float:
        """Area objects are counted in, mm^2."""
        return self.area.area_mm2(self.slide_mpp)

    def digest(self, extra: Mapping[str, object] | None = None) -> str:
        """sha256 hex over everything that shapes the result: slide content, scale, grid, area, and `extra`.

        The slide's name is not part of it, nor is anything about how the work is done.

        Parameters
        ----------
        extra : settings of the caller (engine, weights, prompts, ...), JSON values only

        Raises
        ------
        ValueError
            If `extra` holds something JSON cannot say exactly (NaN, objects).
        """
        shape = {k: v for k, v in self._facts().items() if k != "slide_name"}
        digest = hashlib.sha256(_canonical({**shape, "extra": dict(extra or {})}))
        digest.update(np.packbits(self.area.tissue).tobytes())
        if self.area.cover is not None:
            digest.update(self.area.cover.tobytes())
        if self.area.roi is not None:
            digest.update(_wkb(self.area))
        return digest.hexdigest()

    def to_json(self) -> str:
        """The plan as JSON text; `from_json` gives it back exactly."""
        facts = self._facts()
        facts["area"] |= {
            "tissue": _packed(np.packbits(self.area.tissue)),
            "cover": None if self.area.cover is None else _packed(self.area.cover),
            "roi": None if self.area.roi is None else base64.b64encode(_wkb(self.area)).decode(),
        }
        facts["kept"] = self.kept.tolist()
        return json.dumps(facts, indent=1, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> TilePlan:
        """Read what `to_json` wrote.

        Raises
        ------
        PlanError
            If the text is not a plan of this version or is damaged.
        """
        try:
            facts = json.loads(text)
            if facts["format"] != _FORMAT:
                raise PlanError(
                    f"a plan of format {facts['format']!r} cannot be read, this version writes {_FORMAT!r}. Plan again."
                )
            frame, area = _frame(facts["frame"]), facts["area"]
            overview = _frame(area["overview"])
            cells = overview.size[0] * overview.size[1]
            cover = None if area["cover"] is None else _unpacked(area["cover"]).reshape(overview.size[::-1])
            return TilePlan(
                fingerprint=facts["fingerprint"],
                slide_name=facts["slide_name"],
                slide_size=_pair(facts["slide_size"], int),
                slide_mpp=_pair(facts["slide_mpp"], float),
                frame=frame,
                grid=TileGrid(frame.size, facts["tile_px"], facts["halo_px"]),
                kept=np.array(facts["kept"], np.int64),
                area=AnalysisArea(
                    slide_size=_pair(facts["slide_size"], int),
                    overview=overview,
                    tissue=np.unpackbits(_unpacked(area["tissue"]), count=cells)
                    .astype(np.bool_)
                    .reshape(overview.size[::-1]),
                    roi=None if area["roi"] is None else shapely.from_wkb(base64.b64decode(area["roi"])),
                    margin_um=area["margin_um"],
                    cover=cover,
                ),
            )
        except (KeyError, TypeError, ValueError, zlib.error, shapely.errors.ShapelyError) as error:
            raise PlanError(f"the stored plan is damaged ({type(error).__name__}: {error}). Plan again.") from error

    def _facts(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "slide_name": self.slide_name,
            "slide_size": list(self.slide_size),
            "slide_mpp": list(self.slide_mpp),
            "frame": _frame_facts(self.frame),
            "tile_px": self.grid.tile,
            "halo_px": self.grid.halo,
            "area": {"overview": _frame_facts(self.area.overview), "margin_um": self.area.margin_um},
        }


@dataclass(frozen=True, slots=True)
class TileSize:
    """Edges of the tiles that a network sees.

    Parameters
    ----------
    tile_px : edge of the square read box, field px
    halo_px : context on each side, field px
    align_px : tile and halo must be multiples of this, so that every tile sees the network's own grid

    Raises
    ------
    ValueError
        If `align_px` < 1.
    PlanError
        If the overlap leaves no core, or a size is not a multiple of `align_px`.
    """

    tile_px: int
    halo_px: int
    align_px: int

    def __post_init__(self) -> None:
        if self.align_px < 1:
            raise ValueError(f"align must be >= 1 px, got {self.align_px}")
        _check_sizes(self.tile_px, self.halo_px, self.align_px)


def plan_tiles(
    *,
    fingerprint: str,
    slide_name: str,
    slide_size: tuple[int, int],
    slide_mpp: tuple[float, float],
    frame: Frame,
    tiles: TileSize,
    area: AnalysisArea,
) -> TilePlan:
    """Cut a frame into tiles and keep those whose core has something to compute.

    Neighbouring tiles overlap by ``2 * tiles.halo_px``. Nothing to compute is an empty plan, not an error.

    Parameters
    ----------
    fingerprint, slide_name, slide_size, slide_mpp : facts of the slide
    frame : the field's frame
    tiles : their size
    area : where to compute
    """
    grid = TileGrid(frame.size, tiles.tile_px, tiles.halo_px)
    kept = np.array([tile.index for tile in grid if area.meets(tile.core, frame)], np.int64)
    return TilePlan(fingerprint, slide_name, slide_size, slide_mpp, frame, grid, kept, area)


def _check_sizes(tile_px: int, halo_px: int, align_px: int) -> None:
    if halo_px < 0:
        raise PlanError(f"overlap {2 * halo_px} px is negative: give 0 or more.")
    if tile_px < 1:
        raise PlanError(f"tile size {tile_px} px is not positive: give {max(512, align_px)}, say.")
    if tile_px % align_px:
        nearest = max(align_px, _nearest(tile_px, align_px))
        raise PlanError(f"tile size {tile_px} px is not a multiple of {align_px}: the nearest is {nearest}.")
    if halo_px % align_px:
        # people set the overlap, which is two halos
        nearest = 2 * _nearest(halo_px, align_px)
        raise PlanError(f"overlap {2 * halo_px} px is not a multiple of {2 * align_px}: the nearest is {nearest}.")
    if 2 * halo_px >= tile_px:
        largest = (tile_px - 1) // (2 * align_px) * 2 * align_px
        smallest = 2 * halo_px + align_px
        raise PlanError(
            f"overlap {2 * halo_px} px leaves nothing of a tile of {tile_px} px: "
            f"the largest overlap for it is {largest}, the smallest tile for this overlap {smallest}."
        )


def _nearest(value: int, step: int) -> int:
    return (value + step // 2) // step * step


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan will cost.

    Parameters
    ----------
    tiles : how many tiles the recognizer sees
    tile_mpx : pixels the recognizer sees, megapixels
    mm2 : analysed area
    disk_bytes : upper bound of the field on disk
    memory_bytes : peak memory of one process
    """

    tiles: int
    tile_mpx: float
    mm2: float
    disk_bytes: int
    memory_bytes: int


def estimate(
    plan: TilePlan,
    *,
    prompts: int,
    batch: int = 1,
    workers: int = 1,
    queue: int = 4,
    activation_bytes_per_px: int = 0,
    base_bytes: int = 400 << 20,
) -> Estimate:
    """Size of a job before it starts.

    disk = 3 bytes (class, confidence, landscape) for each pixel of the kept cores; stored compressed, so a bound.
    memory = base + queue * tile^2 * 3 + workers * batch * tile^2 * (3 + 4 * prompts + activation) with
    tile^2 in px: waiting RGB tiles, then per worker its input, float32 probabilities and network activations.

    Parameters
    ----------
    plan : what is to be done
    prompts : number of probability maps per tile
    batch : tiles recognized at once by a worker
    workers : recognizers in one process
    queue : tiles read ahead
    activation_bytes_per_px : of the network, per input pixel
    base_bytes : interpreter, libraries and weights
    """
    tile = plan.grid.tile**2
    core = sum(t.core.width * t.core.height for t in plan.tiles())
    per_worker = batch * tile * (3 + 4 * prompts + activation_bytes_per_px)
    return Estimate(
        tiles=len(plan),
        tile_mpx=len(plan) * tile / 1e6,
        mm2=plan.area_mm2,
        disk_bytes=FIELD_BYTES_PER_PX * core,
        memory_bytes=base_bytes + queue * tile * 3 + workers * per_worker,
    )


def _canonical(value: object) -> bytes:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except TypeError as error:
        raise ValueError(f"settings of a plan must be JSON values: {error}") from error


def _packed(plane: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(plane.tobytes(), 6)).decode()


def _unpacked(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def _wkb(area: AnalysisArea) -> bytes:
    return bytes(shapely.to_wkb(area.roi, output_dimension=2, byte_order=1) or b"")


def _frame_facts(frame: Frame) -> dict[str, list[float]]:
    return {"size": list(frame.size), "downsample": list(frame.downsample), "mpp": list(frame.mpp)}


def _frame(facts: Mapping[str, Any]) -> Frame:
    return Frame(_pair(facts["size"], int), _pair(facts["downsample"], float), _pair(facts["mpp"], float))


def _pair(values: Any, kind: type[Any]) -> tuple[Any, Any]:
    x, y = values
    return kind(x), kind(y)
