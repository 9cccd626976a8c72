from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.report.pages.words import NOTHING, count, interval, listed, p_value, sentence, significant

MINUS = "\N{MINUS SIGN}"
THIN = "\u202f"


def read(text: str) -> Decimal:
    return Decimal(text.replace(THIN, "").replace(MINUS, "-"))


@given(st.integers(-(10**18), 10**18))
def test_a_count_reads_back(n: int) -> None:
    assert int(read(count(n))) == n
    assert all(len(part) == 3 for part in count(n).split(THIN)[1:])


@given(st.floats(1e-12, 1e20) | st.floats(-1e20, -1e-12), st.integers(2, 6))
def test_a_number_is_the_nearest_with_its_digits(value: float, digits: int) -> None:
    got = read(significant(value, digits))
    exact = Decimal(value)
    unit = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    assert abs(got - exact) <= unit / 2
    assert got == got.quantize(unit) if abs(got) < 10**20 else True


@given(st.floats(1e-4, 1e14))
def test_three_digits_are_shown(value: float) -> None:
    digits = significant(value).replace(THIN, "").replace(".", "").lstrip("0")
    assert len(digits.rstrip("0")) <= 3 <= len(digits)


def test_halves_go_away_from_zero() -> None:
    assert significant(1.125) == "1.13"
    assert significant(-1.125) == f"{MINUS}1.13"
    assert significant(1125.0) == f"1{THIN}130"


def test_a_carry_brings_no_digit_too_many() -> None:
    assert significant(9.996) == "10.0"
    assert significant(999.6) == f"1{THIN}000"


def test_very_small_and_very_large_numbers_get_an_exponent() -> None:
    assert significant(1.234e-7) == f"1.23e{MINUS}7"
    assert significant(1.234e18) == "1.23e18"


def test_what_is_not_known_is_a_dash() -> None:
    assert {significant(None), count(None), p_value(None), interval(None, 1.0), interval(1.0, None)} == {NOTHING}


def test_words_in_a_sentence() -> None:
    assert [listed([]), listed(["a"]), listed(["a", "b"])] == ["", "a", "a and b"]
    assert sentence("") == ""


@pytest.mark.parametrize(("p", "text"), [(0.00099, "< 0.001"), (0.001, "0.0010"), (0.0456, "0.046"), (0.0, "< 0.001")])
def test_p_values(p: float, text: str) -> None:
    assert p_value(p) == text
