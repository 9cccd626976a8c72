"""Prompts as an engine without a language model takes them: which class answers, and what it is called."""

from __future__ import annotations

import pytest

from wsiparse.config import PromptConfig, RunConfig
from wsiparse.run.engine import Engine


def engine(*prompts: PromptConfig | str, name: str = "embedded") -> Engine:
    asked = tuple(PromptConfig(text=p) if isinstance(p, str) else p for p in prompts)
    return Engine(RunConfig(engine=name, prompts=asked, device="cpu"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["embedded", "classical"])
@pytest.mark.parametrize("text", ["immune cells", "TILs", "免疫细胞"])
def test_other_words_are_asked_as_the_class_that_answers_with_a_notice(name: str, text: str) -> None:
    made = engine(text, name=name)
    assert [(p.text, p.class_name) for p in made.prompts] == [("inflammatory cells", "Inflammatory cells")]
    (notice,) = made.notices
    assert text in notice
    assert "inflammatory cells" in notice


def test_nuclei_beside_inflammatory_cells_are_the_other_nuclei() -> None:
    assert [p.class_name for p in engine("leukocytes", "nuclei").prompts] == ["Inflammatory cells", "Other nuclei"]
    assert [p.class_name for p in engine("nuclei", "inflammatory cells").prompts] == [
        "Other nuclei",
        "Inflammatory cells",
    ]
    assert [p.class_name for p in engine("nuclei").prompts] == ["Nuclei"]
    assert engine("nuclei", "inflammatory cells").notices == ()


def test_a_name_that_was_given_is_kept() -> None:
    named = PromptConfig(text="nucleus", class_name="Rest", colour="#102030")
    made = engine("immune cells", named)
    assert [(p.text, p.class_name) for p in made.prompts][1] == ("nuclei", "Rest")
    assert made.prompts[1].colour == "#102030"
