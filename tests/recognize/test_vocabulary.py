from __future__ import annotations

import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2lab

from tests.conftest import ROOT, SHARED
from wsiparse.config import load_config, prompt_set
from wsiparse.errors import PromptError
from wsiparse.recognize.biomedparse.engine import engine_info
from wsiparse.recognize.prompts import answer_of
from wsiparse.recognize.vocabulary import TARGETS, describe, resolve, support, trained_target
from wsiparse.types import Prompt, PromptSet

SYNONYMS = [(t, s, words) for t in TARGETS for s in t.synonyms for words in s.texts]

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
DEFICIENCIES = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def test_there_are_five_cell_types_and_one_region() -> None:
    assert [t.text for t in TARGETS if t.kind == "cell"] == [
        "neoplastic cells",
        "inflammatory cells",
        "connective tissue cells",
        "epithelial cells",
        "dead cells",
    ]
    assert [t.text for t in TARGETS if t.kind == "region"] == ["glandular structure"]


def test_cells_are_seen_64_um_at_a_time_and_glands_480() -> None:
    assert {t.tile_um for t in TARGETS if t.kind == "cell"} == {64.0}
    [glands] = [t for t in TARGETS if t.kind == "region"]
    assert glands.tile_um == pytest.approx(775 * 0.62, rel=0.01)


def test_cells_are_seen_as_the_engine_sees_them_unless_told_otherwise() -> None:
    info = engine_info()
    assert {(t.input_mpp, t.tile_px) for t in TARGETS if t.kind == "cell"} == {(info.mpp, info.tile_px)}


def test_the_scored_targets_are_those_with_published_parameters() -> None:
    file = SHARED / "biomedparse" / "target_dist_pathology.json"
    if not file.exists():
        pytest.skip("needs ../shared/biomedparse (published score parameters), which is not here")
    published = json.loads(file.read_text(encoding="utf-8"))["Pathology"]
    assert {t.text for t in TARGETS if t.scored} == set(published)


@pytest.mark.parametrize("sight", DEFICIENCIES)
def test_colours_are_told_apart_by_colour_blind_readers(sight: str) -> None:
    rgb = np.array([Prompt(t.text, t.class_name, t.colour).rgb for t in TARGETS]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(DEFICIENCIES[sight]).T, 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055))
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2))
    assert nearest > 15  # a difference of 2.3 is just noticeable


def test_the_targets_make_a_prompt_set() -> None:
    assert len(PromptSet(tuple(Prompt(t.text, t.class_name, t.colour, t.kind) for t in TARGETS))) == 6


def test_the_shipped_config_asks_for_every_target_as_the_table_has_it() -> None:
    config = load_config(ROOT / "configs" / "pathology_all.yaml")
    assert config.engine == "biomedparse"
    asked = [(p.text, p.class_name, p.colour, p.kind, p.threshold, p.input_mpp) for p in prompt_set(config.prompts)]
    assert asked == [(t.text, t.class_name, t.colour, t.kind, t.threshold, t.input_mpp) for t in TARGETS]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.text)
def test_a_target_in_its_own_words_is_asked_silently(target: object) -> None:
    text = target.text  # type: ignore[attr-defined]
    for written in (text, text.upper(), f"  {text.replace(' ', '   ')} ", f"{text}.", text.replace(" ", "-")):
        assert resolve([written], strict=True) == [(text, None)]
        assert support(written) == "trained"


def test_the_long_form_counts_as_trained_and_keeps_its_site() -> None:
    assert support("neoplastic cells in breast pathology") == "trained"
    assert resolve(["Neoplastic  cells in bile-duct Pathology"], strict=True) == [
        ("neoplastic cells in bile-duct pathology", None)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "neoplastic cells in breast",
        "neoplastic cells in breast radiology",
        "neoplastic cells in pathology",
        "neoplastic cells in breast pathology images",
        "cells in breast pathology",
        "in breast pathology",
        "nuclei",
        "tumor",
        "mitoses",
        "stroma",
        "epithelium",
        "",
    ],
)
def test_words_that_are_no_target_are_untested(text: str) -> None:
    assert support(text) == "untested"
    assert trained_target(text) is None


def test_a_site_the_training_set_lacks_is_told() -> None:
    [(text, notice)] = resolve(["glandular structure in breast pathology"], strict=True)
    assert text == "glandular structure in breast pathology"
    assert notice is not None
    assert "no site 'breast'" in notice
    assert "colon" in notice


@pytest.mark.parametrize(("target", "synonym", "words"), SYNONYMS, ids=[words for _, _, words in SYNONYMS])
def test_a_synonym_is_asked_as_its_target_with_a_notice(target: object, synonym: object, words: str) -> None:
    own, caution = target.text, synonym.caution  # type: ignore[attr-defined]
    [(text, notice)] = resolve([words])
    assert text == own
    assert trained_target(words) is target
    assert notice is not None
    assert repr(words) in notice
    assert f"'{own}'" in notice
    assert caution in notice
    assert "\n" not in notice


@pytest.mark.parametrize(("words", "target"), [("TILs", "inflammatory"), ("Tumour-infiltrating lymphocytes", "inflam")])
def test_synonyms_are_known_in_any_case_and_with_hyphens(words: str, target: str) -> None:
    assert resolve([words])[0].text.startswith(target)


def test_a_synonym_keeps_its_site() -> None:
    assert resolve(["plasma cells in colon pathology"])[0].text == "inflammatory cells in colon pathology"


def test_no_words_stand_for_two_targets() -> None:
    words = [w for _, _, w in SYNONYMS] + [t.text for t in TARGETS]
    assert len(words) == len(set(words))


def test_words_for_a_part_of_a_target_say_that_all_of_it_is_counted() -> None:
    notice = resolve(["plasma cells"])[0].notice
    assert notice is not None
    assert "only a part" in notice
    assert support("plasma cells") == "untested"


def test_words_of_the_same_meaning_pass_the_strict_check() -> None:
    assert resolve(["tumor cells"], strict=True)[0].text == "neoplastic cells"


@pytest.mark.parametrize("words", ["plasma cells", "mitoses", "nuclei", "lymphozytes", "neoplastic cells in breast"])
def test_the_strict_check_refuses_untested_words_and_names_the_trained_ones(words: str) -> None:
    with pytest.raises(PromptError) as caught:
        resolve(["neoplastic cells", words], strict=True)
    said = str(caught.value)
    assert repr(words) in said
    assert all(f"'{t.text}'" in said for t in TARGETS)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        ("lymphozytes", "inflammatory cells"),
        ("tumor region", "neoplastic cells"),
        ("cribriform glands", "glandular structure"),
        ("epithelium", "epithelial cells"),
    ],
)
def test_the_nearest_trained_prompt_is_named(words: str, nearest: str) -> None:
    notice = resolve([words])[0].notice
    assert notice is not None
    assert f"nearest trained prompt is '{nearest}'" in notice
    with pytest.raises(PromptError, match=f"nearest trained prompt is '{nearest}'"):
        resolve([words], strict=True)


@pytest.mark.parametrize("words", ["nuclei", "cells", "mitoses"])
def test_no_nearest_prompt_is_named_where_none_is_near(words: str) -> None:
    notice = resolve([words])[0].notice
    assert notice is not None
    assert "nearest" not in notice


def test_free_text_is_asked_as_written_with_a_warning() -> None:
    [(text, notice)] = resolve(["  Mitotic   figures "])
    assert text == "Mitotic figures"
    assert notice is not None
    assert "not trained" in notice


def test_two_prompts_for_the_same_are_refused_by_both_names() -> None:
    with pytest.raises(PromptError, match=r"'lymphocytes' and 'Plasma cells' both ask for 'inflammatory cells'"):
        resolve(["lymphocytes", "dead cells", "Plasma cells"])


def test_a_target_with_and_without_a_site_are_two_prompts() -> None:
    assert len(resolve(["dead cells", "dead cells in lung pathology"])) == 2


def test_a_blank_prompt_is_refused() -> None:
    with pytest.raises(PromptError, match="no words"):
        resolve([" \n"])


@given(st.text(max_size=40), st.booleans())
def test_any_text_gives_one_entry_or_an_error_and_only_trained_ones_pass_in_silence(text: str, strict: bool) -> None:
    if not text.strip() or (strict and support(text) == "untested"):
        with pytest.raises(PromptError) as caught:
            resolve([text], strict)
        assert "\n" not in str(caught.value)
        return
    [(used, notice)] = resolve([text], strict)
    assert used.strip() == used != ""
    assert notice is None or "\n" not in notice
    assert support(text) == "trained" or notice is not None


@given(st.lists(st.sampled_from([w for _, _, w in SYNONYMS] + [t.text for t in TARGETS] + ["x", "y z"]), max_size=4))
def test_what_is_resolved_stays_as_it_is_when_resolved_again(texts: list[str]) -> None:
    try:
        used = [r.text for r in resolve(texts)]
    except PromptError:
        return
    assert [r.text for r in resolve(used)] == used


#: What the embedded network answers; neoplastic cells as epithelial ones, with a notice.
LEARNED = {"nuclei", "inflammatory cells", "epithelial cells", "connective tissue cells", "neoplastic cells"}


def test_the_list_tells_what_each_engine_answers() -> None:
    facts = {fact.prompt: fact for fact in describe()}
    assert list(facts) == [*[t.text for t in TARGETS], "nuclei"]
    for text, fact in facts.items():
        answers = {engine for engine, how in fact.engines.items() if how == "answered"}
        two = {"classical"} if answer_of(text) is not None else set()
        learned = {"embedded"} if text in LEARNED else set()
        assert answers == two | learned
        told = "normal and neoplastic epithelium are not distinguished" in " ".join(fact.notes)
        assert told == (text in ("epithelial cells", "neoplastic cells"))
        assert fact.engines["biomedparse"] == fact.support == support(text)
        assert re.fullmatch("#[0-9a-f]{6}", fact.colour)


def test_the_list_names_every_synonym_once() -> None:
    named = [w for fact in describe() if fact.source for w in (*fact.synonyms, *fact.mapped_with_caution)]
    assert sorted(named) == sorted(w for _, _, w in SYNONYMS)
