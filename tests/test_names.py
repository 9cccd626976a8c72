"""Names of slides: no two alike, short, and the same in whatever order slides come."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.names import folded, path_parts, unique_names


def named(*paths: str) -> list[str]:
    labels = [path.rsplit("/", 1)[-1].rsplit(".", 1)[0] for path in paths]
    return unique_names(paths, labels, [f"id{k}" for k in range(len(paths))])


def test_a_name_that_is_unique_stays_as_it_is() -> None:
    assert named("/s/a.svs", "/s/b.svs", "/t/c.svs") == ["a", "b", "c"]


def test_slides_of_one_name_get_the_folders_that_tell_them_apart() -> None:
    assert named("/s/p1/HE.tif", "/s/p2/HE.tif", "/s/p2/IHC.tif") == ["p1/HE", "p2/HE", "IHC"]
    assert named("/s/p1/x/HE.tif", "/s/p2/x/HE.tif") == ["p1/x/HE", "p2/x/HE"]
    assert named("/s/HE.tif", "/s/p/HE.tif") == ["s/HE", "p/HE"]


def test_slides_of_one_stem_get_their_endings() -> None:
    assert named("/s/a.tif", "/s/a.tiff") == ["a.tif", "a.tiff"]
    assert named("/s/p1/a.tif", "/s/p1/a.svs", "/s/p2/a.tif") == ["p1/a", "a.svs", "p2/a"]
    # the third is called what the first would be
    assert len(set(named("/s/a.tif", "/s/a.svs", "/s/a.tif.svs"))) == 3


def test_names_with_endings_keep_them() -> None:
    paths = ["/s/p1/HE.tif", "/s/p2/HE.tif"]
    assert unique_names(paths, ["HE.tif", "HE.tif"], ["1", "2"]) == ["p1/HE.tif", "p2/HE.tif"]


def test_what_looks_alike_is_told_apart() -> None:
    accent = "/s/Müller.tif"
    assert named(unicodedata.normalize("NFC", accent), unicodedata.normalize("NFD", accent)) == ["id0", "id1"]
    assert named("/s/HE.tif", "/s/he.tif") == ["id0", "id1"]
    assert named("/s/p1/HE.tif", "/s/p2/he.tif") == ["p1/HE", "p2/he"]


def test_slides_without_a_path_are_told_by_their_ids() -> None:
    assert unique_names(["", ""], ["HE", "HE"], ["HE__1", "HE__2"]) == ["HE__1", "HE__2"]


def test_ids_that_differ_only_in_case_still_give_two_names() -> None:
    assert unique_names(["", ""], ["x", "x"], ["X__1", "x__1"]) == ["X__1 (1)", "x__1 (2)"]
    with pytest.raises(ValueError, match="unique"):
        unique_names(["", ""], ["x", "x"], ["1", "1"])


PATHS = st.lists(st.tuples(st.sampled_from("pqP"), st.sampled_from("xy"), st.sampled_from(["a", "b", "a.tif"])))


@given(PATHS.map(lambda rows: sorted({"/".join(("", *row)) + ".tif" for row in rows})), st.randoms())
def test_names_are_unique_and_do_not_depend_on_the_order(paths: list[str], random: object) -> None:
    names = named(*paths)
    assert len({folded(name) for name in names}) == len(paths)
    turned = list(paths)
    random.shuffle(turned)  # type: ignore[attr-defined]
    known = unique_names(turned, [p.rsplit("/", 1)[-1].rsplit(".", 1)[0] for p in turned], turned)
    again = unique_names(paths, [p.rsplit("/", 1)[-1].rsplit(".", 1)[0] for p in paths], paths)
    assert dict(zip(turned, known, strict=True)) == dict(zip(paths, again, strict=True))


def test_paths_of_any_system_come_apart_alike() -> None:
    assert path_parts("\\\\server\\share\\p1\\HE.tif") == ("server", "share", "p1", "HE.tif")
    assert path_parts("C:/x/../HE.tif ") == ("C:", "x", "..", "HE.tif")
    assert path_parts("https://h/p1/HE.tif") == ("h", "p1", "HE.tif")
