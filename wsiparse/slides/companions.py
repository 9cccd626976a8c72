"""Which files make up a slide.

Most formats are one file. A MIRAX slide NAME.mrxs keeps its pixels in a folder NAME beside it; a Hamamatsu .vms or .vmu
is an INI file that names images in its own folder; a DICOM slide is every file of its folder with the same series.
An OME-Zarr image is everything in its folder. Everything goes through an fsspec file system (`fs`), so that a folder
and a bucket are looked at alike.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

from wsiparse.slides.dicom import HEADER_BYTES, series_uid
from wsiparse.slides.discover import SLIDE_EXTENSIONS

__all__ = ["SlideFile", "Unclear", "slide_files"]

#: A slide's INI file is some kilobytes.
_INI_BYTES: Final = 1 << 20


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
    """The slide file itself, then its companions in name order; of an OME-Zarr folder all files in name order.

    Parameters
    ----------
    fs : fsspec file system
    path : path of the slide on it
    name : its file name

    Raises
    ------
    Unclear
        If companions cannot be found out or lie elsewhere, or something among them is no file.
    IsADirectoryError
        If it is a folder, but no OME-Zarr image.
    OSError and what the file system's library raises
        If the slide cannot be looked at.
    """
    info = fs.info(path)
    if info["type"] == "directory":
        if not name.lower().endswith(".zarr"):
            raise IsADirectoryError(f"{name} is a folder")
        return sorted(_in_folder(fs, path, name), key=lambda file: file.name)
    if info["type"] != "file":
        raise Unclear(f"{name} is not a regular file")
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
        if not _regular(fs, info):
            raise Unclear(f"{path} is not a regular file")
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
    head = _head(fs, path, HEADER_BYTES)
    if head[128:132] != b"DICM":
        return []
    own = series_uid(head)
    if own is None:
        raise Unclear("its DICOM header does not name its series")
    files = []
    for info in fs.ls(_parent(fs, path) + ("/" if "/" in path else ""), detail=True):
        other = str(info["name"])
        if other == path or not _regular(fs, info):
            continue
        name = other.rpartition("/")[2]
        if series_uid(_head(fs, other, HEADER_BYTES)) == own:
            size = fs.info(other)["size"] if _is_web(fs) else info["size"]
            files.append(SlideFile(other, unquote(name) if _is_web(fs) else name, size))
    return files


def _regular(fs: Any, info: dict[str, Any]) -> bool:
    """Whether an entry of a listing is a file, or leads to one; anything else may never answer when opened."""
    if info["type"] != "other":
        return str(info["type"]) == "file"
    try:  # a listing does not follow links
        return str(fs.info(info["name"])["type"]) == "file"
    except OSError:
        return False


def _head(fs: Any, path: str, count: int) -> bytes:
    """The first bytes of a file, at most `count`."""
    # from the web as a stream: a server that knows no ranges would send the whole slide
    with fs.open(path, "rb", **({"block_size": 0} if _is_web(fs) else {})) as file:
        head = b""
        while len(head) < count and (more := file.read(count - len(head))):
            head += more
    return head
