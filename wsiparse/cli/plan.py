"""`wsiparse plan`: what a run would do, without doing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wsiparse.cli.options import analysis_options, class_options, config_from, say_notice, slide_options
from wsiparse.errors import WsiparseError

if TYPE_CHECKING:
    from wsiparse.config import RunConfig
    from wsiparse.run.engine import Engine
    from wsiparse.slides import SheetSlide

__all__ = ["command"]


@click.command("plan")
@slide_options
@analysis_options
@class_options
@click.option("-b", "--batch-size", type=int, help="Tiles the network sees at once.")
@click.option("-n", "--num-workers", type=int, help="Threads (default: every core).")
@click.option(
    "--shards",
    type=click.IntRange(1, 100_000),
    help="Show how N jobs of an array would share the slides, and which would wait.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def command(
    slides: tuple[str, ...],
    recursive: bool,
    ext: tuple[str, ...],
    config_file: Path | None,
    prompts: tuple[str, ...],
    roi: Path | None,
    shards: int | None,
    as_json: bool,
    **values: Any,
) -> int:
    """Estimate what `wsiparse run` would do with SLIDES: tiles, mm2, disk and memory. Writes nothing.

    SLIDES are what they are for `wsiparse run`; those at addresses are fetched to be looked at.

    --shards N takes the split that `wsiparse run --shard i/N` takes (by file size) and adds up the tiles of each share.

    Example: wsiparse plan slides/ --mpp 0.5
    """
    from wsiparse.results.region_files import match_regions, match_tissue, named
    from wsiparse.run.engine import Engine
    from wsiparse.slides import find_listed
    from wsiparse.slides.slide_cache import SlideCache

    tissue: Path | None = values.pop("tissue")
    config = config_from(config_file, prompts, values)
    engine = Engine(config)
    for notice in engine.notices:
        click.echo(f"notice: {notice}", err=True)
    listed = find_listed(slides, recursive=recursive, extensions=ext or None, say=say_notice)
    own = [one.roi for one in listed]
    regions = match_regions(roi, [named(one.slide) for one in listed], own=own) if roi is not None else None
    tissues = match_tissue(tissue, [named(one.slide) for one in listed], whole=config.whole_slide)
    facts: list[dict[str, Any]] = []
    planned: list[Path | str] = []
    failed = 0
    with SlideCache(None, [one.slide for one in listed]) as cache:
        for k, one in enumerate(listed):
            try:
                with cache.slide(k) as source:
                    files = regions.files[k] if regions is not None else one.roi, tissues.files[k]
                    fact = _facts(one, source, config, engine, files)
            except WsiparseError as err:
                failed += 1
                click.echo(f"error: {err}", err=True)
                continue
            facts.append(fact)
            planned.append(one.slide)
            if not as_json:
                click.echo(_text(fact))
    told = regions.told("all of it would be analysed") if regions is not None else []
    for line in (*told, *tissues.told("its tissue is found")):
        click.echo(f"notice: {line}", err=True)
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
    elif len(facts) > 1:
        if shards is not None:
            click.echo(_sharing(planned, [fact["tiles"] for fact in facts], shards))
        tiles, mm2 = sum(f["tiles"] for f in facts), sum(f["analysed_mm2"] for f in facts)
        click.echo(f"all {len(facts)} slides: {tiles} tiles, {mm2:.3f} mm2")
    if failed == len(listed) == 1:
        return 1
    return 3 if failed else 0


def _text(fact: dict[str, Any]) -> str:
    tiles = " + ".join(f"{s['tiles']} tiles of {s['tile_px']} px at {s['mpp']:.4g} um/px" for s in fact["scales"])
    return (
        f"{fact['slide']}: {tiles}, {fact['analysed_mm2']:.3f} mm2;"
        f" at most {fact['disk_bytes'] / 1e6:.0f} MB on disk meanwhile,"
        f" about {fact['memory_bytes'] / 1e9:.1f} GB of memory ({fact['engine']}){_effort(fact)}"
    )


#: Sustained half-precision operations per second of the network on each kind of GPU: 40 % of the published peak.
_GPUS = {"T4": 26e12, "A100": 125e12, "H100": 395e12}


def _effort(fact: dict[str, Any]) -> str:
    """What the network's arithmetic comes to, where it counts."""
    total = fact["operations"]
    if not total:
        return ""
    times = ", ".join(f"{total / rate:.0f} s on one {name}" for name, rate in _GPUS.items())
    per_mm2 = f" ({fact['tiles'] / fact['analysed_mm2']:.0f} tiles/mm2)" if fact["analysed_mm2"] > 0 else ""
    return f"; {total / 1e15:.2f} PFLOP{per_mm2}: expect {times}"


def _sharing(slides: list[Path | str], tiles: list[int], shards: int) -> str:
    """How even the shares of an array are, in tiles, and what splitting each slide by tiles would give."""
    from wsiparse.results.folder import CHUNK_TILES, slide_folder
    from wsiparse.run.shards import Shard, imbalance, longest_first
    from wsiparse.slides.size import slide_bytes

    shares = longest_first([slide_bytes(slide) if isinstance(slide, Path) else 0 for slide in slides], shards)
    loads = [sum(tiles[i] for i in share) for share in shares]
    uneven, idle = imbalance(tiles, shares)
    parts = {slide_folder(Path(), slide).name: -(-n // CHUNK_TILES) for slide, n in zip(slides, tiles, strict=True)}
    by_tiles = [
        sum(len(range(n)[Shard(i, shards).of_slide(name).of(n)]) for name, n in parts.items())
        for i in range(1, shards + 1)
    ]
    even = max(by_tiles) * shards / max(sum(by_tiles), 1)
    return (
        f"{shards} shards of whole slides: {min(loads)}-{max(loads)} tiles each, the fullest {uneven:.2f} x the mean,"
        f" {100 * idle:.0f} % of the workers' time idle; --shard-by tiles: the fullest {max(even, 1.0):.2f} x the mean"
    )


def _facts(
    one: SheetSlide, source: Path, config: RunConfig, engine: Engine, files: tuple[Path | None, Path | None]
) -> dict[str, Any]:
    from wsiparse.machine import available_cores
    from wsiparse.recognize.base import operations_per_tile
    from wsiparse.run.plan import prepare
    from wsiparse.slides import open_slide
    from wsiparse.tiling import estimate

    with open_slide(
        source,
        slide_mpp=one.mpp or config.slide_mpp,
        override_mpp=one.override_mpp or config.override_mpp,
        reader=config.reader,
        image=one.image or config.image,
    ) as slide:
        for note in slide.notes:
            click.echo(f"note: {one.shown}: {note}", err=True)
        for notice in slide.mpp_notices:
            click.echo(f"notice: {one.shown}: {notice}", err=True)
        prepared = prepare(slide, config, engine, *files)
        held = 3 * slide.size[0] * slide.size[1] if slide.reader == "image" else 0
    costs = [
        estimate(
            p.plan,
            prompts=len(p.scale.positions),
            batch=config.batch_size,
            workers=config.num_workers or available_cores(),
            activation_bytes_per_px=p.scale.info.bytes_per_px,
            base_bytes=p.scale.info.base_bytes,
        )
        for p in prepared.passes
    ]
    return {
        "slide": one.shown,
        "engine": prepared.title,
        "scales": [
            {
                "mpp": p.plan.frame.mean_mpp,
                "tile_px": p.plan.grid.tile,
                "overlap_px": 2 * p.plan.grid.halo,
                "tiles": cost.tiles,
            }
            for p, cost in zip(prepared.passes, costs, strict=True)
        ],
        "tiles": sum(cost.tiles for cost in costs),
        "analysed_mm2": prepared.area_mm2,
        "disk_bytes": sum(cost.disk_bytes for cost in costs),
        "operations": sum(
            cost.tiles * (operations_per_tile(p.scale.spec) or 0.0)
            for p, cost in zip(prepared.passes, costs, strict=True)
        ),
        "memory_bytes": held + max(cost.memory_bytes for cost in costs),
    }
