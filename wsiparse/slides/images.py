"""Files of several images: which of them is the slide.

Converters write what the scanner made beside the slide (a macro picture, the label) as images of the same rank, and
some write them first. Names tell them, then a pyramid, then the number of pixels. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wsiparse.errors import UnsupportedSlideError

__all__ = ["ImageFact", "NoSuchImageError", "choose_image", "image_fingerprint", "image_note"]

_BESIDE: Final = re.compile(r"(?:^|[^a-z])(macro|label|overview|thumb|thumbnail|preview|barcode)(?:[^a-z]|$)")

#: Names in a message; a file may have thousands.
_MOST_NAMED: Final = 12


class NoSuchImageError(UnsupportedSlideError):
    """A file of several images lacks the one that was asked for."""


@dataclass(frozen=True, slots=True)
class ImageFact:
    """What a file says about one of its images.

    Parameters
    ----------
    name : "" without one
    size : (width, height), px; (0, 0) where unknown
    levels : levels of its pyramid
    """

    name: str
    size: tuple[int, int]
    levels: int

    @property
    def beside(self) -> bool:
        """Whether its name says that it is a picture beside the slide: macro, label, overview, thumbnail."""
        return _BESIDE.search(self.name.casefold().replace("_", " ")) is not None


def choose_image(images: Sequence[ImageFact], wanted: str | None) -> int:
    """The number of the image to read, from 0.

    Without a wish: not one that its name calls a macro, label, overview or thumbnail, unless all are; of the others one
    with a pyramid, of these the largest, of these the first.

    Parameters
    ----------
    images : in the file's order, at least one
    wanted : name (case does not count) or number of an image, or None

    Raises
    ------
    NoSuchImageError
        If no image, or more than one, is called so; the text is the bare reason.
    """
    if wanted is None:
        return max(
            range(len(images)),
            key=lambda i: (not images[i].beside, images[i].levels > 1, images[i].size[0] * images[i].size[1], -i),
        )
    named = [i for i, image in enumerate(images) if image.name.casefold() == wanted.strip().casefold()]
    if len(named) == 1:
        return named[0]
    if not named and wanted.strip().isdecimal() and int(wanted) < len(images):
        return int(wanted)
    listed = _listed(images, range(len(images)))
    if named:
        raise NoSuchImageError(f"it has several images {wanted!r}, but {listed}; name one by number")
    raise NoSuchImageError(f"it has no image {wanted!r}, but {listed}")


def image_note(images: Sequence[ImageFact], taken: int) -> str:
    """A sentence that says which of several images is read; "" for a single one."""
    if len(images) < 2:
        return ""
    others = [i for i in range(len(images)) if i != taken]
    return (
        f"Of {len(images)} images {_listed(images, [taken])} is read, not {_listed(images, others)}; --image NAME or "
        "--image NUMBER reads another."
    )


def _listed(images: Sequence[ImageFact], numbers: Sequence[int]) -> str:
    shown = [
        f"{i}{f' {images[i].name[:40]!r}' if images[i].name else ''} ({images[i].size[0]} x {images[i].size[1]} px)"
        for i in numbers[:_MOST_NAMED]
    ]
    return ", ".join(shown) + (f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else "")


def image_fingerprint(of_file: str, image: int) -> str:
    """Identity of one image of a file: that of the file for the first, else another one for each.

    Parameters
    ----------
    of_file : sha256 hex of the file's content
    image : number, from 0
    """
    return of_file if image == 0 else hashlib.sha256(f"{of_file} image {image}".encode()).hexdigest()
