from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import PromptError
from wsiparse.recognize.prompts import Role, check_nucleus_prompts, role_of, share_nuclei
from wsiparse.types import Prompt, PromptSet


def asked(*prompts: Prompt) -> tuple[Role, ...]:
    return check_nucleus_prompts(PromptSet(prompts), "classical, not BiomedParse", 0.5)


@pytest.mark.parametrize(
    ("text", "role"),
    [
        ("nuclei", "nuclei"),
        ("  Cell   Nuclei ", "nuclei"),
        ("Inflammatory_Cells", "inflammatory cells"),
        ("inflammatory-cells.", "inflammatory cells"),
        ("lymphocytes", None),
        ("cells", None),
        ("neoplastic nuclei", None),
    ],
)
def test_only_the_same_thing_in_other_spelling_is_understood(text: str, role: Role | None) -> None:
    assert role_of(text) == role


def test_other_prompts_are_refused_with_the_remedy() -> None:
    with pytest.raises(
        PromptError, match=r"'mitoses'.*classical, not BiomedParse.*'nuclei'.*fetch the BiomedParse weights"
    ):
        asked(Prompt("nuclei", "a"), Prompt("mitoses", "b"))


def test_two_names_of_one_thing_are_refused() -> None:
    with pytest.raises(PromptError, match="already asked"):
        asked(Prompt("nuclei", "a"), Prompt("nucleus", "b"))


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
