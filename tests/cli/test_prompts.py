from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from wsiparse.recognize.vocabulary import TARGETS, describe


def test_the_list_shows_every_target_with_its_support_scale_and_colour(wsiparse: Callable) -> None:
    said = wsiparse("prompts")
    assert said.code == 0
    paragraphs = {p.split("  [")[0]: p for p in said.out.strip().split("\n\n")}
    for target in TARGETS:
        paragraph = " ".join(paragraphs[target.text].split())
        assert f"[trained, {target.kind}, {target.colour}]" in paragraph
        assert f"{target.input_mpp:g} um/px" in paragraph
        for synonym in target.synonyms:
            assert ", ".join(synonym.texts) in paragraph
    assert "embedded (answered)" in paragraphs["nuclei"]
    assert "untested" in paragraphs["nuclei"]
    assert "--strict-prompts" in said.out.splitlines()[-1]


def test_no_line_of_the_list_is_wider_than_a_terminal(wsiparse: Callable) -> None:
    assert max(len(line) for line in wsiparse("prompts").out.splitlines()) <= 110


def test_the_json_list_is_the_library_s_own(wsiparse: Callable) -> None:
    said = wsiparse("prompts", "--json")
    assert said.code == 0
    rows = json.loads(said.out)
    assert [row["prompt"] for row in rows] == [fact.prompt for fact in describe()]
    [inflammatory] = [row for row in rows if row["prompt"] == "inflammatory cells"]
    assert inflammatory["support"] == "trained"
    assert inflammatory["dice"] == {"mean": 0.538, "median": 0.617, "images": 682}
    assert inflammatory["engines"] == {"biomedparse": "trained", "embedded": "answered", "classical": "answered"}
    assert "lymphocytes" in inflammatory["mapped_with_caution"]
    [dead] = [row for row in rows if row["prompt"] == "dead cells"]
    assert dead["dice"] is None


def test_strict_prompts_is_a_setting_of_a_run(wsiparse: Callable, demo_slide: Path) -> None:
    said = wsiparse("plan", demo_slide, "--prompt", "nuclei", "--engine", "embedded", "--strict-prompts")
    assert said.code == 0, said.err


def test_several_prompts_in_one_are_refused_by_every_engine(wsiparse: Callable, demo_slide: Path) -> None:
    for engine in ("embedded", "classical"):
        said = wsiparse("plan", demo_slide, "--prompt", "immune cells, nuclei", "--engine", engine)
        assert said.code == 1
        assert '--prompt "immune cells" --prompt "nuclei"' in said.err
