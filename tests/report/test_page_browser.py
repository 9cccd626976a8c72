"""The report's pages in headless Chromium; WSIPARSE_SCREENSHOTS=FOLDER keeps what it saw."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import Browser, missing
from tests.report import made
from tests.report.test_page import EDGES, NASTY, SLIDE_NAMES, renamed
from wsiparse.names import safe_cell
from wsiparse.report.pages.page import cohort_page, slide_page
from wsiparse.report.pages.page_parts import COUNT_FIELDS
from wsiparse.report.pages.words import NOTHING, interval, micro, significant

ENTER, TAB, SPACE = "\ue007", "\ue004", " "
LINE = "Research use only. Not for diagnosis."
HEADS = "#counts-table thead th"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if why := missing():
        pytest.skip(why)
    with Browser() as started:
        yield started


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Callable[..., str]:
    """Opens a page from a file, and gives the file's address."""

    def opened(page: str, size: tuple[int, int] = (1280, 900)) -> str:
        file = tmp_path / "report.html"
        file.write_text(page, "utf-8")
        browser.open(file.as_uri(), size)
        return file.as_uri()

    return opened


def column(browser: Browser, k: int, table: str = "counts-table") -> list[str]:
    """The texts of a column, top to bottom."""
    found: list[str] = browser.js(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
        ".map((row) => row.children[arguments[1]].textContent)",
        table,
        k,
    )
    return found


def sort_by(browser: Browser, k: int) -> str:
    """Click on a head; returns what it says of its order."""
    browser.click(f"{HEADS}:nth-child({k + 1}) button")
    said: str = browser.js(
        "return document.querySelectorAll(arguments[0])[arguments[1]].getAttribute('aria-sort')", HEADS, k
    )
    return said


def choose(browser: Browser, selector: str, value: str) -> None:
    browser.js(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', { bubbles: true }));",
        selector,
        value,
    )
    browser.settle()


PAGES = {"slide": slide_page(made.numbers(), made.pictures()), "cohort": cohort_page(made.cohort(24), {})}


@pytest.mark.parametrize("kind", list(PAGES))
def test_a_page_is_its_own_and_only_request(browser: Browser, show: Callable[..., str], kind: str) -> None:
    url = show(PAGES[kind])
    browser.whole(f"report-{kind}-1280")
    assert browser.said() == []
    asked = browser.requested()
    assert asked.count(url) == 1
    # pictures inside the page count as requests there; no other does
    assert all(one == url or one.startswith("data:image/") for one in asked)


@pytest.mark.parametrize("width", [400, 800, 1280])
@pytest.mark.parametrize("kind", list(PAGES))
def test_nothing_leaves_the_page_at_its_side(browser: Browser, show: Callable[..., str], kind: str, width: int) -> None:
    show(PAGES[kind], (width, 900))
    browser.whole(f"report-{kind}-{width}")
    assert browser.js("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
    # nor is anything cut off: texts end inside the page, or inside something that scrolls
    outside = browser.js(
        "return [...document.querySelectorAll('body *')].filter((e) => e.getClientRects().length"
        " && !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 0.5)"
        ".map((e) => e.outerHTML.slice(0, 90))"
    )
    assert outside == []


@pytest.mark.parametrize("case", list(EDGES))
def test_edge_cases_open(browser: Browser, show: Callable[..., str], case: str) -> None:
    show(slide_page(EDGES[case], {}), (400, 900))
    browser.whole(f"report-{case.replace(' ', '-')}")
    assert browser.said() == []
    assert browser.js("return document.documentElement.scrollWidth") == 400


def test_a_click_on_a_head_sorts_by_number_and_another_reverses(browser: Browser, show: Callable[..., str]) -> None:
    numbers = made.numbers()
    show(slide_page(numbers, {}))
    for k, key in ((2, "n"), (3, "compartment_mm2"), (4, "density_per_mm2"), (6, "share_percent")):
        known = sorted(r[key] for r in numbers["rows"] if r[key] is not None)
        unknown = [NOTHING] * sum(r[key] is None for r in numbers["rows"])
        text = significant if key != "n" else (lambda n: f"{n:,}".replace(",", "\u202f"))
        assert sort_by(browser, k) == "ascending"
        assert column(browser, k) == [text(v) for v in known] + unknown
        assert sort_by(browser, k) == "descending"
        # what is not known stays last
        assert column(browser, k) == [text(v) for v in known[::-1]] + unknown
    assert browser.said() == []


def test_a_click_on_a_head_sorts_by_name(browser: Browser, show: Callable[..., str]) -> None:
    numbers = made.numbers()
    show(slide_page(numbers, {}))
    classes = sorted(r["class"] for r in numbers["rows"])
    assert sort_by(browser, 0) == "ascending"
    assert column(browser, 0) == classes
    # rows that are alike stay in the order given
    assert column(browser, 1)[:5] == ["all tissue", *map(micro, made.COMPARTMENTS)]
    assert sort_by(browser, 0) == "descending"
    assert column(browser, 0) == classes[::-1]
    states = browser.js(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.getAttribute('aria-sort'))", HEADS
    )
    assert states == ["descending"] + ["none"] * (len(states) - 1)


def test_numbers_in_names_sort_as_numbers(browser: Browser, show: Callable[..., str]) -> None:
    cohort = made.cohort(12, failed=0)
    cohort = renamed(cohort, {s["name"]: f"s{k}.svs" for k, s in enumerate(cohort["slides"])})
    show(cohort_page(cohort, {}))
    choose(browser, "#counts-table select[data-filter=class]", "Gland")
    choose(browser, "#counts-table select[data-filter=compartment]", "tumour")
    sort_by(browser, 0)
    assert column(browser, 0) == [f"s{k}.svs" for k in range(12)]


def test_the_table_works_from_the_keyboard(browser: Browser, show: Callable[..., str]) -> None:
    numbers = made.numbers()
    show(slide_page(numbers, {}))
    browser.js("document.querySelector('#counts-table .download').focus()")
    # the table's scroll area, the heads of class, compartment and count
    browser.press(TAB, TAB, TAB, TAB)
    assert browser.js("return document.activeElement.textContent.trim()") == "Count"
    n = sorted(r["n"] for r in numbers["rows"])
    browser.press(ENTER)
    assert [int(t.replace("\u202f", "")) for t in column(browser, 2)] == n
    browser.press(SPACE)
    assert [int(t.replace("\u202f", "")) for t in column(browser, 2)] == n[::-1]
    # the focus is seen, and is not lost by sorting
    assert browser.js("return document.activeElement.textContent.trim()") == "Count"
    assert browser.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert "sorted by Count, highest first" in browser.js(
        "return document.querySelector('#counts-table .status').textContent"
    )


def test_everything_to_press_has_a_name(browser: Browser, show: Callable[..., str]) -> None:
    for page in PAGES.values():
        show(page)
        nameless = browser.js(
            "return [...document.querySelectorAll('button, input, select, svg[role], [role=region]')].filter((e) =>"
            " !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim()"
            " || document.getElementById(e.getAttribute('aria-labelledby')?.split(' ')[0])))"
            ".map((e) => e.outerHTML.slice(0, 90))"
        )
        assert nameless == []


def test_rows_are_chosen_by_compartment(browser: Browser, show: Callable[..., str]) -> None:
    show(slide_page(made.numbers(), {}))
    choices = browser.js(
        "return [...document.querySelectorAll('#counts-table select option')].map((o) => o.textContent)"
    )
    assert choices == ["all", "all tissue", *map(micro, made.COMPARTMENTS)]
    choose(browser, "#counts-table select", "stroma")
    assert set(column(browser, 1)) == {"stroma"}
    assert len(column(browser, 1)) == len(made.CLASSES) + 1
    choose(browser, "#counts-table select", "")
    assert len(column(browser, 1)) == 30


def as_csv(rows: list[dict[str, Any]], fields: tuple[str, ...]) -> list[dict[str, object]]:
    """What a reader of the download must find."""
    return [{f: safe_cell(r[f]) if isinstance(r[f], str) else r[f] for f in fields} for r in rows]


def read_csv(file: Path, like: list[dict[str, object]]) -> list[dict[str, object]]:
    """Rows of a download, numbers as numbers where the other has numbers."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [
        {f: t if isinstance(want[f], str) else None if t == "" else float(t) for f, t in row.items()}
        for row, want in zip(rows, like, strict=True)
    ]


def test_the_download_is_the_rows(browser: Browser, show: Callable[..., str], tmp_path: Path) -> None:
    formulas = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", 'a "quoted", name\nwith lines')
    names = [c[0] for c in made.CLASSES] + ["All cells", "stroma"]
    numbers = renamed(made.numbers(), dict(zip(names, formulas, strict=True)))
    show(slide_page(numbers, {}))
    # neither order nor choice changes what is downloaded
    sort_by(browser, 2)
    choose(browser, "#counts-table select", "tumour")
    (tmp_path / "here").mkdir()
    file = browser.downloaded("#counts-table .download", tmp_path / "here")
    assert file.name == "CMU-1.svs-counts.csv"
    expected = as_csv(numbers["rows"], COUNT_FIELDS)
    assert read_csv(file, expected) == expected
    assert {row["class"] for row in expected} == {"'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\rx"}
    assert browser.said() == []


def test_a_large_cohort_is_sorted_chosen_and_downloaded(
    browser: Browser, show: Callable[..., str], tmp_path: Path
) -> None:
    cohort = made.cohort(200, failed=2)
    rows = cohort["rows"]
    show(cohort_page(cohort, {}))
    assert len(column(browser, 0)) == 100
    assert "of 5\u202f940 rows" in browser.js("return document.querySelector('#counts-table .status').textContent")
    # rows the script made read as those the page came with
    sort_by(browser, 3)
    sort_by(browser, 3)
    top = sorted(rows, key=lambda r: -r["n"])[:100]
    assert column(browser, 5) == [significant(r["density_per_mm2"]) for r in top]
    assert column(browser, 6) == [interval(r["density_low"], r["density_high"]) for r in top]
    assert column(browser, 0) == [r["slide"] for r in top]
    href = browser.js("return document.querySelector('#counts-table tbody a').getAttribute('href')")
    assert href == next(s["href"] for s in cohort["slides"] if s["name"] == top[0]["slide"])
    browser.click("#counts-table [data-turn='1']")
    assert column(browser, 0) == [r["slide"] for r in sorted(rows, key=lambda r: -r["n"])[100:200]]
    choose(browser, "#counts-table input", "LIDE 05")
    choose(browser, "#counts-table select[data-filter=class]", "Gland")
    assert set(column(browser, 0)) == {f"slide {k:03d}.svs" for k in range(50, 60)}
    assert len(column(browser, 0)) == 50
    choose(browser, "#counts-table input", "no such slide")
    assert browser.js("return document.querySelector('#counts-table .none').hidden") is False
    (tmp_path / "here").mkdir()
    file = browser.downloaded("#counts-table .download", tmp_path / "here")
    expected = as_csv(rows, ("slide", *COUNT_FIELDS, "slide_id", "path"))
    assert read_csv(file, expected) == expected
    assert browser.said() == []


def test_script_and_page_write_numbers_alike(browser: Browser, show: Callable[..., str]) -> None:
    random = np.random.default_rng(3)
    rows = made.numbers()["rows"]
    values = [
        *(random.choice((-1, 1), 700) * 10.0 ** random.uniform(-8, 18, 700)).tolist(),
        0.0,
        1.125,
        2.5,
        9.995,
        999.5,
    ]
    values += [k / 8 for k in range(1, 300)]
    slides = made.cohort(1, failed=0)
    slides["rows"] = [
        {
            **rows[0],
            "slide": str(k),
            "slide_id": f"s{k}",
            "path": f"/s{k}.svs",
            "compartment_mm2": v,
            "density_low": v,
            "density_high": 3 * v,
            "mean_area_um2": None,
        }
        for k, v in enumerate(values)
    ]
    show(cohort_page(slides, {}))
    seen: list[str] = []
    ends: list[str] = []
    while len(seen) < len(values):
        seen += column(browser, 4)
        ends += column(browser, 6)
        if len(seen) < len(values):
            browser.click("#counts-table [data-turn='1']")
    assert seen == [significant(v) for v in values]
    assert ends == [interval(v, 3 * v) for v in values]


def test_a_class_is_chosen_in_the_ranking(browser: Browser, show: Callable[..., str]) -> None:
    show(cohort_page(made.cohort(50, failed=0), {}))
    shown = (
        "return [...document.querySelectorAll('[data-panel=ranking]:not([hidden])')]"
        ".map((e) => e.querySelector('h3').textContent)"
    )
    assert browser.js(shown) == ["Inflammatory, all tissue"]
    choose(browser, "select[data-panels=ranking]", "3")
    assert browser.js(shown) == ["Epithelial, all tissue"]
    # the highest forty are there, the others a click away
    seen = (
        "return [...document.querySelectorAll('[data-panel=ranking]:not([hidden]) .bar')]"
        ".filter((e) => e.checkVisibility()).length"
    )
    assert browser.js(seen) == 40
    browser.click("[data-panel=ranking]:not([hidden]) summary")
    assert browser.js(seen) == 50


def pages_of(pdf: bytes, folder: Path) -> list[str]:
    """The text of each page of a PDF."""
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext (Debian package poppler-utils)")
    (folder / "report.pdf").write_bytes(pdf)
    done = subprocess.run(["pdftotext", "-layout", "report.pdf", "-"], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode().removesuffix("\f").split("\f")


@pytest.mark.parametrize("kind", list(PAGES))
def test_every_printed_page_says_what_it_is_not_for(
    browser: Browser, show: Callable[..., str], tmp_path: Path, kind: str
) -> None:
    show(PAGES[kind])
    pages = pages_of(browser.pdf(), tmp_path)
    assert len(pages) > 3
    title = {"slide": "CMU-1.svs", "cohort": "breast cohort"}[kind]
    for k, page in enumerate(pages, 1):
        assert LINE in page
        assert title in page
        assert page.replace(" ", "").rstrip().endswith(f"{k}/{len(pages)}")
    # buttons stay on the screen
    assert "Download" not in "".join(pages)


def test_heads_of_long_tables_are_repeated_in_print(browser: Browser, show: Callable[..., str], tmp_path: Path) -> None:
    show(PAGES["cohort"])
    pages = pages_of(browser.pdf(), tmp_path)
    # rows of the table of counts: other tables have classes without slides
    with_rows = [p for p in pages if any("slide 0" in line and "Neoplastic" in line for line in p.splitlines())]
    assert len(with_rows) >= 2
    assert all("Compartment" in p and "Verdict" in p for p in with_rows)


def test_names_do_not_run_nor_break_the_page(browser: Browser, show: Callable[..., str]) -> None:
    for shift in range(len(NASTY)):
        given = {old: NASTY[(k + shift) % len(NASTY)] for k, old in enumerate(SLIDE_NAMES)}
        show(slide_page(renamed(made.numbers(), given), {}), (400, 900))
        assert browser.js("return window.ran === undefined && document.images.length === 0")
        assert browser.js("return document.querySelector('h1').textContent") == given["CMU-1.svs"]
        assert browser.js("return document.documentElement.scrollWidth") == 400
        assert browser.said() == []


def test_names_in_a_cohort_do_not_run(browser: Browser, show: Callable[..., str]) -> None:
    cohort = made.cohort(2 * len(NASTY), failed=2)
    given = {s["name"]: f"{NASTY[k % len(NASTY)]} {k}" for k, s in enumerate(cohort["slides"])}
    given |= {
        "Inflammatory": NASTY[0],
        "stroma": NASTY[1],
        "not a slide file": NASTY[2],
        "P001": NASTY[3],
        "responder": NASTY[4],
    }
    for width in (400, 1280):
        show(cohort_page(renamed(cohort, given), {}), (width, 900))
        browser.whole(f"report-nasty-{width}")
        browser.click("#counts-table [data-turn='1']")
        sort_by(browser, 0)
        assert browser.js("return window.ran === undefined && document.images.length === 0")
        assert browser.js("return document.documentElement.scrollWidth") == width
        assert set(column(browser, 0)) <= set(given.values())
        assert browser.said() == []


def test_the_policy_stops_other_scripts_and_requests(browser: Browser, show: Callable[..., str]) -> None:
    show(PAGES["slide"])
    browser.js(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
        "const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i);"
        "fetch('http://127.0.0.1:9/').catch(() => {});"
    )
    browser.settle()
    assert browser.js("return window.ran === undefined")
    refused = [line for line in browser.said() if "Content Security Policy" in line]
    assert len(refused) >= 3, json.dumps(refused)


def luminance(rgb: list[float]) -> float:
    """Relative luminance (WCAG 2.2)."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_stand_out_from_the_page(browser: Browser, show: Callable[..., str]) -> None:
    for page in PAGES.values():
        show(page)
        pairs = browser.js(
            """
            const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
            const found = new Map();
            for (const e of document.querySelectorAll('body *')) {
                const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
                if (!own || !e.checkVisibility() || e.closest('script, :disabled')) continue;
                const style = getComputedStyle(e);
                let back = e;
                while (back && rgb(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
                const ground = back ? rgb(getComputedStyle(back).backgroundColor) : [255, 255, 255];
                const colour = e.closest('svg') ? style.fill : style.color;
                found.set(colour + ground, [rgb(colour).slice(0, 3), ground.slice(0, 3), e.outerHTML.slice(0, 80)]);
            }
            return [...found.values()];
            """
        )
        assert len(pairs) > 3
        for ink, ground, where in pairs:
            light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground, where)
