"""Every command on every page is run, or is in a table that says why not; options and files on the pages exist."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES, Command, commands, name_of, spans, split_commands
from wsiparse.cli.main import COMMANDS

#: Commands of ours that are not run here, word for word, and why.
NOT_RUN = {
    "wsiparse run slides/ -o results --scheduler tls://node1:8786": "needs a Dask cluster; tests/hpc has one",
    "wsiparse run slides/ -o results -n 8 --config configs/slurm_workers.yaml": "needs Slurm; tests/slurm",
    "wsiparse run slides/ -o results --scheduler local": "a process for every core; the next line's -n 2 is run",
    "wsiparse run slides/ -o glands --prompt inflammatory cells --prompt glandular structure": "needs the weights",
    "wsiparse run slides/ -o taught --engine my-classes": "needs what the line before makes; tests/teach",
    "wsiparse evaluate taught --truth truth": "the same; the page about it has one that is run",
    "wsiparse teach results --annotations labels -o my-classes": "tests/cli/test_help.py runs it with labels",
    "wsiparse train tiles/mine -o my-model": "takes hours; tests/cli/test_train.py runs a short one",
    "wsiparse train TILES/consep TILES/brca_m2c TILES/nucls TILES/nucls_points TILES/tnbc TILES/nuinsseg "
    "TILES/dsb2018_colour -o embedded --recipe configs/train_embedded.yaml": "takes hours, and needs the tiles",
    "wsiparse mcp results": "serves until its stdin ends; tests/mcp",
    "wsiparse mcp results --slides slides --allow-run": "serves until its stdin ends; tests/mcp",
    "wsiparse view results/slides/NAME": "serves until Ctrl-C; tests/viewer",
    "wsiparse weights fetch --accept-licence": "needs a network; tests/recognize/biomedparse has a hub of its own",
    "wsiparse weights fetch": "needs a network and somebody at the terminal",
    "wsiparse weights path": "exit code 1 without the weights; tests/cli/test_weights.py",
    "wsiparse weights verify": "needs the weights; tests/cli/test_weights.py",
    "wsiparse weights verify --load": "needs the weights; tests/cli/test_weights.py",
}

#: Other programs that pages call: how a command begins, and why it is not run here.
OTHERS = {
    "scripts/quickstart.sh": "makes an environment",
    "scripts/check.sh": "is what runs this test",
    ".venv/bin/ruff check": "part of the gate",
    ".venv/bin/mypy": "part of the gate",
    ".venv/bin/lint-imports": "part of the gate",
    ".venv/bin/python -m pytest": "part of the gate",
    "scripts/build_viewer.sh": "needs npm",
    "scripts/slurm_array.sbatch submit": "needs Slurm; tests/slurm",
    "scripts/pbs_array.sh submit": "needs PBS; tests/slurm/test_job_scripts.py",
    "scripts/evaluate_embedded.py FOLDER": "needs annotated tiles",
    "scripts/evaluate_failures.py FOLDER": "needs annotated tiles; tests/recognize/test_evaluate_failures.py",
    "scripts/evaluate_split.py FOLDER": "needs annotated tiles; tests/objects/test_object_scripts.py",
    "scripts/draw_failures.py FOLDER/dsb2018_colour": "needs annotated tiles; tests/docs/test_accuracy.py",
    "validate_iods": "downloads the standard's text",
    "pip install": "changes an environment",
    "mkdocs serve": "serves until Ctrl-C; tests/docs/test_site.py builds the site",
    "mkdir -m 700 key": "tests/docs/test_keys.py",
    "openssl req": "tests/docs/test_keys.py",
    "export": "tests/docs/test_keys.py",
    "for role in": "tests/docs/test_keys.py",
    "do": "tests/docs/test_keys.py",
    "done": "tests/docs/test_keys.py",
    "dask scheduler": "serves until Ctrl-C; tests/hpc",
    "dask worker": "serves until Ctrl-C; tests/hpc",
    "docker build": "needs Docker; tests/package/test_container.py checks the file",
    "docker run": "needs Docker",
    "apptainer build": "needs Apptainer; tests/package/test_container.py checks the file",
    "apptainer run": "needs Apptainer",
    "QuPath script": "needs QuPath; tests/qupath runs the scripts against stubs",
}

#: Options on the pages that are not ours.
FOREIGN_OPTIONS = {
    "--resources": "dask worker",
    "--nthreads": "dask worker",
    "--protocol": "dask scheduler",
    "--no-dashboard": "dask scheduler and worker",
    "--benchmark-enable": "pytest",
    "--benchmark-columns": "pytest",
    "--strict": "mypy",
}

SHOWN = commands()
OURS = [command for command in SHOWN if command.words[0] == "wsiparse"]
PYTHON = [command for command in SHOWN if command.words[:2] == ("python", "-c")]


def begins(text: str, start: str) -> bool:
    return text == start or text.startswith(f"{start} ")


def test_every_command_is_run_or_says_why_not() -> None:
    rest = [c for c in SHOWN if c not in OURS and c not in PYTHON]
    unknown = [f"{c.page}: {c.text}" for c in rest if not any(begins(c.text, start) for start in OTHERS)]
    assert not unknown


def test_no_exception_outlives_its_command() -> None:
    shown = {command.text for command in SHOWN}
    assert not [text for text in NOT_RUN if text not in shown]
    assert not [start for start in OTHERS if not any(begins(text, start) for text in shown)]
    words = {word.partition("=")[0] for words in code() for word in words}
    assert not [option for option in FOREIGN_OPTIONS if option not in words]


def once(found: list[Command]) -> list[pytest.param]:  # type: ignore[valid-type]
    """Each different command once, named by page and text."""
    texts = {command.text: command for command in reversed(found)}
    return [pytest.param(command, id=f"{command.page}: {command.text}") for command in reversed(texts.values())]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("command", once([c for c in OURS if c.text not in NOT_RUN]))
def test_a_command_of_ours_works(
    command: Command, place: Path, results: Callable[[], Path], wsiparse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(command)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said = wsiparse(*(word.replace("NAME", results().name) for word in command.words[1:]))
    assert said.code == 0, said.err


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("page", sorted({c.page for c in OURS if c.words[1] == "run"}))
def test_the_runs_of_a_page_work_one_after_the_other(page: str, place: Path, wsiparse: Callable) -> None:
    """In the order of the page and in one folder, as somebody who follows it does: none meets results of another."""
    shutil.rmtree(place / "results")
    for command in [c for c in OURS if c.page == page and c.words[1] == "run" and c.text not in NOT_RUN]:
        said = wsiparse(*command.words[1:])
        assert said.code == 0, (command.text, said.err)


def needs(command: Command) -> None:
    """Skip what a program that is not here makes impossible."""
    if command.words[1] == "view" and not (ROOT / "wsiparse" / "viewer" / "static" / "vendor").is_dir():
        pytest.skip("needs OpenSeadragon: run scripts/build_viewer.sh")
    if "--pdf" in command.words:
        from wsiparse.errors import OutputError
        from wsiparse.report.pdf import find_browser

        try:
            find_browser()
        except OutputError:
            pytest.skip("needs Chromium")


@pytest.mark.parametrize("command", once(PYTHON))
def test_a_line_of_python_works(
    command: Command, place: Path, results: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(command.words[2].replace("NAME", results().name), command.page, "exec"), {})
    assert capsys.readouterr().out.strip()


def code() -> Iterator[tuple[str, ...]]:
    """The words of every command and of every piece of inline code."""
    yield from (command.words for command in SHOWN)
    for page in PAGES:
        for span in spans(page.read_text(encoding="utf-8")):
            try:
                yield from split_commands(span)
            except ValueError:  # code of another kind, with a quote that is not one
                yield tuple(span.split())


def click_command(words: tuple[str, ...]) -> tuple[click.Command, tuple[str, ...]] | None:
    """The command that words call and its arguments; None when they name none."""
    if len(words) < 2 or words[1] not in COMMANDS:
        return None
    command = importlib.import_module(f"wsiparse.cli.{COMMANDS[words[1]][0]}").command
    rest = words[2:]
    if isinstance(command, click.Group) and rest and rest[0] in command.commands:
        return command.commands[rest[0]], rest[1:]
    return command, rest


def options_of(command: click.Command) -> set[str]:
    named = {option for p in command.params for option in (*p.opts, *p.secondary_opts) if option.startswith("-")}
    return named | {"--help", "-h"}


def all_options() -> set[str]:
    found: set[str] = {"--version"}
    for name in COMMANDS:
        command = click_command(("wsiparse", name))
        assert command is not None
        found |= options_of(command[0])
        if isinstance(command[0], click.Group):
            found |= {option for sub in command[0].commands.values() for option in options_of(sub)}
    return found


def test_every_command_and_option_named_on_a_page_exists() -> None:
    wrong = []
    known = all_options() | set(FOREIGN_OPTIONS)
    for words in code():
        if words[0] == "wsiparse" and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
            found = click_command(words)
            if found is None:
                wrong.append(" ".join(words))
                continue
            given = {word.partition("=")[0] for word in found[1] if re.match(r"--?[a-z]", word)}
            wrong += [f"{' '.join(words)}: {option}" for option in given - options_of(found[0])]
        elif re.match(r"--[a-z]", words[0]):  # options alone
            given = {word.partition("=")[0].rstrip(":,") for word in words if re.match(r"--[a-z]", word)}
            wrong += sorted(given - known)
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_and_module_named_on_a_page_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w/.])((?:scripts|configs|docs|qupath_scripts|tests|wsiparse)/[\w/.-]*\w)", text))
    assert not [name for name in named if not (ROOT / name).exists()]
    modules = set(re.findall(r"python -m\s+(tests\.[\w.]*\w)", text))
    assert not [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").is_file()]
