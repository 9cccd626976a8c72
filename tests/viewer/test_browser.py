"""The viewer in headless Chromium; WSIPARSE_SCREENSHOTS=FOLDER keeps what it saw."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.browser import Browser
from tests.conftest import Said
from tests.viewer.made import PROMPTS, make, truth
from wsiparse.types import PromptSet
from wsiparse.viewer.export import export_view, open_view
from wsiparse.viewer.server import ViewServer
from wsiparse.viewer.source import find_shown
from wsiparse.viewer.view import View

Pixels = NDArray[np.uint8]
Serving = Callable[[View], ViewServer]


@pytest.fixture(scope="module")
def cmu(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> View:
    """Results of a real run on a real slide."""
    from wsiparse.cli.main import main

    results = tmp_path_factory.mktemp("cmu")
    with pytest.raises(SystemExit) as stop:
        main(["run", str(shared / "data" / "slides" / "CMU-1-Small-Region.svs"), "-o", str(results)])
    assert stop.value.code == 0
    shown = find_shown(results)
    assert shown.slide is not None
    return View(shown)


def stage(picture: Pixels, browser: Browser) -> Pixels:
    """The part of the page that the slide has, without what lies over it."""
    x, y, width, height = browser.js(
        "const box = document.getElementById('stage').getBoundingClientRect();"
        "return [box.x, box.y, box.width, box.height]"
    )
    return picture[int(y) + 1 : int(y + height) - 60, int(x) + 60 : int(x + width) - 200]


def of_colour(picture: Pixels, rgb: tuple[int, int, int]) -> int:
    """Pixels that are nearly of a colour."""
    return int((np.abs(picture.astype(int) - rgb).max(axis=2) < 40).sum())


def zoom_of(browser: Browser) -> float:
    """um per px of the screen, from the scale bar."""
    text, width = browser.js(
        "return [document.getElementById('scale-text').textContent,"
        " document.getElementById('scale-bar').getBoundingClientRect().width]"
    )
    value, unit = text.split()
    return float(value) * {"µm": 1, "mm": 1000}[unit] / float(width)


def overlaps(browser: Browser) -> list[str]:
    """Pairs of things that lie over each other, and texts that leave the page."""
    found: list[str] = browser.js(
        """
        const seen = (e) => e.getClientRects().length > 0;
        const pieces = [...document.querySelectorAll(
            'header > *, aside label, aside td, aside button, aside select, aside h2, #tools, #scale, .navigator')]
            .filter(seen);
        const names = (e) => e.id || e.textContent.trim().slice(0, 30) || e.className;
        const out = [];
        pieces.forEach((a, i) => {
            const p = a.getBoundingClientRect();
            if (p.left < 0 || p.right > innerWidth + 0.5) out.push(`${names(a)} leaves the page`);
            pieces.slice(i + 1).forEach((b) => {
                if (a.contains(b) || b.contains(a)) return;
                const q = b.getBoundingClientRect();
                const w = Math.min(p.right, q.right) - Math.max(p.left, q.left);
                const h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
                if (w > 1 && h > 1) out.push(`${names(a)} over ${names(b)}`);
            });
        });
        return out;
        """
    )
    return found


def test_a_real_slide_is_shown_and_worked_with(browser: Browser, serving: Serving, cmu: View) -> None:
    server = serving(cmu)
    browser.open(server.url)
    whole = browser.picture("whole-1280x800")
    inflammatory, epithelial, connective, _ = (prompt.rgb for prompt in cmu.shown.reader.prompts)

    # the slide is there: pink and violet, not white
    tissue = stage(whole, browser)
    assert ((tissue[..., 0] > tissue[..., 1] + 30) & (tissue[..., 2] > tissue[..., 1] + 10)).mean() > 0.1
    # so are the classes
    assert of_colour(tissue, connective) > 200
    assert of_colour(tissue, epithelial) > 50
    assert of_colour(tissue, inflammatory) > 50

    # a class goes and comes back, the others stay, and nothing is fetched for it
    browser.requested()
    browser.click("#class-3")
    without = stage(browser.picture("without-connective"), browser)
    assert of_colour(without, connective) < 0.02 * of_colour(tissue, connective)
    assert of_colour(without, inflammatory) >= 0.9 * of_colour(tissue, inflammatory)
    browser.click("#class-3")
    np.testing.assert_array_equal(stage(browser.picture(), browser), tissue)
    assert browser.requested() == []

    # closer
    before = zoom_of(browser)
    browser.click("#closer")
    browser.click("#closer")
    assert zoom_of(browser) == pytest.approx(before / 1.6**2, rel=0.05)
    browser.picture("closer")
    browser.click("#whole")
    assert zoom_of(browser) == pytest.approx(before, rel=0.01)

    # a square of the report: 200 um fill the height of the stage, less its margin
    browser.click("#spots li:first-child button")
    browser.picture("hot-spot")
    height = browser.js("return document.getElementById('stage').getBoundingClientRect().height")
    assert zoom_of(browser) * height == pytest.approx(200 * 1.3, rel=0.05)
    assert browser.js("return document.querySelectorAll('#spots [aria-current]').length") == 1
    frame = browser.js("const b = document.querySelector('.spot').getBoundingClientRect(); return [b.width, b.height]")
    assert frame == pytest.approx([200 / zoom_of(browser)] * 2, rel=0.03)

    browser.click("#closer")
    browser.click("#closer")
    browser.click("#closer")
    browser.picture("close")

    assert browser.said() == []
    assert all(url.startswith(server.url) for url in browser.requested())


@pytest.mark.parametrize("size", [(1280, 800), (800, 600), (480, 800)])
def test_nothing_lies_over_anything_else(browser: Browser, serving: Serving, cmu: View, size: tuple[int, int]) -> None:
    browser.open(serving(cmu).url, size)
    browser.picture(f"page-{size[0]}x{size[1]}")
    assert browser.js("return [innerWidth, innerHeight]") == list(size)
    assert overlaps(browser) == []
    assert browser.js("return document.documentElement.scrollWidth <= innerWidth")


def test_regions_cells_and_no_slide(browser: Browser, serving: Serving, view: View) -> None:
    browser.open(serving(view).url)
    picture = browser.picture("no-slide")
    shown = stage(picture, browser)
    assert "not here" in browser.js("return document.getElementById('notes').textContent")
    # with every class hidden the canvas is white
    browser.click("#none")
    assert (stage(browser.picture(), browser) == 255).all()
    browser.click("#all")
    np.testing.assert_array_equal(stage(browser.picture(), browser), shown)
    # a class without objects cannot be shown, and says why
    assert browser.js("return document.getElementById('class-5').disabled")
    assert "not found" in browser.js("return document.getElementById('class-5').closest('tr').textContent")
    # each class alone: its own colour and no other; hot-spots of each
    browser.click("#none")
    for class_id in (1, 2, 3, 4):
        browser.click(f"#class-{class_id}")
        alone = stage(browser.picture(f"class-{class_id}"), browser).astype(float)
        ink = 255 - alone[(alone < 200).any(axis=2)]
        # over white, every px lies between white and the colour
        colour = 255.0 - np.array(PROMPTS[class_id - 1].rgb)
        lost = ink - np.outer(ink @ colour / (colour @ colour), colour)
        assert len(ink) > 100
        assert np.abs(lost).max() < 6
        browser.click(f"#class-{class_id}")
    assert browser.said() == []


def test_opacity_fades_every_class(browser: Browser, serving: Serving, view: View) -> None:
    browser.open(serving(view).url)
    full = stage(browser.picture(), browser)
    browser.js("const o = document.getElementById('opacity'); o.value = 30; o.dispatchEvent(new Event('input'));")
    browser.settle()
    faint = stage(browser.picture(), browser)
    assert 0.2 < (255.0 - faint).mean() / (255.0 - full).mean() < 0.4


def test_controls_have_names_and_work_from_the_keyboard(browser: Browser, serving: Serving, view: View) -> None:
    browser.open(serving(view).url)
    nameless = browser.js(
        "return [...document.querySelectorAll('button, input, select')].filter((e) =>"
        " !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).map((e) => e.outerHTML)"
    )
    assert nameless == []
    assert browser.js("return document.getElementById('class-1').getAttribute('aria-label')") == "Show Nuclei"
    assert browser.js("return document.getElementById('scale').getAttribute('aria-label')").startswith("Scale bar: ")
    # space on a focused checkbox
    browser.js("document.getElementById('class-1').focus()")
    assert browser.js("return document.activeElement.id") == "class-1"
    assert browser.js("return document.querySelector('.openseadragon-canvas').tabIndex") == 0


NASTY = "<img src=x onerror=window.ran=1>"


def test_markup_in_names_does_not_run(browser: Browser, serving: Serving, tmp_path: Path) -> None:
    prompts = PromptSet(
        (
            replace(PROMPTS[0], class_name=NASTY),
            replace(PROMPTS[1], class_name="</script><script>window.ran=1</script>"),
            *PROMPTS.prompts[2:],
        )
    )
    folder = make(tmp_path, truth((640, 512)), size=(640, 512), name=NASTY, prompts=prompts)
    view = View(find_shown(folder))
    export_view(open_view(find_shown(folder), 10_000), tmp_path / "page")
    for url in (serving(view).url, (tmp_path / "page" / "index.html").as_uri()):
        browser.open(url)
        assert browser.js("return document.title").startswith(NASTY)
        assert browser.js("return document.getElementById('name').textContent") == NASTY
        assert browser.js("return document.querySelector('label[for=class-1]').textContent") == NASTY
        assert browser.js("return window.ran === undefined && document.images.length === 0")
        assert browser.said() == []


def test_the_policy_stops_scripts_and_requests_that_are_not_the_pages_own(
    browser: Browser, serving: Serving, view: View, tmp_path: Path
) -> None:
    export_view(open_view(view.shown, 10_000), tmp_path / "page")
    for url in (serving(view).url, (tmp_path / "page" / "index.html").as_uri()):
        browser.open(url)
        browser.js(
            "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
            "fetch('class/empty.gif').then(() => { window.ran = 2; }, () => {});"
        )
        browser.settle()
        assert browser.js("return window.ran === undefined")
        assert len([line for line in browser.said() if "Content Security Policy" in line]) >= 2


def test_an_export_opens_from_its_folder(
    browser: Browser, wsiparse: Callable[..., Said], demo_slide: Path, tmp_path: Path
) -> None:
    make(tmp_path / "results", truth((640, 512)), slide=demo_slide)
    page = tmp_path / "page with spaces & 100%"
    assert wsiparse("view", tmp_path / "results", "--export", page).code == 0
    browser.open((page / "index.html").as_uri())
    shown = stage(browser.picture("export"), browser)
    assert of_colour(shown, PROMPTS[0].rgb) > 50
    browser.click("#none")
    bare = stage(browser.picture(), browser)
    assert (bare != shown).any(axis=2).mean() > 0.05
    assert (bare < 200).any(axis=2).mean() > 0.05  # the slide is there
    browser.click("#all")
    browser.click("#spots li:first-child button")
    assert browser.said() == []
    root = page.as_uri()
    asked = browser.requested()
    assert all(url.startswith(root) for url in asked)
    assert len([url for url in asked if re.search(r"slide/\d+/", url)]) >= 1


def test_every_tile_the_page_asks_for_is_in_the_export(browser: Browser, tmp_path: Path) -> None:
    folder = make(tmp_path / "results", truth(sparse=True))
    export_view(open_view(find_shown(folder), 10_000), tmp_path / "page")
    browser.open((tmp_path / "page" / "index.html").as_uri())
    browser.click("#spots li:first-child button")
    for button in ("#closer", "#closer", "#whole", "#farther"):
        browser.click(button)
    assert browser.said() == []  # a missing file is told there
