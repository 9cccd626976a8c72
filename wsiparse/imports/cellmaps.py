"""JSON of programs that find nuclei, in forms of their own: CellViT, HoVer-Net and StarDist.

CellViT    {"type_map": {"1": "Neoplastic", ...}, "cells": [{"contour": [[x, y], ...], "centroid": [x, y], "type": 1,
           "type_prob": 0.9}, ...]}; without a contour, as in cell_detection.json, a cell is a point.
HoVer-Net  {"nuc": {"1": {"contour": [[x, y], ...], "type": 2, "type_prob": 0.8}, ...}}.
StarDist   {"coord": [[[y, ...], [x, ...]], ...], "points": [[y, x], ...], "prob": [...]}: details of a prediction.

Classes are numbers where a file does not name them: "type 2".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wsiparse.errors import ImportFileError
from wsiparse.imports.found import Classes, Collector, Found, SourceFile, number_or_nan
from wsiparse.imports.jsonstream import JsonStream

__all__ = ["call_types", "cell_list", "nucleus_map", "star_lists"]


def cell_list(stream: JsonStream, source: SourceFile, classes: Classes) -> Iterator[Found]:
    """The cells of a list that begins here (CellViT)."""
    cells = Collector(stream.source)
    for number in stream.elements():
        _add(cells, stream.value(), number, source, classes)
        if cells.full:
            yield cells.take()
    yield cells.take()


def nucleus_map(stream: JsonStream, source: SourceFile, classes: Classes) -> Iterator[Found]:
    """The nuclei of an object that begins here (HoVer-Net)."""
    nuclei = Collector(stream.source)
    for number, _ in enumerate(stream.members()):
        _add(nuclei, stream.value(), number, source, classes)
        if nuclei.full:
            yield nuclei.take()
    yield nuclei.take()


def call_types(classes: Classes, types: Any) -> None:
    """What numbers of types stand for, from a file's own list, {"1": "Neoplastic", ...}."""
    if isinstance(types, Mapping):
        for number, name in types.items():
            if isinstance(name, list) and name:
                name = name[0]
            if isinstance(name, str) and name.strip():
                classes.call(f"type {number}", " ".join(name.split()))


def star_lists(stream: JsonStream, outlines: list[Any], scores: list[Any], classes: Classes) -> Iterator[Found]:
    """Star-convex outlines, rows before columns (StarDist).

    Raises
    ------
    ImportFileError
        If one is no pair of lists.
    """
    stars, number = Collector(stream.source), classes.number("", "cell")
    for k, outline in enumerate(outlines):
        try:
            y, x = outline
            ring = [[a, b] for a, b in zip(x, y, strict=True)]
        except (TypeError, ValueError):
            raise _wrong(stream.source, k, "an outline that is no pair of lists, of y and of x") from None
        stars.add([ring], number, number_or_nan(scores[k]) if k < len(scores) else float("nan"))
        if stars.full:
            yield stars.take()
    yield stars.take()


def _add(cells: Collector, cell: Any, number: int, source: SourceFile, classes: Classes) -> None:
    if not isinstance(cell, Mapping):
        raise _wrong(cells.source, number, f"a {type(cell).__name__} where a cell should be")
    ring = cell.get("contour") or ([cell["centroid"]] if cell.get("centroid") else None)
    if not isinstance(ring, list):
        source.leave("cells without an outline or a centroid")
        return
    kind = cell.get("type")
    name = "" if kind is None else kind if isinstance(kind, str) else f"type {kind}"
    score = number_or_nan(cell.get("type_prob", cell.get("prob")))
    cells.add([ring], classes.number(" ".join(name.split()), "cell"), score)


def _wrong(source: str, number: int, what: str) -> ImportFileError:
    return ImportFileError(f"{source}: cell {number + 1} is {what}. Export it again, or give another file.")
