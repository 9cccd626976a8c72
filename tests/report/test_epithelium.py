"""What the inside of a border is called: epithelium, until somebody says that it is tumour."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.report.slides_made import PROMPTS, tumour_slide, write_slide
from wsiparse.report.data import called_in_report, cells_of
from wsiparse.report.pages.limits import EPITHELIUM_IS_TUMOUR
from wsiparse.report.slide import redo_slide_report
from wsiparse.report.stats.compartments import inside_words
from wsiparse.types import Prompt, PromptSet

#: Classes of a network that knows epithelium, and two more so that cells have the shares the slide is made with.
LEARNED = PromptSet(
    (
        Prompt("epithelial cells", "Epithelial", "#d55e00"),
        Prompt("inflammatory cells", "Inflammatory", "#ffd60a"),
        Prompt("connective tissue cells", "Connective", "#56b4e9"),
        Prompt("nuclei", "Other nuclei", "#999999"),
        Prompt("podocytes", "Podocytes", "#123456"),
    )
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("made"), "glands", tumour_slide(2.4, 2.2, 3), prompts=LEARNED)


def numbers_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


def words_of(folder: Path) -> str:
    """The page as people read it, without how things are computed in general."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    page = re.sub(r"<(script|style)\b.*?</\1>|<section id=\"methods\".*?</section>", " ", page, flags=re.DOTALL)
    return re.sub(r"<[^>]+>", " ", page)


def test_every_page_table_and_file_says_epithelium(made: Path) -> None:
    numbers = redo_slide_report(made, None, None)
    assert numbers["compartments"]["names"] == ["epithelium", "margin 0-100 um", "margin 100-500 um", "stroma"]
    assert numbers["compartments"]["inside"] == numbers["immune"]["infiltrate"]["inside"] == "epithelium"
    assert numbers["immune"]["distances"]["to"] == "nearest epithelial cell"
    assert "epithelial_cells_per_mm2_inside" in numbers["compartments"]["parameters"]
    text = words_of(made)
    assert "Immune cells in epithelium" in text
    assert "Epithelium less stroma" in text
    assert "Distance to the nearest epithelial cell" in text
    shown = re.sub(r"infiltrating tumou?r|tumou?r[- ]infiltrating", "", text)
    assert not re.findall(r".{30}tumou?r.{30}", shown, re.IGNORECASE), "nobody has said that it is tumour"
    table = (made / "counts.csv").read_text(encoding="utf-8")
    assert ",epithelium," in table
    assert "tumour" not in table


def test_the_user_may_say_that_epithelium_is_tumour_and_the_page_says_who_did(made: Path) -> None:
    numbers = redo_slide_report(made, None, None, tumour_is_epithelium=True)
    assert numbers["compartments"]["names"][0] == "tumour"
    assert numbers["settings"]["tumour_is_epithelium"] is True
    assert numbers["immune"]["distances"]["to"] == "nearest tumour cell"
    text = words_of(made)
    assert "Immune cells in tumour" in text
    assert EPITHELIUM_IS_TUMOUR in numbers["limits"]["sentences"]
    assert ",tumour," in (made / "counts.csv").read_text(encoding="utf-8")
    assert redo_slide_report(made, None, None)["compartments"]["names"][0] == "epithelium", "as the run was told"


def test_the_class_has_the_name_that_the_report_was_told(made: Path) -> None:
    """Whatever the run was told; and never a name beside its own compartment that says something else."""
    for told, name in ((True, "Tumour"), (False, "Epithelial")):
        numbers = redo_slide_report(made, None, None, tumour_is_epithelium=told)
        classes = [one["name"] for one in numbers["classes"]]
        assert classes[0] == name
        assert {row["class"] for row in numbers["rows"]} == {*classes, "All cells"}
        assert f"{name}," in (made / "counts.csv").read_text(encoding="utf-8")


def test_a_report_takes_the_word_of_a_run_back_but_no_name_that_a_user_gave() -> None:
    tumour = PromptSet((replace(LEARNED[0], class_name="Tumour"), *tuple(LEARNED)[1:]))
    assert called_in_report(tumour, by_run=True, now=False) == LEARNED
    assert called_in_report(LEARNED, by_run=False, now=True) == tumour
    for same in (True, False):
        assert called_in_report(tumour, by_run=same, now=same) is tumour
    own = PromptSet((replace(LEARNED[0], class_name="Glands"),))
    assert called_in_report(own, by_run=False, now=True) == own
    taken = PromptSet((*tuple(LEARNED), Prompt("neoplastic cells", "Tumour")))
    assert called_in_report(taken, by_run=False, now=True) is taken


def test_only_words_differ(made: Path) -> None:
    plain = redo_slide_report(made, None, None)
    called = redo_slide_report(made, None, None, tumour_is_epithelium=True)
    assert plain["compartments"]["area_mm2"] == called["compartments"]["area_mm2"]
    assert plain["immune"]["infiltrate"] | {"inside": ""} == called["immune"]["infiltrate"] | {"inside": ""}
    assert [row["n"] for row in plain["rows"]] == [row["n"] for row in called["rows"]]


def test_cells_are_tumour_where_neoplastic_ones_were_told_apart() -> None:
    assert cells_of(PROMPTS, tumour_is_epithelium=False) == "tumour"
    assert cells_of(LEARNED, tumour_is_epithelium=False) == "epithelium"
    assert cells_of(LEARNED, tumour_is_epithelium=True) == "tumour"
    assert cells_of(PromptSet((Prompt("nuclei", "Nuclei"),)), tumour_is_epithelium=False) == "tumour"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tumour", "epithelium"),
        ("no tumour cells were found", "no epithelial cells were found"),
        ("Tumour cells; a tumour cell", "Epithelial cells; a epithelial cell"),
        ("tumour and connective cell counts", "epithelial and connective cell counts"),
        ("tumour_cells_per_mm2_outside", "epithelial_cells_per_mm2_outside"),
        ("Tumour and stroma", "Epithelium and stroma"),
    ],
)
def test_words_about_the_inside(text: str, told: str) -> None:
    assert inside_words(text, "epithelium") == told
    assert inside_words(text, "tumour") == text
