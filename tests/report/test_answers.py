"""The four questions at the top of a slide's page."""

from __future__ import annotations

import pytest

from tests.report import made
from wsiparse.report.pages.answers import answers
from wsiparse.report.pages.page import slide_page
from wsiparse.report.pages.words import interval, significant


def test_the_questions_are_answered_with_the_numbers_of_the_page() -> None:
    numbers = made.numbers()
    row = next(r for r in numbers["rows"] if r["class"] == "Inflammatory" and r["compartment"] == "all tissue")
    found = dict(answers(numbers, [row]))
    assert list(found) == ["How many?", "Where?", "How sure?", "Can I trust this slide?"]
    assert significant(row["density_per_mm2"]) in found["How many?"]
    assert interval(row["density_low"], row["density_high"]) in found["How many?"]
    inside = numbers["immune"]["infiltrate"]
    assert f"{significant(inside['stroma_per_mm2'])} per mm² in stroma" in found["Where?"]
    # the made row's interval is 0.871 to 1.153 times its density
    assert "\N{MINUS SIGN}13 % to +15 %" in found["How sure?"]
    assert "7.0 % of Inflammatory are a close call" in found["How sure?"]
    assert "1 warning stands" in found["Can I trust this slide?"]
    page = slide_page(numbers, {})
    assert page.index("Can I trust this slide?") < page.index('class="key"')


def test_a_slide_without_warnings_is_not_praised_and_doubts_are_counted() -> None:
    numbers = made.numbers()
    numbers["limits"] = {"warnings": [], "sentences": []}
    (row,) = (r for r in numbers["rows"] if r["class"] == "Inflammatory" and r["compartment"] == "all tissue")

    def trust(rows: list) -> str:
        return dict(answers(numbers, rows))["Can I trust this slide?"]

    assert "look at the pictures all the same" in trust([row])
    assert trust([row | {"density_low": None}]).startswith("With care: there is no interval.")
    numbers["uncertainty"]["ambiguous"][0]["percent"] = 29.0
    assert trust([row]).startswith("With care: the class of many Inflammatory cells is doubtful.")


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (made.numbers(compartments=("all tissue",), area=(3.0,), classes=made.CLASSES[1:2]), "not asked for"),
        (made.numbers(compartments=("all tissue",), area=(0.0,)), "Not known"),
    ],
)
def test_what_is_not_known_is_said(numbers: dict, words: str) -> None:
    rows = [r for r in numbers["rows"] if r["class"] == "All cells" or len(numbers["classes"]) == 1][:1]
    text = " ".join(answer for _, answer in answers(numbers, rows))
    assert words in text
    assert "None" not in text
    assert "nan" not in text
