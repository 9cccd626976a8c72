"""Files of several images: which is the slide, and that everything remembers it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.fixtures_slides import RGB, halved, textured
from tests.slides.zarrs import write_attributes, write_ome_zarr
from wsiparse.coords import Frame
from wsiparse.errors import UnsupportedSlideError
from wsiparse.slides import Slide, open_slide
from wsiparse.slides.images import ImageFact, choose_image, image_note
from wsiparse.types import Box

PICTURE, MACRO, LABEL = textured(240, 320), textured(60, 150, seed=1), textured(70, 50, seed=2)


def fact(name: str, width: int = 100, height: int = 100, levels: int = 1) -> ImageFact:
    return ImageFact(name, (width, height), levels)


@pytest.mark.parametrize(
    ("images", "taken"),
    [
        ([fact("macro", 999, 999), fact("slide")], 1),
        ([fact("Label Image", 999, 999), fact("OVERVIEW 2", 999, 999), fact("x")], 2),
        ([fact("CMU-1_thumbnail", 999, 999), fact("CMU-1")], 1),
        ([fact("a", 999, 999), fact("b", levels=4)], 1),  # a pyramid
        ([fact("a"), fact("b", 200, 200), fact("c", 200, 200)], 1),  # the largest, then the first
        ([fact("macro", 30, 30), fact("label", 40, 40)], 1),  # nothing else is there
        ([fact("macro")], 0),
        ([fact("macrophages CD68", 999, 999), fact("labelled", 10, 10)], 0),  # words, not parts of words
        ([fact(""), fact("", 300, 300)], 1),
    ],
)
def test_the_slide_is_told_by_name_then_pyramid_then_size(images: list[ImageFact], taken: int) -> None:
    assert choose_image(images, None) == taken


def test_an_image_is_asked_for_by_name_or_number() -> None:
    images = [fact("Macro"), fact("HE"), fact("2"), fact("HE")]
    assert choose_image(images, "macro") == 0
    assert choose_image(images, "1") == 1
    assert choose_image(images, "2") == 2
    assert choose_image([fact("a"), fact("0")], "0") == 1  # a name wins
    for wanted, words in (
        ("he", "has several images 'he'"),
        ("x", "has no image 'x'"),
        ("4", "no image '4'"),
        ("-1", "no"),
    ):
        with pytest.raises(UnsupportedSlideError, match=words) as caught:
            choose_image(images, wanted)
        assert "0 'Macro' (100 x 100 px)" in str(caught.value)


def test_one_image_needs_no_words() -> None:
    assert image_note([fact("macro")], 0) == ""
    assert "Of 2 images 1 'b' (100 x 100 px) is read, not 0 'a'" in image_note([fact("a"), fact("b")], 1)


def write_ome(path: Path, images: list[tuple[str, RGB, float | None]], *, pyramid: bool = False) -> Path:
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, array, mpp in images:
            metadata: dict[str, object] = {"axes": "YXS", "Name": name}
            if mpp is not None:
                metadata |= {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
            below = pyramid and min(array.shape[:2]) > 100
            writer.write(array, metadata=metadata, subifds=1 if below else 0, **options)
            if below:
                writer.write(halved(array, 2), subfiletype=1, **options)
    return path


def pixels(slide: Slide) -> RGB:
    return slide.read(Box(0, 0, *slide.size), Frame(slide.size, (1, 1), (0.5, 0.5)))


@pytest.mark.parametrize("reader", ["auto", "direct", "tiffslide"])
@pytest.mark.parametrize("pyramid", [False, True])
@pytest.mark.parametrize("first", [True, False])
def test_macro_and_label_of_an_ome_tiff_are_not_the_slide(
    tmp_path: Path, first: bool, pyramid: bool, reader: str
) -> None:
    beside: list[tuple[str, RGB, float | None]] = [("macro", MACRO, 20.0), ("label", LABEL, None)]
    own: list[tuple[str, RGB, float | None]] = [("HE 1", PICTURE, 0.5)]
    path = write_ome(tmp_path / "a.ome.tif", beside + own if first else own + beside, pyramid=pyramid)
    with open_slide(path, reader=reader) as slide:
        assert slide.reader == ("tiffslide" if reader == "tiffslide" else "direct")
        assert slide.image == (2 if first else 0)
        assert slide.mpp == (0.5, 0.5)
        assert len(slide.level_sizes) == 1 + pyramid
        assert len(slide.notes) == 1
        assert "'HE 1' (320 x 240 px) is read, not" in slide.notes[0]
        np.testing.assert_array_equal(pixels(slide), PICTURE)
        with pickle.loads(pickle.dumps(slide)) as twin:
            assert twin.image == slide.image
            np.testing.assert_array_equal(pixels(twin), PICTURE)
        slide.check_unchanged()


def test_the_image_asked_for_is_read_and_is_another_slide(tmp_path: Path) -> None:
    path = write_ome(
        tmp_path / "a.ome.tif", [("macro", MACRO, 20.0), ("HE", PICTURE, 0.5), ("IHC", PICTURE[::-1], 0.25)]
    )
    with open_slide(path) as slide, open_slide(path, image="ihc") as other, open_slide(path, image="0") as macro:
        assert [s.image for s in (slide, other, macro)] == [1, 2, 0]
        assert [s.mpp for s in (slide, other)] == [(0.5, 0.5), (0.25, 0.25)]
        np.testing.assert_array_equal(pixels(other), PICTURE[::-1])
        np.testing.assert_array_equal(pixels(macro), MACRO)
        assert len({s.fingerprint for s in (slide, other, macro)}) == 3
        other.check_unchanged()
        with pickle.loads(pickle.dumps(other)) as twin:
            np.testing.assert_array_equal(pixels(twin), PICTURE[::-1])
    with pytest.raises(UnsupportedSlideError, match="has no image 'PAS'"):
        open_slide(path, image="PAS")


def test_a_pixel_size_of_the_macro_is_not_the_slides(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", [("macro", MACRO, 16.0), ("HE", PICTURE, None)])
    with open_slide(path) as slide:
        assert slide.mpp is None


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp"])
def test_a_picture_has_one_image_only(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(PICTURE).save(path)
    with open_slide(path, image="0") as slide:
        assert slide.image == 0
    with pytest.raises(UnsupportedSlideError, match=r"it has one image only, none called '3'. Choose one") as caught:
        open_slide(path, image="3")
    assert "onvert" not in str(caught.value)


def test_a_file_of_one_image_has_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PICTURE, photometric="rgb", tile=(64, 64), metadata=None)
    with open_slide(path, image="0") as slide:
        assert slide.image == 0
    for image in ("1", "macro"):
        with pytest.raises(UnsupportedSlideError, match=r"has no image .* 0 .*Choose one that it has"):
            open_slide(path, image=image)


@pytest.mark.parametrize("tiled", [True, False])
def test_a_plain_tiff_whose_label_comes_first_is_its_largest_image(tmp_path: Path, tiled: bool) -> None:
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "metadata": None, **({"tile": (64, 64)} if tiled else {})}
    with tifffile.TiffWriter(path) as writer:
        writer.write(LABEL, resolution=(100, 100), resolutionunit="CENTIMETER", **options)
        writer.write(PICTURE, resolution=(2e4, 2e4), resolutionunit="CENTIMETER", **options)
    with open_slide(path) as slide:
        assert slide.mpp == (0.5, 0.5)
        assert "Of 2 images 1 (320 x 240 px) is read" in slide.notes[0]
        np.testing.assert_array_equal(pixels(slide), PICTURE)


def test_of_like_pages_the_first_is_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([PICTURE, PICTURE[::-1]]), photometric="rgb", metadata=None, tile=(64, 64))
    with open_slide(path, slide_mpp=0.5, reader="tiffslide") as slide:
        assert slide.notes == ("Of 2 pictures of this size the first is read.",)
        np.testing.assert_array_equal(pixels(slide), PICTURE)


def write_bioformats2raw(path: Path, *, xml: bool = True) -> Path:
    for k, array in enumerate((MACRO, PICTURE)):
        write_ome_zarr(path, array, version="0.4", axes="tczyx", group=str(k), mpp=(0.5 * (2 - k), 0.5 * (2 - k)))
    write_attributes(path, {"bioformats2raw.layout": 3}, "0.4")
    if xml:
        (path / "OME").mkdir()
        sizes = "".join(
            f'<Image ID="Image:{k}" Name="{name}"><ObjectiveSettings ID="Objective:{k}"/>'
            f'<Pixels SizeX="{a.shape[1]}" SizeY="{a.shape[0]}"/></Image>'
            for k, (name, a) in enumerate((("label", MACRO), ("HE", PICTURE)))
        )
        objectives = '<Objective ID="Objective:1" NominalMagnification="20"/>'
        (path / "OME" / "METADATA.ome.xml").write_text(f"<OME>{objectives}{sizes}</OME>", encoding="utf-8")
    return path


def test_an_ome_zarr_of_several_images_is_read_alike(tmp_path: Path) -> None:
    path = write_bioformats2raw(tmp_path / "a.zarr")
    with open_slide(path) as slide, open_slide(path, image="LABEL") as label:
        assert (slide.image, label.image) == (1, 0)
        assert (slide.mpp, label.mpp) == ((0.5, 0.5), (1.0, 1.0))
        assert (slide.objective, label.objective) == (20, None)
        np.testing.assert_array_equal(pixels(slide), PICTURE)
        np.testing.assert_array_equal(pixels(label), MACRO)
        assert slide.fingerprint != label.fingerprint
        assert "'HE' (320 x 240 px) is read" in slide.notes[0]
        with pickle.loads(pickle.dumps(slide)) as twin:
            np.testing.assert_array_equal(pixels(twin), PICTURE)
    with pytest.raises(UnsupportedSlideError, match="has no image 'x'"):
        open_slide(path, image="x")
    with open_slide(write_bioformats2raw(tmp_path / "b.zarr", xml=False), image="1") as slide:
        np.testing.assert_array_equal(pixels(slide), PICTURE)
