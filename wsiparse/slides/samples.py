"""Stored samples of a TIFF to RGB: which there are that have one certain meaning, and that meaning. Pure.

16-bit colour is scaled by what the file declares (SignificantBits in OME-XML, BitsPerSample, MaxSampleValue), the same
for every pixel; a range is never guessed from a tile. TIFF 6.0 (Adobe, 1992) sections 4 to 6, 16, 18 and 21.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import UnsupportedSlideError
from wsiparse.slides.pyramid import composite

__all__ = ["FULL_16_BIT", "Meaning", "meaning_of", "to_rgb"]

Kind = Literal["rgb", "rgba", "premultiplied", "grey", "inverted grey", "palette"]

FULL_16_BIT: Final = (1 << 16) - 1

_MAX_SAMPLE_VALUE: Final = 281
#: TIFF compressions that decoders turn from YCbCr into RGB themselves: JPEG of several makers.
_OWN_COLOUR: Final = frozenset({6, 7, 33003, 34712, 33005, 34892, 33007})


@dataclass(frozen=True, eq=False, slots=True)
class Meaning:
    """What the samples of a pixel are.

    Parameters
    ----------
    kind : which samples there are
    top : the sample that stands for full brightness
    colours : (n, 3) uint8 of a palette
    """

    kind: Kind
    top: int = 255
    colours: NDArray[np.uint8] | None = None


def meaning_of(page: Any, samples: int, significant_bits: int | None) -> Meaning:
    """The meaning of the samples of a tifffile page.

    Parameters
    ----------
    page : with dtype, photometric and the rest
    samples : per pixel
    significant_bits : what OME-XML says, or None

    Raises
    ------
    UnsupportedSlideError
        If there is none that is certain; the text is the bare reason.
    """
    photometric = getattr(page.photometric, "name", str(page.photometric))
    colour = photometric == "RGB" or (photometric == "YCBCR" and int(page.compression) in _OWN_COLOUR)
    if page.dtype == np.uint16 and colour and samples in (3, 4):
        top = _top(page, significant_bits)
    elif page.dtype == np.uint8:
        top = 255
    else:
        raise UnsupportedSlideError(f"{page.dtype} pixels, only 8-bit RGB and grey and 16-bit RGB are supported")
    if samples == 1 and photometric in ("MINISBLACK", "MINISWHITE"):
        return Meaning("grey" if photometric == "MINISBLACK" else "inverted grey")
    if samples == 1 and photometric == "PALETTE" and page.colormap is not None:
        return Meaning("palette", colours=np.ascontiguousarray((page.colormap >> 8).astype(np.uint8).T))
    if colour and samples in (3, 4):
        extra = [getattr(e, "name", str(e)) for e in page.extrasamples]
        if samples == 3 or "UNSPECIFIED" in extra:
            return Meaning("rgb", top)
        return Meaning("premultiplied" if "ASSOCALPHA" in extra else "rgba", top)
    raise UnsupportedSlideError(
        f"{samples} sample{'s' * (samples > 1)} per pixel, {photometric.lower()}, only RGB is supported"
    )


def _top(page: Any, significant_bits: int | None) -> int:
    """The value of full brightness that a file with 16-bit samples declares."""
    bits = [b for b in (significant_bits, int(page.bitspersample)) if b is not None and 8 <= b < 16]
    if bits:
        return (1 << bits[0]) - 1
    told = page.tags.valueof(_MAX_SAMPLE_VALUE)
    values = set(told) if isinstance(told, tuple) else {told}
    value = values.pop() if len(values) == 1 else None
    return value if isinstance(value, int) and 255 < value < FULL_16_BIT else FULL_16_BIT


def to_rgb(
    pixels: NDArray[np.uint8] | NDArray[np.uint16], meaning: Meaning, background: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """RGB of stored samples.

    Parameters
    ----------
    pixels : (h, w, samples) uint8 or uint16
    meaning : meaning of the samples
    background : (r, g, b) under what is transparent

    Returns
    -------
    (h, w, 3) uint8; 16-bit samples are rounded to nearest
    """
    samples: NDArray[np.uint8]
    if pixels.dtype == np.uint16:
        wide = pixels.astype(np.uint32)
        samples = np.minimum((wide * 255 + meaning.top // 2) // meaning.top, 255).astype(np.uint8)
    else:
        samples = pixels.astype(np.uint8, copy=False)
    if meaning.kind == "rgb":
        return np.ascontiguousarray(samples[:, :, :3])
    if meaning.kind == "rgba":
        return composite(samples, background)
    if meaning.kind == "premultiplied":
        # colour already times alpha: only the background's share is missing
        share = np.array(background, np.uint32) * (255 - samples[:, :, 3:].astype(np.uint32))
        return np.minimum(samples[:, :, :3] + (share + 127) // 255, 255).astype(np.uint8)
    if meaning.kind == "palette":
        assert meaning.colours is not None, "a palette has colours"
        return meaning.colours[samples[:, :, 0]]
    grey = samples if meaning.kind == "grey" else 255 - samples
    return np.repeat(grey, 3, axis=2)
