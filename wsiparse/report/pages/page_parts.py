"""What the slide's and the cohort's page have in common: pictures with scale bars, addresses, colours, rows. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from wsiparse.report.pages.picture import Picture, bar_length_um, length_text
from wsiparse.report.pages.svg import INK, add, chart, markup, shortened
from wsiparse.report.pages.table import Column
from wsiparse.report.pages.words import plain, significant

__all__ = [
    "COUNT_FIELDS",
    "ShownPicture",
    "count_columns",
    "css_string",
    "file_stem",
    "ramp_legend",
    "safe_colour",
    "safe_href",
    "setting_facts",
    "shown",
]

#: Columns of a downloaded table of counts, as in the slide's counts.
COUNT_FIELDS: Final = (
    "class",
    "kind",
    "compartment",
    "n",
    "compartment_mm2",
    "density_per_mm2",
    "density_low",
    "density_high",
    "density_note",
    "object_area_um2",
    "mean_area_um2",
    "area_percent",
    "share_percent",
    "share_low",
    "share_high",
    "share_note",
    "verdict",
    "recognition_score",
)

#: What a report's settings are called on its pages, and their units.
_SETTINGS: Final = {
    "compartments": ("compartments asked for", ""),
    "seed": ("seed", ""),
    "block_um": ("blocks of the bootstrap", " µm"),
    "replicates": ("replicates of the bootstrap", ""),
    "level": ("level of intervals", ""),
    "grid_um": ("grid of density and hot-spots", " µm"),
    "false_discovery_rate": ("false discovery rate", ""),
    "threshold_step": ("step of the threshold band", ""),
    "ambiguous_lead": ("least lead of a clear class", ""),
    "margin_um": ("ends of the margin bands", " µm"),
}

#: A colour that is none of ours.
_GREY: Final = "#8a9099"
_RELATIVE: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=@%-][A-Za-z0-9._~!$&'()*+,;=@%/-]*")


def setting_facts(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of the settings that are there, as people call them.

    Parameters
    ----------
    settings : as in report.json; a text where slides differ
    """

    def text(value: Any, unit: str) -> str:
        if isinstance(value, str):
            return value + unit
        values = value if isinstance(value, list | tuple) else [value]
        return ", ".join(map(plain, values)) + unit

    return [(name, text(settings[key], unit)) for key, (name, unit) in _SETTINGS.items() if key in settings]


def safe_colour(text: str) -> str:
    """The colour, if it is one ("#rrggbb"), or else grey: nothing but a colour reaches a style."""
    return text if re.fullmatch(r"#[0-9a-fA-F]{6}", text) else _GREY


def safe_href(text: str | None) -> str:
    """The address, if it is a percent-encoded one below the page's own folder, or else "": no other may be followed."""
    # without a colon there is no scheme; a first letter that is no stroke rules out another host or the root
    return text if text and _RELATIVE.fullmatch(text) and ".." not in text.split("/") else ""


def css_string(text: str) -> Markup:
    """A CSS string in which every letter is a number (CSS Syntax 3, section 4.3.7), so that none can end it."""
    return Markup('"' + "".join(f"\\{ord(letter):x} " for letter in shortened(text, 560)) + '"')


def file_stem(name: str) -> str:
    """A slide's name as the beginning of a file name."""
    return re.sub(r"[^\w.-]+", "_", name)[:80].strip("._") or "slide"


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture on the page.

    Parameters
    ----------
    picture : None if there is none, with the reason in `missing`
    alt : what it shows, for those who do not see it
    bar_um, bar_text, bar_percent : the scale bar's length, in tissue, in words and of the picture's width
    ramp : legend of its colours, or ""
    """

    picture: Picture | None
    alt: str
    missing: str = ""
    bar_um: float = 0.0
    bar_text: str = ""
    bar_percent: str = ""
    ramp: str = ""


def shown(pictures: Mapping[str, Picture], key: str | None, alt: str, *, missing: str, ramp: str = "") -> ShownPicture:
    """A picture of the report, with its scale bar, if it is there.

    Parameters
    ----------
    pictures : those there are
    key : key of the picture wanted; None for none
    alt : what it shows, for those who do not see it
    missing : what is said in its place
    ramp : legend of its colours, or ""
    """
    picture = pictures.get(key) if key is not None else None
    if picture is None:
        return ShownPicture(None, alt, missing)
    bar = bar_length_um(picture.width * picture.um_per_px)
    percent = 100 * bar / (picture.width * picture.um_per_px)
    return ShownPicture(picture, alt, "", bar, length_text(bar, "\u202f"), f"{percent:.3f}", ramp)


def ramp_legend(ramp: Sequence[str], top: float, *, key: str, unit: str = "per mm²") -> Markup:
    """The colours of a density map from 0 to `top`, with numbers under both ends and the middle.

    Parameters
    ----------
    ramp : colours, light to dark
    top : density at the dark end
    key : key of the legend, unique in its page
    unit : unit of the densities
    """
    width, height, bar = 236.0, 34.0, 164.0
    about = f"from light, 0, to dark, {significant(top)} {unit} and more"
    root = chart(width, height, title="colours of the map", about=about, key=key)
    step = bar / max(1, len(ramp))
    for k, colour in enumerate(ramp):
        add(root, "rect", x=2 + k * step, y=2, width=step + 0.5, height=12, fill=safe_colour(colour))
    add(root, "rect", x=2, y=2, width=bar, height=12, fill="none", stroke=INK, stroke_width=0.75)
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "middle")):
        add(root, "text", significant(share * top), x=2 + share * bar, y=28, class_="tick", text_anchor=anchor)
    add(root, "text", unit, x=bar + 10, y=12, class_="tick")
    return markup(root)


def count_columns(rows: Sequence[Mapping[str, Any]], *, slide: bool) -> list[Column]:
    """The columns of a table of counts: those that are empty throughout are left to the download."""
    columns = [
        Column("Class", "class", swatch=True),
        Column("Compartment", "compartment", signs=True),
        Column("Count", "n", "count"),
        Column("Tissue", "compartment_mm2", "number", "mm²"),
        Column("Density", "density_per_mm2", "number", "per mm²"),
        Column("95 % interval", "density_low", "interval", "per mm²", upper="density_high", note="density_note"),
        Column("Share of cells", "share_percent", "number", "%"),
        Column("95 % interval", "share_low", "interval", "%", upper="share_high", note="share_note"),
        Column("Tissue covered", "area_percent", "number", "%"),
        Column("Mean area", "mean_area_um2", "number", "µm²"),
        Column("Verdict", "verdict"),
        Column("Score", "recognition_score", "number"),
    ]
    kept = [c for c in columns if c.key != "recognition_score" or any(r[c.key] is not None for r in rows)]
    return [Column("Slide", "slide", link=True), *kept] if slide else kept
