"""The words that settings, options and functions choose from, each list once; imports nothing, for quick help texts."""

from __future__ import annotations

from typing import Any, Literal, get_args

__all__ = [
    "ArtefactKind",
    "ArtefactUse",
    "CoordinateUnit",
    "Coords",
    "Device",
    "Division",
    "ExportFormat",
    "ExportKind",
    "Mode",
    "Ngff",
    "ObjectKind",
    "Outline",
    "Precision",
    "Reader",
    "Runtime",
    "Scheduler",
    "ShardBy",
    "words",
]

#: Library that reads a slide.
Reader = Literal["auto", "direct", "tiffslide", "openslide", "image", "zarr"]

#: Arithmetic of a network.
Precision = Literal["auto", "float32", "bf16", "fp16"]

#: Library that computes a network on the processor.
Runtime = Literal["auto", "openvino", "onnxruntime", "torch"]

#: BiomedParse: each prompt alone, or all in one pass.
Mode = Literal["solo", "joint"]

#: Origin of coordinates in files: the slide's bounds, where QuPath has it, or level 0.
Coords = Literal["qupath", "level0"]

#: How a report divides tissue: by the cells found, by the classes of regions, or not at all.
Division = Literal["auto", "roi", "none"]

#: What spoils parts of a slide.
ArtefactKind = Literal["out_of_focus", "ink"]

#: What is done with the parts it spoils: left out of the analysed area, reported only, or not looked for.
ArtefactUse = Literal["exclude", "report", "off"]

#: Version of OME-NGFF.
Ngff = Literal["0.5", "0.4"]

#: Who recognises tiles; or the address of a running Dask scheduler.
Scheduler = Literal["auto", "serial", "threads", "local", "slurm"]

#: Where networks run; "cuda:1" and the like name one of several GPUs.
Device = Literal["auto", "cpu", "cuda", "mps"]

#: What is shared out among the jobs of an array.
ShardBy = Literal["slides", "tiles"]

#: Which objects are exported.
ExportKind = Literal["cell", "region", "both"]

#: What objects of another program are: as its file says, or all of one kind.
ObjectKind = Literal["auto", "cell", "region"]

#: Which outline of a cell is imported where it has two.
Outline = Literal["cell", "nucleus"]

#: Unit of another program's coordinates.
CoordinateUnit = Literal["px", "um"]

#: What `wsiparse export` writes.
ExportFormat = Literal[
    "geojson",
    "centroids",
    "csv",
    "parquet",
    "geoparquet",
    "ome-zarr",
    "anndata",
    "spatialdata",
    "coco",
    "dicom-ann",
    "dicom-seg",
]


def words(choice: Any) -> tuple[str, ...]:
    """The words of one of these types, in their order."""
    return get_args(choice)
