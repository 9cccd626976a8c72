"""Files that are functions of objects.zarr: GeoJSON, labels, the overlay picture and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from wsiparse.coords import Frame, um2_per_px
from wsiparse.machine import return_idle_memory
from wsiparse.prepare import overlay_offset
from wsiparse.report.analysis import spots_of
from wsiparse.report.figures import draw_overlay
from wsiparse.site import Site
from wsiparse.slide_report import load, square_images, write_slide_report
from wsiparse.slides import overview, require_mpp
from wsiparse.types import PromptKind, SlideSummary
from wsiparse.write.basis import BASIS, Basis, PicturedSquare, png_pixels, write_basis
from wsiparse.write.geojson import write_centroids, write_geojson
from wsiparse.write.labels import write_labels
from wsiparse.write.objects_reader import ObjectsReader
from wsiparse.write.parts import publish

__all__ = ["KINDS", "OVERLAY_PX", "write_exports"]

#: Longest edge of overlay.jpg, px.
OVERLAY_PX: Final = 4000

LABELS: Final = "labels.ome.zarr"

KINDS: Final[tuple[PromptKind, PromptKind]] = ("cell", "region")


def _write_overlay(path: Path, site: Site, reader: ObjectsReader, summary: SlideSummary) -> None:
    slide, prompts = site.slide, site.prepared.prompts
    # the finest field's scale, or a coarser one whose longest edge is OVERLAY_PX; unreadable spots stay background
    finest = min(reader.frames.values(), key=lambda f: f.mean_mpp)
    picture, frame = overview(slide, finest.mean_mpp * max(1.0, max(finest.size) / OVERLAY_PX))
    caption: list[tuple[str, str | None]] = [
        (f"{c.class_name}: {c.n:,}", p.colour) for c, p in zip(summary.counts, prompts, strict=True)
    ]
    caption.append((f"{summary.slide}   {summary.engine}   research use only", None))
    layers = ((batch, reader.frames[kind]) for kind in KINDS[::-1] for batch in reader.batches(kind))
    image = draw_overlay(picture, frame, layers, prompts=prompts, caption=caption)
    with publish(path) as temporary:
        image.save(temporary, format="JPEG", quality=88)


def write_exports(
    site: Site, reader: ObjectsReader, summary: SlideSummary, unreadable: Sequence[tuple[float, float, float, float]]
) -> list[str]:
    """Hop 6: everything that is a function of objects.zarr, beside it on the desk.

    Parameters
    ----------
    reader : objects.zarr on the desk
    summary : the slide's numbers
    unreadable : cores of unreadable tiles, level-0 px, each (x0, y0, x1, y1)

    Returns
    -------
    names that belong to the results; those of the report, which can be redone, are in report.json
    """
    folder, prompts = site.desk, site.prepared.prompts
    files = ["objects.zarr"]
    kinds: tuple[tuple[PromptKind, str], ...] = (("cell", "cells"), ("region", "regions"))
    for kind, stem in kinds:
        if not prompts.of_kind(kind):
            continue
        frame = reader.frames[kind]
        written = write_geojson(
            folder / f"{stem}.geojson.gz",
            reader.batches(kind),
            frame=frame,
            prompts=prompts,
            fingerprint=site.slide.fingerprint,
            um2_per_px=um2_per_px(frame),
            object_type="detection" if kind == "cell" else "annotation",
            locked=kind == "region",
            offset=overlay_offset(site.slide, site.config),
            engine=site.prepared.title,
        )
        files += [path.name for path in written.paths]
    if prompts.of_kind("cell"):
        centroids = write_centroids(
            folder / "centroids.geojson.gz",
            reader.batches("cell"),
            frame=reader.frames["cell"],
            prompts=prompts,
            fingerprint=site.slide.fingerprint,
            offset=overlay_offset(site.slide, site.config),
            engine=site.prepared.title,
        )
        files += [path.name for path in centroids.paths]
    if site.config.labels:
        write_labels(folder / LABELS, reader, version=site.config.ngff)
        files.append(LABELS)
    _write_overlay(folder / "overlay.jpg", site, reader, summary)
    return_idle_memory()
    _write_report(site, reader, unreadable)
    return [*files, BASIS, "overlay.jpg"]


def _write_report(site: Site, reader: ObjectsReader, unreadable: Sequence[tuple[float, float, float, float]]) -> None:
    """basis/ and the report made of it; the slide is open now, so its hottest squares are pictured."""
    slide, ground = site.slide, site.prepared.ground
    area = site.prepared.passes[0].plan.area
    basis = Basis(
        slide=site.facts(),
        offset=overlay_offset(slide, site.config),
        overview=area.overview,
        picture=png_pixels(ground.overview),
        tissue=area.tissue,
        artefacts=ground.artefacts,
        whole_slide=site.config.whole_slide,
        roi=area.roi,
        regions=tuple((region.class_name, region.geometry) for region in ground.regions),
        unreadable=tuple(unreadable),
        compartments=site.config.compartments,
        region_file=ground.region_file,
        region_notes=ground.notes,
        tumour_classes=site.config.tumour_classes,
        stroma_classes=site.config.stroma_classes,
    )
    loaded = load(reader, basis)
    boxes = [spot.box for spot in spots_of(loaded.source, loaded.settings)[3]]
    frame = Frame(slide.size, (1.0, 1.0), require_mpp(slide))
    images = square_images(boxes, lambda box: slide.read(box, frame))
    named = {f"spots/{k}.jpg": box for k, box in enumerate(boxes, 1)}
    squares = tuple(PicturedSquare(box, name) for name, box in named.items() if name in images)
    basis = replace(basis, squares=squares)
    write_basis(site.desk / BASIS, basis, ground.overview, images)
    write_slide_report(site.desk, replace(loaded, basis=basis), images)
