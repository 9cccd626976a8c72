"""Folders that this program wrote: results, exports, viewers, staged copies. Their pictures are no slides.

A folder is known by what is in it, not by where it lies, so that results are never analysed as slides wherever they
were written to, finished or not. Only folders that hold results of one slide are left out, and not what lies beside
them: ``-o .`` puts results among the slides.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from wsiparse.atomic import TEMPORARY

__all__ = ["FOLDER_NAME", "OwnResults"]

#: What a slide's results folder, or its folder in ``export --out``, is called.
FOLDER_NAME: Final = re.compile(r".*__[0-9a-f]{8}")
_IN_SLIDE_FOLDER: Final = (
    "log.txt", "DONE.json", "report.json", "objects.zarr", "report_inputs", "basis", "exports", "labels.ome.zarr",
    "cells.geojson.gz", "regions.geojson.gz", "centroids.geojson.gz",
    "region_centroids.geojson.gz", "cells.part001.geojson.gz",
    "objects.csv", "objects.parquet", "objects.geo.parquet", "objects.h5ad", "objects.coco.json",
    "objects.spatialdata.zarr", "annotations.dcm", "cells.seg.dcm", "regions.seg.dcm",
)  # fmt: skip
#: Files of facts in a folder of a report's inputs, of this version and of older ones, without ".json".
_REPORT_INPUTS: Final = ("report_inputs", "basis")
_VIEWER: Final = "wsiparse-view.json"
_STAGED: Final = "wsiparse-stage_"
_MOST_BYTES: Final = 64 << 20


class OwnResults:
    """Tells which folders are this program's own, and which of them were met."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        self._met: dict[str, None] = {}

    def is_own(self, folder: Path) -> bool:
        """Whether a folder holds results; if so it is remembered as met."""
        key = str(folder)
        if key not in self._known:
            self._known[key] = _is_own(folder)
        if self._known[key]:
            self._met.setdefault(key)
        return self._known[key]

    def holds(self, path: Path) -> bool:
        """Whether a path lies in such a folder, at any depth."""
        return any(self.is_own(parent) for parent in path.absolute().parents)

    def tell(self, say: Callable[[str], object]) -> None:
        """One line for each results folder that was met."""
        roots: Counter[str] = Counter()
        for met in self._met:
            folder = Path(met)
            roots[str(folder.parent.parent if folder.parent.name == "slides" else folder)] += 1
        for root, times in roots.items():
            many = f" ({times} folders)" if times > 1 else ""
            say(f"{root}: results of wsiparse{many}, not searched for slides")


def _is_own(folder: Path) -> bool:
    name = folder.name
    if name.lower().endswith(".zarr"):
        return _tells_wsiparse(folder)
    if name.startswith(_STAGED) or _there(folder / _VIEWER):
        return True
    if any(_there(folder / f"{inputs}.json") for inputs in _REPORT_INPUTS) and _there(folder / "overview.png"):
        return True
    if FOLDER_NAME.fullmatch(name):
        return any(_there(folder / mark) for mark in _IN_SLIDE_FOLDER) or _has_work(folder)
    record = _read(folder / "DONE.json")
    return "digest" in record and "summary" in record


def _there(path: Path) -> bool:
    # unlike Path's, this test is False, not an error, where nobody may look
    return os.path.exists(path)  # noqa: PTH110


def _has_work(folder: Path) -> bool:
    try:
        return any(entry.name.startswith(("work-", TEMPORARY)) for entry in folder.iterdir())
    except OSError:
        return False


def _tells_wsiparse(folder: Path) -> bool:
    """Whether a Zarr hierarchy says that this program wrote it."""
    attributes = _read(folder / "zarr.json").get("attributes")
    return "wsiparse" in (attributes if isinstance(attributes, dict) else _read(folder / ".zattrs"))


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return {}
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
