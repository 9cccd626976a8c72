"""The image that DICOM annotations refer to: the slide's own where it is DICOM, else one that is derived from it.

A slide that is no DICOM file has no study, no frame of reference and no instance to refer to. What stands in for them
is derived, the same for the same slide content, so that files of one slide fit each other:

* UIDs are ``2.25.`` and the number of a UUIDv5 of the slide's fingerprint and the level of the hierarchy;
* the frame of reference has its origin at the upper left corner of level 0, x along a row and y along a column, in mm:
  px times um per px / 1000; the total pixel matrix is level 0;
* patient and dates are empty, specimen and container have the name of the slide.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from wsiparse.errors import OutputError
from wsiparse.export.extras import optional
from wsiparse.slides.dicom import is_dicom, series_uid

__all__ = ["derived_uid", "source_image"]

_WSI: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
_SPACE: Final = uuid.UUID("5b1f7d1c-7a0e-5d1b-9a53-6a6d2f6c8e11")
_TILE_PX: Final = 512
_HEADER_BYTES: Final = 1 << 16


def derived_uid(fingerprint: str, what: str) -> str:
    """A UID of a slide's content and what it is of.

    >>> derived_uid("ab", "study") == derived_uid("ab", "study") != derived_uid("ab", "series")
    True
    """
    return f"2.25.{uuid.uuid5(_SPACE, f'{fingerprint} {what}').int}"


def source_image(facts: Mapping[str, Any], slide: Path | None) -> Any:
    """The data set of the image that the objects were found on, without its pixels.

    Parameters
    ----------
    facts : facts of the slide, as objects.zarr has them
    slide : the slide where it is DICOM: a file of its series, or a folder with it; None for a derived one

    Raises
    ------
    OutputError
        If `slide` is no DICOM slide, or not the one that was analysed.
    """
    return _derived(facts) if slide is None else _of_series(facts, slide)


def _of_series(facts: Mapping[str, Any], slide: Path) -> Any:
    """The finest volume image of a series, whose total pixel matrix must be level 0 of the objects."""
    pydicom = optional("pydicom", "A DICOM format")
    if slide.is_dir():
        files = sorted(path for path in slide.iterdir() if is_dicom(path))
    elif is_dicom(slide):
        with slide.open("rb") as file:
            series = series_uid(file.read(_HEADER_BYTES))
        files = [path for path in sorted(slide.parent.iterdir()) if is_dicom(path)]
    else:
        raise OutputError(f"{slide}: no DICOM file. --slide is for slides that are DICOM; leave it out for others.")
    found = []
    for path in files:
        data = pydicom.dcmread(path, stop_before_pixels=True)
        if data.get("SOPClassUID") == _WSI and (slide.is_dir() or data.get("SeriesInstanceUID") == series):
            kind = [str(word) for word in data.get("ImageType", ())]
            if "LABEL" not in kind and "OVERVIEW" not in kind and "THUMBNAIL" not in kind:
                found.append(data)
    if not found:
        raise OutputError(f"{slide}: no whole-slide image of DICOM in it (VL Whole Slide Microscopy, VOLUME).")
    finest = max(found, key=lambda data: int(data.TotalPixelMatrixColumns))
    size = int(finest.TotalPixelMatrixColumns), int(finest.TotalPixelMatrixRows)
    if size != tuple(facts["size"]):
        raise OutputError(
            f"{slide}: not the slide of these results: it has {size[0]} x {size[1]} px, they are of "
            f"{facts['size'][0]} x {facts['size'][1]} px."
        )
    for name in ("FrameOfReferenceUID", "StudyInstanceUID"):
        if not finest.get(name):
            raise OutputError(f"{slide}: its image has no {name}, so nothing can refer to it. Leave --slide out.")
    for name in (
        "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
        "StudyTime",
    ):  # fmt: skip
        if name not in finest:  # of type 2: may be empty, must be there
            setattr(finest, name, "")
    return finest


def _derived(facts: Mapping[str, Any]) -> Any:
    dataset = optional("pydicom.dataset", "A DICOM format").Dataset
    fingerprint, name = str(facts["fingerprint"]), str(facts["name"])
    (width, height), (mpp_x, mpp_y) = facts["size"], facts["mpp"]
    image = dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    image.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    image.SOPClassUID = _WSI
    image.SOPInstanceUID = derived_uid(fingerprint, "image")
    image.StudyInstanceUID = derived_uid(fingerprint, "study")
    image.SeriesInstanceUID = derived_uid(fingerprint, "series")
    image.FrameOfReferenceUID = derived_uid(fingerprint, "frame of reference")
    image.PositionReferenceIndicator = "SLIDE_CORNER"
    image.Modality = "SM"
    for key in (
        "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
        "StudyTime", "ReferringPhysicianName",
    ):  # fmt: skip
        setattr(image, key, "")
    shown = name.encode("utf-8", "replace").decode()[:64]
    image.ContainerIdentifier = shown
    image.IssuerOfTheContainerIdentifierSequence = []
    image.ContainerTypeCodeSequence = [_code(dataset, "433466003", "SCT", "Microscope slide")]
    specimen = dataset()
    specimen.SpecimenIdentifier = shown
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenUID = derived_uid(fingerprint, "specimen")
    specimen.SpecimenPreparationSequence = []
    image.SpecimenDescriptionSequence = [specimen]
    image.Rows = image.Columns = _TILE_PX
    image.TotalPixelMatrixColumns, image.TotalPixelMatrixRows = int(width), int(height)
    image.TotalPixelMatrixFocalPlanes = 1
    image.NumberOfFrames = math.ceil(width / _TILE_PX) * math.ceil(height / _TILE_PX)
    image.DimensionOrganizationType = "TILED_FULL"
    image.ImageOrientationSlide = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    origin = dataset()
    # of the middle of the first pixel
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = mpp_x / 2000, mpp_y / 2000
    image.TotalPixelMatrixOriginSequence = [origin]
    measures = dataset()
    measures.PixelSpacing = [mpp_y / 1000, mpp_x / 1000]
    measures.SliceThickness = 0.001
    shared = dataset()
    shared.PixelMeasuresSequence = [measures]
    image.SharedFunctionalGroupsSequence = [shared]
    path = dataset()
    path.OpticalPathIdentifier = "1"
    image.OpticalPathSequence = [path]
    image.NumberOfOpticalPaths = 1
    return image


def _code(dataset: Any, value: str, scheme: str, meaning: str) -> Any:
    code = dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
