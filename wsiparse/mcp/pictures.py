"""Pictures of a slide's results: its maps, and crops of the pictures of the slide that its results keep."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from PIL import Image

from wsiparse.errors import OutputError
from wsiparse.results.folder import report_inputs_in, report_record
from wsiparse.results.report_inputs import ReportInputs, read_report_inputs
from wsiparse.results.whole import check_whole

__all__ = ["FigureName", "Picture", "crop", "figure"]

FigureName = Literal["overview", "overlay", "density", "hot-spot"]

#: Longest edge of a picture that is sent, px: more is only paid for.
LONGEST_PX: Final = 1600
_LEAST_PX: Final = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture on its way out.

    Parameters
    ----------
    jpeg : its bytes
    width, height : px
    um_per_px : None for a sheet of maps
    file, sha256 : what it was made of, in the slide's folder
    what : in words
    """

    jpeg: bytes
    width: int
    height: int
    um_per_px: float | None
    file: str
    sha256: str
    what: str


def figure(folder: Path, name: FigureName, rank: int) -> Picture:
    """A figure of a slide.

    Parameters
    ----------
    folder : results of the slide
    name : "overview" (the slide), "overlay" (outlines over it), "density" (maps of every class), "hot-spot"
    rank : rank of the hot-spot, 1 the hottest

    Raises
    ------
    OutputError
        If there is none, or it is not what was written.
    """
    if name == "overlay":
        check_whole(folder, "overlay.jpg")
        return _sent(folder / "overlay.jpg", None, "outlines of the objects over the slide", folder)
    if name == "density":
        record = report_record(folder)
        path = folder / "density.png"
        if record is None or _hash(path) != record["files"]["density.png"]["sha256"]:
            raise OutputError(f"{path}: damaged or missing. Make the report again: wsiparse report RESULTS.")
        return _sent(path, None, "density maps of every class, with legends", folder)
    inputs, place = _inputs(folder)
    if name == "overview":
        path, um = _whole(inputs, place)
        return _encoded(_image(path, inputs), um, path, "the slide", folder)
    if not 1 <= rank <= len(inputs.squares):
        raise OutputError(f"there is no picture of hot-spot {rank}: there are {len(inputs.squares)}.")
    square = inputs.squares[rank - 1]
    if not (place / square.file).is_file():
        raise OutputError(f"hot-spot {rank} could not be read from the slide, so there is no picture of it.")
    return _sent(place / square.file, inputs.mpp[0], f"hot-spot or densest square {rank}", folder)


def crop(folder: Path, x_um: float, y_um: float, width_um: float, height_um: float) -> Picture:
    """A part of the slide, of the finest picture in its results that shows all of it.

    Parameters
    ----------
    x_um, y_um : upper left corner, um from that of the slide
    width_um, height_um : those of the part

    Raises
    ------
    OutputError
        If it is not on the slide, or too small to be seen on any picture that the results keep.
    """
    inputs, place = _inputs(folder)
    (width, height), (mpp_x, mpp_y) = inputs.size, inputs.mpp
    if not (x_um >= 0 and y_um >= 0 and width_um > 0 and height_um > 0):
        raise OutputError("a crop needs a corner at 0 um or more and a width and height above 0 um.")
    if x_um + width_um > width * mpp_x or y_um + height_um > height * mpp_y:
        raise OutputError(f"the crop leaves the slide, which is {width * mpp_x:.0f} x {height * mpp_y:.0f} um.")
    sources = [
        (place / s.file, s.box.x * mpp_x, s.box.y * mpp_y, s.box.width * mpp_x, s.box.height * mpp_y)
        for s in inputs.squares
        if (place / s.file).is_file()
    ]
    path, _ = _whole(inputs, place)
    if inputs.view is not None:
        shown = width * mpp_x, height * mpp_y
    else:  # its last column and row of pixels may reach beyond the slide
        shown = inputs.overview.size[0] * inputs.overview.mpp[0], inputs.overview.size[1] * inputs.overview.mpp[1]
    far_x, far_y = x_um + width_um, y_um + height_um
    for source, x0, y0, w, h in (*sources, (path, 0.0, 0.0, *shown)):
        if source != path and not (x0 <= x_um and y0 <= y_um and far_x <= x0 + w and far_y <= y0 + h):
            continue
        image = _image(source, inputs)
        step_x, step_y = w / image.width, h / image.height
        left, top = round((x_um - x0) / step_x), round((y_um - y0) / step_y)
        right, bottom = round((far_x - x0) / step_x), round((far_y - y0) / step_y)
        if min(right - left, bottom - top) < _LEAST_PX:
            raise OutputError(
                f"the crop is too small: the pictures in these results have {step_x:.2g} um per px there. Open the "
                "slide: wsiparse view."
            )
        part = image.crop((left, top, right, bottom))
        return _encoded(part, step_x, source, f"the slide from ({x_um:g}, {y_um:g}) um on", folder)
    raise AssertionError("the whole slide holds every crop that is on it")


def _inputs(folder: Path) -> tuple[ReportInputs, Path]:
    place = report_inputs_in(folder)
    check_whole(folder, place.name)
    return read_report_inputs(place), place


def _whole(inputs: ReportInputs, place: Path) -> tuple[Path, float]:
    """The finest picture of the whole slide, and its um per px."""
    if inputs.view is None:
        return place / "overview.png", inputs.overview.mpp[0]
    with Image.open(place / "view.jpg") as image:
        return place / "view.jpg", inputs.size[0] * inputs.mpp[0] / image.width


def _image(path: Path, inputs: ReportInputs) -> Image.Image:
    """A picture in report_inputs/; the overview of a large slide is more than Pillow takes from a file."""
    if path.name == "overview.png":
        return Image.fromarray(inputs.picture)
    with Image.open(path) as image:
        return image.convert("RGB")


def _sent(path: Path, um: float | None, what: str, folder: Path) -> Picture:
    with Image.open(path) as image:
        return _encoded(image.convert("RGB"), um, path, what, folder)


def _encoded(image: Image.Image, um: float | None, path: Path, what: str, folder: Path) -> Picture:
    shrink = max(1.0, max(image.size) / LONGEST_PX)
    if shrink > 1:
        image = image.resize((max(1, round(image.width / shrink)), max(1, round(image.height / shrink))))
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=88)
    name = path.relative_to(folder).as_posix()
    step = um * shrink if um is not None else None
    return Picture(out.getvalue(), image.width, image.height, step, name, _hash(path), what)


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
