"""Objects as COCO instance annotations, as pycocotools takes them.

A polygon of COCO is one ring, so a hole has to be told otherwise. Where pixels can be counted (whole level-0 px, all
inside an image of fewer than 2^32 px, which is what pycocotools counts to), an object with holes is written as
uncompressed run lengths, down the columns. Elsewhere its holes are joined to its shell by a slit without width, gone
along once in each direction: it adds nothing to the area and fills no pixel under the rules that readers fill by.
Areas and boxes are those of the object in level-0 px, exact; a point of another program has area 0, and what has no
probability has no score.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.export.columnar import half_up
from wsiparse.export.deflate import TextFile
from wsiparse.export.objectframe import ObjectFrame, id_texts
from wsiparse.types import PromptKind, PromptSet

__all__ = ["run_lengths", "write_coco"]

# What is made into text at a time: bounds the memory of the lists.
_SLICE_ROWS: Final = 4096

#: pycocotools counts pixels in 32 bits.
_MOST_PX: Final = 1 << 32

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def run_lengths(rings: Sequence[NDArray[np.int64]], width: int, height: int) -> list[int]:
    """Run lengths of the pixels inside crack rings (even-odd rule), column by column, from the top left, first outside.

    Parameters
    ----------
    rings : (n + 1, 2) int64 each, x then y, px, closed, axis-parallel, inside the image
    width, height : of the image, px

    Returns
    -------
    Lengths that add up to width * height; those at odd places are inside.
    """
    turns = []
    for ring in rings:
        a, b = ring[:-1], ring[1:]
        flat = a[:, 1] == b[:, 1]  # crossing a horizontal edge turns inside out
        low, length = np.minimum(a[flat, 0], b[flat, 0]), np.abs(a[flat, 0] - b[flat, 0])
        before = np.cumsum(length) - length
        columns = np.arange(int(length.sum())) + np.repeat(low - before, length)
        turns.append(columns * height + np.repeat(a[flat, 1], length))
    places, times = np.unique(np.concatenate(turns), return_counts=True)
    # an object that reaches the bottom of a column and the top of the next goes on
    places = places[times % 2 == 1]
    lengths = np.diff(np.concatenate([[0], places, [width * height]]))
    return [int(v) for v in (lengths if lengths[-1] else lengths[:-1])]


def _plain(values: NDArray[np.float64]) -> NDArray[Any]:
    """The same numbers, as int64 if all are whole: they are then written without a point."""
    whole = values.astype(np.int64)
    return whole if np.array_equal(whole, values) else values


def _with_holes(rings: list[NDArray[Any]], size: tuple[int, int]) -> Any:
    """The segmentation of an object of several rings, its shell first."""
    width, height = size
    corners = np.concatenate(rings)
    if corners.dtype.kind == "i" and width * height < _MOST_PX and all(map(_follows_pixels, rings)):
        low, high = corners.min(axis=0), corners.max(axis=0)
        if low.min() >= 0 and high[0] <= width and high[1] <= height:
            return {"size": [height, width], "counts": run_lengths(rings, width, height)}
    slit = rings[0][:1]
    path = np.concatenate([rings[0], *(part for hole in rings[1:] for part in (hole, slit))])
    return [path[:-1].ravel().tolist()]


def _follows_pixels(ring: NDArray[Any]) -> bool:
    """Whether every edge of a closed ring is horizontal or vertical."""
    return bool((np.diff(ring, axis=0) == 0).any(axis=1).all())


def _annotations(frame: ObjectFrame, size: tuple[int, int], first_id: int) -> Iterator[str]:
    """The text of the annotations, a slice of objects at a time, without the brackets around it."""
    shapes = frame.shapes()
    boxes = shapes.bounds()
    boxes[:, 2:] -= boxes[:, :2]
    rings, polygons = shapes.ring_offsets.tolist(), shapes.polygon_offsets.tolist()
    for start in range(0, len(frame), _SLICE_ROWS):
        rows = range(start, min(start + _SLICE_ROWS, len(frame)))
        part = slice(rows.start, rows.stop)
        base = rings[polygons[rows.start]]
        corners = _plain(shapes.coords[base : rings[polygons[rows.stop]]])
        flat = corners.ravel().tolist()
        found = []
        for k, class_id, area, box, score, uuid in zip(
            rows,
            frame.class_id[part].tolist(),
            _plain(np.nan_to_num(frame.area_px[part])).tolist(),
            _plain(boxes[part]).tolist(),
            half_up(frame["detection_probability"][part], 4).tolist(),
            id_texts(frame.uuid[part]).astype("U36").tolist(),
            strict=True,
        ):
            first, last = polygons[k], polygons[k + 1]
            if last - first == 1:  # the closing vertex is not told
                segmentation: Any = [flat[2 * (rings[first] - base) : 2 * (rings[last] - base) - 2]]
            else:
                outline = [corners[rings[r] - base : rings[r + 1] - base] for r in range(first, last)]
                segmentation = _with_holes(outline, size)
            told = {} if math.isnan(score) else {"score": score}
            found.append(
                {
                    "id": first_id + k,
                    "image_id": 1,
                    "category_id": class_id,
                    "segmentation": segmentation,
                    "area": area,
                    "bbox": box,
                    "iscrowd": 0,
                    **told,
                    "uuid": uuid,
                }
            )
        yield _encode(found)[1:-1]


def _categories(prompts: PromptSet, kinds: Sequence[PromptKind]) -> list[dict[str, Any]]:
    return [
        {"id": k + 1, "name": prompt.class_name, "supercategory": prompt.kind, "color": list(prompt.rgb)}
        for k, prompt in enumerate(prompts)
        if prompt.kind in kinds
    ]


def write_coco(
    path: Path,
    frames: Iterable[ObjectFrame],
    *,
    prompts: PromptSet,
    kinds: Sequence[PromptKind],
    image: tuple[str, int, int],
    facts: Mapping[str, Any],
) -> int:
    """Write one COCO file whose only image is the slide, streaming.

    Category ids are class ids; annotation ids count from 1, and ``uuid`` is the object's id in every other format.

    Parameters
    ----------
    path : ``X.json`` or ``X.json.gz``
    frames : objects with outlines
    prompts : classes
    kinds : whose classes become categories
    image : name, width and height, level-0 px, in the frame of the coordinates
    facts : JSON values that go to ``info``

    Returns
    -------
    Number of objects.

    Raises
    ------
    OutputError
        If the folder cannot be written to or the disk is full.
    """
    name, width, height = image
    head: dict[str, Any] = {
        "info": {"description": "objects of one slide, level-0 px", "wsiparse": dict(facts)},
        "licenses": [],
        "images": [
            {"id": 1, "file_name": name, "width": width, "height": height, "slide_id": str(facts.get("slide_id", name))}
        ],
        "categories": _categories(prompts, kinds),
    }
    file = TextFile(path)
    rows, between = 0, b"\n"
    try:
        file.write(f'{_encode(head)[:-1]},"annotations":['.encode())
        for frame in frames:
            for text in _annotations(frame, (width, height), rows + 1):
                file.write(between + text.encode())
                between = b",\n"
            rows += len(frame)
        file.write(b"\n]}\n")
        file.commit(path)
    finally:
        file.discard()
    return rows
