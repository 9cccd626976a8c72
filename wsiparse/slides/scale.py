"""Which pixel size a slide is read with, and whether what is said about it fits together.

Scales are wrong in ways that repeat: a resolution per inch taken for one per cm (2.54), mm for cm (10), the pixel size
of another scan beside the objective of this one, a magnification typed as a pixel size. Such a slide is analysed at a
wrong scale without any error, so what contradicts itself slightly is told, and what contradicts itself grossly counts
as if nothing had been said.

A scanner's magnification times its um per px is about 10 (40x: 0.25, 20x: 0.5), by which Aperio, Hamamatsu, Leica,
Philips and Ventana name their scans: their slides lie between 8.6 and 10.4. Others give the magnification of the lens,
and the pixels of the camera (3.45 to 10 um) over it are the um per px, so that 0.23 at 20x is right for 3DHISTECH.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from wsiparse.errors import MissingMppError
from wsiparse.slides.metadata import MAX_MPP, MIN_MPP, Mpp, MppClaim, checked_mpp, pick_mpp

__all__ = ["MAX_GLASS_MM", "GivenMpp", "given_mpp", "settle_mpp", "told_mpp"]

#: Where a pixel size that people give is said to come from.
FILLED: Final = "--slide-mpp, or column mpp"
REPLACED: Final = "--override-mpp, or column override_mpp"

#: Magnifications of objectives that are no pixel size anyone means, and would pass for one.
_MAGNIFICATIONS: Final = frozenset({5.0, 10.0, 20.0, 40.0, 60.0, 63.0, 80.0, 100.0})

#: Two sizes this close (relative) differ by rounding.
_ROUNDING: Final = 0.01
#: Two places of the metadata that differ by more than this (relative) contradict each other.
_AGREE: Final = 0.1

#: Magnification times um per px, by who names it: told outside of the first pair, impossible outside of the second.
_SCANS: Final = frozenset({"aperio", "hamamatsu", "leica", "philips", "ventana"})
_OF_SCANS: Final = ((7.0, 14.0), (4.0, 25.0))
_OF_LENSES: Final = ((3.0, 14.0), (1.2, 35.0))

#: Length over width of a pixel that is told, and that is impossible.
_ODD_PIXEL: Final = 1.25
_IMPOSSIBLE_PIXEL: Final = 4.0

#: The largest glass is 4 x 6 inches (102 x 152 mm); the usual one 26 x 76, a double one 52 x 76. What is larger than
#: any is refused where it is first looked at (`base.overview_frame`).
MAX_GLASS_MM: Final = 160.0
_USUAL_GLASS_MM: Final = (60.0, 80.0)

#: Um per px of nearly all scans, and within them of 40x and 20x.
_USUAL: Final = ((0.09, 0.19), (0.2, 0.37), (0.42, 0.56), (0.85, 1.1))
_COMMON: Final = ((0.22, 0.28), (0.45, 0.55))
_UNITS: Final = ((2.54, "a resolution per cm taken for one per inch"), (10.0, "mm taken for cm"))


@dataclass(frozen=True, slots=True)
class GivenMpp:
    """The pixel size people give, um per level-0 px.

    Parameters
    ----------
    fill : counts where the metadata have none that can be used
    override : counts instead of what the metadata say
    """

    fill: float | None = None
    override: float | None = None


def told_mpp(value: float, name: str) -> float:
    """A pixel size that someone typed.

    Parameters
    ----------
    value : um per px
    name : what it was given to, such as "--slide-mpp"

    Raises
    ------
    MissingMppError
        If it is not between 0.05 and 20, or is a magnification.
    """
    if value in _MAGNIFICATIONS:
        what = name.rpartition(": ")[2]  # without the place in a list
        raise MissingMppError(
            f"{name} {value:g} is a magnification, not a pixel size: {value:g}x is about {10 / value:.2g} um per "
            f"pixel. Give the size of a full-resolution pixel in um, here perhaps {what} {10 / value:.2g}."
        )
    number = checked_mpp(value)
    if number is None:
        raise MissingMppError(
            f"{name} {value} is not between {MIN_MPP:g} and {MAX_MPP:g} um per pixel. "
            "Give the size of a full-resolution pixel, e.g. 0.25 for most 40x and 0.5 for most 20x scans."
        )
    return number


def given_mpp(fill: float | None, override: float | None) -> GivenMpp:
    """What people give, checked as `told_mpp` does.

    Raises
    ------
    MissingMppError
        If a value cannot be a pixel size.
    """
    return GivenMpp(
        None if fill is None else told_mpp(fill, "--slide-mpp"),
        None if override is None else told_mpp(override, "--override-mpp"),
    )


def settle_mpp(
    claims: Sequence[MppClaim],
    given: GivenMpp | None,
    *,
    objective: float | None,
    vendor: str,
    size: tuple[int, int],
) -> Mpp:
    """The pixel size to use: a replacement, else the metadata's, else what fills their gap.

    Parameters
    ----------
    claims : what the metadata say, most trusted first
    given : by people, or None
    objective : nominal magnification, or None
    vendor : scanner family, which decides what `objective` means
    size : (width, height) of level 0, px

    Returns
    -------
    Value and source; `notices` tell what was not used, and what hardly fits. Metadata that contradict themselves by
    more than a scanner can explain count as none.
    """
    given = given or GivenMpp()
    facts = _Facts(objective, vendor, size)
    own = _checked(pick_mpp(claims), facts, claims)
    if given.override is not None:
        value = (given.override, given.override)
        fault, doubts = facts.misfits(value)
        return Mpp(value, REPLACED, (_replacing(given.override, own), *doubts, *((fault,) if fault else ())))
    if given.fill is None:
        return own
    if own.value is None:
        value = (given.fill, given.fill)
        fault, doubts = facts.misfits(value)
        if fault:
            return Mpp(
                None,
                f"{FILLED} = {given.fill:g}: {fault}; if it is right all the same, give it to --override-mpp, or "
                "to the column override_mpp",
            )
        unused = () if own.source.startswith("looked for") else (f"the metadata are not usable: {own.source}.",)
        return Mpp(value, FILLED, (*unused, *doubts))
    if max(abs(v / given.fill - 1) for v in own.value) <= _ROUNDING:
        return own
    notice = (
        f"{given.fill:g} um per px ({FILLED}) is NOT used: the slide's own pixel size is {_size(own.value)} um "
        f"({own.source}). If that is wrong, --override-mpp {given.fill:g} replaces it."
    )
    return replace(own, notices=(notice, *own.notices))


def _replacing(value: float, own: Mpp) -> str:
    if own.value is None:
        return f"{value:g} um per px ({REPLACED}) is used; the metadata have no usable pixel size ({own.source})."
    return (
        f"{value:g} um per px ({REPLACED}) REPLACES the slide's own pixel size of {_size(own.value)} um ({own.source})."
    )


def _checked(own: Mpp, facts: _Facts, claims: Sequence[MppClaim]) -> Mpp:
    """What the metadata say, with its doubts; without value where it is impossible."""
    if own.value is None:
        return own
    fault, doubts = facts.misfits(own.value)
    if fault:
        return Mpp(None, f"{own.source.removeprefix('metadata ')} = {_size(own.value)}: {fault}")
    return replace(own, notices=(*doubts, *_other_claims(own, claims)))


def _other_claims(own: Mpp, claims: Sequence[MppClaim]) -> list[str]:
    """Other places that say another size which might be true."""
    assert own.value is not None, "called with a value"
    told = []
    for claim in claims:
        x, y = checked_mpp(claim.x), checked_mpp(claim.y)
        if x is None or y is None or own.source == f"metadata {claim.source}":
            continue
        if max(abs(x / own.value[0] - 1), abs(y / own.value[1] - 1)) > _AGREE:
            told.append(
                f"the metadata contradict each other: {own.source.removeprefix('metadata ')} = {_size(own.value)}, "
                f"{claim.source} = {_size((x, y))}{_unit(x / own.value[0])}. The first is used; --override-mpp "
                "replaces it."
            )
    return told


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a pixel size is compared with."""

    objective: float | None
    vendor: str
    size: tuple[int, int]

    def misfits(self, mpp: tuple[float, float]) -> tuple[str, tuple[str, ...]]:
        """Why a pixel size is impossible, or "", and sentences about what is only odd."""
        faults, doubts = [], []
        for fault, doubt in (self._axes(mpp), self._magnification(mpp)):
            faults += [fault] if fault else []
            doubts += [doubt] if doubt else []
        doubts += [large] if (large := self._large(mpp)) else []
        if self.objective is None and not faults and (odd := _unusual(mpp)):
            doubts.append(odd)
        return "; ".join(faults), tuple(doubts)

    def _axes(self, mpp: tuple[float, float]) -> tuple[str, str]:
        longer = max(mpp) / min(mpp)
        if longer > _IMPOSSIBLE_PIXEL:
            return f"a pixel would be {longer:.3g} times as long as wide", ""
        odd = f"pixels are not square: {_size(mpp)} um. Compare with the scanner; --override-mpp replaces it."
        return "", odd if longer > _ODD_PIXEL else ""

    def _magnification(self, mpp: tuple[float, float]) -> tuple[str, str]:
        if self.objective is None:
            return "", ""
        mean = math.sqrt(mpp[0] * mpp[1])
        (low, high), (least, most) = _OF_SCANS if self.vendor.lower() in _SCANS else _OF_LENSES
        product = mean * self.objective
        expected = 10 / self.objective
        what = f"{_size(mpp)} um per px does not fit the objective of {self.objective:g}x (about {expected:.2g})"
        what += _unit(mean / expected)
        if not least <= product <= most:
            return what, ""
        if low <= product <= high:
            return "", ""
        return "", f"{what}. Compare with the scanner; --override-mpp {expected:.2g} replaces it."

    def _large(self, mpp: tuple[float, float]) -> str:
        """What to say of a slide between usual glass and the largest there is."""
        sides = sorted(n * m / 1000 for n, m in zip(self.size, mpp, strict=True))
        if sides[1] > MAX_GLASS_MM or (sides[0] <= _USUAL_GLASS_MM[0] and sides[1] <= _USUAL_GLASS_MM[1]):
            return ""
        return (
            f"with pixels of {_size(mpp)} um the slide is {sides[0]:.0f} x {sides[1]:.0f} mm, larger than most glass. "
            "Compare with the scanner; --override-mpp replaces the size."
        )


def _unusual(mpp: tuple[float, float]) -> str:
    """What to say of a size that no scanner has, and would be a common one in another unit; else ""."""
    mean = math.sqrt(mpp[0] * mpp[1])
    if _within(mean, _USUAL):
        return ""
    for factor, what in _UNITS:
        for likely in (mean / factor, mean * factor):
            if _within(likely, _COMMON):
                return (
                    f"{_size(mpp)} um per px is rare, and {likely:.3g}, which is common, is {factor:g} times off: "
                    f"{what}? Compare with the scanner; --override-mpp {likely:.3g} replaces it."
                )
    return ""


def _unit(ratio: float) -> str:
    """The unit mistake that explains a ratio, as the end of a clause, or ""."""
    for factor, what in _UNITS:
        if abs(max(ratio, 1 / ratio) / factor - 1) < 0.1:
            return f", {factor:g} times off: {what}?"
    return ""


def _within(value: float, ranges: Sequence[tuple[float, float]]) -> bool:
    return any(low <= value <= high for low, high in ranges)


def _size(mpp: tuple[float, float]) -> str:
    x, y = (f"{v:.5g}" for v in mpp)
    return x if x == y else f"{x} x {y}"
