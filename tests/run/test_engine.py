"""Prompts as an engine without a language model takes them: which class answers, and what it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recognize.models import write_model
from wsiparse.config import PromptConfig, RunConfig
from wsiparse.errors import PromptError
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


def test_settings_that_an_engine_has_no_use_for_are_said_once() -> None:
    asked = RunConfig(engine="classical", precision="bf16", runtime="torch", device="cpu")
    assert Engine(asked).notices == (
        "--precision bf16: the classical engine has no use for it",
        "--runtime torch: the classical engine has no use for it",
    )
    assert Engine(RunConfig(engine="classical", device="cpu")).notices == ()
    assert Engine(RunConfig(engine="embedded", precision="float32", runtime="torch", device="cpu")).notices == ()


def test_a_model_called_as_an_engine_is_mentioned_and_reached_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "classical").mkdir()
    assert engine(name="classical").notices == (), "a folder of results may be called so"
    write_model(tmp_path / "classical")
    made = engine(name="classical")
    assert made.title == "classical, not BiomedParse"
    assert made.notices == (
        "--engine classical: the engine of that name, not the model in the folder classical here; "
        "--engine ./classical is the model",
    )
    assert engine(name="./classical").title == "a tiny network, not BiomedParse"


@pytest.mark.parametrize("name", ["embedded", "classical"])
def test_a_prompt_given_twice_is_refused_as_such(name: str) -> None:
    with pytest.raises(PromptError, match=r"^prompt 'Nuclei' is given twice. Leave one out.$"):
        engine("nuclei", "Nuclei", name=name)
    with pytest.raises(PromptError, match=r"^prompts 'TILs' and 'lymphocytes' ask for the same, 'inflammatory cells'"):
        engine("TILs", "lymphocytes", name=name)
