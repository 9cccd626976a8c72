"""`wsiparse engines`: what can recognise, and what it lacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from wsiparse.errors import WsiparseError

if TYPE_CHECKING:
    from wsiparse.recognize.declared import DeclaredEngine

__all__ = ["command"]


@click.command("engines")
@click.argument("folders", nargs=-1, metavar="[FOLDERS]...", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def command(folders: tuple[str, ...], as_json: bool) -> int:
    """List the engines that --engine takes: what each answers, its scale, its licence, and whether it is ready.

    Engines are those of this package, those that other installed packages register, and the model FOLDERS given,
    each of which is loaded.
    Exit code: 0 done, 1 a folder holds no usable model, 2 wrong usage.

    Example: wsiparse engines
    """
    from wsiparse.recognize.registry import listed

    rows: list[dict[str, Any]] = []
    for one in listed():
        rows.append(_facts(one.engine) if one.engine is not None else {"name": one.name, "missing": one.fault})
    rows += [_of_folder(folder) | {"folder": folder} for folder in folders]
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        for row in rows:
            click.echo(_text(row))
    return int(any(row["missing"] for row in rows if "folder" in row))


def _of_folder(folder: str) -> dict[str, Any]:
    """The facts of a model, which is loaded; why not, where it cannot be."""
    from wsiparse.recognize.registry import engine_of, model_beside

    try:
        engine = engine_of(str(model_beside(folder) or folder))
        facts = _facts(engine)
    except WsiparseError as error:
        return {"name": folder, "missing": str(error)}
    try:
        if not facts["missing"]:
            engine.load(engine.spec())
    except WsiparseError as error:
        facts["missing"] = str(error)
    return facts


def _facts(engine: DeclaredEngine) -> dict[str, Any]:
    weights = engine.find_weights("")
    missing = engine.missing(weights)
    answers = list(dict.fromkeys(answer.text for answer in engine.answers.values()))
    return {
        "name": engine.name,
        "title": engine.title,
        "answers": answers,
        "any_words": engine.any_words,
        "mpp": engine.mpp(),
        "devices": list(engine.devices),
        "options": dict(engine.options),
        "licence": engine.licence,
        "source": engine.source,
        "missing": missing,
    }


def _text(row: dict[str, Any]) -> str:
    state = f"missing: {row['missing']}" if row["missing"] else "ready"
    if "title" not in row:
        return f"{row['name']}  [{state}]\n"
    words = ", ".join(row["answers"]) + (", and any other words, untested" if row["any_words"] else "")
    options = ", ".join(f"{name} ({value})" for name, value in row["options"].items())
    lines = [
        f"{row['name']}  [{state}]",
        f"  title    {row['title']}",
        f"  answers  {words}",
        f"  scale    {' and '.join(f'{mpp:g}' for mpp in row['mpp'])} um/px, on {', '.join(row['devices'])}",
        f"  licence  {row['licence']}",
        f"  source   {row['source']}",
        *([f"  options  {options}"] if options else []),
    ]
    return "\n".join(lines) + "\n"
