"""Objects as DICOM: Microscopy Bulk Simple Annotations (outlines) and Segmentation (class maps); PS3.3, A.87 and A.51.

Annotations have a group for each class, with coordinates in px of the total pixel matrix of the image that was analysed
(0, 0 is the upper left corner of its first pixel, as everywhere here), and the area of each object. A polygon of DICOM
has no holes, so an object with holes is its outer ring, and its area that without the holes.

Segmentations have a segment for each class. One whose class map has more than `MOST_PX` pixels is written at a half, a
quarter, ... of the scale: every such pixel shows one pixel of the class map, as in labels.ome.zarr.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.atomic import publish
from wsiparse.coords import Frame
from wsiparse.export.dicom_source import derived_uid, source_image
from wsiparse.export.dicom_terms import Code, Term, term_of
from wsiparse.export.extras import optional
from wsiparse.export.objectframe import ObjectFrame
from wsiparse.machine import own_version
from wsiparse.store.read import ObjectsReader
from wsiparse.types import Prompt, PromptKind

__all__ = ["MOST_PX", "DicomWritten", "write_annotations", "write_segmentation"]

#: Pixels of a class map that are held in memory at once.
MOST_PX: Final = 1 << 27
_TILE_PX: Final = 512
_WHO: Final = "A DICOM format"


@dataclass(frozen=True, slots=True)
class DicomWritten:
    """What was written: objects, and what to know of them, one line each."""

    objects: int
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Slide:
    """What every file of a slide has in common."""

    image: Any
    fingerprint: str
    engine: str
    notes: tuple[str, ...]


def _slide(reader: ObjectsReader, slide: Path | None) -> _Slide:
    derived = "the image referred to is derived, for no DICOM slide was given (--slide): see docs/dicom.md"
    notes = (derived,) if slide is None else ()
    # results of the same slide by other engines or settings are other files
    digest = str(reader.attrs["columns"])
    return _Slide(source_image(reader.slide, slide), f"{reader.slide['fingerprint']} {digest}", reader.engine, notes)


def _private(terms: Sequence[tuple[Prompt, Term]]) -> tuple[str, ...]:
    names = [f"{prompt.class_name} ({term.type.value})" for prompt, term in terms if not term.known]
    return (f"coded by this program itself, for no term is known: {', '.join(names)}",) if names else ()


def write_annotations(
    path: Path, reader: ObjectsReader, frames: Iterator[ObjectFrame], slide: Path | None
) -> DicomWritten:
    """Write every object as an annotation.

    Parameters
    ----------
    path : the file
    reader : the objects
    frames : the same with outlines, level-0 px
    slide : see `wsiparse.export.dicom_source.source_image`

    Raises
    ------
    OutputError
        If the file cannot be written, or `slide` is not that of the objects.
    """
    ann = optional("highdicom.ann", _WHO)
    own = _slide(reader, slide)
    outlines: list[list[NDArray[np.float64]]] = [[] for _ in reader.prompts]
    areas: list[list[float]] = [[] for _ in reader.prompts]
    holes = 0
    for frame in frames:
        shapes = frame.shapes()
        um2 = frame.mpp[0] * frame.mpp[1]
        for k in range(len(frame)):
            rings = shapes.ring_offsets[shapes.polygon_offsets[k] : shapes.polygon_offsets[k + 1] + 1]
            holes += len(rings) > 2
            at = int(frame.class_id[k]) - 1
            outlines[at].append(shapes.coords[rings[0] : rings[1] - 1])  # the last corner is the first
            areas[at].append(float(frame.area_px[k]) * um2)
    terms = [(prompt, term_of(prompt)) for prompt in reader.prompts]
    found = [k for k in range(len(terms)) if outlines[k]]
    if not found:
        return DicomWritten(0, (*own.notes, "no object was found: there is nothing to annotate, no file is written"))
    groups = [_group(n, own, terms[k], _stored(outlines[k]), areas[k]) for n, k in enumerate(found, 1)]
    made = ann.MicroscopyBulkSimpleAnnotations(
        source_images=[own.image],
        annotation_coordinate_type=ann.AnnotationCoordinateTypeValues.SCOORD,
        annotation_groups=groups,
        series_number=9101,
        content_label="WSIPARSE",
        content_description="Objects found by wsiparse",
        **_instance(own, "annotations"),
    )
    with publish(path) as temporary:
        made.save_as(temporary, enforce_file_format=True)
    lost = (
        (f"{holes} object(s) have holes, which an annotation has not: their outer rings are written",) if holes else ()
    )
    notes = (*own.notes, *_private([terms[k] for k in found]), *lost)
    return DicomWritten(sum(map(len, outlines)), notes)


def _stored(rings: list[NDArray[np.float64]]) -> list[NDArray[Any]]:
    """Single precision where it holds every coordinate exactly, as whole and half pixels do; else double."""
    single = [ring.astype(np.float32) for ring in rings]
    exact = all(np.array_equal(a, b) for a, b in zip(single, rings, strict=True))
    return list(single) if exact else list(rings)


def _group(number: int, own: _Slide, told: tuple[Prompt, Term], rings: list[NDArray[Any]], areas: list[float]) -> Any:
    ann, codes = optional("highdicom.ann", _WHO), optional("pydicom.sr.codedict", _WHO).codes
    prompt, term = told
    area = ann.Measurements(name=codes.SCT.Area, values=np.array(areas), unit=codes.UCUM.SquareMicrometer)
    return ann.AnnotationGroup(
        number=number,
        uid=derived_uid(own.fingerprint, f"group {prompt.kind} {prompt.class_name}"),
        label=_text(prompt.class_name),
        annotated_property_category=_coded(term.category),
        annotated_property_type=_coded(term.type),
        graphic_type=ann.GraphicTypeValues.POLYGON,
        graphic_data=rings,
        algorithm_type=ann.AnnotationGroupGenerationTypeValues.AUTOMATIC,
        algorithm_identification=_algorithm(own.engine),
        measurements=[area],
        description=_text(f"{prompt.kind}s asked for as: {prompt.text}"),
        display_color=optional("highdicom.color", _WHO).CIELabColor.from_string(prompt.colour),
    )


def write_segmentation(path: Path, reader: ObjectsReader, kind: PromptKind, slide: Path | None) -> DicomWritten:
    """Write the class map of a kind, a segment for each class.

    Parameters
    ----------
    path : the file
    reader : the objects
    kind : which of them
    slide : see `wsiparse.export.dicom_source.source_image`

    Raises
    ------
    OutputError
        If the file cannot be written, or `slide` is not that of the objects.
    """
    from wsiparse.export.labels import class_map

    seg, content = optional("highdicom.seg", _WHO), optional("highdicom", _WHO)
    own, frame = _slide(reader, slide), reader.frames[kind]
    positions = reader.prompts.of_kind(kind)
    level = next(k for k in range(32) if (frame.size[0] >> k) * (frame.size[1] >> k) <= MOST_PX)
    pixels = class_map(reader, kind, level)
    # segments are numbered from 1 on, class ids are those of all kinds together
    number = np.zeros(len(reader.prompts) + 1, np.uint8)
    number[[k + 1 for k in positions]] = np.arange(1, len(positions) + 1)
    pixels = number[pixels]
    terms = [(reader.prompts[k], term_of(reader.prompts[k])) for k in positions]
    described = [
        seg.SegmentDescription(
            segment_number=n,
            segment_label=_text(prompt.class_name),
            segmented_property_category=_coded(term.category),
            segmented_property_type=_coded(term.type),
            algorithm_type=seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=_algorithm(own.engine),
            tracking_uid=derived_uid(own.fingerprint, f"segment {prompt.kind} {prompt.class_name}"),
            tracking_id=_text(f"wsiparse {prompt.class_name}"),
            display_color=optional("highdicom.color", _WHO).CIELabColor.from_string(prompt.colour),
        )
        for n, (prompt, term) in enumerate(terms, 1)
    ]
    count = reader.count(kind)
    if not pixels.any():
        return DicomWritten(0, (*own.notes, f"no {kind} was found: there is nothing to segment, no file is written"))
    made = seg.Segmentation(
        source_images=[own.image],
        pixel_array=pixels[np.newaxis],
        segmentation_type=seg.SegmentationTypeValues.BINARY,
        segment_descriptions=described,
        series_number=9102 + (kind == "region"),
        content_label="WSIPARSE",
        content_description=f"Classes of {kind}s found by wsiparse",
        tile_pixel_array=True,
        tile_size=(_TILE_PX, _TILE_PX),
        **_placed(content, own.image, frame, level),
        **_instance(own, f"{kind} classes"),
    )
    with publish(path) as temporary:
        made.save_as(temporary, enforce_file_format=True)
    smaller = (f"{kind}s: the class map is 1/{1 << level} of the scale, of {frame.size[0]} x {frame.size[1]} px",)
    return DicomWritten(count, (*own.notes, *_private(terms), *(smaller if level else ())))


def _placed(content: Any, image: Any, frame: Frame, level: int) -> dict[str, Any]:
    """Pixel size, orientation and place of a class map in the frame of reference of the image, mm."""
    orientation = [float(v) for v in image.ImageOrientationSlide]
    spacing = [float(v) for v in image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing]
    origin = image.TotalPixelMatrixOriginSequence[0]
    corner = [float(origin.XOffsetInSlideCoordinateSystem), float(origin.YOffsetInSlideCoordinateSystem)]
    # a position is that of the middle of a pixel: the middle of the map's first one lies half of it, less half a px of
    # level 0, beyond that of the image's first one
    own = [spacing[0] * frame.downsample[1] * (1 << level), spacing[1] * frame.downsample[0] * (1 << level)]
    along = [(own[1] - spacing[1]) / 2, (own[0] - spacing[0]) / 2]
    place = [corner[axis] + orientation[axis] * along[0] + orientation[3 + axis] * along[1] for axis in range(2)]
    return {
        "pixel_measures": content.PixelMeasuresSequence(pixel_spacing=own, slice_thickness=0.001),
        "plane_orientation": content.PlaneOrientationSequence("SLIDE", orientation),
        "plane_positions": [content.PlanePositionSequence("SLIDE", (*place, 0.0), (1, 1))],
    }


def _instance(own: _Slide, what: str) -> dict[str, Any]:
    return {
        "series_instance_uid": derived_uid(own.fingerprint, f"series of {what}"),
        "sop_instance_uid": derived_uid(own.fingerprint, what),
        "instance_number": 1,
        "manufacturer": "The wsiparse developers",
        "manufacturer_model_name": "wsiparse",
        "software_versions": own_version(),
        "device_serial_number": own_version(),
        "specific_character_set": "ISO_IR 192",
    }


def _algorithm(engine: str) -> Any:
    content, codes = optional("highdicom", _WHO), optional("pydicom.sr.codedict", _WHO).codes
    return content.AlgorithmIdentificationSequence(
        name=_text(engine), family=codes.DCM.ArtificialIntelligence, version=own_version()
    )


def _coded(code: Code) -> Any:
    return optional("highdicom.sr", _WHO).CodedConcept(code.value, code.scheme, code.meaning)


def _text(text: str) -> str:
    """Text that an element of 64 characters holds."""
    return " ".join(text.replace("\\", "/").encode("utf-8", "replace").decode().split())[:64]
