"""Files for other programs, made of one slide's objects.zarr; the slide is not needed.

Each format is a pure function of the objects and its options. Files go to ``exports/`` in the slide's folder, where
nothing that a run writes lies, or to ``OUT/<name of the slide's folder>/``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from wsiparse.atomic import output_errors, remove_dead
from wsiparse.choices import Coords, ExportKind, Ngff, words
from wsiparse.errors import OutputError
from wsiparse.export.annotated import write_anndata, write_spatialdata
from wsiparse.export.coco import write_coco
from wsiparse.export.columnar import write_csv, write_parquet
from wsiparse.export.extras import optional
from wsiparse.export.geojson import OverlayFacts, write_centroids, write_geojson
from wsiparse.export.objectframe import ObjectFrame
from wsiparse.export.reading import object_frames, slide_fact, sound_batches, source_facts
from wsiparse.names import safe_cell
from wsiparse.plugins import FORMATS as PLUGIN_FORMATS
from wsiparse.plugins import load_plugin, plugin_names, plugins
from wsiparse.results.find import find_results
from wsiparse.results.folder import DONE, done_record
from wsiparse.results.publish import EXPORTS
from wsiparse.results.whole import check_beside, fault_of, note_hash
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import KINDS
from wsiparse.types import ObjectTable, PromptKind

__all__ = [
    "FORMATS",
    "ExportJob",
    "ExportOptions",
    "Exported",
    "FinishedSlide",
    "Format",
    "check_installed",
    "export",
    "export_folder",
    "find_objects",
    "format_names",
    "format_of",
]

_STEMS: Final[dict[PromptKind, str]] = {"cell": "cells", "region": "regions"}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export; each format heeds those of its `Format.options`.

    Parameters
    ----------
    kind : which objects
    coords : origin of the coordinates: the slide's bounds, as QuPath has it, or level 0; None for the format's own
    simplify : drop corners that lie within half a field px of a straighter outline
    ngff : version of OME-NGFF
    slide : the slide itself, where it is DICOM: what DICOM files refer to

    Raises
    ------
    ValueError
        If an option has a value that its type does not list.
    """

    kind: ExportKind = "both"
    coords: Coords | None = None
    simplify: bool = False
    ngff: Ngff = "0.5"
    slide: Path | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("kind", self.kind, words(ExportKind)),
            ("coords", self.coords, (*words(Coords), None)),
            ("ngff", self.ngff, words(Ngff)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(map(repr, allowed))}")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: files or folders, in order, and what is in all of them.

    Parameters
    ----------
    paths : files, or folders for OME-Zarr and SpatialData
    objects : objects written; None for OME-Zarr, which holds pixels
    dropped : objects of which nothing valid was left after rounding (simplified GeoJSON only)
    notes : what to know of it, one line each
    """

    paths: tuple[Path, ...]
    objects: int | None
    dropped: int = 0
    notes: tuple[str, ...] = ()


class ExportJob:
    """One slide's objects on their way into one format.

    Parameters
    ----------
    source : objects.zarr
    folder : where the files go
    options : of the user, with the origin of the coordinates

    Attributes
    ----------
    reader : of the objects
    kinds : which of them are wanted
    """

    def __init__(self, source: Path, folder: Path, options: ExportOptions) -> None:
        self.reader = ObjectsReader(source)
        self.folder = folder
        self.options = options
        self.kinds: tuple[PromptKind, ...] = KINDS if options.kind == "both" else (options.kind,)

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """x, y, width, height that the coordinates refer to, level-0 px."""
        if self.options.coords == "qupath":
            x, y, width, height = slide_fact(self.reader, "bounds")
            return int(x), int(y), int(width), int(height)
        width, height = slide_fact(self.reader, "size")
        return 0, 0, int(width), int(height)

    @property
    def offset(self) -> tuple[int, int]:
        """Origin of the coordinates, level-0 px."""
        return self.bounds[:2]

    def facts(self) -> dict[str, object]:
        """Where the objects come from, as JSON values."""
        return source_facts(self.reader, self.offset)

    def frames(self, *, outlines: bool, rows: int = 1 << 15) -> Iterator[ObjectFrame]:
        """The objects as tables of at most `rows` rows, with their polygons where `outlines` are wanted."""
        return object_frames(
            self.reader,
            self.kinds,
            offset=self.offset,
            simplify=self.options.simplify,
            outlines=outlines,
            rows=rows,
        )

    def asked_kinds(self) -> tuple[PromptKind, ...]:
        """The kinds that the run looked for, or what is asked for if that is none of them."""
        return tuple(kind for kind in self.kinds if self.reader.prompts.of_kind(kind)) or self.kinds

    def overlay_facts(self, kind: PromptKind) -> OverlayFacts:
        """What the GeoJSON files say of the objects of a kind."""
        fingerprint, reader = str(slide_fact(self.reader, "fingerprint")), self.reader
        return OverlayFacts(reader.frames[kind], reader.prompts, fingerprint, reader.engine, self.offset)

    def batches(self, kind: PromptKind) -> Iterator[ObjectTable]:
        """The objects of a kind as columns, px of their own frame."""
        return sound_batches(self.reader, kind)


def _geojson(job: ExportJob) -> Exported:
    done = []
    for kind in job.asked_kinds():
        done.append(
            write_geojson(
                job.folder / f"{_STEMS[kind]}.geojson.gz",
                job.batches(kind),
                job.overlay_facts(kind),
                object_type="detection" if kind == "cell" else "annotation",
                locked=kind == "region",
                simplify=job.options.simplify,
            )
        )
    paths = tuple(path for summary in done for path in summary.paths)
    return Exported(paths, sum(s.objects for s in done), sum(s.dropped for s in done))


def _centroids(job: ExportJob) -> Exported:
    done = []
    for kind in job.asked_kinds():
        done.append(
            write_centroids(
                job.folder / ("centroids.geojson.gz" if kind == "cell" else "region_centroids.geojson.gz"),
                job.batches(kind),
                job.overlay_facts(kind),
                object_type="detection" if kind == "cell" else "annotation",
            )
        )
    return Exported(tuple(path for summary in done for path in summary.paths), sum(s.objects for s in done))


def _csv(job: ExportJob) -> Exported:
    path = job.folder / "objects.csv"
    return Exported((path,), write_csv(path, job.frames(outlines=False), cell=safe_cell))


def _parquet(job: ExportJob) -> Exported:
    path = job.folder / "objects.parquet"
    return Exported((path,), write_parquet(path, job.frames(outlines=False), geometry=False, facts=job.facts()))


def _geoparquet(job: ExportJob) -> Exported:
    path = job.folder / "objects.geo.parquet"
    # a frame is a row group, and polygons are in memory three times over while it is made
    frames = job.frames(outlines=True, rows=1 << 13)
    return Exported((path,), write_parquet(path, frames, geometry=True, facts=job.facts()))


def _ome_zarr(job: ExportJob) -> Exported:
    from wsiparse.export.labels import write_labels

    path = job.folder / "labels.ome.zarr"
    write_labels(path, job.reader, version=job.options.ngff)
    note_hash(path, job.reader.path)
    return Exported((path,), None)


def _anndata(job: ExportJob) -> Exported:
    path = job.folder / "objects.h5ad"
    return Exported((path,), write_anndata(path, job.frames(outlines=False)))


def _spatialdata(job: ExportJob) -> Exported:
    path = job.folder / "objects.spatialdata.zarr"
    return Exported((path,), write_spatialdata(path, job.frames(outlines=True), job.kinds))


def _coco(job: ExportJob) -> Exported:
    path, facts = job.folder / "objects.coco.json", job.facts()
    count = write_coco(
        path,
        job.frames(outlines=True),
        prompts=job.reader.prompts,
        kinds=job.kinds,
        image=(str(facts["name"]), *job.bounds[2:]),
        facts=facts,
    )
    return Exported((path,), count)


def _dicom_ann(job: ExportJob) -> Exported:
    from wsiparse.export.dicom import write_annotations

    path = job.folder / "annotations.dcm"
    done = write_annotations(path, job.reader, job.frames(outlines=True, rows=1 << 13), job.options.slide)
    return Exported((path,) if done.objects else (), done.objects, notes=done.notes)


def _dicom_seg(job: ExportJob) -> Exported:
    from wsiparse.export.dicom import write_segmentation

    paths, objects, notes = [], 0, dict[str, None]()
    for kind in job.asked_kinds():
        path = job.folder / f"{_STEMS[kind]}.seg.dcm"
        done = write_segmentation(path, job.reader, kind, job.options.slide)
        paths += [path] if done.objects else []
        objects += done.objects
        notes |= dict.fromkeys(done.notes)
    return Exported(tuple(paths), objects, notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class Format:
    """A format that objects can be exported to; one of another package registers as an entry point `wsiparse.formats`.

    Parameters
    ----------
    text : what is written, for people
    write : makes it
    options : names of the fields of `ExportOptions` that it heeds
    coords : origin of its coordinates by default
    needs : packages that must be installed
    """

    text: str
    write: Callable[[ExportJob], Exported]
    options: frozenset[str]
    coords: Coords = "level0"
    needs: tuple[str, ...] = ()


def _options(*names: str) -> frozenset[str]:
    return frozenset(names)


#: Name of each format -> what it is.
FORMATS: Final[dict[str, Format]] = {
    "geojson": Format(
        "cells.geojson.gz and regions.geojson.gz: polygons with measurements, for QuPath",
        _geojson,
        _options("kind", "coords", "simplify"),
        "qupath",
    ),
    "centroids": Format(
        "centroids.geojson.gz: a point an object, for QuPath", _centroids, _options("kind", "coords"), "qupath"
    ),
    "csv": Format("objects.csv: a line an object, no outlines", _csv, _options("kind", "coords")),
    "parquet": Format(
        "objects.parquet: the same table, full precision",
        _parquet,
        _options("kind", "coords"),
        needs=("pyarrow",),
    ),
    "geoparquet": Format(
        "objects.geo.parquet: the table with polygons (GeoParquet 1.1)",
        _geoparquet,
        _options("kind", "coords", "simplify"),
        needs=("pyarrow",),
    ),
    "ome-zarr": Format("labels.ome.zarr: label images (OME-NGFF)", _ome_zarr, _options("ngff")),
    "anndata": Format(
        "objects.h5ad: AnnData, centroids in obsm['spatial']",
        _anndata,
        _options("kind", "coords"),
        needs=("anndata", "pandas"),
    ),
    "spatialdata": Format(
        "objects.spatialdata.zarr: SpatialData, shapes, points and tables in pixels and microns",
        _spatialdata,
        _options("kind", "coords", "simplify"),
        needs=("spatialdata", "anndata", "geopandas", "pandas"),
    ),
    "coco": Format("objects.coco.json: COCO instances", _coco, _options("kind", "coords")),
    "dicom-ann": Format(
        "annotations.dcm: DICOM Microscopy Bulk Simple Annotations, an outline an object",
        _dicom_ann,
        _options("kind", "slide"),
        needs=("highdicom", "pydicom"),
    ),
    "dicom-seg": Format(
        "cells.seg.dcm and regions.seg.dcm: DICOM Segmentation, class maps",
        _dicom_seg,
        _options("kind", "slide"),
        needs=("highdicom", "pydicom"),
    ),
}


def format_names() -> tuple[str, ...]:
    """Names of all formats, this package's first; nothing of the others is imported."""
    return plugin_names(PLUGIN_FORMATS, tuple(FORMATS))


def format_of(name: str) -> Format:
    """A format of this package, or of another one that registers it (entry points `wsiparse.formats`).

    Raises
    ------
    ConfigError
        If it is of a package that does not work.
    ValueError
        If there is no such format.
    """
    if name in FORMATS:
        return FORMATS[name]
    point = plugins(PLUGIN_FORMATS, tuple(FORMATS)).get(name)
    if point is None:
        raise ValueError(f"format {name!r} is none of {', '.join(format_names())}")
    return load_plugin(point, Format)


def check_installed(name: str) -> None:
    """See that a format and its packages can be loaded, before any work is done.

    Raises
    ------
    OutputError
        Naming the extra to install.
    ConfigError, ValueError
        As `format_of`.
    """
    for package in format_of(name).needs:
        optional(package, f"The format {name}")


@dataclass(frozen=True, slots=True)
class FinishedSlide:
    """Slides of a results folder.

    Parameters
    ----------
    ready : the objects.zarr of finished ones
    unfinished : folders of others
    damaged : folders of finished ones whose files are not all there
    """

    ready: tuple[Path, ...]
    unfinished: tuple[Path, ...]
    damaged: tuple[Path, ...] = ()


def find_objects(results: Path) -> FinishedSlide:
    """The objects of a results folder (all finished slides), of one slide's folder, or objects.zarr itself.

    Raises
    ------
    OutputError
        If there is nothing finished.
    """
    if results.name == "objects.zarr" and results.is_dir():
        return FinishedSlide((results,), ())
    folders = find_results(results).slides
    ready = [folder for folder in folders if done_record(folder) is not None]
    damaged = tuple(folder for folder in folders if folder not in ready and (folder / DONE).exists())
    if not ready and len(folders) == len(damaged) == 1:
        raise OutputError(f"{damaged[0]}: {fault_of(damaged[0])}.")
    if not ready and not damaged:
        raise OutputError(f"{results}: no finished slide here. Run the same `wsiparse run` again to finish.")
    rest = tuple(folder for folder in folders if folder not in (*ready, *damaged))
    return FinishedSlide(tuple(folder / "objects.zarr" for folder in ready), rest, damaged)


def export_folder(source: Path, out: Path | None = None) -> Path:
    """Where the files made of an objects.zarr go: beside it in ``exports/``, or in a folder of the slide's in `out`."""
    slide = Path(source).absolute().parent
    return slide / EXPORTS if out is None else out / slide.name


def export(source: Path, name: str, out: Path | None = None, options: ExportOptions | None = None) -> Exported:
    """Write one slide's objects in one format.

    Parameters
    ----------
    source : its objects.zarr
    name : one of `format_names`
    out : folder that gets a folder of the slide's; None for ``exports/`` beside `source`
    options : those the format does not heed must have their defaults

    Raises
    ------
    OutputError
        If the objects are damaged, a package is not installed, or the folder cannot be written to.
    ConfigError
        If the format is of another package, which does not work.
    ValueError
        If there is no such format, or it does not heed an option that is given.
    """
    form, options = format_of(name), options or ExportOptions()
    for option in ("kind", "coords", "simplify", "ngff", "slide"):
        if option not in form.options and getattr(options, option) != getattr(ExportOptions(), option):
            raise ValueError(f"the format {name} has no option {option}")
    if options.coords is None:
        options = replace(options, coords=form.coords)
    check_installed(name)
    folder = export_folder(source, out)
    if (folder / DONE).exists():
        raise OutputError(
            f"{folder}: holds the results of a run, which an export must not change; choose another folder."
        )
    check_beside(source)
    job = ExportJob(source, folder, options)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_dead(folder)
    return form.write(job)
