from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.viewer.made import make, truth
from tests.viewer.test_overlay import pixels
from wsiparse.errors import OutputError
from wsiparse.viewer.export import export_view, finest_level, open_view, tile_counts
from wsiparse.viewer.source import find_shown
from wsiparse.viewer.view import View

pytestmark = pytest.mark.usefixtures("library")


@pytest.fixture
def with_slide(demo_slide: Path, tmp_path: Path) -> View:
    return open_view(find_shown(make(tmp_path / "results", truth((640, 512)), slide=demo_slide)), 10_000)


def files_of(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


FIXED = {"index.html", "class/empty.gif", "LICENSE-OpenSeadragon.txt", "wsiparse-view.json"}


def test_the_folder_holds_the_page_and_every_tile_it_can_ask_for(with_slide: View, tmp_path: Path) -> None:
    seen: list[int] = []
    written = export_view(with_slide, tmp_path / "page", seen.append)
    names = files_of(tmp_path / "page")
    wanted = set(FIXED)
    for level in range(with_slide.pyramid.levels):
        exponent = with_slide.pyramid.exponent(level)
        wanted |= {f"slide/{level}/{x}_{y}.jpg" for x, y in with_slide.pyramid.tiles(exponent)}
    overlay = with_slide.overlay_pyramid
    for level in range(overlay.levels):
        exponent = overlay.exponent(level)
        for class_id in with_slide.occupied:
            wanted |= {
                f"class/{class_id}/{level}/{x}_{y}.png"
                for x, y in overlay.tiles(exponent)
                if with_slide.has_objects(class_id, exponent, x, y)
            }
    assert names == wanted
    assert written.files == len(names)
    assert written.size == sum(p.stat().st_size for p in (tmp_path / "page").rglob("*") if p.is_file())
    assert sum(seen) == sum(tile_counts(with_slide)) == len(names) - len(FIXED)


def test_tiles_are_those_that_are_served(with_slide: View, tmp_path: Path) -> None:
    export_view(with_slide, tmp_path / "page")
    assert (tmp_path / "page/slide/1/1_0.jpg").read_bytes() == with_slide.slide_tile(1, 1, 0)
    assert (tmp_path / "page/class/1/1/0_0.png").read_bytes() == with_slide.overlay_tile(1, 1, 0, 0)


@pytest.mark.parametrize(("size", "most", "exponent"), [((1500, 1100), 1500, 0), ((1501, 10), 750, 2), ((9, 9), 1, 4)])
def test_the_finest_level_fits(size: tuple[int, int], most: int, exponent: int) -> None:
    assert finest_level(size, most) == exponent


def test_a_limit_leaves_out_fine_levels_and_says_so(demo_slide: Path, tmp_path: Path) -> None:
    shown = find_shown(make(tmp_path / "results", truth((640, 512)), slide=demo_slide))
    whole, limited = open_view(shown, 10_000), open_view(shown, 512)
    assert (whole.pyramid.finest, whole.overlay_pyramid.finest) == (0, -1)
    assert (limited.pyramid.finest, limited.overlay_pyramid.finest) == (1, 0)
    written = export_view(limited, tmp_path / "page")
    assert written.finest_um == 1.0
    assert "goes down to 1 \\u00b5m per pixel" in (tmp_path / "page" / "index.html").read_text()
    assert pixels((tmp_path / "page/slide/0/0_0.jpg").read_bytes()).shape[:2] == (256, 320)


def test_an_earlier_export_is_replaced(with_slide: View, tmp_path: Path) -> None:
    export_view(with_slide, tmp_path / "page")
    (tmp_path / "page" / "class" / "1" / "stale.png").write_bytes(b"")
    export_view(with_slide, tmp_path / "page")
    assert "class/1/stale.png" not in files_of(tmp_path / "page")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page", "results"]


def test_anything_else_is_left_alone(with_slide: View, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for place in ("mine", "file"):
        with pytest.raises(OutputError, match="no earlier export"):
            export_view(with_slide, tmp_path / place)
    assert (tmp_path / "mine" / "work.txt").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="needs a user whose permissions bind: root may write anywhere")
def test_a_folder_that_cannot_be_written_is_an_error(with_slide: View, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="permission denied"):
        export_view(with_slide, tmp_path / "locked" / "page")


def test_an_export_that_fails_leaves_nothing(with_slide: View, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> bytes:
        raise OutputError("damaged")

    monkeypatch.setattr(with_slide, "overlay_tile", fail)
    with pytest.raises(OutputError, match="damaged"):
        export_view(with_slide, tmp_path / "page")
    assert [p.name for p in tmp_path.iterdir()] == ["results"]


def test_the_viewer_of_another_slide_is_not_replaced(made: Path, tmp_path: Path) -> None:
    view = open_view(find_shown(made), 10_000)
    export_view(view, tmp_path / "page")
    export_view(view, tmp_path / "page")
    mark = tmp_path / "page" / "wsiparse-view.json"
    assert json.loads(mark.read_text())["slide_id"] == view.shown.folder.name
    mark.write_text(json.dumps({"slide": "made", "slide_id": "other__11111111"}), encoding="utf-8")
    with pytest.raises(OutputError, match="holds the viewer of another slide, other__11111111"):
        export_view(view, tmp_path / "page")


def test_without_a_slide_only_the_overlay_is_written(made: Path, tmp_path: Path) -> None:
    view = open_view(find_shown(made), 10_000)
    export_view(view, tmp_path / "deep" / "page")
    names = files_of(tmp_path / "deep" / "page")
    assert not [name for name in names if name.startswith("slide/")]
    assert tile_counts(view)[0] == 0
    assert json.loads((tmp_path / "deep" / "page" / "wsiparse-view.json").read_text())["slide"] == "made"
