from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from wsiparse.report.pages import lettering
from wsiparse.report.pages.lettering import font_of, text_width, write


def ink(text: str, size: int) -> np.ndarray:
    image = Image.new("L", (400, 80), 255)
    write(ImageDraw.Draw(image), (20, 10), text, font_of(size))
    return np.asarray(image) < 128


@pytest.mark.parametrize("size", [11, 13, 20, 28])
def test_a_micro_is_a_u_with_a_stem_below_the_line(size: int) -> None:
    micro, plain = ink("µ", size), ink("u", size)
    assert (micro & plain).sum() == plain.sum(), "the u is part of it"
    rows, columns = (np.flatnonzero(plain.any(axis=a)) for a in (1, 0))
    below = micro[rows[-1] + 1 :]
    assert below.any()
    assert abs(int(np.flatnonzero(below.any(axis=0)).mean()) - int(columns[0])) <= max(2, size // 10)


def test_a_raised_two_is_small_and_high() -> None:
    raised, plain = ink("²", 28), ink("2", 28)
    high, low = (np.flatnonzero(p.any(axis=1)) for p in (raised, plain))
    assert len(high) < 0.8 * len(low)
    assert high[-1] < low[-1]


def test_text_ends_where_it_is_told_to() -> None:
    image = Image.new("L", (400, 60), 255)
    draw, font = ImageDraw.Draw(image), font_of(20)
    write(draw, (390, 10), "200 µm", font, right=True)
    columns = np.flatnonzero((np.asarray(image) < 128).any(axis=0))
    assert 384 <= columns[-1] <= 391
    assert columns[-1] - columns[0] == pytest.approx(text_width(draw, "200 µm", font), abs=5)


NAMES = ("Épithélium", "Größe", "Naciek zapalny, guz złośliwy", "опухоль", "όγκος", "肿瘤", "ورم", "腫瘍😀", "a\u0301")


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without any font."""
    forget = (lettering._font_files, lettering._file_with)
    monkeypatch.setattr(lettering, "_font_folders", list)
    for cached in forget:
        cached.cache_clear()
    yield
    for cached in forget:
        cached.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_without_fonts_names_are_written_in_letters_there_are(name: str, no_fonts: None) -> None:
    text, font = lettering._drawable(name, font_of(20))
    assert all(lettering._has(font, letter) for letter in text if letter != " ")
    np.testing.assert_array_equal(ink(name, 20), ink(text, 20))
    assert ink(name, 20).any()


@pytest.mark.parametrize(
    ("name", "plain"),
    [("Épithélium", "Epithelium"), ("Größe", "Grosse"), ("肿瘤", "\\u80bf\\u7624"), ("3 µm²", "3 µm²"),
     ("a\u0301", "a"), ("złośliwy", "zlosliwy"), ("Øæ", "Oae"), ("😀", "\\U0001f600")],
)  # fmt: skip
def test_accents_go_and_what_has_no_plain_form_is_an_escape(name: str, plain: str, no_fonts: None) -> None:
    assert lettering._drawable(name, font_of(20))[0] == plain


def test_a_font_of_the_machine_with_all_letters_writes_the_name_as_it_is() -> None:
    file = lettering._file_with(frozenset("Эпителий"))
    if file is None:
        pytest.skip("no font with Cyrillic letters on this machine")
    text, font = lettering._drawable("Эпителий, 3 µm²", font_of(20))
    assert text == "Эпителий, 3 µm²"
    assert all(lettering._has(font, letter) for letter in text if letter != " ")
    assert not np.array_equal(ink("Эпителий", 20), ink("Эпителия", 20))  # letters, not boxes


def test_a_file_that_is_no_font_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "letters.ttf").write_bytes(b"no font")
    monkeypatch.setattr(lettering, "_font_folders", lambda: [tmp_path, tmp_path / "absent"])
    lettering._font_files.cache_clear()
    lettering._file_with.cache_clear()
    try:
        assert lettering._drawable("опухоль", font_of(20))[0].startswith("\\u043e")
    finally:
        lettering._font_files.cache_clear()
        lettering._file_with.cache_clear()
