"""The pages as documents: what stands in them, and that names stay names."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.report import made
from wsiparse.report.pages.page import cohort_page, slide_page
from wsiparse.report.pages.page_parts import css_string, safe_colour, safe_href
from wsiparse.report.pages.picture import Picture, bar_length_um

NASTY = (
    "<script>window.ran=1</script>",
    "</script><script>window.ran=1</script>",
    "</style><img src=x onerror=window.ran=1>",
    "\"'><svg onload=window.ran=1>",
    "{{ 7 * 7 }}{% raw %}",
    "]]>-->&lt;&#0;",
    "=HYPERLINK(\"https://example.org\",\"x\")",
    "\u202eexe.svs\u2066",
    "n\u0303\U0001f52c\u7d44\u7e54",
    "W" * 400,
    "a b " * 120,
)  # fmt: skip


class Read(HTMLParser):
    """Elements with their attributes, and text, of a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        #: what is not in a script or a style
        self.seen: list[str] = []
        self._tag = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        self._tag = tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._tag not in ("script", "style"):
            self.seen.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def shape(self) -> Counter[tuple[str, tuple[str, ...]]]:
        """How many elements of each kind with each set of attributes."""
        return Counter((tag, tuple(sorted(attributes))) for tag, attributes in self.elements)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def renamed(value: Any, names: dict[str, str], key: str = "") -> Any:
    """The same with other names in place of such strings; keys that are names are so too."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        named = key in ("cluster_factor", "metadata")
        return {names.get(k, k) if named else k: renamed(v, names, k) for k, v in value.items()}
    return [renamed(v, names) for v in value] if isinstance(value, list) else value


EDGES = {
    "whole": made.numbers(),
    "one compartment": made.numbers(compartments=("all tissue",), area=(3.2,)),
    "no tissue": made.numbers(compartments=("all tissue",), area=(0.0,)),
    "no tissue in a compartment": made.numbers(area=(4.0, 0.0, 1.0, 2.0)),
    "almost no tissue": made.numbers(compartments=("all tissue",), area=(1e-5,), classes=made.CLASSES[:1]),
    "one class": made.numbers(classes=made.CLASSES[:1]),
    "regions only": made.numbers(classes=made.CLASSES[4:]),
    "no class": made.numbers(classes=()),
    "no hot-spot": made.numbers(spots=0),
}


@pytest.mark.parametrize("case", list(EDGES))
@pytest.mark.parametrize("pictures", [{}, made.pictures()], ids=["no pictures", "pictures"])
def test_every_case_is_a_page(case: str, pictures: dict[str, Picture]) -> None:
    numbers = EDGES[case]
    page = slide_page(numbers, pictures)
    read = Read(page)
    text = " ".join(read.text)
    assert numbers["slide"]["name"] in text
    assert text.count("Not for diagnosis.") == 3  # on top, at the end, and in the style of printed pages
    assert made.ENGINE in text
    unsaid = re.findall(r"\b(?:None(?! was found)|nan|inf|[Uu]ndefined)\b", " ".join(read.seen))
    assert unsaid == []
    ids = [a["id"] for _, a in read.elements if "id" in a]
    assert len(ids) == len(set(ids))
    anchors = [(a["href"] or "")[1:] for a in read.of("a") if (a.get("href") or "").startswith("#")]
    assert set(anchors) <= set(ids)
    assert [h for h, _ in read.elements if h == "h1"] == ["h1"]


def test_what_is_missing_is_told() -> None:
    def text(numbers: dict[str, Any]) -> str:
        return re.sub(r"\s+", " ", " ".join(Read(slide_page(numbers, {})).text))

    assert "no picture:" in text(EDGES["whole"])
    nothing = text(EDGES["no tissue"])
    assert "no tissue was analysed" in nothing
    assert "not found" in nothing
    assert "None was found, so there is nothing to draw, of: Inflammatory" in nothing
    assert "There is one compartment" in text(EDGES["one compartment"])
    assert "There is no square with any to show" in text(EDGES["no hot-spot"])
    assert "no class was asked for" in text(EDGES["no class"])


def test_a_cohort_lists_what_is_not_done_first() -> None:
    text = re.sub(r"\s+", " ", " ".join(Read(cohort_page(made.cohort(9, failed=3), {})).text))
    assert "3 slides are not done" in text
    assert text.index("not a slide file") < text.index("Analysed tissue")
    assert "not done" not in " ".join(Read(cohort_page(made.cohort(9, failed=0), {})).text)


@pytest.mark.parametrize(
    "cohort",
    [
        made.cohort(0),
        made.cohort(1, failed=1),
        made.cohort(1, failed=0),
        made.cohort(3, failed=1, grouped=False),
        made.cohort(90, classes=made.CLASSES[:1]),
    ],
    ids=["no slide", "one that failed", "one", "no metadata", "ninety"],
)
def test_every_cohort_is_a_page(cohort: dict[str, Any]) -> None:
    page = cohort_page(cohort, made.thumbnails(cohort))
    read = Read(page)
    ids = [a["id"] for _, a in read.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "")[1:] for a in read.of("a") if (a.get("href") or "").startswith("#")} <= set(ids)
    assert not re.findall(r"\b(?:None|nan|inf|[Uu]ndefined)\b", " ".join(read.seen))
    bars = [a for tag, a in read.elements if a.get("class") == "mark bar"]
    ranked = [e for one in cohort["ranking"] for e in one["entries"] if e["density"] is not None]
    assert [(b["data-label"], b["data-value"]) for b in bars] == [(e["slide"], repr(e["density"])) for e in ranked]


def test_the_same_numbers_give_the_same_bytes() -> None:
    numbers, cohort = made.numbers(), made.cohort(6)
    before = copy.deepcopy((numbers, cohort))
    assert slide_page(numbers, made.pictures()) == slide_page(numbers, made.pictures())
    assert cohort_page(cohort, {}) == cohort_page(cohort, {})
    assert (numbers, cohort) == before


def test_the_page_asks_for_nothing_and_runs_its_own_script_only() -> None:
    for page in (slide_page(made.numbers(), made.pictures()), cohort_page(made.cohort(5), {})):
        read = Read(page)
        (policy,) = [a["content"] for a in read.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
        assert policy is not None
        assert "default-src 'none'" in policy
        assert "img-src data:;" in policy
        (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in policy
        assert all(a in ({}, {"type": "application/json"}) for a in read.of("script"))
        assert not [t for t, _ in read.elements if t in ("link", "iframe", "object", "embed", "base", "form", "video")]
        for _, attributes in read.elements:
            assert not [name for name in attributes if name.startswith("on")]
            assert (attributes.get("src") or "data:image/").startswith("data:image/")
        (style,) = re.findall(r"<style>(.*?)</style>", page, re.S)
        assert "url(" not in style
        assert "@import" not in style


def test_the_rows_in_the_page_are_the_rows_given() -> None:
    numbers = made.numbers()
    page = slide_page(numbers, {})
    text, *_ = re.findall(r'<script type="application/json">(.*?)</script>', page, re.S)
    values = json.loads(text)["values"]
    for name in ("n", "density_per_mm2", "density_low", "share_high", "object_area_um2"):
        assert values[name] == [r[name] for r in numbers["rows"]]
    assert [values["class"]["words"][k] for k in values["class"]["at"]] == [r["class"] for r in numbers["rows"]]


SLIDE_NAMES = ("CMU-1.svs", "Inflammatory", "Gland", "margin 0-100 um", made.ENGINE, "aperio.MPP", "neoplastic cells",
               "Gi* over squares of 250 um.", "fewer than 8 blocks of tissue")  # fmt: skip
COHORT_NAMES = ("breast cohort", "slide 000.svs", "slide 003.svs", "Inflammatory", "stroma", "not a slide file", "P001",
                "responder", "patients.csv", "arm", "before", "stain: blue", "slide 999.svs")  # fmt: skip

SLIDE, COHORT = made.numbers(), made.cohort(4, failed=1)
SHAPES = {"slide": Read(slide_page(SLIDE, {})).shape(), "cohort": Read(cohort_page(COHORT, {})).shape()}

names = st.text(min_size=1, max_size=30) | st.sampled_from(NASTY)


def same_elements(page: str, kind: str, given: list[str]) -> None:
    """Names have changed texts and nothing else."""
    read = Read(page)
    shape, expected = read.shape(), SHAPES[kind].copy()
    # a name too long for its chart is told in full to whoever points at it
    del shape["title", ()], expected["title", ()]
    assert shape == expected, {
        k: (shape[k], expected[k]) for k in shape.keys() | expected.keys() if shape[k] != expected[k]
    }
    for name in given:
        assert name in read.seen


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(names, min_size=len(SLIDE_NAMES), max_size=len(SLIDE_NAMES), unique_by=str.strip))
def test_names_of_a_slide_are_text(new: list[str]) -> None:
    given = {old: f"{name}·{k}" for k, (old, name) in enumerate(zip(SLIDE_NAMES, new, strict=True))}
    same_elements(slide_page(renamed(SLIDE, given), {}), "slide", [given["CMU-1.svs"], given["Inflammatory"]])


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(names, min_size=len(COHORT_NAMES), max_size=len(COHORT_NAMES), unique_by=str.strip))
def test_names_of_a_cohort_are_text(new: list[str]) -> None:
    given = {old: f"{name}·{k}" for k, (old, name) in enumerate(zip(COHORT_NAMES, new, strict=True))}
    same_elements(cohort_page(renamed(COHORT, given), {}), "cohort", [given["breast cohort"], given["P001"]])


def test_a_file_name_that_is_no_unicode_is_no_obstacle() -> None:
    page = slide_page(renamed(SLIDE, {"CMU-1.svs": "a\udcff.svs"}), {})
    assert "a?.svs" in page.encode().decode()


@pytest.mark.parametrize(
    "href",
    ["javascript:alert(1)", "JavaScript:alert(1)", "//example.org/x", "/etc/passwd", "https://example.org", "data:,x",
     "a\nb", "\tjavascript:alert(1)", "..", "../x", "a/../../x", "a\\b", 'a"b', "", None, "a b", "a?b", "a#b"],
)  # fmt: skip
def test_addresses_outside_the_folder_are_not_followed(href: str | None) -> None:
    assert safe_href(href) == ""


@pytest.mark.parametrize("href", ["a/report.html", "slide%20001/report.html", "%E7%B5%84/report.html", "a..b/r.html"])
def test_addresses_below_the_folder_are(href: str) -> None:
    assert safe_href(href) == href


def test_a_bad_address_leaves_a_name_without_a_link() -> None:
    cohort = made.cohort(3, failed=0)
    evil = "javascript:window.ran=1"
    cohort = renamed(cohort, {s["href"]: evil for s in cohort["slides"]})
    page = cohort_page(cohort, {})
    assert "javascript:" not in page
    assert "slide 001.svs" in page


@given(st.text(max_size=60))
def test_only_colours_reach_a_style(text: str) -> None:
    assert re.fullmatch("#[0-9a-fA-F]{6}", safe_colour(text))


@given(st.text(max_size=200))
def test_a_css_string_has_no_letter_of_its_text(text: str) -> None:
    got = css_string(text)
    assert re.fullmatch(r'"(\\[0-9a-f]+ )*"', got)
    letters = "".join(chr(int(code, 16)) for code in re.findall(r"\\([0-9a-f]+) ", got))
    flat = " ".join(text.split())
    assert letters == flat or flat.startswith(letters.removesuffix("…"))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"mime": "image/svg+xml"}, "a picture is"),
        ({"data": b"<svg>"}, "are not image/png"),
        ({"width": 0}, "at least one px"),
        ({"um_per_px": 0.0}, "um per px"),
        ({"um_per_px": float("nan")}, "um per px"),
    ],
)
def test_a_picture_checks_itself(change: dict[str, Any], match: str) -> None:
    good: dict[str, Any] = {
        "data": b"\x89PNG\r\n\x1a\n",
        "mime": "image/png",
        "width": 1,
        "height": 1,
        "um_per_px": 1.0,
    }
    assert Picture(**good).uri == "data:image/png;base64,iVBORw0KGgo="
    with pytest.raises(ValueError, match=match):
        Picture(**{**good, **change})


@given(st.floats(1e-2, 1e7))
def test_a_scale_bar_is_round_and_fits(width_um: float) -> None:
    bar = bar_length_um(width_um)
    assert width_um / 12.5 * (1 - 1e-9) <= bar <= width_um / 5
    assert f"{bar:.0e}"[0] in "125"


def test_scale_bars_are_as_long_as_they_say() -> None:
    pictures = made.pictures()
    page = slide_page(made.numbers(), pictures)
    found = re.findall(r'data-um="([\d.]+)" style="width:([\d.]+)%"', page)
    assert len(found) == len(pictures)
    drawn = [*("overview", "compartments"), *(f"density/{k}" for k in range(5)), *(f"spot/{k}" for k in range(1, 9))]
    for (um, percent), key in zip(found, drawn, strict=True):
        picture = pictures[key]
        assert float(percent) / 100 * picture.width * picture.um_per_px == pytest.approx(float(um), rel=1e-4)
