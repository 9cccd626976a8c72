"""What is drawn against what was given."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.report.pages.charts import Bar, Bins, bars, histogram
from wsiparse.report.pages.curves import Curve, Strip, ZRow, cumulative, curves, strips, z_scores

positive = st.floats(0, 1e6).filter(lambda v: v == 0 or v > 1e-3)


def drawn(svg: str) -> tuple[ET.Element, list[ET.Element]]:
    """The chart, and its marks in the order drawn."""
    root = ET.fromstring(svg)
    return root, [e for e in root.iter() if "mark" in e.get("class", "").split()]


def number(mark: ET.Element, name: str) -> float | None:
    text = mark.attrib[f"data-{name}"]
    return float(text) if text else None


def straight(pairs: Sequence[tuple[float, float]], within: float = 0.011) -> None:
    """(value, px) lie on one straight line, up to the rounding of px."""
    pairs = sorted(set(pairs))
    if pairs and pairs[-1][0] > pairs[0][0]:
        (v0, p0), (v1, p1) = pairs[0], pairs[-1]
        for v, p in pairs:
            assert p == pytest.approx(p0 + (v - v0) / (v1 - v0) * (p1 - p0), abs=2 * within)


def checked(svg: str) -> None:
    """What every chart has: a title, a description, ids that only it uses, nothing outside its frame."""
    root = ET.fromstring(svg)
    named = {e.get("id"): e for e in root.iter() if e.get("id")}
    for name in root.attrib["aria-labelledby"].split():
        assert named[name].text
    assert all(name.startswith("key-") for name in named if name)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for e in root.iter():
        for axis, end in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height), ("cy", height)):
            if axis in e.attrib:
                assert -0.01 <= float(e.attrib[axis]) <= end + 0.01, ET.tostring(e)


@st.composite
def some_bars(draw: Any) -> list[Bar]:
    out = []
    for k in range(draw(st.integers(0, 12))):
        value = draw(st.none() | positive)
        low = value * draw(st.floats(0, 1)) if value is not None else None
        high = value * draw(st.floats(1, 3)) if value is not None else None
        known = draw(st.booleans())
        heading = draw(st.sampled_from(["", "first", "second"]))
        label = draw(st.text(max_size=40).filter(str.isprintable))
        out.append(Bar(label, value, low if known else None, high if known else None, k, heading=heading))
    return out


@given(some_bars(), st.booleans())
def test_bars_are_as_long_as_their_values(entries: list[Bar], wide: bool) -> None:
    svg = bars(entries, title="t", label="per mm2", key="key", wide=wide)
    checked(svg)
    _, marks = drawn(svg)
    assert len(marks) == len(entries)
    lengths = []
    for mark, entry in zip(marks, entries, strict=True):
        assert (number(mark, "value"), number(mark, "low"), number(mark, "high")) == (
            entry.value,
            entry.low,
            entry.high,
        )
        assert (mark.attrib["data-label"], mark.attrib["data-n"]) == (entry.label, str(entry.n))
        rects = mark.findall("rect")
        assert len(rects) == (entry.value is not None)
        for rect in rects:
            lengths.append((entry.value or 0.0, float(rect.attrib["width"])))
            start = float(rect.attrib["x"])
            whisker = [e for e in mark if e.get("class") == "whisker"]
            assert len(whisker) == (entry.low is not None)
            if whisker:
                x0, x1 = _ends(whisker[0].attrib["d"])
                lengths += [(entry.low or 0.0, x0 - start), (entry.high or 0.0, x1 - start)]
    if lengths:
        straight([(0.0, 0.0), *lengths])
        assert max(p for _, p in lengths) <= (720 if wide else 440)


def _ends(path: str) -> tuple[float, float]:
    """x of a whisker's ends."""
    found = re.fullmatch(r"M([\d.]+) [\d.]+v8M([\d.]+) [\d.]+H([\d.]+)M([\d.]+) [\d.]+v8", path)
    assert found is not None
    assert found[1] == found[2]
    assert found[3] == found[4]
    return float(found[1]), float(found[3])


def test_charts_can_share_a_scale() -> None:
    def length(top: float | None) -> float:
        _, marks = drawn(bars([Bar("a", 10.0)], title="t", label="l", key="key", top=top))
        return float(marks[0].findall("rect")[0].attrib["width"])

    assert length(100.0) == pytest.approx(length(None) / 10, rel=0.01)


@st.composite
def some_histogram(draw: Any) -> tuple[list[float], list[int], int]:
    k = draw(st.integers(1, 25))
    start, step = draw(st.floats(0, 50)), draw(st.floats(0.01, 50))
    counts = draw(st.lists(st.integers(0, 10**6), min_size=k, max_size=k))
    return [start + i * step for i in range(k + 1)], counts, draw(st.integers(0, 10**6))


@given(some_histogram(), st.none() | st.floats(0, 1))
def test_a_histogram_shows_its_counts(given: tuple[list[float], list[int], int], at: float | None) -> None:
    edges, counts, above = given
    median = None if at is None else edges[0] + at * (edges[-1] - edges[0])
    svg = histogram(Bins(edges, counts, above, median), title="t", label="area", unit="um2", key="key")
    checked(svg)
    _, marks = drawn(svg)
    bins = [m for m in marks if "bin" in m.attrib["class"]]
    assert [number(b, "n") for b in bins] == [*counts, *([above] if above else [])]
    assert [number(b, "low") for b in bins] == [*edges[:-1], *([edges[-1]] if above else [])]
    straight([(0.0, 0.0), *((number(b, "n") or 0.0, float(b.attrib["height"])) for b in bins)])
    straight([(number(b, "low") or 0.0, float(b.attrib["x"])) for b in bins[: len(counts)]])
    lines = [m for m in marks if "median" in m.attrib["class"]]
    inside = median is not None and edges[0] <= median <= edges[-1]
    assert [number(m, "value") for m in lines] == ([median] if inside else [])
    if inside:
        places = [(number(b, "low") or 0.0, float(b.attrib["x"])) for b in bins[: len(counts)]]
        straight([*places, (median or 0.0, float(lines[0].attrib["x1"]))])


def test_bins_of_uneven_width_are_drawn_evenly() -> None:
    _, marks = drawn(histogram(Bins([1, 10, 100, 1000], [3, 2, 1], 0, 10.0), title="t", label="a", key="key"))
    widths = {m.attrib["width"] for m in marks if "bin" in m.attrib["class"]}
    assert len(widths) == 1
    line = next(m for m in marks if "median" in m.attrib["class"])
    assert float(line.attrib["x1"]) == pytest.approx(float(marks[1].attrib["x"]), abs=0.02)


@pytest.mark.parametrize(("edges", "counts"), [([0, 1], [1, 2]), ([0, 1, 1], [1, 2])])
def test_a_histogram_needs_increasing_edges(edges: list[float], counts: list[int]) -> None:
    with pytest.raises(ValueError, match="increasing edges"):
        Bins(edges, counts, 0, None)


values = st.none() | st.floats(-500, 500)


@given(st.lists(st.tuples(values, values), min_size=2, max_size=12))
def test_curves_go_through_their_values(pairs: list[tuple[float | None, float | None]]) -> None:
    x = [10.0 * (k + 1) for k in range(len(pairs))]
    series = [Curve("one", [a for a, _ in pairs]), Curve("two", [b for _, b in pairs])]
    svg = curves(x, series, title="t", x_label="r", y_label="L", key="key")
    checked(svg)
    root, marks = drawn(svg)
    for one in series:
        mine = [m for m in marks if m.attrib["data-series"] == one.label]
        assert [(number(m, "x"), number(m, "value")) for m in mine] == [
            (a, b) for a, b in zip(x, one.y, strict=True) if b is not None
        ]
    circles = [m for m in marks if m.tag == "circle"]
    straight([(number(m, "x") or 0.0, float(m.attrib["cx"])) for m in circles])
    straight([(number(m, "value") or 0.0, float(m.attrib["cy"])) for m in circles])
    # a gap is not drawn over
    runs = sum(len(r) > 1 for one in series for r in _runs(one.y))
    assert len(list(root.iter("polyline"))) == runs + 2


def _runs(values: Sequence[float | None]) -> list[list[float]]:
    out: list[list[float]] = [[]]
    for v in values:
        if v is None:
            out.append([])
        else:
            out[-1].append(v)
    return out


def test_series_differ_without_colour() -> None:
    svg = curves([1, 2], [Curve("a", [1, 2]), Curve("b", [2, 3])], title="t", x_label="x", y_label="y", key="key")
    root, marks = drawn(svg)
    assert {m.attrib["data-series"]: m.tag for m in marks} == {"a": "circle", "b": "rect"}
    assert len({e.attrib["stroke-dasharray"] for e in root.iter("polyline")}) == 2


@given(some_histogram().filter(lambda g: sum(g[1]) + g[2] > 0))
def test_the_cumulative_curve_ends_at_the_share_inside(given: tuple[list[float], list[int], int]) -> None:
    edges, counts, above = given
    total = sum(counts) + above
    at = edges[len(edges) // 2]
    share = sum(counts[: len(edges) // 2]) / total
    svg = cumulative(edges, counts, above, [(at, share)], title="t", x_label="x", y_label="y", key="key")
    checked(svg)
    root, marks = drawn(svg)
    (line,) = root.iter("polyline")
    points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
    bottom, top = points[0][1], 24.0
    assert (bottom - points[-1][1]) / (bottom - top) == pytest.approx(sum(counts) / total, abs=1e-3)
    assert all(a[0] < b[0] and a[1] >= b[1] for a, b in itertools.pairwise(points))
    # the marker lies on the curve
    (mark,) = marks
    assert (number(mark, "x"), number(mark, "value")) == (at, share)
    assert [float(mark.attrib["cx"]), float(mark.attrib["cy"])] == pytest.approx(points[len(edges) // 2], abs=0.02)


@given(st.lists(st.lists(positive, min_size=1, max_size=20), min_size=1, max_size=4))
def test_every_patient_is_a_point(groups: list[list[float]]) -> None:
    given = [
        Strip(f"g{k}", [(f"p{i}", v, i) for i, v in enumerate(vs)], min(vs), sorted(vs)[len(vs) // 2], max(vs))
        for k, vs in enumerate(groups)
    ]
    svg = strips(given, title="t", label="per mm2", key="key")
    checked(svg)
    _, marks = drawn(svg)
    dots = [m for m in marks if "patient" in m.attrib["class"]]
    assert [number(d, "value") for d in dots] == [v for vs in groups for v in vs]
    straight([(number(d, "value") or 0.0, float(d.attrib["cx"])) for d in dots])
    for box, strip in zip([m for m in marks if "box" in m.attrib["class"]], given, strict=True):
        assert [number(box, n) for n in ("low", "value", "high")] == [strip.lower, strip.median, strip.upper]
        x = float(box.attrib["x"])
        straight([(strip.lower or 0.0, x), (strip.upper or 0.0, x + float(box.attrib["width"])),
                  *((number(d, "value") or 0.0, float(d.attrib["cx"])) for d in dots)])  # fmt: skip


@given(st.lists(st.none() | st.floats(-9, 9), min_size=1, max_size=30))
def test_slides_beyond_the_limit_have_another_marker(zs: list[float | None]) -> None:
    svg = z_scores([ZRow("m", [(str(k), z) for k, z in enumerate(zs)])], limit=3.5, title="t", label="z", key="key")
    checked(svg)
    root, marks = drawn(svg)
    known = [z for z in zs if z is not None]
    assert [number(m, "value") for m in marks] == known
    assert [m.tag for m in marks] == ["path" if abs(z) > 3.5 else "circle" for z in known]
    limits = {float(e.attrib["data-value"]): float(e.attrib["x1"]) for e in root.iter() if e.get("class") == "limit"}
    straight(
        [*limits.items(), *((number(m, "value") or 0.0, float(m.attrib["cx"])) for m in marks if m.tag == "circle")]
    )


def test_links_lead_from_labels() -> None:
    root, _ = drawn(bars([Bar("a", 1.0, href="a/report.html")], title="t", label="l", key="key"))
    assert [a.attrib["href"] for a in root.iter("a")] == ["a/report.html"]
    assert root.attrib["role"] == "group"
