"""Files that are functions of objects.zarr: GeoJSON, labels, the overlay picture and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from wsiparse.atomic import publish
from wsiparse.coords import Frame, raster_frame
from wsiparse.export.artefacts import write_artefacts
from wsiparse.export.geojson import OverlayFacts, write_centroids, write_geojson
from wsiparse.export.labels import write_labels
from wsiparse.machine import return_idle_memory
from wsiparse.report.data import load
from wsiparse.report.pages.figures import draw_overlay
from wsiparse.report.pictures import square_images
from wsiparse.report.slide import write_slide_report
from wsiparse.report.stats.regions_drawn import drawn_regions
from wsiparse.report.stats.squares import pictured_boxes
from wsiparse.results.folder import REPORT_INPUTS
from wsiparse.results.report_inputs import PicturedSquare, ReportInputs, jpeg_bytes, png_pixels, write_report_inputs
from wsiparse.run.plan import overlay_offset
from wsiparse.run.state import SlideOutput
from wsiparse.slides import Slide, overview, require_mpp
from wsiparse.store.read import ObjectsReader
from wsiparse.tiling import artefact_class, is_left_out
from wsiparse.types import PromptKind, SlideSummary

__all__ = ["KINDS", "OVERLAY_PX", "write_exports"]

#: Longest edge of overlay.jpg, px.
OVERLAY_PX: Final = 4000

#: Longest edge of the slide's picture in a report, px: a biopsy of 1 mm is shown at 1 um per px, not at 8.
VIEW_PX: Final = 1000

#: Classes of regions in the legend of overlay.jpg.
MOST_REGIONS: Final = 12

LABELS: Final = "labels.ome.zarr"
ARTEFACTS: Final = "artefacts.geojson"

KINDS: Final[tuple[PromptKind, PromptKind]] = ("cell", "region")


def _write_overlay(path: Path, out: SlideOutput, reader: ObjectsReader, summary: SlideSummary) -> None:
    slide, prompts = out.slide, out.prompts
    # the finest field's scale, or a coarser one whose longest edge is OVERLAY_PX; unreadable spots stay background
    finest = min(map(raster_frame, reader.frames.values()), key=lambda f: f.mean_mpp)
    picture, frame = overview(slide, finest.mean_mpp * max(1.0, max(finest.size) / OVERLAY_PX))
    caption: list[tuple[str, str | None]] = [
        (f"{c.class_name}: {c.n:,}", p.colour) for c, p in zip(summary.counts, prompts, strict=True)
    ]
    caption.append((f"{summary.slide}   {summary.engine}   research use only", None))
    regions = drawn_regions(
        (
            *((region.class_name, region.geometry) for region in out.ground.regions),
            *((artefact_class(a.kind), a.geometry) for a in out.ground.artefacts if a.left_out),
        ),
        is_left_out,
    )
    named = {(region.class_name, region.colour, region.left_out): None for region in regions}
    caption[-1:-1] = [
        (f"region {name or 'unclassified'}{' (left out)' if out else ''}", colour) for name, colour, out in named
    ][:MOST_REGIONS]
    layers = ((batch, reader.frames[kind]) for kind in KINDS[::-1] for batch in reader.batches(kind))
    image = draw_overlay(picture, frame, layers, prompts=prompts, caption=caption, regions=regions)
    with publish(path) as temporary:
        image.save(temporary, format="JPEG", quality=88)


def write_exports(
    out: SlideOutput,
    reader: ObjectsReader,
    summary: SlideSummary,
    unreadable: Sequence[tuple[float, float, float, float]],
) -> list[str]:
    """Step 6: everything that is a function of objects.zarr, beside it in the staging folder.

    Parameters
    ----------
    reader : objects.zarr in the staging folder
    summary : the slide's numbers
    unreadable : cores of unreadable tiles, level-0 px, each (x0, y0, x1, y1)

    Returns
    -------
    names that belong to the results; those of the report, which can be redone, are in report.json
    """
    folder, prompts = out.staging, out.prompts
    files = ["objects.zarr"]
    kinds: tuple[tuple[PromptKind, str], ...] = (("cell", "cells"), ("region", "regions"))
    fingerprint, offset = out.slide.fingerprint, overlay_offset(out.slide, out.config)
    of = {k: OverlayFacts(f, prompts, fingerprint, out.title, offset) for k, f in reader.frames.items()}
    for kind, stem in kinds:
        if not prompts.of_kind(kind):
            continue
        written = write_geojson(
            folder / f"{stem}.geojson.gz",
            reader.batches(kind),
            of[kind],
            object_type="detection" if kind == "cell" else "annotation",
            locked=kind == "region",
        )
        files += [path.name for path in written.paths]
    if prompts.of_kind("cell"):
        centroids = write_centroids(folder / "centroids.geojson.gz", reader.batches("cell"), of["cell"])
        files += [path.name for path in centroids.paths]
    drawn = [(a.kind, a.geometry, a.left_out) for a in out.ground.artefacts]
    if drawn:
        write_artefacts(folder / ARTEFACTS, drawn, fingerprint, offset)
        files.append(ARTEFACTS)
    if out.config.labels:
        write_labels(folder / LABELS, reader, version=out.config.ngff)
        files.append(LABELS)
    _write_overlay(folder / "overlay.jpg", out, reader, summary)
    return_idle_memory()
    _write_report(out, reader, unreadable)
    return [*files, REPORT_INPUTS, "overlay.jpg"]


def _view(slide: Slide, seen: Frame) -> bytes | None:
    """JPEG of the slide for pictures of a report, longest edge about `VIEW_PX`; None where the overview is as fine."""
    if max(seen.size) >= VIEW_PX:
        return None
    mpp = max(max(n * m for n, m in zip(seen.size, seen.mpp, strict=True)) / VIEW_PX, min(require_mpp(slide)))
    return jpeg_bytes(overview(slide, mpp)[0])


def _write_report(
    out: SlideOutput, reader: ObjectsReader, unreadable: Sequence[tuple[float, float, float, float]]
) -> None:
    """report_inputs/ and the report made of it; the slide is open now, so its hottest squares are pictured."""
    slide, ground, area = out.slide, out.ground, out.area
    inputs = ReportInputs(
        slide=out.facts,
        offset=overlay_offset(slide, out.config),
        overview=area.overview,
        picture=png_pixels(ground.overview),
        tissue=area.tissue,
        cover=area.cover,
        artefacts=ground.foreign,
        found_artefacts=tuple((a.kind, a.geometry, a.left_out) for a in ground.artefacts),
        drawn_tissue=None if ground.tissue is None else ground.tissue.shape,
        tissue_file=None if ground.tissue is None else ground.tissue.file,
        whole_slide=out.config.whole_slide,
        roi=ground.roi,
        regions=tuple((region.class_name, region.geometry) for region in ground.regions),
        unreadable=tuple(unreadable),
        compartments=out.config.compartments,
        limits=out.limits,
        view=_view(slide, area.overview),
        region_file=ground.region_file,
        region_notes=ground.notes,
        tumour_classes=out.config.tumour_classes,
        stroma_classes=out.config.stroma_classes,
        tumour_is_epithelium=out.config.tumour_is_epithelium,
    )
    loaded = load(reader, inputs)
    boxes = pictured_boxes(loaded.source, loaded.settings)
    frame = Frame(slide.size, (1.0, 1.0), require_mpp(slide))
    images = square_images(boxes, lambda box: slide.read(box, frame))
    named = {f"spots/{k}.jpg": box for k, box in enumerate(boxes, 1)}
    squares = tuple(PicturedSquare(box, name) for name, box in named.items() if name in images)
    inputs = replace(inputs, squares=squares)
    write_report_inputs(out.staging / REPORT_INPUTS, inputs, ground.overview, images)
    write_slide_report(out.staging, out.folder.name, replace(loaded, inputs=inputs), images)
