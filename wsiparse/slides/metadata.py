"""Numbers in slide metadata: which are believable, and what to say about those that are not.

Scanners leave out the pixel size, write 0, write a decimal comma, or leave the 72 dpi of a screen (352.8 um per px) in
the TIFF resolution. A wrong pixel size makes every count per mm2 wrong, so only plausible values are used and
everything that was seen is kept for the error message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = [
    "MAX_MPP",
    "MIN_MPP",
    "Mpp",
    "MppClaim",
    "checked_mpp",
    "imagej_claims",
    "parse_colour",
    "parse_number",
    "pick_mpp",
    "tiff_claim",
]

#: Believable microns per pixel: 0.05 is beyond optical resolution, 20 is below a 1x objective.
MIN_MPP: Final = 0.05
MAX_MPP: Final = 20.0

#: Microns per TIFF ResolutionUnit.
_UNIT_UM: Final[Mapping[str, float]] = {"inch": 25400.0, "centimeter": 10000.0, "millimeter": 1000.0, "micrometer": 1.0}

#: Microns per unit as ImageJ and Fiji write it, escapes undone, lower case.
_IMAGEJ_UM: Final[Mapping[str, float]] = {
    "micron": 1.0, "microns": 1.0, "um": 1.0, "\N{MICRO SIGN}m": 1.0, "\N{GREEK SMALL LETTER MU}m": 1.0,
    "nm": 1e-3, "mm": 1e3, "cm": 1e4, "inch": 25400.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MppClaim:
    """What one place in the metadata says.

    Parameters
    ----------
    source : where it was looked for, e.g. "openslide.mpp-x"
    x, y : the values as found (text or number, um per px), None when absent
    """

    source: str
    x: object
    y: object


@dataclass(frozen=True, slots=True)
class Mpp:
    """The pixel size a slide ends up with.

    Parameters
    ----------
    value : (x, y), um per px, or None
    source : where `value` comes from; without a value, what was looked for and found
    notices : sentences people should read: what was said and is not used, what hardly fits
    """

    value: tuple[float, float] | None
    source: str
    notices: tuple[str, ...] = ()


def parse_number(value: object) -> float | None:
    """A metadata entry as a float, or None; a decimal comma is not a number here because it may group thousands."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def checked_mpp(value: object) -> float | None:
    """Microns per pixel if finite and within 0.05-20, else None."""
    number = parse_number(value)
    return number if number is not None and math.isfinite(number) and MIN_MPP <= number <= MAX_MPP else None


def pick_mpp(claims: Sequence[MppClaim]) -> Mpp:
    """The first claim whose two axes are both believable.

    Parameters
    ----------
    claims : places looked at, most trusted first
    """
    for claim in claims:
        x, y = checked_mpp(claim.x), checked_mpp(claim.y)
        if x is not None and y is not None:
            return Mpp((x, y), f"metadata {claim.source}")
    looked = _listed([c.source for c in claims])
    found = [_found(c) for c in claims if c.x is not None or c.y is not None]
    return Mpp(
        None, f"looked for {looked}; found {'; '.join(found) if found else 'neither' if len(claims) == 2 else 'none'}"
    )


def tiff_claim(x_resolution: object, y_resolution: object, unit: object) -> MppClaim:
    """The TIFF resolution tags (px per unit) as a claim; absent when the unit has no length.

    Parameters
    ----------
    x_resolution, y_resolution : px per unit
    unit : name of the ResolutionUnit, any case
    """
    micron = _UNIT_UM.get(str(unit).lower())

    def mpp(resolution: object) -> object:
        number = parse_number(resolution)
        if number is None or micron is None:
            return None
        return round(micron / number, 6) if number > 0 and math.isfinite(number) else f"{resolution} px per {unit}"

    return MppClaim("the TIFF resolution", mpp(x_resolution), mpp(y_resolution))


def imagej_claims(description: object, x_resolution: object, y_resolution: object) -> list[MppClaim]:
    """What ImageJ says: px per the unit that stands in its description, where the TIFF itself names no unit.

    Parameters
    ----------
    description : the ImageDescription, or None
    x_resolution, y_resolution : px per unit

    Returns
    -------
    One claim, or none if ImageJ did not write the file or names no unit of length.

    >>> imagej_claims("ImageJ=1.53t\\nunit=micron", 2.0, 2.0)
    [MppClaim(source='ImageJ unit', x=0.5, y=0.5)]
    """
    text = str(description or "")
    unit = re.search(r"^unit=(.+?)\s*$", text, re.MULTILINE) if text.startswith("ImageJ=") else None
    micron = _IMAGEJ_UM.get(unit[1].replace("\\u00B5", "\N{MICRO SIGN}").strip().lower()) if unit else None
    numbers = [parse_number(value) for value in (x_resolution, y_resolution)]
    if micron is None or any(n is None or not math.isfinite(n) or n <= 0 for n in numbers):
        return []
    return [MppClaim("ImageJ unit", *(round(micron / n, 6) for n in numbers if n))]


def parse_colour(value: object) -> tuple[int, int, int] | None:
    """A colour written as six hexadecimal digits, with or without '#', or None."""
    text = str(value).removeprefix("#") if value is not None else ""
    try:
        return (int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)) if len(text) == 6 else None
    except ValueError:
        return None


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _found(claim: MppClaim) -> str:
    values = [claim.x] if claim.x == claim.y else [claim.x, claim.y]
    text = " x ".join("nothing" if v is None else f"{v:g}" if isinstance(v, float) else repr(v) for v in values)
    if any(isinstance(v, str) and "," in v for v in values):
        return f"{claim.source} = {text}, written with a comma, which may mean a fraction or thousands"
    if any(parse_number(v) is None for v in values):
        return f"{claim.source} = {text}, which is not a length"
    hint = ", the 72 dpi of a screen" if any(abs((parse_number(v) or 0) - 352.8) < 0.1 for v in values) else ""
    for per, unit in ((1e3, "mm"), (1e6, "m")):
        if all(0.1 <= (parse_number(v) or 0) * per <= 1.1 for v in values):
            hint = f", as if in {unit}"
    return f"{claim.source} = {text}{hint}, outside {MIN_MPP:g}-{MAX_MPP:g}"
