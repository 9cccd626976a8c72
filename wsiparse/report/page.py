"""The report as pages: one HTML file a slide, one for the cohort, each complete in itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsiparse.report.picture import Picture

__all__ = ["cohort_page", "slide_page"]


def slide_page(numbers: Mapping[str, Any], pictures: Mapping[str, Picture]) -> str:
    """One slide's report."""
    raise NotImplementedError


def cohort_page(cohort: Mapping[str, Any], pictures: Mapping[str, Picture]) -> str:
    """The report of a results folder."""
    raise NotImplementedError
