"""COCO instances: polygons, uncompressed and compressed run lengths, and boxes where there is nothing else.

A segmentation of several polygons is an object of several parts; its parts become objects. Run lengths go down the
columns, first outside (pycocotools, maskApi); the compressed text has five bits a character, least first, and from the
third count on differences to the count two before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import ImportFileError
from wsiparse.imports.found import Classes, Collector, Declared, Found, SourceFile, number_or_nan
from wsiparse.imports.jsonstream import JsonStream
from wsiparse.objects.runs import components
from wsiparse.objects.trace import trace_runs

__all__ = ["CocoReader", "run_counts"]

#: A mask of more pixels is refused: it is the picture of a tile, or no mask.
_MOST_PX: Final = 1 << 28


class CocoReader:
    """Annotations of the one image of a file that is the slide.

    Parameters
    ----------
    source : the file
    name : what error messages call it
    classes : of all files
    slide : stem of the slide's file, which tells its image from others
    """

    def __init__(self, source: SourceFile, name: str, classes: Classes, slide: str) -> None:
        self._source, self._name, self._classes, self._slide = source, name, classes, slide
        self._image: Any = None
        self._seen: set[Any] = set()

    def images(self, images: Any) -> Declared:
        """Choose the image that is the slide; what is known of it.

        Raises
        ------
        ImportFileError
            If there are several and none is called as the slide is.
        """
        listed = [image for image in images if isinstance(image, Mapping)] if isinstance(images, list) else []
        own = [i for i in listed if PurePath(str(i.get("file_name", ""))).stem == self._slide]
        chosen = own if len(own) == 1 else listed
        if len(chosen) > 1:
            raise ImportFileError(
                f"{self._name}: has {len(chosen)} images, and none is called {self._slide}: which of them is the slide "
                "is not known. Give a file of this slide alone."
            )
        if not chosen:
            return Declared()
        self._image = chosen[0].get("id")
        try:
            return Declared(image=(int(chosen[0]["width"]), int(chosen[0]["height"])))
        except (KeyError, TypeError, ValueError):
            return Declared()

    def categories(self, categories: Any) -> None:
        """Learn what numbers of categories stand for."""
        for category in categories if isinstance(categories, list) else ():
            if isinstance(category, Mapping) and str(category.get("name", "")).strip():
                colour = category.get("color")
                listed = colour[:3] if isinstance(colour, list) and all(isinstance(v, int) for v in colour) else []
                text = "#" + "".join(f"{min(max(v, 0), 255):02x}" for v in listed) if len(listed) == 3 else None
                name = " ".join(str(category["name"]).split())
                self._classes.call(f"category {category.get('id')}", name, text)

    def annotations(self, stream: JsonStream) -> Iterator[Found]:
        """The annotations of a list that begins here.

        Raises
        ------
        ImportFileError
            If one is malformed, or they are of several images.
        """
        objects = Collector(self._name)
        for number in stream.elements():
            one = stream.value()
            if not isinstance(one, Mapping):
                raise self._wrong(number, f"a {type(one).__name__} where an annotation should be")
            image = one.get("image_id")
            if self._image is not None and image != self._image:
                self._source.leave("annotations of other images")
                continue
            self._seen.add(image)
            if len(self._seen) > 1:
                raise ImportFileError(
                    f"{self._name}: annotations of several images, and which of them is the slide is not known. Give a "
                    "file of this slide alone."
                )
            kind = self._classes.number(f"category {one.get('category_id')}", "cell")
            self._add(objects, one, number, kind)
            if objects.full:
                yield objects.take()
        yield objects.take()

    def _add(self, objects: Collector, one: Mapping[str, Any], number: int, kind: int) -> None:
        shape, score = one.get("segmentation"), number_or_nan(one.get("score"))
        if isinstance(shape, Mapping):
            for rings in self._mask_rings(shape, number):
                objects.add(rings, kind, score)
        elif isinstance(shape, list) and shape:
            if len(shape) > 1:
                self._source.leave("outlines of several parts, each of which is an object now")
            for flat in shape:
                if not isinstance(flat, list) or len(flat) % 2:
                    raise self._wrong(number, "an outline that is no flat list x, y, x, y, ...")
                objects.add([list(zip(flat[::2], flat[1::2], strict=True))], kind, score)
        elif isinstance(one.get("bbox"), list) and len(one["bbox"]) == 4:
            self._source.leave("boxes instead of outlines")
            try:
                x, y, w, h = (float(v) for v in one["bbox"])
            except (TypeError, ValueError):
                raise self._wrong(number, "a box that is no x, y, width, height") from None
            objects.add([[(x, y), (x + w, y), (x + w, y + h), (x, y + h)]], kind, score)
        else:
            self._source.leave("annotations without an outline")

    def _mask_rings(self, shape: Mapping[str, Any], number: int) -> list[list[Any]]:
        """Rings of each connected part of a mask."""
        try:
            height, width = (int(v) for v in shape["size"])
            counts = run_counts(shape["counts"])
        except (KeyError, TypeError, ValueError, IndexError):
            raise self._wrong(number, "a mask without a size and run lengths") from None
        if not width * height > 0 or int(counts.sum()) != width * height or (len(counts) and counts.min() < 0):
            raise self._wrong(number, f"a mask whose run lengths do not fill {width} x {height} px")
        starts = np.cumsum(counts) - counts
        inside = counts[1::2] > 0
        first, last = starts[1::2][inside], (starts[1::2] + counts[1::2])[inside] - 1
        if not len(first):
            self._source.leave("empty outlines")
            return []
        x0, x1 = int(first.min()) // height, int(last.max()) // height
        one_column = first // height == last // height
        y0 = int((first % height).min()) if one_column.all() else 0
        y1 = int((last % height).max()) if one_column.all() else height - 1
        if (x1 - x0 + 1) * (y1 - y0 + 1) > _MOST_PX:
            raise self._wrong(number, f"a mask of more than {_MOST_PX} px")
        columns = np.zeros((x1 - x0 + 1, y1 - y0 + 1), np.bool_)
        for a, b in zip(first.tolist(), last.tolist(), strict=True):
            while a <= b:  # a run may go on in the next column
                column, y = divmod(a, height)
                stop = min(b, column * height + height - 1)
                columns[column - x0, y - y0 : stop % height - y0 + 1] = True
                a = stop + 1
        return mask_rings(columns.T, (x0, y0))

    def _wrong(self, number: int, what: str) -> ImportFileError:
        return ImportFileError(f"{self._name}: annotation {number + 1} is or has {what}. Export it again.")


def mask_rings(mask: NDArray[np.bool_], origin: tuple[int, int]) -> list[list[Any]]:
    """The rings of each connected part of a mask, shell first, along its pixels.

    Parameters
    ----------
    mask : (h, w) bool
    origin : x, y of its first pixel, px
    """
    coords, rings, polygons = trace_runs(components(np.ascontiguousarray(mask).view(np.uint8), origin))
    return [
        [coords[rings[r] : rings[r + 1]].tolist() for r in range(polygons[k], polygons[k + 1])]
        for k in range(len(polygons) - 1)
    ]


def run_counts(counts: Any) -> NDArray[np.int64]:
    """Run lengths of a list, or of COCO's compressed text, (n,) int64.

    >>> run_counts("52203").tolist()
    [5, 2, 2, 2, 5]
    """
    if not isinstance(counts, str):
        return np.array([int(v) for v in counts], np.int64)
    out: list[int] = []
    at = 0
    while at < len(counts):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(counts[at]) - 48
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            at, shift = at + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        out.append(value + (out[-2] if len(out) > 2 else 0))
    return np.array(out, np.int64)
