"""The head of a DICOM whole-slide image as scanners write it, with a study, a specimen and a frame of reference."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

__all__ = ["slide_dataset"]

_ROOT = "1.2.826.0.1.3680043.8.498.77"
_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"


def slide_dataset(size: tuple[int, int], *, instance: str = "1", kind: str = "VOLUME") -> Any:
    """An image of (width, height) px at 0.25 um per px whose rows run down the slide."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = _WSI
    data.file_meta.MediaStorageSOPInstanceUID = f"{_ROOT}.3.{instance}"
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.ImageType = ["ORIGINAL", "PRIMARY", kind, "NONE"]
    data.SOPClassUID, data.SOPInstanceUID = _WSI, f"{_ROOT}.3.{instance}"
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{_ROOT}.1", f"{_ROOT}.2"
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = f"{_ROOT}.4", "SLIDE_CORNER"
    data.Modality, data.PatientID, data.PatientName = "SM", "somebody", "Some^Body"
    data.PatientBirthDate, data.PatientSex, data.AccessionNumber = "", "O", "A1"
    data.StudyID, data.StudyDate, data.StudyTime, data.ReferringPhysicianName = "1", "20260102", "101112", ""
    data.ContainerIdentifier = "block 7"
    data.IssuerOfTheContainerIdentifierSequence = []
    container = Dataset()
    container.CodeValue, container.CodingSchemeDesignator = "433466003", "SCT"
    container.CodeMeaning = "Microscope slide"
    data.ContainerTypeCodeSequence = [container]
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "s", f"{_ROOT}.5"
    specimen.IssuerOfTheSpecimenIdentifierSequence, specimen.SpecimenPreparationSequence = [], []
    data.SpecimenDescriptionSequence = [specimen]
    data.Rows = data.Columns = 256
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = size
    data.TotalPixelMatrixFocalPlanes = 1
    data.NumberOfFrames = -(-size[0] // 256) * -(-size[1] // 256)
    data.DimensionOrganizationType = "TILED_FULL"
    data.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20.0, 40.0
    data.TotalPixelMatrixOriginSequence = [origin]
    measures, shared, path = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.00025, 0.00025], 0.001
    shared.PixelMeasuresSequence = [measures]
    data.SharedFunctionalGroupsSequence = [shared]
    path.OpticalPathIdentifier = "1"
    data.OpticalPathSequence, data.NumberOfOpticalPaths = [path], 1
    return data
