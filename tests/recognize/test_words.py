from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import PromptError
from wsiparse.recognize.targets import TARGETS
from wsiparse.recognize.words import NUCLEI, check_one_each, match, means_nuclei, nearest, plain

WORDS = [(words, t.text) for t in TARGETS for s in t.synonyms for words in s.texts]


@given(st.text(max_size=20))
def test_a_plain_form_is_its_own(text: str) -> None:
    assert plain(plain(text)) == plain(text)


def test_no_two_words_are_the_same_when_plain() -> None:
    forms = [plain(words) for words, _ in WORDS] + [plain(t.text) for t in TARGETS] + [plain(w) for w in NUCLEI]
    assert len(set(forms)) == len(forms)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_every_word_is_understood_in_every_unicode_form_and_case(form: str) -> None:
    for words, target in WORDS:
        for written in (words, words.upper(), words.title().replace(" ", "_")):
            found = match(unicodedata.normalize(form, written))
            assert found is not None, written
            assert found.target.text == target
    assert all(means_nuclei(unicodedata.normalize(form, words.upper())) for words in NUCLEI)


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ("肿瘤细胞", "neoplastic cells"),
        ("炎症细胞", "inflammatory cells"),
        ("淋巴细胞", "inflammatory cells"),
        ("结缔组织细胞", "connective tissue cells"),
        ("上皮细胞", "epithelial cells"),
        ("死亡细胞", "dead cells"),
        ("腺体", "glandular structure"),
    ],
)
def test_the_six_classes_have_chinese_names(words: str, target: str) -> None:
    found = match(words)
    assert found is not None
    assert found.target.text == target


@pytest.mark.parametrize("text", ["cells", "tumor", "细胞", "stroma", "", ".", "inflammatory cells in lung"])
def test_what_means_no_target_is_none(text: str) -> None:
    assert match(text) is None
    assert not means_nuclei(text)


def test_the_nearest_of_unlike_words_is_none() -> None:
    assert nearest("qqqq") is None
    assert nearest("炎症性细胞") == "inflammatory cells"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("immune cells, nuclei", ("immune cells", "nuclei")),
        ("nuclei and lymphocytes", ("nuclei", "lymphocytes")),
        ("Zellkerne und Lymphozyten", ("Zellkerne", "Lymphozyten")),
        ("neoplastic cells; glands, and nuclei", ("neoplastic cells", "glands", "nuclei")),
        ("炎症细胞、细胞核", ("炎症细胞", "细胞核")),
    ],
)
def test_several_prompts_in_one_are_refused_and_shown_one_by_one(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(PromptError) as caught:
        check_one_each(["glands", text])
    assert f"{len(parts)} prompts in one" in str(caught.value)
    assert " ".join(f'--prompt "{part}"' for part in parts) in str(caught.value)


def test_no_known_words_and_no_words_of_others_are_a_list() -> None:
    check_one_each([*(words for words, _ in WORDS), *NUCLEI, *(t.text for t in TARGETS)])
    check_one_each(["mast cells and eosinophil granules", "nuclei, in the basal layer", "cells, round", ","])
