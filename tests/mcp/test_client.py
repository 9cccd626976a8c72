"""The official client against the server as a program of its own."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.ask.checks import check_figures

READ_ONLY = {
    "list_results", "describe_slide", "counts_and_densities", "compare_groups", "list_hot_spots", "check_quality",
    "explain_number", "ask", "plan_run", "get_figure", "get_crop",
}  # fmt: skip


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    found = {p: p.stat() for p in folder.rglob("*")}
    return {str(path): (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def test_every_tool_is_listed_and_called_and_nothing_is_written(cohort: Path, client: Callable) -> None:
    before = files_in(cohort.parent)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("list_results", {}),
        ("describe_slide", {"slide": "a1"}),
        ("counts_and_densities", {"slides": ["a1"], "classes": ["Inflammatory"], "compartments": ["tumour", "stroma"]}),
        ("compare_groups", {"classes": ["Inflammatory"], "compartments": ["tumour"]}),
        ("list_hot_spots", {"slide": "a1", "class_name": "Inflammatory", "most": 2}),
        ("check_quality", {"slides": ["b1"]}),
        ("explain_number", {"topic": "rate ratio"}),
        ("ask", {"question": "density of inflammatory cells in tumour on a2"}),
        ("plan_run", {"slides": ["x.svs"]}),
        ("get_figure", {"slide": "a1", "figure": "density"}),
        ("get_crop", {"slide": "a1", "x_um": 100, "y_um": 200, "width_um": 400, "height_um": 240}),
    ]
    tools, said = client([cohort], calls)
    assert {tool.name for tool in tools} == READ_ONLY == {name for name, _ in calls}
    assert all(tool.annotations.read_only_hint for tool in tools)
    answers = {name: result for (name, _), result in zip(calls, said, strict=True)}
    assert not any(result.is_error for result in said)
    figures = 0
    for name in READ_ONLY - {"list_results", "plan_run", "get_figure", "get_crop", "explain_number"}:
        content = answers[name].structured_content
        assert content["answered"], content
        assert content["figures"]
        check_figures(cohort, content["figures"])
        figures += len(content["figures"])
    assert figures > 30
    both = answers["counts_and_densities"].structured_content["figures"]
    assert {figure["what"].split(" of ")[0] for figure in both} == {"count", "density", "share"}
    assert answers["explain_number"].structured_content["lines"][0].startswith("exp(b)")
    listed = answers["list_results"].structured_content["results"][0]
    assert [slide["name"] for slide in listed["slides"]][:6] == ["a1", "a2", "a3", "b1", "b2", "b3"]
    assert listed["groups"] == ["non-responder", "responder"]
    assert not answers["plan_run"].structured_content["answered"]
    for name, size in (("get_figure", None), ("get_crop", (50, 30))):
        picture, about = answers[name].content
        facts = json.loads(about.text)
        image = Image.open(io.BytesIO(base64.b64decode(picture.data)))
        assert image.size == (facts["width"], facts["height"])
        assert size is None or image.size == size
        assert (
            cohort / "slides" / next(s["id"] for s in listed["slides"] if s["name"] == "a1") / facts["file"]
        ).is_file()
    assert files_in(cohort.parent) == before


def test_what_the_files_cannot_answer_is_refused_in_so_many_words(cohort: Path, client: Callable) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("ask", {"question": "how many mitoses are on a1?"}),
        ("counts_and_densities", {"classes": ["Mitosis"]}),
        ("counts_and_densities", {"slides": ["../a1"]}),
        ("describe_slide", {"slide": "nobody"}),
        ("describe_slide", {"slide": "late__0123abcd"}),
        ("compare_groups", {"groups": ["placebo"]}),
        ("explain_number", {"topic": "survival"}),
        ("check_quality", {"results": "elsewhere"}),
        ("list_hot_spots", {"slide": "a1", "class_name": "T cells"}),
    ]
    _, said = client([cohort], calls)
    for (name, values), result in zip(calls, said, strict=True):
        content = result.structured_content
        assert not content["answered"], (name, values)
        assert content["title"].startswith("cannot be answered from these results: "), content["title"]
        assert not content["figures"]


def test_a_run_is_planned_shown_and_only_then_started(
    client: Callable, demo_slide: Path, tmp_path: Path, wsiparse: Callable
) -> None:
    slides, results = tmp_path / "slides", tmp_path / "results"
    slides.mkdir()
    for name in ("a.svs", "b.svs"):
        (slides / name).write_bytes(demo_slide.read_bytes())
    assert wsiparse("run", slides / "a.svs", "-o", results, "--engine", "classical", "--no-labels").code == 0
    before = files_in(tmp_path)
    plan = {"slides": ["b.svs"], "prompts": ["nuclei"], "engine": "classical"}
    tools, said = client([results, "--slides", slides], [("plan_run", plan), ("list_results", {})])
    assert "start_run" not in {tool.name for tool in tools}
    planned = said[0].structured_content
    assert planned["answered"], planned
    assert planned["slides"][0]["tiles"] >= 1
    assert said[1].structured_content["slides_to_plan"] == ["a.svs", "b.svs"]
    assert files_in(tmp_path) == before
    # a plan's id is known beforehand only to whoever saw it: another server shows it again before it starts anything
    allowed = [results, "--slides", slides, "--allow-run"]
    tools, said = client(allowed, [("start_run", {"plan_id": planned["plan_id"]})])
    assert {"start_run", "run_state"} <= {tool.name for tool in tools}
    assert next(tool for tool in tools if tool.name == "start_run").annotations.read_only_hint is False
    assert "no such plan was shown" in said[0].structured_content["title"]
    calls = [
        ("plan_run", plan),
        ("start_run", {"plan_id": planned["plan_id"]}),
        ("start_run", {"plan_id": planned["plan_id"]}),
    ]
    calls += [("run_state", {"plan_id": planned["plan_id"]})]
    _, said = client(allowed, calls)
    assert said[1].structured_content["answered"], said[1].structured_content
    assert "started already" in said[2].structured_content["title"]
    assert said[3].structured_content["answered"]
    # it goes on after the server has ended
    import time

    end = time.monotonic() + 120
    while not list(results.glob("slides/b__*/DONE.json")) and time.monotonic() < end:
        time.sleep(0.2)
    assert list(results.glob("slides/b__*/DONE.json"))
