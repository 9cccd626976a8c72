from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

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
