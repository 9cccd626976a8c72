from __future__ import annotations

from pathlib import Path

import pytest

from wsiparse.errors import SlideNotFoundError
from wsiparse.slides import SLIDE_EXTENSIONS, find_slides


@pytest.fixture
def cabinet(tmp_path: Path) -> Path:
    for name in (
        "case10.svs", "case2.svs", "CASE1.SVS", "notes.txt", ".hidden.svs", "._case2.svs", "scan.mrxs",
        "scan/Data0001.tif", "scan/Slidedat.ini",
        "deep/a.ndpi", "deep/deeper/b.tiff", ".cache/c.svs", "empty/readme.md",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"x")
    return tmp_path


def names(paths: list[Path], root: Path) -> list[str]:
    return [str(p.relative_to(root)) for p in paths]


def test_a_folder_gives_its_slides_in_natural_order(cabinet: Path) -> None:
    assert names(find_slides([cabinet]), cabinet) == ["CASE1.SVS", "case2.svs", "case10.svs", "scan.mrxs"]


def test_recursion_looks_below_but_not_into_companions_or_hidden_folders(cabinet: Path) -> None:
    found = names(find_slides([cabinet], recursive=True), cabinet)
    assert found == ["CASE1.SVS", "case2.svs", "case10.svs", "deep/a.ndpi", "deep/deeper/b.tiff", "scan.mrxs"]


def test_a_slide_named_twice_is_found_once(cabinet: Path) -> None:
    (cabinet / "link.svs").symlink_to(cabinet / "case2.svs")
    given = [cabinet / "case2.svs", cabinet, cabinet / "deep" / ".." / "case2.svs", cabinet / "case2.svs"]
    found = names(find_slides(given), cabinet)
    assert found == ["CASE1.SVS", "case2.svs", "case10.svs", "scan.mrxs"]


def test_patterns_are_expanded(cabinet: Path) -> None:
    assert names(find_slides([str(cabinet / "case*.svs")]), cabinet) == ["case2.svs", "case10.svs"]
    assert names(find_slides([str(cabinet / "**" / "*.tiff")]), cabinet) == ["deep/deeper/b.tiff"]
    assert names(find_slides([str(cabinet / "d*")]), cabinet) == ["deep/a.ndpi"]


def test_a_file_is_taken_whatever_it_is_called_even_with_pattern_letters(cabinet: Path) -> None:
    odd = cabinet / "case[1].dat"
    odd.write_bytes(b"x")
    assert find_slides([odd]) == [odd]


def test_other_extensions_may_be_asked_for(cabinet: Path) -> None:
    assert names(find_slides([cabinet], extensions=["TXT", ".ndpi"], recursive=True), cabinet) == [
        "deep/a.ndpi",
        "notes.txt",
    ]


def test_a_link_to_a_folder_above_does_not_go_round(cabinet: Path) -> None:
    (cabinet / "deep" / "up").symlink_to(cabinet)
    assert len(find_slides([cabinet], recursive=True)) == 6


def test_a_folder_without_slides_names_the_extensions_looked_for(cabinet: Path) -> None:
    with pytest.raises(SlideNotFoundError, match=r"empty: no slides in it; --recursive .*\.svs, \.tif") as caught:
        find_slides([cabinet / "empty"])
    assert all(extension in str(caught.value) for extension in SLIDE_EXTENSIONS)
    with pytest.raises(SlideNotFoundError, match=r"no slides in it or below \(looked for \.czi\)"):
        find_slides([cabinet], extensions=["czi"], recursive=True)


def test_what_does_not_exist_and_what_matches_nothing_is_named(cabinet: Path) -> None:
    with pytest.raises(SlideNotFoundError, match=r"absent\.svs: no such file or folder"):
        find_slides([cabinet / "case2.svs", cabinet / "absent.svs"])
    with pytest.raises(SlideNotFoundError, match="no slide matches"):
        find_slides([str(cabinet / "z*.svs")])
