"""The report as pages: one HTML file a slide, one for the cohort, each complete in itself. Pure.

Pictures, style and script are inside, and a policy in the page forbids every request and every script but this one (its
SHA-256 is named). Names of slides, classes, files and patients come from outside: they reach the page as escaped text,
as JSON in which no letter means anything to HTML, or as letters of a CSS string that are all numbers. The same input
gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wsiparse.report.pages import words
from wsiparse.report.pages.cohort_parts import BARS, cohort_parts
from wsiparse.report.pages.page_parts import css_string, safe_colour
from wsiparse.report.pages.picture import Picture
from wsiparse.report.pages.slide_parts import slide_parts

__all__ = ["cohort_page", "render_page", "slide_page"]

_SLIDE_SECTIONS = (
    ("answer", "Key figures"),
    ("slide", "Slide"),
    ("counts", "Counts"),
    ("density", "Density"),
    ("immune", "Immune cells"),
    ("distributions", "Distributions"),
    ("uncertainty", "Uncertainty"),
    ("tissue", "Tissue"),
    ("quality", "Quality"),
    ("methods", "Methods"),
    ("settings", "Settings"),
)


def slide_page(numbers: Mapping[str, Any], pictures: Mapping[str, Picture]) -> str:
    """One slide's report.

    Parameters
    ----------
    numbers : the slide's numbers, as written to report.json
    pictures : "overview", "compartments", "density/<k>", "spot/<rank>"; the page says which are missing

    Returns
    -------
    a complete HTML document

    Raises
    ------
    jinja2.UndefinedError, KeyError
        If a number the page needs is not there.
    """
    title = f"{numbers['slide']['name']} \N{EN DASH} wsiparse report"
    return render_page(
        "slide.html", title, _SLIDE_SECTIONS, numbers=numbers, parts=slide_parts(numbers, pictures)
    )  # fmt: skip


def cohort_page(cohort: Mapping[str, Any], pictures: Mapping[str, Picture]) -> str:
    """The report of a results folder.

    Parameters
    ----------
    cohort : slides (failed and missing ones too), rows, ranking, groups and settings; `classes` (name, colour) if there
    pictures : "slide/<folder>", small, for any of the slides

    Returns
    -------
    a complete HTML document

    Raises
    ------
    jinja2.UndefinedError, KeyError
        If a number the page needs is not there.
    """
    parts = cohort_parts(cohort, pictures)
    there = {
        "unfinished": bool(parts["unfinished"]),
        "groups": bool(cohort["metadata"] or cohort["groups"]),
        "metadata": bool(cohort["metadata"]),
        "panel": bool(cohort["panel"]),
    }
    sections = (
        ("unfinished", "Not done"),
        ("answer", "Key figures"),
        ("ranking", "Slides by density"),
        ("counts", "All counts"),
        ("panel", "Panel"),
        ("groups", "Groups"),
        ("studies", "Studies"),
        ("quality", "Quality"),
        ("metadata", "Metadata"),
        ("methods", "Methods"),
        ("settings", "Settings"),
    )
    shown = tuple(pair for pair in sections if there.get(pair[0], True))
    return render_page(
        "cohort.html",
        f"{cohort['results']} \N{EN DASH} wsiparse report",
        shown,
        cohort=cohort,
        parts={**parts, "bars": BARS},
    )


def render_page(name: str, title: str, sections: tuple[tuple[str, str], ...], **values: Any) -> str:
    """A complete document of a template.

    Parameters
    ----------
    name : of the template, which extends base.html
    title : of the page
    sections : anchor and name of each part that the page links to
    values : what the template needs
    """
    style, script = _template_text("style.css"), _template_text("page.js")
    page = _environment().get_template(name).render(
        title=title,
        sections=sections,
        style=Markup(style),
        script=Markup(script),
        script_hash=Markup(_sha256(script)),
        **values,
    )  # fmt: skip
    # a name that is not valid Unicode (a file name can be so) has no UTF-8
    return page.encode("utf-8", "replace").decode("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("wsiparse.report.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        colour=safe_colour,
        count=words.count,
        css_string=css_string,
        interval=words.interval,
        listed=words.listed,
        micro=words.micro,
        p_value=words.p_value,
        plain=words.plain,
        sentence=words.sentence,
        significant=words.significant,
        times=words.times,
    )
    return environment


@cache
def _template_text(name: str) -> str:
    """A file that stands inside an element as it is."""
    text = (files("wsiparse.report.pages") / "templates" / name).read_text("utf-8")
    assert "</" not in text, f"{name} could end the element that holds it"
    return text


def _sha256(text: str) -> str:
    """What a Content-Security-Policy calls an inline script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
