"""Pixels to what a network sees: channels are sums of tables of bytes, so they depend on a pixel's colour alone."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.card import ModelCard, Stains
from wsiparse.recognize.stain import OD_OF_BYTE, through_lut
from wsiparse.recognize.strength import at_reference, byte_table

__all__ = ["InputMaker", "channel_tables", "channel_values"]

_STAINS: Final = ("hematoxylin", "eosin", "residual")

#: Least difference of two percentiles: a slide of one colour has no contrast to stretch.
_LEAST_SPAN: Final = 1e-6

#: (C, 3, 256) float32 or float64: what every byte of red, green and blue adds to each channel.
Tables = NDArray[np.float32]


def channel_tables(channels: Literal["RGB", "BGR"] | Stains, stains: NDArray[np.float64]) -> Tables:
    """What each byte of red, green and blue adds to each channel, before it is normalised.

    Parameters
    ----------
    channels : of the card
    stains : (2, 3) float64, hematoxylin and eosin, RGB; the residual is perpendicular to both (Ruifrok & Johnston 2001)

    Returns
    -------
    (C, 3, 256) float32; of RGB and BGR the byte itself, in one of the three
    """
    if not isinstance(channels, Stains):
        plain = np.zeros((3, 3, 256), np.float32)
        for k, name in enumerate(channels):
            plain[k, "RGB".index(name)] = np.arange(256)
        return plain
    unit = stains / np.linalg.norm(stains, axis=1, keepdims=True)
    rest = np.cross(unit[0], unit[1])
    amounts = np.linalg.inv(np.vstack([unit, rest / np.linalg.norm(rest)])).T
    weights = [np.full(3, 1 / 3) if name == "density" else amounts[_STAINS.index(name)] for name in channels.stains]
    return (np.array(weights)[:, :, None] * OD_OF_BYTE.astype(np.float64)).astype(np.float32)


def channel_values(rgb: NDArray[np.uint8], tables: Tables) -> NDArray[np.float32]:
    """Values of the channels of pixels.

    Parameters
    ----------
    rgb : (..., 3) uint8
    tables : (C, 3, 256) float32, of `channel_tables`

    Returns
    -------
    (C, ...) float32
    """
    out = np.empty((len(tables), *rgb.shape[:-1]), np.float32)
    for k, table in enumerate(tables):
        used = [c for c in range(3) if table[c].any()]
        if len(used) == 1:
            np.take(table[used[0]], rgb[..., used[0]], out=out[k], mode="clip")
        else:
            out[k] = through_lut(rgb, table)
    return out


class InputMaker:
    """What the network of a card sees of a slide.

    Parameters
    ----------
    card : of the model
    stains : (2, 3) float64, hematoxylin and eosin, RGB
    low, high, strength : of the slide, see `wsiparse.recognize.exported.calibration.SlideFacts`
    """

    def __init__(
        self,
        card: ModelCard,
        stains: NDArray[np.float64],
        low: tuple[float, ...],
        high: tuple[float, ...],
        strength: float | None,
    ) -> None:
        given = card.input
        self._bytes = byte_table(strength)
        self._tables = channel_tables(given.channels, stains)
        self._last = given.layout == "NHWC"
        self._clip = bool(given.normalise.clip)
        away, over = _shift_and_scale(card, low, high)
        self._plain = not isinstance(given.channels, Stains)
        if self._plain:  # exactly one table a channel: normalised once, in double precision
            used = [("RGB".index(name)) for name in str(given.channels)]
            values = (np.arange(256) - away[:, None]) / over[:, None]
            self._tables = np.zeros((3, 3, 256), np.float32)
            for k, c in enumerate(used):
                self._tables[k, c] = values[k]
        else:
            self._away, self._over = away.astype(np.float32), over.astype(np.float32)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One tile, (H, W, 3) uint8 RGB -> (1, C, H, W) float32, or (1, H, W, C)."""
        values = channel_values(at_reference(image, self._bytes), self._tables)
        if not self._plain:
            values -= self._away[:, None, None]
            values /= self._over[:, None, None]
        if self._clip:
            np.clip(values, 0, 1, out=values)
        return np.ascontiguousarray(np.moveaxis(values, 0, -1) if self._last else values)[None]


def _shift_and_scale(
    card: ModelCard, low: tuple[float, ...], high: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(C,) float64 each: what is taken away from a channel's values, and what they are divided by."""
    rule, n = card.input.normalise, card.input.count
    if rule.kind == "scale":
        return np.zeros(n), np.full(n, rule.divide)
    if rule.kind == "mean-std":
        return np.array(rule.mean, np.float64), np.array(rule.std, np.float64)
    away = np.array(low, np.float64)
    return away, np.maximum(np.array(high, np.float64) - away, _LEAST_SPAN)
