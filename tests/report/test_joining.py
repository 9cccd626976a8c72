"""Rows of a table find their slides as people write them, and never another's."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.report.metadata import _places
from wsiparse.report.stats.joining import Joined, Metadata, Named, Row, joined_rows
from wsiparse.slides import SLIDE_EXTENSIONS


def slide(path: str, k: int = 0) -> Named:
    return Named(path, PurePosixPath(path).stem, f"{PurePosixPath(path).stem}__{k:08x}", frozenset({path}))


def join(paths: list[str], rows: list[tuple[str, str]], *, folder: str = "/table") -> Joined:
    """Rows are (slide as written, patient)."""
    made = tuple(
        Row(line, text, {"patient": patient}, _places(PurePosixPath(folder), text))  # type: ignore[arg-type]
        for line, (text, patient) in enumerate(rows, 2)
    )
    metadata = Metadata("m.csv", ("patient",), made, "patient", None)
    return joined_rows([slide(p, k) for k, p in enumerate(paths)], metadata, SLIDE_EXTENSIONS)


def patients(found: Joined) -> list[str | None]:
    return [row.values["patient"] if row is not None else None for row in found.rows]


HE = [f"/s/p{k}/HE.tif" for k in (1, 2, 3)]


@pytest.mark.parametrize(
    ("folder", "form"),
    [
        ("/s", "{p}/HE.tif"),
        ("/s", "./{p}/HE.tif"),
        ("/elsewhere", "{p}/HE.tif"),
        ("/elsewhere", "{p}/HE"),
        ("/elsewhere", "{p}\\HE.tif"),
        ("/elsewhere", " {p}/HE.tif \u00a0"),
        ("/elsewhere", "{p}/he.TIF"),
        ("/elsewhere", "/s/{p}/HE.tif"),
        ("/elsewhere", "s/{p}/HE.tif"),
        ("/elsewhere", "D:\\scans\\{p}\\HE.tif"),
        ("/elsewhere", "\\\\server\\share\\{p}\\HE.tif"),
        ("/elsewhere", "/mnt/old/{p}/HE.tif"),
    ],
)
def test_slides_of_one_name_are_told_apart_by_their_folders(folder: str, form: str) -> None:
    found = join(HE, [(form.format(p=p), p) for p in ("p3", "p1", "p2")], folder=folder)
    assert patients(found) == ["p1", "p2", "p3"]
    assert (found.unmatched, found.refused) == ((), ())
    moved = form.startswith(("D:", "\\\\", "/mnt"))
    assert bool(found.notices) == moved, "what is guessed is told, and nothing else"


@pytest.mark.parametrize("text", ["HE.tif", "HE", "he.TIF", "HE.svs", ["/s/../x", "HE.tif"][-1]])
def test_a_row_that_fits_several_slides_is_refused_by_naming_both(text: str) -> None:
    found = join(HE[:2], [(text, "1")])
    [line] = found.refused
    assert "line 2" in line
    assert "/s/p1/HE.tif, /s/p2/HE.tif" in line
    assert "p1/HE.tif" in line.partition("such as")[2]
    assert patients(found) == [None, None]


def test_a_row_beside_the_table_is_that_slide_whatever_else_is_called_so() -> None:
    assert patients(join(["/s/HE.tif", "/s/p1/HE.tif"], [("HE.tif", "1")], folder="/s")) == ["1", None]


def test_the_row_of_another_slide_is_not_taken() -> None:
    """Slides p1 to p3 were made, the table has p1, p5 and p6: nobody gets the rows of the others."""
    found = join(HE, [("p1/HE.tif", "1"), ("p5/HE.tif", "5"), ("x/p6/HE.tif", "6")])
    assert patients(found) == ["1", None, None]
    assert [row.slide for row in found.unmatched] == ["p5/HE.tif", "x/p6/HE.tif"]
    # a table of all, results of one
    assert patients(join(HE[2:], [(f"p{k}/HE.tif", str(k)) for k in (1, 2, 4)])) == [None]
    assert patients(join(HE[:1], [("b1/p1/HE.tif", "1"), ("b2/p1/HE.tif", "2")])) == [None]
    # the folders next to the file agree, and those before say that it is another batch
    assert patients(join(["/s/A/p1/HE.tif", "/s/B/p2/HE.tif"], [("B/p1/HE.tif", "1")])) == [None, None]


def test_what_agrees_but_for_a_shared_folder_is_refused() -> None:
    found = join(["/a/p1/HE.tif", "/b/p1/HE.tif"], [("D:\\scans\\p1\\HE.tif", "1")])
    assert len(found.refused) == 1


def test_a_slide_that_was_moved_is_found_by_its_name_and_that_is_told() -> None:
    found = join(["/new/a.svs", "/new/b.svs"], [("/old/a.svs", "1"), ("/old/b.svs", "2")])
    assert patients(found) == ["1", "2"]
    [notice] = found.notices
    assert "by the file name, in another folder, alone: line 2: '/old/a.svs' to /new/a.svs" in notice


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/s/a b.ome.tif", "a b"),
        ("/s/a b.ome.tif", "a b.ome"),
        ("/s/a.b.svs", "a.b"),
        ("/s/Müller.svs", unicodedata.normalize("NFD", "Müller.svs")),
        ("/s/" + unicodedata.normalize("NFD", "Müller.svs"), "müller"),
        ("/s/x.svs", "x__00000000"),
        ("https://host/p/a.svs", "a.svs"),
        ("https://host/p/a.svs", "https://host/p/a.svs?sig=1"),
        ("/s/we\\ird.svs", "we\\ird.svs"),
        ("/s/a, \"b\"\nc.svs", "a, \"b\"\nc.svs"),
    ],
)  # fmt: skip
def test_names_are_found_as_people_write_them(path: str, text: str) -> None:
    found = join([path, "/s/other.svs"], [(text, "1")])
    assert patients(found) == ["1", None]
    assert found.notices == ()


def test_another_ending_is_told_and_goes_behind_the_right_one() -> None:
    assert patients(join(["/s/a.tif"], [("a.svs", "1")])) == ["1"]
    assert "with another ending" in join(["/s/a.tif"], [("a.svs", "1")]).notices[0]
    found = join(["/s/a.tif"], [("a.svs", "1"), ("a.tif", "2")])
    assert patients(found) == ["2"]
    assert [row.slide for row in found.unmatched] == ["a.svs"]
    assert patients(join(["/s/a.tif", "/s/a.tiff"], [("a.tiff", "2"), ("a.tif", "1")])) == ["1", "2"]
    assert len(join(["/s/a.tif", "/s/a.tiff"], [("a", "1")]).refused) == 1


def test_slides_that_differ_in_case_keep_their_own_rows() -> None:
    assert patients(join(["/s/A.svs", "/s/a.svs"], [("a.svs", "low"), ("A.svs", "high")])) == ["high", "low"]


def test_rows_that_say_the_same_are_one_and_others_are_refused() -> None:
    assert patients(join(["/s/a.svs"], [("a.svs", "1"), ("a", "1"), ("A.svs", "")])) == ["1"]
    assert patients(join(["/s/a.svs"], [("a.svs", "NA"), ("a", "7")])) == ["7"]
    found = join(["/s/a.svs"], [("a.svs", "1"), ("a", "2")])
    assert found.refused == (
        "m.csv, lines 2 and 3: both are about /s/a.svs, but patient is '1' in the one and '2' in the other. "
        "Keep one of the two rows.",
    )
    assert patients(found) == [None]


def test_a_slide_and_its_link_keep_their_own_rows() -> None:
    slides = [
        Named("/s/link.svs", "link", "link__1", frozenset({"/s/link.svs", "/s/real.svs"})),
        Named("/s/real.svs", "real", "real__2", frozenset({"/s/real.svs"})),
    ]
    rows = (
        Row(2, "link.svs", {"p": "1"}, ("/s/link.svs", "/s/real.svs")),
        Row(3, "real.svs", {"p": "2"}, ("/s/real.svs",)),
    )
    found = joined_rows(slides, Metadata("m", ("p",), rows, None, None))
    assert [row and row.values for row in found.rows] == [{"p": "1"}, {"p": "2"}]


NAMES = st.sampled_from(["a", "A", "b", "a.tif", "b.svs"])
PATHS = st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from("xy"), NAMES), max_size=5, unique=True)


@given(
    PATHS, st.lists(st.tuples(st.sampled_from(["", "p/", "q/x/", "/s/p/x/", "z/"]), NAMES), max_size=6), st.randoms()
)
def test_every_row_is_joined_told_or_refused_in_any_order(
    slides: list[tuple[str, str, str]], rows: list[tuple[str, str]], random: object
) -> None:
    paths = ["/s/" + "/".join(parts) + ".tif" for parts in slides]
    texts = [(folder + name, str(k)) for k, (folder, name) in enumerate(rows)]
    found = join(paths, texts)
    joined = {patient for patient in patients(found) if patient is not None}
    assert joined.isdisjoint(row.values["patient"] for row in found.unmatched)
    assert found.refused or len(found.unmatched) + len(joined) == len(texts)
    order = list(range(len(texts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    again = join(paths, [texts[k] for k in order])
    assert patients(again) == patients(found) or found.refused

    def own(joined: Joined) -> Mapping[str, str | None]:
        return dict(zip(paths, patients(joined), strict=True))

    turned = join(paths[::-1], texts)
    assert dict(zip(paths[::-1], patients(turned), strict=True)) == own(found)
    # a whole path is never joined to another slide
    for path, patient in own(found).items():
        if patient is not None and (text := texts[int(patient)][0]).startswith("/s/") and text in paths:
            assert text == path
