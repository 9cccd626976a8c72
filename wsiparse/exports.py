"""Files that are functions of objects.zarr: GeoJSON, labels, counts and the overlay picture."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wsiparse.coords import um2_per_px
from wsiparse.prepare import overlay_offset
from wsiparse.report.figures import draw_overlay
from wsiparse.report.summary import counts_csv
from wsiparse.site import Site
from wsiparse.slides import overview
from wsiparse.types import PromptKind, SlideSummary
from wsiparse.write.geojson import write_centroids, write_geojson
from wsiparse.write.labels import write_labels
from wsiparse.write.manifest import write_text
from wsiparse.write.objects_zarr import ObjectsReader
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


def write_exports(site: Site, summary: SlideSummary) -> list[str]:
    """Hop 6: everything that is a function of objects.zarr, beside it on the desk. Returns the names written."""
    folder, prompts = site.desk, site.prepared.prompts
    reader = ObjectsReader(folder / "objects.zarr")
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
    write_text(folder / "counts.csv", counts_csv([summary]))
    _write_overlay(folder / "overlay.jpg", site, reader, summary)
    return [*files, "counts.csv", "overlay.jpg"]
