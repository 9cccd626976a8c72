"""What the OME-XML of a TIFF says about its images (OME schema 2016-06)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from wsiparse.slides.metadata import MppClaim, parse_number

__all__ = ["OmeImage", "ome_images"]

#: Microns per OME length unit; "pixel" and "reference frame" have none.
_OME_UNIT_UM: Final[Mapping[str, float]] = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4, "pm": 1e-6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OmeImage:
    """One image.

    Parameters
    ----------
    name : "" without one
    size : (width, height), px
    significant_bits : how many bits of a sample are used; None where it does not say
    claim : PhysicalSizeX and -Y
    objective : nominal magnification, or None
    """

    name: str
    size: tuple[int, int]
    significant_bits: int | None
    claim: MppClaim
    objective: float | None = None


def ome_images(xml: str) -> tuple[OmeImage, ...]:
    """The images of a document, in its order.

    Raises
    ------
    xml.etree.ElementTree.ParseError
        If it is no XML.
    """
    root = ElementTree.fromstring(xml)
    objectives = {e.get("ID", ""): _magnification(e) for e in root.iter() if _tag(e) == "Objective"}
    return tuple(
        _image(element, pixels, objectives)
        for element in root.iter()
        if _tag(element) == "Image"
        for pixels in [next((e for e in element if _tag(e) == "Pixels"), None)]
        if pixels is not None
    )


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _magnification(objective: ElementTree.Element) -> float | None:
    power = parse_number(objective.get("NominalMagnification"))
    return power if power is not None and 0 < power < 1000 else None


def _image(image: ElementTree.Element, pixels: ElementTree.Element, objectives: Mapping[str, float | None]) -> OmeImage:
    """An image names its objective; one that names none has that of the document, where all there are agree."""
    named = next((e.get("ID", "") for e in image if _tag(e) == "ObjectiveSettings"), None)
    powers = set(objectives.values())
    only = powers.pop() if len(powers) == 1 else None
    x, y, bits = (parse_number(pixels.get(name)) for name in ("SizeX", "SizeY", "SignificantBits"))
    return OmeImage(
        (image.get("Name") or "").strip(),
        (int(x or 0), int(y or 0)),
        int(bits) if bits is not None and 1 <= bits <= 32 else None,
        _claim(pixels),
        only if named is None else objectives.get(named),
    )


def _claim(pixels: ElementTree.Element) -> MppClaim:
    """The unit is um unless it says otherwise."""
    found: list[object] = []
    for axis in "XY":
        value, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        micron, number = _OME_UNIT_UM.get(unit), parse_number(value)
        found.append(value if number is None else round(number * micron, 9) if micron else f"{value} {unit}")
    return MppClaim("OME PhysicalSize", *found)
