"""`wsiparse ask`: a question about results, answered from their files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    pass

__all__ = ["command"]


@click.command("ask")
@click.argument("results", type=click.Path(path_type=Path), metavar="RESULTS")
@click.argument("question", nargs=-1, metavar="[QUESTION]...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with the file, place and hash of every number.")
def command(results: Path, question: tuple[str, ...], as_json: bool) -> int:
    """Answer a QUESTION about RESULTS from their files: counts, densities with intervals, groups, hot-spots.

    No language model is asked and nothing is computed: every number stands in a file, which is named with its hash.
    Names in quotation marks are names whatever they say. Without a question, what can be asked is listed.

    RESULTS is the folder that `wsiparse run -o` wrote, or the folder of one slide in it. Exit code 1 where these
    results cannot answer.

    Example: wsiparse ask results "density of inflammatory cells"
    """
    from wsiparse.ask.answer import answer, examples
    from wsiparse.ask.facts import Answer
    from wsiparse.ask.read import read_asked
    from wsiparse.ask.text import answer_text

    asked = read_asked(results)
    text = " ".join(question).strip()
    found = answer(text, asked) if text else Answer(True, "what can be asked", lines=examples(asked))
    if as_json:
        click.echo(json.dumps({"question": text, **asdict(found)}, indent=1, ensure_ascii=False))
    else:
        click.echo(answer_text(found), err=not found.answered)
    return 0 if found.answered else 1
