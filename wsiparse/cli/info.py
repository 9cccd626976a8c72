"""`wsiparse info`: what a slide is."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from wsiparse.cli.options import say_notice, slide_options
from wsiparse.errors import WsiparseError

__all__ = ["command"]


@click.command("info")
@slide_options
@click.option(
    "--estimate-mpp",
    is_flag=True,
    help="Estimate the pixel size from nuclei, whatever the files say: about ten seconds a slide.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of text.")
def command(
    slides: tuple[str, ...],
    slide_mpp: float | None,
    override_mpp: float | None,
    recursive: bool,
    ext: tuple[str, ...],
    reader: str | None,
    image: str | None,
    **shown: bool,
) -> int:
    """Describe SLIDES: vendor, size, levels, mpp, objective, bounds, reader used, estimated tissue.

    SLIDES are what they are for `wsiparse run`; those at addresses are fetched to be looked at.

    Example: wsiparse info slides/ --json
    """
    from wsiparse.slides import find_listed
    from wsiparse.slides.scale import given_mpp
    from wsiparse.slides.slide_cache import SlideCache

    as_json = shown["as_json"]
    given_mpp(slide_mpp, override_mpp)  # a wrong one is told once, not for every slide

    listed = find_listed(slides, recursive=recursive, extensions=ext or None, say=say_notice)
    facts, failed = [], 0
    with SlideCache(None, [one.slide for one in listed]) as cache:
        for k, one in enumerate(listed):
            try:
                with cache.slide(k) as source:
                    sizes = (one.mpp or slide_mpp, one.override_mpp or override_mpp)
                    fact = {"slide": one.shown, **_facts(source, *sizes, reader or "auto", one.image or image)}
                    if shown["estimate_mpp"]:
                        fact |= _estimate(source, reader or "auto", one.image or image)
            except WsiparseError as err:
                failed += 1
                click.echo(f"error: {err}", err=True)
                continue
            facts.append(fact)
            if not as_json:
                click.echo(_text(fact))
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
    if failed == len(listed) == 1:
        return 1
    return 3 if failed else 0


def _facts(
    path: Path, slide_mpp: float | None, override_mpp: float | None, reader: str, image: str | None
) -> dict[str, Any]:
    from wsiparse.run.plan import OVERVIEW_MPP
    from wsiparse.slides import missing_mm2, open_slide, survey
    from wsiparse.tiling import covered_mm2, find_tissue

    with open_slide(path, slide_mpp=slide_mpp, override_mpp=override_mpp, reader=reader, image=image) as slide:
        tissue_mm2 = share = None
        if slide.mpp is not None:
            seen = survey(slide, OVERVIEW_MPP)
            found = find_tissue(seen.picture, seen.frame.mean_mpp)
            tissue_mm2 = covered_mm2(found.shares, seen.frame, slide.size, slide.mpp)
            share = tissue_mm2 / (slide.size[0] * slide.mpp[0] * slide.size[1] * slide.mpp[1] * 1e-6)
        box = slide.bounds
        return {
            "vendor": slide.vendor,
            "reader": slide.reader,
            "size": list(slide.size),
            "levels": [list(size) for size in slide.level_sizes],
            "mpp": list(slide.mpp) if slide.mpp is not None else None,
            "mpp_source": slide.mpp_source,
            "mpp_notices": list(slide.mpp_notices),
            "objective": slide.objective,
            "bounds": [box.x, box.y, box.width, box.height],
            "tissue_mm2": tissue_mm2,
            "tissue_share": share,
            "image": slide.image,
            "missing_mm2": missing_mm2(slide),
            "notes": list(slide.notes),
        }


def _estimate(path: Path, reader: str, image: str | None) -> dict[str, Any]:
    from wsiparse.run.scale_check import guess_mpp, guess_told

    guess = guess_mpp(path, reader, image)
    return {"mpp_estimate": None if guess is None else asdict(guess), "mpp_estimate_told": guess_told(guess)}


def _text(fact: dict[str, Any]) -> str:
    levels = ", ".join(f"{w} x {h}" for w, h in fact["levels"])
    mpp = (
        f"{fact['mpp'][0]:.5g} x {fact['mpp'][1]:.5g} um per px ({fact['mpp_source']})"
        if fact["mpp"] is not None
        else f"unknown ({fact['mpp_source']}); pass --slide-mpp"
    )
    objective = f"{fact['objective']:g}x" if fact["objective"] is not None else "unknown"
    tissue = (
        f"{fact['tissue_mm2']:.3f} mm2 ({100 * fact['tissue_share']:.0f} %)"
        if fact["tissue_mm2"] is not None
        else "unknown without mpp"
    )
    x, y, w, h = fact["bounds"]
    return "\n".join(
        [
            fact["slide"],
            f"  vendor     {fact['vendor'] or 'unknown'} (read by {fact['reader']})",
            f"  size       {fact['size'][0]} x {fact['size'][1]} px",
            f"  levels     {len(fact['levels'])}: {levels}",
            f"  mpp        {mpp}",
            *(f"  NOTICE     {notice}" for notice in fact["mpp_notices"]),
            *([f"  nuclei     {fact['mpp_estimate_told']}"] if "mpp_estimate_told" in fact else []),
            f"  objective  {objective}",
            f"  bounds     {w} x {h} px at ({x}, {y})",
            f"  tissue     {tissue}",
            *(
                [f"  no data    {fact['missing_mm2']:.3f} mm2 that the file does not have"]
                if fact["missing_mm2"]
                else []
            ),
            *(f"  note       {note}" for note in fact["notes"]),
        ]
    )
