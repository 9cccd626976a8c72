"""`wsiparse prompts`: what can be looked for."""

from __future__ import annotations

import json
import textwrap

import click

__all__ = ["command"]


@click.command("prompts")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def command(as_json: bool) -> int:
    """List what can be looked for: words, whether BiomedParse was trained on them, kind, scale, colour, engines.

    Engines: BiomedParse takes any words, and only those it was trained on are tested; the others answer a closed list.

    Example: wsiparse prompts --json
    """
    from wsiparse.recognize.vocabulary import PromptFacts, describe

    def text(fact: PromptFacts) -> str:
        lines = [
            f"{fact.prompt}  [{fact.support}, {fact.kind}, {fact.colour}]",
            f"means    {fact.means}",
            f"scale    {fact.input_mpp:g} um/px, tiles of {fact.tile_px} px = {fact.tile_um:.0f} um",
            "engines  " + ", ".join(f"{engine} ({how})" for engine, how in fact.engines.items()),
        ]
        lines += [f"note     {note}" for note in fact.notes]
        if fact.source:
            dice = f"Dice {fact.dice.mean:.3f} on {fact.dice.images} test images" if fact.dice else "no published Dice"
            score = "has" if fact.scored else "has no"
            lines.append(f"trained  on {fact.source}, {fact.masks} masks; {dice}; {score} recognition score")
        if fact.synonyms:
            lines.append(f"same     {', '.join(fact.synonyms)}")
        if fact.mapped_with_caution:
            lines.append(f"related  {', '.join(fact.mapped_with_caution)} (asked as '{fact.prompt}', with a notice)")
        first, *rest = lines
        wrapped = (textwrap.fill(line, 110, initial_indent="  ", subsequent_indent=" " * 11) for line in rest)
        return "\n".join([first, *wrapped])

    facts = describe()
    if as_json:
        rows = [fact._asdict() | {"dice": fact.dice._asdict() if fact.dice else None} for fact in facts]
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    for fact in facts:
        click.echo(text(fact) + "\n")
    click.echo("Other words: BiomedParse only, untested, with a warning; --strict-prompts refuses them.")
    return 0
