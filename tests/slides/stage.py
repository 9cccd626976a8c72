"""What tests of staging share: slides, a look at the stage, and DICOM headers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

WAIT_S = 30.0


def slides_in(folder: Path, count: int, size: int = 1000) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"slide{k}.svs" for k in range(count)]
    for k, path in enumerate(paths):
        path.write_bytes(bytes([k]) * size)
    return paths


def contents(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def found(stage: Path) -> Iterator[Path]:
    """Every file; os.walk does not mind a folder that is renamed meanwhile."""
    for folder, _, names in os.walk(stage):
        yield from (Path(folder, name) for name in names)


def copied(stage: Path) -> list[str]:
    """Names of the files that lie on the stage, lock files left out."""
    return sorted(path.name for path in found(stage) if path.suffix != ".lock")


def wait_for(stage: Path, name: str) -> None:
    """Until a slide has its final name."""
    pause = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if any(path.name == name and ".part" not in str(path) for path in found(stage)):
            return
        pause.wait(0.01)
    pytest.fail(f"{name} was not copied ahead")


VMS = """[Virtual Microscope Specimen]
NoLayers=1
NoJpegColumns=2
; ImageFile=commented.jpg
ImageFile=scan.jpg
ImageFile(1,0)=scan with space.jpg
MapFile=map.jpg
OptimisationFile=scan.opt
MacroImage=gone.jpg
PhysicalWidth=1234
"""


def element(tag: tuple[int, int], vr: str, value: bytes, *, explicit: bool = True) -> bytes:
    """One DICOM element, PS3.5 7.1; value padded to even length."""
    value += b"\0" * (len(value) % 2)
    head = tag[0].to_bytes(2, "little") + tag[1].to_bytes(2, "little")
    if not explicit:
        return head + len(value).to_bytes(4, "little") + value
    if vr in ("SQ", "OB", "UN"):
        return head + vr.encode() + b"\0\0" + len(value).to_bytes(4, "little") + value
    return head + vr.encode() + len(value).to_bytes(2, "little") + value


def undefined(tag: tuple[int, int], vr: str, inside: bytes, *, explicit: bool = True) -> bytes:
    """A sequence of one item, both of undefined length."""
    head = tag[0].to_bytes(2, "little") + tag[1].to_bytes(2, "little")
    endless = b"\xff\xff\xff\xff"
    item = b"\xfe\xff\x00\xe0" + endless + inside + b"\xfe\xff\x0d\xe0" + b"\0" * 4
    return head + (vr.encode() + b"\0\0" if explicit else b"") + endless + item + b"\xfe\xff\xdd\xe0" + b"\0" * 4


def dicom(series: str | None, *, explicit: bool = True, decoy: str = "9.9.9") -> bytes:
    """A DICOM header with another series' UID inside sequences before its own."""
    make = partial(element, explicit=explicit)
    syntax = b"1.2.840.10008.1.2.1" if explicit else b"1.2.840.10008.1.2"
    other = make((0x0020, 0x000E), "UI", decoy.encode())
    data = make((0x0008, 0x0005), "CS", b"ISO_IR 192")
    data += undefined((0x0008, 0x1115), "SQ", undefined((0x0008, 0x1115), "SQ", other, explicit=explicit) + other,
                      explicit=explicit)  # fmt: skip
    data += make((0x0008, 0x1199), "SQ", b"\xfe\xff\x00\xe0" + len(other).to_bytes(4, "little") + other)
    data += make((0x0009, 0x1001), "UN", b"private")
    data += make((0x0020, 0x000D), "UI", b"1.2.3")
    if series is not None:
        data += make((0x0020, 0x000E), "UI", series.encode())
    data += make((0x0028, 0x0010), "US", b"\1\0")
    return b"\0" * 128 + b"DICM" + element((0x0002, 0x0010), "UI", syntax) + data
