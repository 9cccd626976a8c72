"""report_inputs/: what a report is made of beside objects.zarr, so that reports can be redone without the slide.

Layout::

    report_inputs/
      report_inputs.json  slide, frames, region of interest, unreadable tiles, pictured squares
      overview.png        (h, w, 3) the slide at about 8 um per px, as tissue was looked for on it; lossless
      view.jpg            (H, W, 3) the same finer, for people, where the slide is small
      tissue.png          (h, w) 0 glass, 255 cells in which objects count, 128 pen, ink and black: kept out
      cover.png           (h, w) how much of each of those cells tissue covers, of 255: the analysed area. Without
                          one (a slide analysed whole, results of format 1) cells count whole
      spots/N.jpg         the N-th pictured square at full resolution, where it could be read
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry.base import BaseGeometry

from wsiparse.atomic import output_errors
from wsiparse.choices import Division
from wsiparse.coords import Frame
from wsiparse.errors import OutputError
from wsiparse.types import Box, EngineLimits

__all__ = [
    "PicturedSquare",
    "ReportInputs",
    "jpeg_bytes",
    "png_bytes",
    "png_pixels",
    "read_drawn",
    "read_frame",
    "read_report_inputs",
    "write_report_inputs",
]

#: Format 1 has no cover.png.
FORMAT: Final = 2
_READ: Final = (1, 2)

#: Facts about regions, written where there are any.
_OF_REGIONS: Final = (
    "tissue_file",
    "region_file",
    "region_notes",
    "tumour_classes",
    "stroma_classes",
    "tumour_is_epithelium",
)
#: Corners of all polygons together that are written as text.
_MOST_WRITTEN_OUT: Final = 20_000

_TISSUE, _ARTEFACT = 255, 128

_AGAIN: Final = "Run the slide again with --overwrite to make it anew."


@dataclass(frozen=True, slots=True)
class PicturedSquare:
    """A square of the slide that a picture was taken of at full resolution.

    Parameters
    ----------
    box : level-0 px
    file : below report_inputs/
    """

    box: Box
    file: str


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """What a report needs to know of a slide beside its objects.

    Parameters
    ----------
    slide : facts as in DONE.json (name, fingerprint, size, mpp, vendor, reader, bounds)
    offset : what overlays and region files were reduced by, level-0 px
    overview : frame of the pictures
    picture : (h, w, 3) uint8
    tissue, artefacts : (h, w) bool; objects count in cells of `tissue`
    whole_slide : everything was analysed, whether tissue or not
    roi : valid Polygon or MultiPolygon, level-0 px, or None
    regions : (class name, polygon in level-0 px) of the region of interest's file, in its order
    unreadable : cores of unreadable tiles, level-0 px, each (x0, y0, x1, y1)
    compartments : how the run was told to divide tissue in reports, None for what fits
    squares : pictured ones
    limits : what must be said of the engine's answers
    view : JPEG of the whole slide as people see it in reports; None where `picture` is fine enough
    region_file : name and sha256 of the region of interest's file, or None
    region_notes : what was said when it was read, a line each
    tumour_classes, stroma_classes : of regions, as the run was told
    tumour_is_epithelium : as the run was told
    found_artefacts : (kind, polygons in level-0 px, whether they were left out) of each kind that was looked for
    cover : (h, w) uint8, how much of each cell of `tissue` is covered, of 255; None for all of them whole
    drawn_tissue : the tissue as its user drew it, (multi)polygon in level-0 px, or None; `roi` lies in it
    tissue_file : name and sha256 of the file it is of, or None
    """

    slide: Mapping[str, Any]
    offset: tuple[int, int]
    overview: Frame
    picture: NDArray[np.uint8]
    tissue: NDArray[np.bool_]
    artefacts: NDArray[np.bool_]
    whole_slide: bool
    roi: BaseGeometry | None
    regions: tuple[tuple[str, BaseGeometry], ...]
    unreadable: tuple[tuple[float, float, float, float], ...]
    compartments: Division | None = None
    squares: tuple[PicturedSquare, ...] = ()
    limits: EngineLimits = field(default_factory=EngineLimits)
    view: bytes | None = None
    region_file: tuple[str, str] | None = None
    region_notes: tuple[str, ...] = ()
    tumour_classes: tuple[str, ...] = ()
    stroma_classes: tuple[str, ...] = ()
    tumour_is_epithelium: bool = False
    found_artefacts: tuple[tuple[str, BaseGeometry, bool], ...] = ()
    cover: NDArray[np.uint8] | None = None
    drawn_tissue: BaseGeometry | None = None
    tissue_file: tuple[str, str] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of level 0, px."""
        return int(self.slide["size"][0]), int(self.slide["size"][1])

    @property
    def mpp(self) -> tuple[float, float]:
        """(x, y) um per level-0 px."""
        return float(self.slide["mpp"][0]), float(self.slide["mpp"][1])


def _written(shape: BaseGeometry, long: bool) -> dict[str, Any]:
    """A polygon as GeoJSON, or as WKB where all of them are long: numbers as text take ten times the memory."""
    if not long:
        return dict(shapely.geometry.mapping(shape))
    return {"wkb": base64.b64encode(shapely.to_wkb(shape, output_dimension=2, byte_order=1)).decode()}


def _read(written: dict[str, Any]) -> BaseGeometry:
    if "wkb" in written:
        return shapely.from_wkb(base64.b64decode(written["wkb"]))
    return shapely.geometry.shape(written)


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """A picture (h, w) or (h, w, 3) uint8 as PNG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG", compress_level=4)
    return out.getvalue()


def png_pixels(data: bytes) -> NDArray[np.uint8]:
    """The picture of a PNG that `png_bytes` made, (h, w) or (h, w, 3) uint8: decoded in place, of any size.

    Raises
    ------
    RuntimeError
        If it is damaged.
    """
    return np.asarray(imagecodecs.png_decode(data), np.uint8)


def jpeg_bytes(picture: NDArray[np.uint8], quality: int = 90) -> bytes:
    """A picture (h, w, 3) uint8 as JPEG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="JPEG", quality=quality)
    return out.getvalue()


def write_report_inputs(folder: Path, inputs: ReportInputs, overview: bytes, spots: Mapping[str, bytes]) -> None:
    """Write report_inputs/ as `folder`, which must not exist yet: in the staging folder, where nobody looks too early.

    The file of facts is named as the folder is.

    Parameters
    ----------
    overview : the PNG of `inputs.picture`
    spots : file name -> JPEG of every pictured square

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    shapes = [shape for _, shape in inputs.regions]
    shapes += [shape for shape in (inputs.roi, inputs.drawn_tissue) if shape is not None]
    shapes += [shape for _, shape, _ in inputs.found_artefacts]
    long = sum(int(shapely.get_num_coordinates(shape)) for shape in shapes) > _MOST_WRITTEN_OUT
    facts = {
        "format": FORMAT,
        "slide": dict(inputs.slide),
        "offset": list(inputs.offset),
        "overview": asdict(inputs.overview),
        "whole_slide": inputs.whole_slide,
        "roi": _written(inputs.roi, long) if inputs.roi is not None else None,
        "regions": [{"class": name, "geometry": _written(shape, long)} for name, shape in inputs.regions],
        "artefacts": [
            {"kind": kind, "left_out": out, "geometry": _written(shape, long)}
            for kind, shape, out in inputs.found_artefacts
        ],
        "drawn_tissue": _written(inputs.drawn_tissue, long) if inputs.drawn_tissue is not None else None,
        "unreadable": [list(box) for box in inputs.unreadable],
        "compartments": inputs.compartments,
        "squares": [asdict(square) for square in inputs.squares],
        "limits": asdict(inputs.limits),
        "view": inputs.view is not None,
        "cover": inputs.cover is not None,
        **{name: getattr(inputs, name) for name in _OF_REGIONS if getattr(inputs, name)},
    }
    plane = np.where(inputs.tissue, np.uint8(_TISSUE), np.where(inputs.artefacts, np.uint8(_ARTEFACT), np.uint8(0)))
    with output_errors(folder):
        (folder / "spots").mkdir(parents=True)
        (folder / "overview.png").write_bytes(overview)
        (folder / "tissue.png").write_bytes(png_bytes(plane))
        if inputs.cover is not None:
            (folder / "cover.png").write_bytes(png_bytes(inputs.cover))
        if inputs.view is not None:
            (folder / "view.jpg").write_bytes(inputs.view)
        for name, data in spots.items():
            (folder / name).write_bytes(data)
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        _facts_file(folder).write_text(text + "\n", encoding="utf-8", newline="\n")


#: What the report tells of the slide in words.
_TEXTS: Final = ("name", "fingerprint", "reader", "vendor", "mpp_source")


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turn what a missing or damaged report_inputs/ raises into an `OutputError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise OutputError(f"{folder}: missing or incomplete ({Path(str(error.filename)).name}). {_AGAIN}") from error
    # a damaged PNG raises RuntimeError, damaged JSON ValueError, an absent key one of the others
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise OutputError(f"{folder}: damaged ({' '.join(str(error).split())[:200]}). {_AGAIN}") from error


def _facts_file(folder: Path) -> Path:
    """Named as its folder is."""
    return folder / f"{folder.name}.json"


def _facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(_facts_file(folder).read_text(encoding="utf-8"))
    if facts["format"] not in _READ:
        raise OutputError(
            f"{folder}: of format {facts['format']!r}, this program reads {' and '.join(map(str, _READ))}. {_AGAIN}"
        )
    return facts


def _limits(facts: Mapping[str, Any]) -> EngineLimits:
    """Of results that an older version made, nothing is known."""
    lists = {key: tuple(facts[key]) for key in ("warnings", "sentences") if key in facts}
    return EngineLimits(**{**facts, **lists})


def read_frame(folder: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """What the slide's overlays and region files are reduced by, and (width, height) of the slide, level-0 px.

    Raises
    ------
    OutputError
        As `read_report_inputs`.
    """
    with _reading(folder):
        facts = _facts(folder)
        (x, y), (width, height) = facts["offset"], facts["slide"]["size"]
        return (int(x), int(y)), (int(width), int(height))


def read_drawn(folder: Path) -> tuple[tuple[str, BaseGeometry], ...]:
    """(class name, polygon in level-0 px) of the regions the slide was analysed with, those left out included.

    Raises
    ------
    OutputError
        As `read_report_inputs`.
    """
    with _reading(folder):
        return _drawn(_facts(folder))


def _drawn(facts: Mapping[str, Any]) -> tuple[tuple[str, BaseGeometry], ...]:
    return tuple((str(r["class"]), _read(r["geometry"])) for r in facts["regions"])


def read_report_inputs(folder: Path) -> ReportInputs:
    """Read report_inputs/ back.

    Raises
    ------
    OutputError
        If it is missing, damaged, or of another format.
    """
    with _reading(folder):
        facts = _facts(folder)
        picture = png_pixels((folder / "overview.png").read_bytes())
        plane = png_pixels((folder / "tissue.png").read_bytes())
        cover = png_pixels((folder / "cover.png").read_bytes()) if facts.get("cover") else None
        if picture.shape != (*plane.shape, 3) or (cover is not None and cover.shape != plane.shape):
            raise OutputError(f"{folder}: its pictures differ in size. {_AGAIN}")
        roi, drawn = facts["roi"], facts.get("drawn_tissue")
        inputs = ReportInputs(
            slide=facts["slide"],
            offset=(int(facts["offset"][0]), int(facts["offset"][1])),
            overview=Frame(**{key: tuple(value) for key, value in facts["overview"].items()}),
            picture=picture,
            tissue=plane == _TISSUE,
            artefacts=plane == _ARTEFACT,
            whole_slide=bool(facts["whole_slide"]),
            roi=_read(roi) if roi is not None else None,
            regions=_drawn(facts),
            # results of an older version looked for none
            found_artefacts=tuple(
                (str(a["kind"]), _read(a["geometry"]), bool(a["left_out"])) for a in facts.get("artefacts", ())
            ),
            unreadable=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in facts["unreadable"]),
            compartments=facts["compartments"],
            squares=tuple(PicturedSquare(Box(**square["box"]), str(square["file"])) for square in facts["squares"]),
            limits=_limits(facts.get("limits", {})),
            view=(folder / "view.jpg").read_bytes() if facts.get("view") else None,
            region_file=tuple(facts["region_file"]) if "region_file" in facts else None,
            region_notes=tuple(facts.get("region_notes", ())),
            tumour_classes=tuple(facts.get("tumour_classes", ())),
            stroma_classes=tuple(facts.get("stroma_classes", ())),
            tumour_is_epithelium=bool(facts.get("tumour_is_epithelium", False)),
            cover=cover,
            drawn_tissue=_read(drawn) if drawn is not None else None,
            tissue_file=tuple(facts["tissue_file"]) if "tissue_file" in facts else None,
        )
        if not (
            min(inputs.size) >= 1 and min(inputs.mpp) > 0 and all(isinstance(inputs.slide[k], str) for k in _TEXTS)
        ):
            raise OutputError(f"{folder}: damaged (facts of its slide are missing). {_AGAIN}")
        return inputs
