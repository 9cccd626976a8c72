"""Which files make up a slide.

Most formats are one file. A MIRAX slide NAME.mrxs keeps its pixels in a folder NAME beside it; a Hamamatsu .vms or .vmu
is an INI file that names images in its own folder; a DICOM slide is every file of its folder with the same series.
Everything goes through an fsspec file system (`fs`), so that a folder and a bucket are looked at alike.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from wsiparse.slides.discover import SLIDE_EXTENSIONS

__all__ = ["SlideFile", "Unclear", "series_uid", "slide_files"]

#: A slide's INI file is some kilobytes; the header of a DICOM file up to its series is less than this.
_INI_BYTES: Final = 1 << 20
_HEADER_BYTES: Final = 1 << 16


class Unclear(Exception):  # noqa: N818  (says why, to be told in a sentence of the caller)
    """The files of a slide cannot be told."""


class SlideFile(NamedTuple):
    """One file of a slide.

    Parameters
    ----------
    path : on its file system
    name : relative to the folder of the slide file, POSIX
    size : bytes, or None where the server does not say
    """

    path: str
    name: str
    size: int | None


def slide_files(fs: Any, path: str, name: str) -> list[SlideFile]:
    """The slide file itself, then its companions in name order.

    Parameters
    ----------
    fs : fsspec file system
    path : of the slide on it
    name : its file name

    Raises
    ------
    Unclear
        If companions cannot be found out or lie elsewhere.
    OSError and what the file system's library raises
        If the slide cannot be looked at.
    """
    info = fs.info(path)
    if info["type"] == "directory":
        raise IsADirectoryError(f"{name} is a folder")
    stem, dot, suffix = name.rpartition(".")
    suffix = suffix.lower() if dot else ""
    if suffix == "mrxs":
        companions = _in_folder(fs, _beside(fs, path, stem), stem)
    elif suffix in ("vms", "vmu"):
        companions = _named(fs, path, name)
    elif suffix == "dcm" or f".{suffix}" not in SLIDE_EXTENSIONS:
        companions = _series(fs, path)
    else:
        companions = []
    return [SlideFile(path, name, info["size"]), *sorted(companions, key=lambda file: file.name)]


def _is_web(fs: Any) -> bool:
    return "http" in (fs.protocol if isinstance(fs.protocol, list | tuple) else (fs.protocol,))


def _parent(fs: Any, path: str) -> str:
    return (path.split("?", 1)[0] if _is_web(fs) else path).rpartition("/")[0]


def _beside(fs: Any, path: str, name: str) -> str:
    parent = _parent(fs, path)
    return f"{parent}/{quote(name) if _is_web(fs) else name}" if "/" in path else name


def _in_folder(fs: Any, folder: str, name: str) -> list[SlideFile]:
    """Everything in a folder and below."""
    prefix = folder.rstrip("/") + "/"
    found = fs.find(prefix if _is_web(fs) else folder, detail=True)
    files = []
    for path, info in found.items():
        inside = str(path).removeprefix(prefix) if str(path).startswith(prefix) else ""
        size = info.get("size")
        if _is_web(fs):  # a listing of links says no sizes
            inside, size = unquote(inside), fs.info(path)["size"]
        if inside and not inside.startswith("/") and ".." not in inside.split("/"):
            files.append(SlideFile(str(path), f"{name}/{inside}", size))
    if not files:
        raise Unclear(f"the folder {name} that belongs to it is not beside it, or cannot be listed")
    return files


def _named(fs: Any, path: str, own: str) -> list[SlideFile]:
    """The files in the same folder that a .vms or .vmu names, by whatever key."""
    text = _head(fs, path, _INI_BYTES).decode("utf-8", "replace")
    values = (line.partition("=")[2].strip() for line in text.splitlines() if not line.lstrip().startswith((";", "#")))
    files = []
    for value in dict.fromkeys(values):
        if value in ("", ".", "..", own) or "\0" in value:
            continue
        target = _beside(fs, path, value)
        if "/" in value or "\\" in value:
            if fs.exists(target):
                raise Unclear(f"it names {value!r}, which is not in its own folder")
        elif fs.isfile(target):
            files.append(SlideFile(target, value, fs.info(target)["size"]))
    return files


def _series(fs: Any, path: str) -> list[SlideFile]:
    """The other files of the same DICOM series in the same folder; none when the slide is no DICOM file."""
    head = _head(fs, path, _HEADER_BYTES)
    if head[128:132] != b"DICM":
        return []
    own = series_uid(head)
    if own is None:
        raise Unclear("its DICOM header does not tell its series")
    files = []
    for info in fs.ls(_parent(fs, path) + ("/" if "/" in path else ""), detail=True):
        other = str(info["name"])
        if info["type"] == "directory" or other == path:
            continue
        name = other.rpartition("/")[2]
        if series_uid(_head(fs, other, _HEADER_BYTES)) == own:
            size = fs.info(other)["size"] if _is_web(fs) else info["size"]
            files.append(SlideFile(other, unquote(name) if _is_web(fs) else name, size))
    return files


def _head(fs: Any, path: str, count: int) -> bytes:
    """The first bytes of a file, at most `count`."""
    # from the web as a stream: a server that knows no ranges would send the whole slide
    with fs.open(path, "rb", **({"block_size": 0} if _is_web(fs) else {})) as file:
        head = b""
        while len(head) < count and (more := file.read(count - len(head))):
            head += more
    return head


#: Value representations whose length takes four bytes (DICOM PS3.5, 7.1.2).
_LONG: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_IMPLICIT: Final = "1.2.840.10008.1.2"
_NOT_PLAIN: Final = ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")  # big-endian, deflated
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_SERIES: Final = (0x0020, 0x000E)
_DEEPEST: Final = 64


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
