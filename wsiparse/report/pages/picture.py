"""A picture of a report, encoded, and how much tissue one of its pixels shows. Pure."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Picture", "bar_length_um", "length_text"]

_STARTS: Final = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}


def bar_length_um(width_um: float) -> float:
    """A round scale-bar length (1, 2 or 5 times a power of ten) of at most a fifth of the picture's width."""
    limit = width_um / 5
    power = 10.0 ** math.floor(math.log10(limit))
    return max(step * power for step in (1, 2, 5) if step * power <= limit)


def length_text(um: float, space: str = " ") -> str:
    """A length with its unit.

    >>> length_text(200.0), length_text(1000.0)
    ('200 µm', '1 mm')
    """
    return f"{um / 1000:g}{space}mm" if um >= 1000 else f"{um:g}{space}µm"


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded raster.

    Parameters
    ----------
    data : the file's bytes
    mime : what they are
    width, height : px, >= 1
    um_per_px : um of tissue per px of this picture, > 0

    Raises
    ------
    ValueError
        If the bytes are not of the kind said, or a number is out of range.
    """

    data: bytes
    mime: Literal["image/png", "image/jpeg"]
    width: int
    height: int
    um_per_px: float

    def __post_init__(self) -> None:
        start = _STARTS.get(self.mime)
        if start is None:
            raise ValueError(f"a picture is {' or '.join(_STARTS)}, got {self.mime!r}")
        if not self.data.startswith(start):
            raise ValueError(f"these {len(self.data)} bytes are not {self.mime}: they start with {self.data[:8]!r}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a picture has at least one px, got {self.width} x {self.height}")
        if not (math.isfinite(self.um_per_px) and self.um_per_px > 0):
            raise ValueError(f"um per px must be > 0, got {self.um_per_px}")

    @property
    def uri(self) -> str:
        """The picture as a data: address (RFC 2397)."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"
