"""The head of a DICOM file, read without any library: which series it belongs to.

Source: DICOM PS3.5, chapter 7 (elements, value representations, sequences), and PS3.10 (preamble, file meta elements).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

__all__ = ["HEADER_BYTES", "dicom_kind", "file_series", "is_dicom", "series_uid"]

#: The header of a DICOM file up to its series is less than this.
HEADER_BYTES: Final = 1 << 16

#: Value representations whose length takes four bytes (DICOM PS3.5, 7.1.2).
_LONG: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_IMPLICIT: Final = "1.2.840.10008.1.2"
_NOT_PLAIN: Final = ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")  # big-endian, deflated
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_SERIES: Final = (0x0020, 0x000E)
#: Storage classes that go with slides or are taken for them (PS3.4, B.5).
_KINDS: Final = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "a label map segmentation",
    "1.2.840.10008.5.1.4.1.1.91.1": "annotations",
    "1.2.840.10008.5.1.4.1.1.2": "a CT image",
    "1.2.840.10008.5.1.4.1.1.4": "an MR image",
    "1.2.840.10008.5.1.4.1.1.7": "a secondary capture",
    "1.2.840.10008.5.1.4.1.1.77.1.2": "a microscope image without tiles",
    "1.2.840.10008.1.3.10": "the list of files on a medium",
}
_DEEPEST: Final = 64


def is_dicom(path: Path) -> bool:
    """Whether a file on disk begins as DICOM files do, whatever it is called."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def file_series(path: Path) -> str:
    """Series Instance UID of a file on disk, "" where it cannot be told."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return series_uid(file.read(HEADER_BYTES)) or ""
    except OSError:
        return ""


def dicom_kind(head: bytes) -> str:
    """What a DICOM file holds by its first bytes; "" where that may be a whole-slide image."""
    if head[128:132] != b"DICM":
        return ""
    position = 132
    try:
        while struct.unpack_from("<H", head, position)[0] == 0x0002:
            tag, start, length = _element(head, position, explicit=True)
            if tag == (0x0002, 0x0002):
                return _KINDS.get(_text(head, start, length), "")
            position = start + length
    except struct.error:  # the bytes end here
        pass
    return ""


def series_uid(head: bytes) -> str | None:
    """Series Instance UID of a DICOM file from its first bytes, or None if they are not DICOM or end before it.

    Elements are walked one by one (PS3.5, chapter 7): the same tag inside a sequence names another series.
    """
    if head[128:132] != b"DICM":
        return None
    try:
        syntax, position = _IMPLICIT, 132
        while struct.unpack_from("<H", head, position)[0] == 0x0002:
            tag, start, length = _element(head, position, explicit=True)
            if tag == (0x0002, 0x0010):
                syntax = _text(head, start, length)
            position = start + length
        if syntax in _NOT_PLAIN:
            return None
        explicit = syntax != _IMPLICIT
        while True:
            tag, start, length = _element(head, position, explicit=explicit)
            if tag == _SERIES:
                return _text(head, start, length) or None
            if tag > _SERIES:
                return None
            position = _after(head, start, length, explicit=explicit)
    except struct.error:  # the bytes end here
        return None


def _element(data: bytes, position: int, *, explicit: bool) -> tuple[tuple[int, int], int, int]:
    """(group, element), first byte and length of the value of the element at `position`."""
    group, element = struct.unpack_from("<HH", data, position)
    if not explicit or group == 0xFFFE:
        return (group, element), position + 8, struct.unpack_from("<I", data, position + 4)[0]
    if data[position + 4 : position + 6] in _LONG:
        return (group, element), position + 12, struct.unpack_from("<I", data, position + 8)[0]
    return (group, element), position + 8, struct.unpack_from("<H", data, position + 6)[0]


def _after(data: bytes, start: int, length: int, *, explicit: bool, depth: int = 0) -> int:
    """The position after a value; one of undefined length is a sequence of items with a delimiter at its end."""
    if length != _UNDEFINED:
        return start + length
    if depth > _DEEPEST:
        raise struct.error("nested too deep")
    position = start
    while True:
        tag, value, size = _element(data, position, explicit=explicit)
        if tag == _SEQUENCE_END:
            return value
        position = value + size
        if size == _UNDEFINED:
            position = _after_item(data, value, explicit=explicit, depth=depth)


def _after_item(data: bytes, position: int, *, explicit: bool, depth: int) -> int:
    """The position after the elements of an item of undefined length."""
    while True:
        tag, value, length = _element(data, position, explicit=explicit)
        if tag == _ITEM_END:
            return value
        position = _after(data, value, length, explicit=explicit, depth=depth + 1)


def _text(data: bytes, start: int, length: int) -> str:
    return data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
