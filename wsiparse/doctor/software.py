"""Python, packages and slide readers."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import zip_longest
from pathlib import Path
from typing import Final

from wsiparse.doctor.check import Check, good, note, problem
from wsiparse.machine import own_version

__all__ = ["check_packages", "check_python", "check_readers"]

#: The packages whose versions a report of a fault should name.
_TOLD: Final = (
    "numpy", "torch", "openvino", "numba", "zarr", "dask", "distributed", "shapely", "scikit-image", "scipy",
    "tifffile", "huggingface-hub", "fsspec",
)  # fmt: skip


def check_python() -> Check:
    """Versions of Python and wsiparse."""
    found = f"wsiparse {own_version()}, Python {platform.python_version()}"
    return good("python", f"{found}, {platform.platform(terse=True)}, {platform.machine()}")


def _release(text: str) -> tuple[int, ...]:
    """The leading numbers of a version.

    >>> _release("2.13.0+cpu"), _release("4.0.0.6"), _release("3.0.0rc1")
    ((2, 13, 0), (4, 0, 0, 6), (3, 0, 0))
    """
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match is not None else ()


def _is_older(found: str, wanted: str) -> bool:
    for a, b in zip_longest(_release(found), _release(wanted), fillvalue=0):
        if a != b:
            return a < b
    return False


def _needed(requirements: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(package, oldest version) of the requirements that always hold; those of extras are left out."""
    for requirement in requirements:
        text, _, condition = requirement.partition(";")
        match = re.match(r"\s*([A-Za-z0-9._-]+)(?:.*?>=\s*([0-9.]+))?", text)
        if match is not None and "extra" not in condition and "platform_machine" not in condition:
            yield match[1], match[2] or ""


def check_packages(requirements: Iterable[str] | None = None) -> Iterator[Check]:
    """Whether everything wsiparse requires is installed and recent enough, and the versions that matter.

    Parameters
    ----------
    requirements : as in a package's metadata; None for those of wsiparse
    """
    count, wrong = 0, False
    for package, oldest in _needed(requirements if requirements is not None else requires("wsiparse") or ()):
        count += 1
        fix = f"pip install -U '{package}>={oldest}'" if oldest else f"pip install {package}"
        try:
            found = version(package)
        except PackageNotFoundError:
            wrong = True
            yield problem("packages", f"{package} is not installed", fix)
            continue
        if oldest and _is_older(found, oldest):
            wrong = True
            yield problem("packages", f"{package} is {found}; {oldest} or later is needed", fix)
    if not wrong:
        yield good("packages", f"all {count} there: {', '.join(_versions(_TOLD))}")


def _versions(packages: Iterable[str]) -> Iterator[str]:
    for package in packages:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def check_readers(folder: Path | None = None) -> Iterator[Check]:
    """Whether each library that reads slides reads one.

    Parameters
    ----------
    folder : for a small slide to try them on; None for the system's folder for temporary files
    """
    try:
        from wsiparse.slides.libraries import reader_facts
    except (ImportError, OSError) as error:
        yield problem("readers", f"cannot be loaded ({error})", "Install the packages named above, then try again.")
        return
    for fact in reader_facts(folder):
        name, on = fact.name.removesuffix("-python"), f" on {fact.backend}" if fact.backend else ""
        if fact.fault:
            packages = "openslide-python openslide-bin" if name == "openslide" else name
            todo = f"pip install -U {packages}; see that the folder for temporary files is writable."
            yield problem(name, f"{fact.version or 'not installed'}{on}: {fact.fault}", todo)
        elif name == "openslide" and _is_older(fact.backend.removeprefix("OpenSlide "), "4"):
            found = f"{fact.version}{on} reads, but is too old for DICOM and for the bounds of some slides"
            yield note(name, found, "pip install -U openslide-bin")
        else:
            yield good(
                name, f"{fact.version}{on}" + ("" if name == "imagecodecs" else ", reads a slide made to try it")
            )
