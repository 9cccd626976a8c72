"""Small OME-Zarr images, written by hand: whatever the specification allows, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import zarr

from tests.fixtures_slides import RGB, halved

_FORMAT: Final[dict[str, Literal[2, 3]]] = {"0.4": 2, "0.5": 3}


def write_ome_zarr(
    path: Path,
    array: RGB,
    *,
    version: str = "0.5",
    axes: str = "cyx",
    mpp: tuple[float, float] = (0.5, 0.25),
    unit: str | None = "micrometer",
    steps: Sequence[int] = (1, 2),
    chunk: int = 64,
    shared_scale: float = 1.0,
    group: str = "",
    **options: Any,
) -> Path:
    """Write (H, W, 3) uint8 as a multiscale image.

    Parameters
    ----------
    axes : of the arrays; those other than c, y and x have length 1
    mpp : (x, y), in `unit`
    shared_scale : part of the scale that is said for all levels together
    group : "0" for the layout of bioformats2raw
    options : of the arrays
    """
    top = path / group
    for k, step in enumerate(steps):
        level = array if step == 1 else halved(array, step)
        shape = {"y": level.shape[0], "x": level.shape[1], "c": level.shape[2]}
        kept = [axis for axis in axes if axis in shape]
        data = level.transpose(["yxc".index(axis) for axis in kept])
        full = data.reshape([shape.get(axis, 1) for axis in axes])
        chunks = tuple(min(chunk, n) if axis in "yx" else 1 for axis, n in zip(axes, full.shape, strict=True))
        made = zarr.create_array(
            top / str(k), shape=full.shape, dtype=full.dtype, chunks=chunks, zarr_format=_FORMAT[version], **options
        )
        made[:] = full
    scale = {"x": mpp[0] / shared_scale, "y": mpp[1] / shared_scale}
    space = {"type": "space"} | ({"unit": unit} if unit else {})
    entry: dict[str, Any] = {
        "axes": [{"name": a, **({"type": "channel"} if a == "c" else space)} for a in axes],
        "datasets": [
            {"path": str(k), "coordinateTransformations": [_scale([scale.get(a, 1) * s ** (a in "xy") for a in axes])]}
            for k, s in enumerate(steps)
        ],
    }
    if shared_scale != 1:
        entry["coordinateTransformations"] = [_scale([shared_scale if a in "xy" else 1.0 for a in axes])]
    write_attributes(top, {"multiscales": [{"version": "0.4", **entry} if version == "0.4" else entry]}, version)
    if group:
        write_attributes(path, {"bioformats2raw.layout": 3}, version)
    return path


def _scale(values: list[float]) -> dict[str, Any]:
    return {"type": "scale", "scale": values}


def write_attributes(folder: Path, ome: dict[str, Any], version: str = "0.5") -> None:
    """The group metadata of a folder."""
    if version == "0.4":
        (folder / ".zgroup").write_text('{"zarr_format": 2}', encoding="ascii")
        (folder / ".zattrs").write_text(json.dumps(ome), encoding="utf-8")
        return
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **ome}}}
    (folder / "zarr.json").write_text(json.dumps(group), encoding="utf-8")
