from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from wsiparse.config import DEFAULT_PROMPTS, RunConfig, load_config, prompt_set
from wsiparse.errors import ConfigError

#: Settings of runs; recipes of trainings are read by tests/train.
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.yaml") if not path.name.startswith("train_"))


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_shipped_config_loads_and_gives_prompts(path: Path) -> None:
    config = load_config(path)
    assert len(prompt_set(config.prompts or DEFAULT_PROMPTS)) >= 1
    assert path.read_text(encoding="utf-8").startswith("#"), "a shipped config explains itself"


def test_there_are_shipped_configs() -> None:
    assert {"he_cells.yaml", "nuclei.yaml", "quick_look.yaml"} <= {p.name for p in CONFIGS}


def test_an_unknown_key_names_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'engnie': did you mean 'engine'\?"):
        load_config(written(tmp_path, "engnie: embedded\n"))


def test_an_unknown_key_of_a_prompt_names_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'prompts\.0\.color': did you mean 'colour'\?"):
        load_config(written(tmp_path, "prompts:\n  - text: nuclei\n    color: red\n"))


def test_a_value_out_of_range_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'mpp' is -1"):
        load_config(written(tmp_path, "mpp: -1\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", "not valid YAML at line"),
        ("- nuclei\n", "holds list"),
        ("42\n", "holds int"),
    ],
)
def test_a_file_that_is_no_mapping_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: no such config file"):
        load_config(tmp_path / "nothing.yaml")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "")) == RunConfig()


def test_command_line_values_win_over_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "engine: classical\nmpp: 0.5\n"))
    assert config.updated({"engine": "embedded", "mpp": None}) == RunConfig(engine="embedded", mpp=0.5)


def test_two_prompts_of_one_class_name_are_refused() -> None:
    config = RunConfig.model_validate({"prompts": [{"text": "a", "class_name": "X"}, {"text": "b", "class_name": "X"}]})
    with pytest.raises(ConfigError, match="class_name given twice: X"):
        prompt_set(config.prompts)
