from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import PromptError
from wsiparse.recognize.prompts import answer_of, answered, check_nucleus_prompts, share_nuclei
from wsiparse.types import Prompt, PromptSet


def asked(*prompts: Prompt) -> tuple[str, ...]:
    return check_nucleus_prompts(PromptSet(prompts), "classical, not BiomedParse", 0.5)


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("nuclei", "nuclei"),
        ("  Cell   Nuclei ", "nuclei"),
        ("Inflammatory_Cells", "inflammatory cells"),
        ("inflammatory-cells.", "inflammatory cells"),
        ("lymphocytes", "inflammatory cells"),
        ("immune cells", "inflammatory cells"),
        ("TILs", "inflammatory cells"),
        ("inflammatory cells in lung pathology", "inflammatory cells"),
        ("免疫细胞", "inflammatory cells"),
        ("炎症 细胞", "inflammatory cells"),
        ("\uff29\uff2d\uff2d\uff35\uff2e\uff25\u3000\uff23\uff25\uff2c\uff2c\uff33", "inflammatory cells"),
        ("Entzu\u0308ndungszellen", "inflammatory cells"),
        ("celulas inflamatorias", "inflammatory cells"),
        ("细胞核", "nuclei"),
        ("núcleos", "nuclei"),
        ("肿瘤细胞", None),
        ("cells", None),
        ("neoplastic nuclei", None),
    ],
)
def test_every_word_of_the_vocabulary_is_understood(text: str, role: str | None) -> None:
    answer = answer_of(text)
    assert (answer.text if answer is not None else None) == role


def test_other_prompts_are_refused_with_the_remedy() -> None:
    with pytest.raises(
        PromptError, match=r"'mitoses'.*classical, not BiomedParse.*'nuclei'.*fetch the BiomedParse weights"
    ):
        asked(Prompt("nuclei", "a"), Prompt("mitoses", "b"))


@pytest.mark.parametrize(
    ("text", "caution"),
    [("immune cells", ""), ("TILs", "wherever they lie"), ("淋巴细胞", "only a part"), ("Leukozyten", "")],
)
def test_other_words_are_answered_with_a_notice(text: str, caution: str) -> None:
    [(role, notice)] = answered([text], "embedded")
    assert role == "inflammatory cells"
    assert notice is not None
    assert repr(text) in notice
    assert "answered as 'inflammatory cells'" in notice
    assert caution in notice


@pytest.mark.parametrize("text", ["nuclei", "Cell nucleus", "Inflammatory-cells."])
def test_its_own_words_are_answered_silently(text: str) -> None:
    assert answered([text], "embedded")[0][1] is None


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("inflamatory cels", "nearest known prompt is 'inflammatory cells'"),
        ("nuclie", "nearest known prompt is 'nuclei'"),
        ("lymphocites", "nearest known prompt is 'inflammatory cells'"),
        ("tumor cells", "BiomedParse answers it as 'neoplastic cells'"),
        ("腺体", "BiomedParse answers it as 'glandular structure'"),
        ("qqqq", "answers only 'nuclei' and 'inflammatory cells'"),
    ],
)
def test_unknown_words_are_refused_with_the_nearest(text: str, near: str) -> None:
    with pytest.raises(PromptError, match=near):
        answered([text], "embedded")


def test_words_for_a_part_are_refused_when_strict() -> None:
    with pytest.raises(PromptError, match="only a part"):
        answered(["lymphocytes"], "embedded", strict=True)
    assert answered(["immune cells"], "embedded", strict=True)[0][0] == "inflammatory cells"


def test_two_names_of_one_thing_are_refused() -> None:
    with pytest.raises(PromptError, match="ask for the same"):
        asked(Prompt("nuclei", "a"), Prompt("nucleus", "b"))
    with pytest.raises(PromptError, match=r"'TILs' and '免疫细胞' ask for the same"):
        answered(["TILs", "nuclei", "免疫细胞"], "embedded")


def test_regions_and_foreign_scales_are_refused() -> None:
    with pytest.raises(PromptError, match="kind: cell"):
        asked(Prompt("nuclei", "a", kind="region"))
    with pytest.raises(PromptError, match="input_mpp"):
        asked(Prompt("nuclei", "a", input_mpp=0.25))
    assert asked(Prompt("nuclei", "a", input_mpp=0.5)) == ("nuclei",)


@given(st.data())
def test_every_nuclear_pixel_goes_to_exactly_one_prompt(data: st.DataObject) -> None:
    p = np.array(data.draw(st.lists(st.floats(0.0078125, 1, width=32), min_size=6, max_size=6)), np.float32).reshape(
        2, 3
    )
    mine = np.array(data.draw(st.lists(st.booleans(), min_size=6, max_size=6))).reshape(2, 3)
    roles = data.draw(st.permutations(["nuclei", "inflammatory cells"]))
    maps = share_nuclei(p, tuple(roles), mine)
    np.testing.assert_array_equal(maps.sum(axis=0), p)
    np.testing.assert_array_equal(maps[roles.index("inflammatory cells")] > 0, mine)


def test_a_prompt_asked_alone_gets_all_nuclei_or_only_the_inflammatory_ones() -> None:
    p = np.array([[0.9, 0.8]], np.float32)
    mine = np.array([[True, False]])
    np.testing.assert_array_equal(share_nuclei(p, ("nuclei",), None), p[None])
    np.testing.assert_array_equal(share_nuclei(p, ("inflammatory cells",), mine), [[[np.float32(0.9), 0]]])
