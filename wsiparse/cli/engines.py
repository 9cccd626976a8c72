"""`wsiparse engines`: what can recognise, what it lacks, and how much context a model's tiles need."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wsiparse.errors import WsiparseError

if TYPE_CHECKING:
    from wsiparse.recognize.declared import DeclaredEngine

__all__ = ["command"]


class _Listing(click.Group):
    """A group whose command is `list` where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("engines", cls=_Listing)
def command() -> None:
    """List the engines that --engine takes; `check` measures how much context a model's tiles need.

    `wsiparse engines` alone, and `wsiparse engines FOLDERS`, is `wsiparse engines list`.

    Example: wsiparse engines
    """


@command.command("list")
@click.argument("folders", nargs=-1, metavar="[FOLDERS]...", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def list_command(folders: tuple[str, ...], as_json: bool) -> int:
    """List the engines that --engine takes: what each answers, its scale, its licence, and whether it is ready.

    Engines are those of this package, those that other installed packages register, and the model FOLDERS given,
    each of which is loaded.
    Exit code: 0 done, 1 a folder holds no usable model, 2 wrong usage.

    Example: wsiparse engines list
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


@command.command("check")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.argument("slide", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--write", is_flag=True, help="Write the halo that is enough into the card.")
def check_command(model: Path, slide: Path | None, write: bool) -> int:
    """Load a model, and measure how much context (halo) its tiles need, on a square of SLIDE or a painted picture.

    Two tilings of the same picture should give the same objects. The smallest halo with which they do is what the
    model's card should say.

    Exit code: 0 done, 1 the model cannot be used or no halo is enough, 2 wrong usage.

    Example: wsiparse engines check my-model
    """
    from wsiparse.doctor.halo import HaloRow, built_in_picture, densest_square, measure_halo
    from wsiparse.recognize.registry import engine_of
    from wsiparse.slides import open_slide

    engine = engine_of(str(model))
    [mpp] = engine.mpp()
    if slide is None:
        picture = built_in_picture(mpp)
    else:
        with open_slide(slide) as opened:
            picture = densest_square(opened, mpp)

    def said(row: HaloRow) -> None:
        click.echo(f"halo {row.halo_px:4d} px: {row.objects} objects, {row.changed:.2%} change with the tiling")

    found = measure_halo(str(model), picture, said)
    enough = found.enough
    if enough is None:
        what = "no object was found" if not any(row.objects for row in found.rows) else "no halo here is enough"
        click.echo(f"{engine.title}: {what} on {picture.name}; give a slide that the model was made for.")
        return 1
    click.echo(
        f"{engine.title}: a halo of {enough.halo_px} px is enough ({found.spec.runtime}, {found.spec.precision})."
    )
    if write:
        click.echo(f"written: {_write_halo(model, enough.halo_px)}")
    return 0


def _write_halo(model: Path, halo_px: int) -> Path:
    """Put a halo into the text of a card, whose comments stay; the card."""
    from wsiparse.atomic import publish
    from wsiparse.errors import WeightsError
    from wsiparse.recognize.card import card_path

    card = card_path(model)
    text, n = re.subn(r"(\bhalo_px\s*:\s*)(measured|\d+)", rf"\g<1>{halo_px}", card.read_text(encoding="utf-8"))
    if n != 1:
        raise WeightsError(f"{card}: has {n} lines of halo_px, so none was written. Set it to {halo_px}.")
    with publish(card) as new:
        new.write_text(text, encoding="utf-8")
    return card


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
