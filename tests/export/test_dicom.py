"""What a reader of DICOM gets back: every object, where it lies, what it is, and which image it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.export.results import SLIDE, finished_slide
from wsiparse.errors import OutputError
from wsiparse.export.dicom_source import derived_uid
from wsiparse.export.dicom_terms import PRIVATE, term_of
from wsiparse.export.formats import ExportOptions, export
from wsiparse.export.labels import class_map, write_labels
from wsiparse.export.reading import object_frames
from wsiparse.store.read import ObjectsReader
from wsiparse.types import Prompt

highdicom = pytest.importorskip("highdicom", reason="needs highdicom: pip install 'wsiparse[dicom]'")
pydicom = pytest.importorskip("pydicom")

_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_slide(tmp_path_factory.mktemp("dicom") / "s__0123abcd") / "objects.zarr"


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value that does not fit its representation is an error, not a warning."""
    monkeypatch.setattr(pydicom.config.settings, "_reading_validation_mode", pydicom.config.RAISE)
    monkeypatch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.RAISE)


def rings_of(source: Path) -> dict[int, list[np.ndarray]]:
    """Outer rings by class id, level-0 px, without the repeated first corner."""
    found: dict[int, list[np.ndarray]] = {}
    for frame in object_frames(ObjectsReader(source), ("cell", "region"), offset=(0, 0), simplify=False, outlines=True):
        for class_id, polygon in zip(frame.class_id, frame.polygons(), strict=True):
            found.setdefault(int(class_id), []).append(np.asarray(polygon.exterior.coords)[:-1])
    return found


def check_modules(data: Any) -> None:
    """Every attribute that a mandatory module of the IOD asks for is there: highdicom's tables of PS3.3.

    Not functional groups: those tables ask for the macros of every kind of image at once.
    """
    from highdicom import _standard_utils as standard

    iod = standard.get_sop_class_iod_map()[data.SOPClassUID]
    for module in standard.get_iod_module_map()[iod]:
        if module["usage"] == "M" and not module["key"].endswith("functional-groups"):
            standard.check_required_attributes(data, module=module["key"], check_optional_sequences=False)


def test_annotations_come_back_object_by_object(objects: Path, tmp_path: Path, strict: None) -> None:
    done = export(objects, "dicom-ann", tmp_path / "out")
    made = highdicom.ann.annread(done.paths[0])
    prompts, expected = ObjectsReader(objects).prompts, rings_of(objects)
    assert done.objects == sum(map(len, expected.values()))
    groups = made.get_annotation_groups()
    assert [group.AnnotationGroupLabel for group in groups] == [
        prompts[k - 1].class_name.replace("\\", "/") for k in sorted(expected)
    ]
    for group, class_id in zip(groups, sorted(expected), strict=True):
        rings = group.get_graphic_data(made.annotation_coordinate_type)
        assert group.number_of_annotations == len(rings) == len(expected[class_id])
        for ring, own in zip(rings, expected[class_id], strict=True):
            assert ring.shape == own.shape
            assert np.abs(ring - own).max() <= 0.01
        names, areas, units = group.get_measurements()
        assert (names[0].meaning, units[0].value) == ("Area", "um2")
        assert areas.shape == (len(rings), 1)
    check_modules(made)
    assert "have holes" in " ".join(done.notes)


def test_areas_are_those_of_the_objects(objects: Path, tmp_path: Path) -> None:
    done = export(objects, "dicom-ann", tmp_path / "out")
    made = highdicom.ann.annread(done.paths[0])
    frames = list(
        object_frames(ObjectsReader(objects), ("cell", "region"), offset=(0, 0), simplify=False, outlines=False)
    )
    for group, class_id in zip(made.get_annotation_groups(), (1, 2, 3), strict=True):
        own = np.concatenate([frame.area_px[frame.class_id == class_id] for frame in frames])
        np.testing.assert_allclose(group.get_measurements()[1][:, 0], own * 0.25 * 0.25, rtol=1e-6)


def test_classes_are_coded_and_what_no_term_is_known_for_is_said(objects: Path, tmp_path: Path) -> None:
    done = export(objects, "dicom-ann", tmp_path / "out")
    types = [group.annotated_property_type for group in highdicom.ann.annread(done.paths[0]).get_annotation_groups()]
    assert [(code.value, code.scheme_designator) for code in types][::2] == [("84640000", "SCT"), ("409774005", "SCT")]
    assert types[1].scheme_designator == PRIVATE
    assert types[1].meaning == "Tumour Ä 腫瘍"
    assert any(note.startswith("coded by this program itself") and "Tumour Ä 腫瘍" in note for note in done.notes)


@pytest.mark.parametrize("name", ["a", "Mitoses", "x" * 200, "腫瘍", "a\\b", " \t", "T & B"])
def test_a_private_code_fits_its_element_and_names_are_told_apart(name: str) -> None:
    code = term_of(Prompt("no word that is known", name.strip() or "blank", "#000000")).type
    assert 1 <= len(code.value) <= 16
    assert 1 <= len(code.meaning) <= 64
    other = term_of(Prompt("no word that is known", (name.strip() or "blank") + "2", "#000000")).type
    assert code.value != other.value


def test_codes_of_public_terms_are_those_of_the_standard() -> None:
    """Values and meanings as in the dictionary that pydicom has of PS3.16; Epithelium alone is not in it."""
    from pydicom.sr._concepts_dict import concepts

    known = {value: meaning for entry in concepts["SCT"].values() for value, (meaning, _) in entry.items()}
    for text in ("neoplastic cells", "inflammatory cells", "dead cells", "connective tissue cells", "nuclei"):
        term = term_of(Prompt(text, "any", "#000000"))
        for code in (term.type, term.category):
            assert code.scheme == "SCT"
            assert code.value in known
    assert term_of(Prompt("epithelial cells", "Tumour", "#000000")).type.value == "31610004"


def test_segmentations_come_back_pixel_by_pixel(objects: Path, tmp_path: Path, strict: None) -> None:
    done = export(objects, "dicom-seg", tmp_path / "out")
    assert [path.name for path in done.paths] == ["cells.seg.dcm", "regions.seg.dcm"]
    reader = ObjectsReader(objects)
    for path, kind in zip(done.paths, ("cell", "region"), strict=True):
        made = highdicom.seg.segread(path)
        expected = class_map(reader, kind, 0)
        for number, position in enumerate(reader.prompts.of_kind(kind), 1):
            pixels = made.get_total_pixel_matrix(segment_numbers=[number], combine_segments=False)[..., 0]
            np.testing.assert_array_equal(pixels, expected == position + 1)
            assert made.get_segment_description(number).segment_label == reader.prompts[position].class_name.replace(
                "\\", "/"
            )
        check_modules(made)
        # the corner of the first pixel is that of the slide, and a pixel of the field is two of level 0
        place = made.PerFrameFunctionalGroupsSequence[0].PlanePositionSlideSequence[0]
        column, row = place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix
        spacing = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        assert [float(v) for v in spacing] == pytest.approx([0.0005, 0.0005])
        assert float(place.XOffsetInSlideCoordinateSystem) == pytest.approx((column - 0.5) * 0.0005)
        assert float(place.YOffsetInSlideCoordinateSystem) == pytest.approx((row - 0.5) * 0.0005)


def test_a_class_map_that_is_too_large_is_written_smaller(
    objects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsiparse.export import dicom

    monkeypatch.setattr(dicom, "MOST_PX", 1 << 20)
    done = export(objects, "dicom-seg", tmp_path / "out", ExportOptions(kind="cell"))
    made = highdicom.seg.segread(done.paths[0])
    assert (made.TotalPixelMatrixColumns, made.TotalPixelMatrixRows) == (1024, 1024)
    pixels = made.get_total_pixel_matrix(combine_segments=True)
    shown = class_map(ObjectsReader(objects), "cell", 2)
    np.testing.assert_array_equal(pixels > 0, shown > 0)
    assert any("1/4 of the scale" in note for note in done.notes)


@pytest.mark.parametrize("kind", ["cell", "region"])
def test_the_class_map_is_that_of_the_label_images(objects: Path, tmp_path: Path, kind: Any) -> None:
    reader = ObjectsReader(objects)
    write_labels(tmp_path / "labels.ome.zarr", reader)
    root = zarr.open_group(tmp_path / "labels.ome.zarr", mode="r")
    for level in range(3):
        np.testing.assert_array_equal(class_map(reader, kind, level), root[f"labels/{kind}_classes/{level}"][:])


def write_source(folder: Path, *, size: tuple[int, int] = (8192, 8192), **changes: Any) -> Any:
    """The head of a DICOM slide as scanners write it, with a label image beside it."""
    from tests.export.dicom_slides import slide_dataset

    folder.mkdir()
    data = slide_dataset(size)
    for name, value in changes.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(folder / "volume.dcm", enforce_file_format=True)
    label = slide_dataset((400, 300), instance="2", kind="LABEL")
    label.save_as(folder / "label.dcm", enforce_file_format=True)
    return data


@pytest.mark.parametrize("form", ["dicom-ann", "dicom-seg"])
@pytest.mark.parametrize("given", ["folder", "file"])
def test_files_of_a_dicom_slide_refer_to_it(objects: Path, tmp_path: Path, form: str, given: str) -> None:
    source = write_source(tmp_path / "slide")
    slide = tmp_path / "slide" if given == "folder" else tmp_path / "slide" / "volume.dcm"
    done = export(objects, form, tmp_path / "out", ExportOptions(slide=slide))
    made = pydicom.dcmread(done.paths[0])
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.PatientID == "somebody"
    assert made.ContainerIdentifier == source.ContainerIdentifier
    if form == "dicom-ann":
        assert made.ReferencedImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    else:
        assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert [float(v) for v in made.ImageOrientationSlide] == [0, -1, 0, -1, 0, 0]
        place = made.PerFrameFunctionalGroupsSequence[0].PlanePositionSlideSequence[0]
        # x goes down the slide: rows are along -x of the slide, columns along -y
        row, column = place.RowPositionInTotalImagePixelMatrix, place.ColumnPositionInTotalImagePixelMatrix
        assert float(place.XOffsetInSlideCoordinateSystem) == pytest.approx(20 - 0.000125 - 0.0005 * (row - 1))
        assert float(place.YOffsetInSlideCoordinateSystem) == pytest.approx(40 - 0.000125 - 0.0005 * (column - 1))
    assert not any("derived" in note for note in done.notes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"size": (4000, 8192)}, "not the slide of these results: it has 4000 x 8192 px"),
        ({"FrameOfReferenceUID": None}, "has no FrameOfReferenceUID"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "no whole-slide image of DICOM"),
    ],
)
def test_a_slide_that_is_not_that_of_the_objects_is_refused(
    objects: Path, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    write_source(tmp_path / "slide", **changes)
    with pytest.raises(OutputError, match=why):
        export(objects, "dicom-ann", tmp_path / "out", ExportOptions(slide=tmp_path / "slide"))
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_a_slide_that_is_no_dicom_is_refused(objects: Path, tmp_path: Path, wsiparse: Callable) -> None:
    (tmp_path / "a.svs").write_bytes(b"II*\0")
    said = wsiparse("export", objects, "-f", "dicom-ann", "--out", tmp_path / "out", "--slide", tmp_path / "a.svs")
    assert said.code == 1
    assert "no DICOM file. --slide is for slides that are DICOM" in said.err
    assert wsiparse("export", objects, "-f", "csv", "--slide", tmp_path / "a.svs").code == 2


def test_without_a_dicom_slide_identity_is_derived_from_the_content(objects: Path, tmp_path: Path) -> None:
    done = export(objects, "dicom-ann", tmp_path / "out")
    first = pydicom.dcmread(done.paths[0])
    again = pydicom.dcmread(export(objects, "dicom-ann", tmp_path / "again").paths[0])
    assert first.SOPInstanceUID == again.SOPInstanceUID
    seg = pydicom.dcmread(export(objects, "dicom-seg", tmp_path / "out").paths[0])
    assert first.StudyInstanceUID == seg.StudyInstanceUID == derived_uid(str(SLIDE["fingerprint"]), "study")
    assert seg.FrameOfReferenceUID == derived_uid(str(SLIDE["fingerprint"]), "frame of reference")
    assert len({first.SeriesInstanceUID, seg.SeriesInstanceUID, first.SOPInstanceUID, seg.SOPInstanceUID}) == 4
    assert any("derived" in note for note in done.notes)


def test_nothing_found_is_no_file_and_said(tmp_path: Path) -> None:
    source = finished_slide(tmp_path / "s__0123abcd", tables=()) / "objects.zarr"
    for form in ("dicom-ann", "dicom-seg"):
        done = export(source, form, tmp_path / "out")
        assert (done.paths, done.objects) == ((), 0)
        assert any("no file is written" in note for note in done.notes)


def test_the_command_says_what_is_derived(objects: Path, tmp_path: Path, wsiparse: Callable) -> None:
    said = wsiparse("export", objects, "-f", "dicom-ann", "-f", "dicom-seg", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert "notice: the image referred to is derived" in said.err
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.dcm")) == [
        "annotations.dcm", "cells.seg.dcm", "regions.seg.dcm",
    ]  # fmt: skip
