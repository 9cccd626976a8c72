"""What the first bytes of a file say it is, and what to do with it: formats that are known but not read.

Sources: the magic numbers of Bio-Formats' and OpenSlide's format pages, of file(1), and of the formats' own
specifications (CZI: "DDCZI file format", Zeiss; DICOM PS3.10; iSyntax: Philips Pathology SDK).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wsiparse.slides.dicom import dicom_kind

__all__ = ["looks_like"]

_VIPS: Final = "Convert it to a tiled TIFF first, e.g. vips tiffsave IN OUT.tif --tile --pyramid."
_CONVERT: Final = (
    "Convert it to an OME-TIFF with bioformats2raw IN OUT.zarr and raw2ometiff OUT.zarr OUT.ome.tif, or export it as "
    "OME-TIFF from QuPath."
)
_ITSELF: Final = "Give the slide file itself."
_EXPORT: Final = "Export it as OME-TIFF or DICOM from the maker's own software."

#: (where, first bytes, what it is, remedy). Longer ones first where one begins like another.
_MAGIC: Final = (
    (0, b"\x89PNG", "a PNG image", _VIPS),
    (0, b"\xff\xd8\xff", "a JPEG image", _VIPS),
    (0, b"GIF8", "a GIF image", _VIPS),
    (0, b"BM", "a BMP image", _VIPS),
    (0, b"\x00\x00\x00\x0cjP", "a bare JPEG 2000 image", _VIPS),
    (0, b"\xff\x4f\xff\x51", "a bare JPEG 2000 codestream", _VIPS),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL image", _VIPS),
    (0, b"\xff\x0a", "a JPEG XL image", _VIPS),
    (0, b"II\xbc\x01", "a JPEG XR image", _VIPS),
    (8, b"WEBP", "a WebP image", _VIPS),
    (4, b"ftypavif", "an AVIF image", _VIPS),
    (4, b"ftyphei", "a HEIF image", _VIPS),
    (0, b"8BPS", "a Photoshop image", _VIPS),
    (0, b"%PDF", "a PDF document", _ITSELF),
    (0, b"PK\x03\x04", "a ZIP archive", "Unpack it and give the slide in it."),
    (0, b"\x1f\x8b", "a gzip archive", "Unpack it and give the slide in it."),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it and give the slide in it."),
    (0, b"Rar!", "a RAR archive", "Unpack it and give the slide in it."),
    (257, b"ustar", "a tar archive", "Unpack it and give the slide in it."),
    (0, b"ZISRAWFILE", "a Zeiss CZI file", _CONVERT),
    (0, b"\x70\x00\x00\x00", "a Leica LIF file", _CONVERT),
    (0, b"SIS\x00", "an Olympus ETS file, part of a VSI slide", _CONVERT),
    (0, b"OLYMPUSRAWFORMAT", "an Olympus OIR file", _CONVERT),
    (0, b"\xda\xce\xbe\x0a", "a Nikon ND2 file", _CONVERT),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Imaris, BigDataViewer)", _CONVERT),
    (0, b'<DataObject ObjectType="DPUfsImport"', "a Philips iSyntax file", _EXPORT),
    (0, b"KFB", "a KFBio file", _EXPORT),
    (0, b"SQLite format 3\x00", "an SQLite database; as .svslide it lacks what Sakura slides have", "Copy it again."),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a compound document (Motic MDS, Zeiss ZVI, Office)", _CONVERT),
    (
        128,
        b"DICM",
        "a DICOM file",
        "Give a whole-slide image (VL Whole Slide Microscopy, 8-bit colour) with all files of its series in one "
        "folder, or convert it to an OME-TIFF.",
    ),
)  # fmt: skip

#: Files that name others which hold the pixels, by their ending.
_PARTS: Final = {
    ".mrxs": "of a MIRAX slide this is only the label. Put it beside its folder {name}, which holds the pixels.",
    ".vms": "of a Hamamatsu VMS slide this is only the list of its files. Put it into their folder.",
    ".vmu": "of a Hamamatsu VMU slide this is only the list of its files. Put it into their folder.",
    ".vsi": f"of an Olympus VSI slide this holds only metadata; the pixels lie in the folder _{{name}}_. {_CONVERT}",
    ".ets": f"it is part of an Olympus VSI slide. {_CONVERT}",
}

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def looks_like(path: Path) -> str:
    """What a file is by its first bytes, as a phrase that ends in a remedy."""
    ending = path.suffix.lower()
    if ending in _PARTS:
        return _PARTS[ending].format(name=path.stem)
    with path.open("rb") as file:
        head = file.read(512)
    kind = dicom_kind(head)
    if kind:
        return f"it is a DICOM file with {kind}, not a slide. Give a file of the whole-slide image itself."
    for at, magic, name, remedy in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return f"it is {name}. {remedy}"
    if head[:4] in _TIFF:
        return "it is a TIFF. Convert it to tiled 8-bit RGB, e.g. vips tiffsave IN OUT.tif --tile --pyramid."
    text = head.removeprefix(b"\xef\xbb\xbf")
    if all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in text):
        if text.lstrip()[:1] == b"<":
            return f"it is an XML file. {_ITSELF}"
        return f"it is a text file. {_ITSELF}"
    return (
        "its first bytes belong to no known slide format. Copy the slide again; if it is whole, convert it to an "
        "OME-TIFF, e.g. with bioformats2raw and raw2ometiff."
    )
