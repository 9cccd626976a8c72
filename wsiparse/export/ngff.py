"""The metadata of OME-Zarr label images as JSON values: NGFF 0.5 (Zarr format 3) and 0.4 (Zarr format 2).

Physical space: microns, its origin at the centre of the slide's first level-0 pixel, where readers put the slide itself
when its own metadata name no translation. A pixel of a coarser grid has its centre further right and down, hence the
translations; cells and regions seen at different scales therefore lie on each other and on the slide.

Source: the OME-Zarr specification 0.5 and 0.4 (ngff.openmicroscopy.org), sections "multiscales", "labels", "omero".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from wsiparse.choices import Ngff
from wsiparse.coords import Frame
from wsiparse.export.raster import level_size
from wsiparse.types import PromptSet

__all__ = [
    "AXES",
    "attributes",
    "image_label",
    "level_count",
    "multiscales",
    "ome_xml",
    "omero",
    "transformations",
]


#: Axes of every array, in order.
AXES: Final = ("y", "x")

_SAMPLING: Final = (
    "Each pixel of level k shows one level-0 pixel: the one right and below the centre of its block of 2^k x 2^k px, "
    "or the last one of the row or column where the canvas ends before it."
)


def level_count(size: tuple[int, int], coarsest: int) -> int:
    """Levels of a pyramid over (width, height) px whose last level is at most `coarsest` px wide and high."""
    count = 1
    while max(level_size(size, count - 1)) > coarsest:
        count += 1
    return count


def transformations(frame: Frame, level: int) -> list[dict[str, Any]]:
    """From array indices (y, x) of a level to microns."""
    scale = [mpp * 2.0**level for mpp in frame.mpp]
    first = [(s - mpp / f) / 2 for s, mpp, f in zip(scale, frame.mpp, frame.downsample, strict=True)]
    return [{"type": "scale", "scale": scale[::-1]}, {"type": "translation", "translation": first[::-1]}]


def multiscales(
    version: Ngff, name: str, frame: Frame, levels: int, facts: Mapping[str, object]
) -> list[dict[str, Any]]:
    """The ``multiscales`` entry of an image whose levels are the arrays "0", "1", ...

    Parameters
    ----------
    version : version of NGFF
    name : name of the image
    frame : frame of level 0
    levels : number of arrays
    facts : kept as its metadata
    """
    entry: dict[str, Any] = {
        "name": name,
        "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in AXES],
        "datasets": [
            {"path": str(level), "coordinateTransformations": transformations(frame, level)} for level in range(levels)
        ],
        "type": "nearest",
        "metadata": {"description": _SAMPLING, **facts},
    }
    return [{"version": version, **entry}] if version == "0.4" else [entry]


def image_label(version: Ngff, prompts: PromptSet | None = None, positions: Sequence[int] = ()) -> dict[str, Any]:
    """The ``image-label`` entry of a label image two folders below its image.

    With `prompts` it is a class map: label value = position in the prompt set + 1, in the prompt's colour.
    """
    entry: dict[str, Any] = {"version": version, "source": {"image": "../../"}}
    if prompts is not None:
        # Background by name: a viewer that is given colours paints what is missing from them as it likes.
        entry["colors"] = [{"label-value": 0, "rgba": [0, 0, 0, 0]}] + [
            {"label-value": k + 1, "rgba": [*prompts[k].rgb, 255]} for k in positions
        ]
        # readers want the label values of colours and properties to be the same
        entry["properties"] = [{"label-value": 0, "class": "background"}] + [
            {"label-value": k + 1, "class": prompts[k].class_name, "prompt": prompts[k].text, "kind": prompts[k].kind}
            for k in positions
        ]
    return entry


def omero(name: str, classes: int) -> dict[str, Any]:
    """How to show a class map as a plain image: black background, the highest class id white."""
    window = {"min": 0, "max": 255, "start": 0, "end": max(1, classes)}
    channel = {"label": name, "color": "FFFFFF", "active": True, "window": window}
    return {"channels": [channel], "rdefs": {"model": "greyscale"}}


def attributes(version: Ngff, **content: object) -> dict[str, Any]:
    """Group attributes: below ``ome`` from version 0.5 on, at the top in 0.4. Underscores stand for hyphens."""
    entries = {name.replace("_", "-"): value for name, value in content.items()}
    return entries if version == "0.4" else {"ome": {"version": version, **entries}}


def ome_xml(name: str, frame: Frame) -> str:
    """OME-XML for the image: Bio-Formats takes the size of a pixel from here, not from the Zarr metadata."""
    (width, height), (mx, my) = frame.size, frame.mpp
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="http://www.openmicroscopy.org/Schemas/OME/2016-06 '
        'http://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd">\n'
        f' <Image ID="Image:0" Name={quoteattr(name)}>\n'
        '  <Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="{width}" SizeY="{height}" SizeZ="1" SizeC="1" SizeT="1" '
        f'PhysicalSizeX="{mx!r}" PhysicalSizeXUnit="µm" PhysicalSizeY="{my!r}" PhysicalSizeYUnit="µm">\n'
        f'   <Channel ID="Channel:0:0" Name={quoteattr(name)} SamplesPerPixel="1"/>\n'
        "   <MetadataOnly/>\n"
        "  </Pixels>\n"
        " </Image>\n"
        "</OME>\n"
    )
