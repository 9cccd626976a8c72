from __future__ import annotations

import random
import unicodedata
from typing import Any

import pytest

from wsiparse.errors import ConfigError
from wsiparse.tiling import RegionClasses, is_left_out
from wsiparse.tiling.region_classes import STROMA_NAMES, TUMOUR_NAMES, one_spelling, stated_class, tidy_name


@pytest.mark.parametrize(
    ("properties", "name"),
    [
        ({"classification": {"name": "Tumor", "color": [200, 0, 0]}}, "Tumor"),
        ({"classification": {"names": ["Tumor", "Positive"]}}, "Tumor: Positive"),
        ({"classification": {"names": ["Stroma"], "name": "Stroma"}}, "Stroma"),
        ({"classification": {"name": "Positive", "parentClass": {"name": "Tumor"}}}, "Tumor: Positive"),
        (
            {"classification": {"name": "C", "parentClass": {"name": "B", "parentClass": {"name": "A"}}}},
            "A: B: C",
        ),
        ({"classification": {"name": "Tumor: Positive"}}, "Tumor: Positive"),
        ({"classification": "Tumor:Positive"}, "Tumor: Positive"),
        ({"classification": ["Tumor", "Positive"]}, "Tumor: Positive"),
        ({"classification": {}, "name": "Region 3"}, "Region 3"),
        ({"classification": None, "name": "Region 3"}, "Region 3"),
        ({"classification": {"name": " "}, "name": "Region 3"}, "Region 3"),
        ({"name": "left", "classification": {"name": "Tumor"}}, "Tumor"),
        ({"Classification": "Gland"}, "Gland"),
        ({"class": "Tumor"}, "Tumor"),
        ({"class_name": "Tumor", "name": "x"}, "Tumor"),
        ({"label": "Stroma"}, "Stroma"),
        ({"label": 17}, ""),
        ({"name": "two\nlines\u200b"}, "two lines"),
        ({"type": "annotation"}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_every_way_to_write_a_class_gives_its_name(properties: Any, name: str) -> None:
    assert tidy_name(stated_class(properties)) == name


TUMOUR = ["Tumor", "tumour", " TUMOR ", "Tumor*", "invasive tumor", "Invasive_carcinoma", "Tumor: Positive", "肿瘤"]
STROMA = ["Stroma", "stromal tissue", "tumor-associated stroma", "Peritumoral stroma", "Stroma: Positive", "间质"]
NEITHER = [
    "Non-tumor",
    "no tumour",
    "prob_notumor",
    "Tumor-free lymph node",
    "Tumor bed",
    "in-situ tumor",
    "Immune cells",
    "Other: Tumor",
    "Region*",
    "Benign",
    "Necrosis",
    "other tissue",
    "",
]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [(n, "tumour") for n in TUMOUR] + [(n, "stroma") for n in STROMA] + [(n, "neither") for n in NEITHER],
)
def test_a_class_is_what_its_name_is_known_for_and_else_neither(name: str, meaning: str) -> None:
    assert RegionClasses().meaning(name) == meaning


def test_lists_of_names_are_written_as_they_are_looked_up_and_share_none() -> None:
    for names, meaning in ((TUMOUR_NAMES, "tumour"), (STROMA_NAMES, "stroma")):
        assert {RegionClasses().meaning(name) for name in names} == {meaning}
    assert not TUMOUR_NAMES & STROMA_NAMES


def test_names_on_the_command_line_count_before_known_ones() -> None:
    classes = RegionClasses(("Gland", "tumor: stroma", "other tissue"), ("TUMOR", "immune_cells"))
    assert classes.meaning("gland: low") == "tumour"
    assert classes.meaning("Tumor: Stroma") == "tumour"
    assert classes.meaning("Tumour: Positive") == "stroma"
    assert classes.meaning("Immune Cells") == "stroma"
    assert classes.meaning("Carcinoma") == "tumour"
    assert classes.unused(["GLAND: x", "Tumor"]) == ("tumor: stroma", "other tissue", "immune_cells")
    assert classes.told(["Gland", "Fat", "Ignore*"]).startswith("tumour: Gland; neither: Fat; left out: Ignore*; no")


def test_a_name_cannot_be_both_nor_empty() -> None:
    with pytest.raises(ConfigError, match="both name 'core'"):
        RegionClasses(("Core",), ("core ",))
    with pytest.raises(ConfigError, match="--stroma-class: an empty name"):
        RegionClasses((), (" ",))


@pytest.mark.parametrize("name", ["Ignore*", "Ignore*: Fold", "Tissue: Artefact", "EXCLUDE", " artifacts "])
def test_a_part_that_says_ignore_leaves_the_region_out(name: str) -> None:
    assert is_left_out(name)
    assert RegionClasses(("Ignore",)).meaning(name) == "left out"


@pytest.mark.parametrize("name", ["Region*", "Ignored nerve", "Tumor", ""])
def test_other_names_leave_nothing_out(name: str) -> None:
    assert not is_left_out(name)


def test_names_that_differ_only_in_what_cannot_be_seen_are_one_class_and_told_once() -> None:
    names = ["Tumor", "tumor", "Tumor ", "Tumor", "M\u00fcller", unicodedata.normalize("NFD", "M\u00fcller"), "", " "]
    got, told = one_spelling(names)
    assert got == ["Tumor"] * 4 + ["M\u00fcller"] * 2 + ["", ""]
    assert told == [
        "the classes 'M\\u0308uller', 'M\u00fcller' are one: 'M\u00fcller'".replace("M\\u0308u", "Mu\\u0308"),
        "the classes 'Tumor', 'Tumor ', 'tumor' are one: 'Tumor'",
    ]
    mixed = list(enumerate(names))
    random.Random(0).shuffle(mixed)
    again, told_again = one_spelling([name for _, name in mixed])
    assert [got[k] for k, _ in mixed] == again
    assert told == told_again
