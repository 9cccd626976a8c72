"""`wsiparse plan`: what a run would do, without doing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from wsiparse.cli.options import analysis_options, config_from, slide_options
from wsiparse.errors import WsiparseError

__all__ = ["command"]


@click.command("plan")
@slide_options
@analysis_options
@click.option("-b", "--batch-size", type=int, help="Tiles the network sees at once.")
@click.option("-n", "--num-workers", type=int, help="Threads (default: every core).")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def command(
    slides: tuple[str, ...],
    recursive: bool,
    ext: tuple[str, ...],
    config_file: Path | None,
    prompts: tuple[str, ...],
    roi: Path | None,
    as_json: bool,
    **values: Any,
) -> int:
    """Tell what `wsiparse run` would do with SLIDES: tiles, mm2, disk and memory. Writes nothing.

    Example: wsiparse plan slides/ --mpp 0.5
    """
    from wsiparse.slides import find_slides

    config = config_from(config_file, prompts, values)
    paths = find_slides(slides, recursive=recursive, extensions=ext or None)
    facts, failed = [], 0
    for path in paths:
        try:
            fact = _facts(path, config, roi)
        except WsiparseError as err:
            failed += 1
            click.echo(f"error: {err}", err=True)
            continue
        facts.append(fact)
        if not as_json:
            click.echo(
                f"{fact['slide']}: {fact['tiles']} tiles of {fact['tile_px']} px at {fact['mpp']:.4g} um/px,"
                f" {fact['analysed_mm2']:.3f} mm2; at most {fact['disk_bytes'] / 1e6:.0f} MB on disk meanwhile,"
                f" about {fact['memory_bytes'] / 1e9:.1f} GB of memory ({fact['engine']})"
            )
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
    elif len(facts) > 1:
        tiles, mm2 = sum(f["tiles"] for f in facts), sum(f["analysed_mm2"] for f in facts)
        click.echo(f"all {len(facts)} slides: {tiles} tiles, {mm2:.3f} mm2")
    if failed == len(paths) == 1:
        return 1
    return 3 if failed else 0


def _facts(path: Path, config: Any, roi: Path | None) -> dict[str, Any]:
    from wsiparse.pipeline import prepare
    from wsiparse.schedule import available_cores
    from wsiparse.slides import open_slide
    from wsiparse.tiling import estimate

    with open_slide(path, slide_mpp=config.slide_mpp, reader=config.reader) as slide:
        prepared = prepare(slide, config, roi)
    plan = prepared.plan
    cost = estimate(
        plan,
        prompts=len(prepared.spec.prompts),
        batch=config.batch_size,
        workers=config.num_workers or available_cores(),
        activation_bytes_per_px=prepared.info.bytes_per_px,
        base_bytes=prepared.info.base_bytes,
    )
    return {
        "slide": str(path),
        "engine": prepared.info.title,
        "mpp": plan.frame.mean_mpp,
        "tile_px": plan.grid.tile,
        "overlap_px": 2 * plan.grid.halo,
        "tiles": cost.tiles,
        "analysed_mm2": cost.mm2,
        "disk_bytes": cost.disk_bytes,
        "memory_bytes": cost.memory_bytes,
    }
