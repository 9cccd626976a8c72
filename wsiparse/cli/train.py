"""`wsiparse train`: annotated tiles to a model folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wsiparse.train.loop import Progress

__all__ = ["command"]

#: Seconds between lines of progress.
_EVERY_S = 30.0


@click.command("train")
@click.argument("tiles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="TILES...")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Model folder to write.")
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path), help="YAML file of a recipe.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of the training (default: the recipe's).")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option("-n", "--threads", type=click.IntRange(min=1), help="Threads on the processor (default: the cores).")
def command(
    tiles: tuple[Path, ...], output: Path, recipe_file: Path | None, steps: int | None, device: str, threads: int | None
) -> int:
    """Train a compact nucleus network on TILES, folders of annotated tiles at 0.5 um/px, and write a model folder.

    Beside each NAME.jpg or NAME.png lies NAME.label.png (ids of outlined nuclei, 0 background; NAME.types.json gives
    their classes) or NAME.points.json ([[x, y, class], ...]). Stopped, even killed, the same command goes on.
    Exit code: 0 done, 1 error, 2 wrong usage.

    Example: wsiparse train tiles/mine -o my-model --recipe recipe.yaml
    """
    from wsiparse.machine import available_cores
    from wsiparse.recognize.device import resolve_device
    from wsiparse.train.recipe import Recipe, load_recipe
    from wsiparse.train.session import train_model

    recipe = load_recipe(recipe_file) if recipe_file is not None else Recipe()
    if steps is not None:
        recipe = recipe.model_copy(update={"steps": steps})
    done = train_model(
        tiles,
        recipe,
        output,
        device=resolve_device(device),
        threads=threads or available_cores(),
        say=lambda line: click.echo(line, err=True),
        report=_Teller(),
    )
    click.echo(f"{'trained' if done else 'nothing to do: it is trained'} -> {output}")
    return 0


class _Teller:
    """A line now and then, and one for each set when figures were taken."""

    def __init__(self) -> None:
        self._first: Progress | None = None
        self._said = time.monotonic() - _EVERY_S

    def __call__(self, progress: Progress) -> None:
        first = self._first = self._first or progress
        now = time.monotonic()
        if now - self._said >= _EVERY_S or progress.figures or progress.step == progress.steps:
            self._said = now
            done = progress.step - first.step
            left = ""
            if done:
                each = (progress.seconds - first.seconds) / done
                left = f", {each:.2f} s a step, {each * (progress.steps - progress.step) / 60:.0f} min left"
            loss = progress.losses["total"]
            click.echo(f"step {progress.step}/{progress.steps}: loss {loss:.3f}{left}", err=True)
        for name, figures in (progress.figures or {}).items():
            told = "  ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in figures.items())
            click.echo(f"  {name} (held out): {told}", err=True)
