"""Packages that only some formats and commands need, loaded when these are asked for."""

from __future__ import annotations

import importlib
from typing import Any, Final

from wsiparse.errors import OutputError

__all__ = ["optional"]

#: Package -> the extra of wsiparse that installs it.
_EXTRAS: Final = {
    "anndata": "anndata",
    "geopandas": "geo",
    "highdicom": "dicom",
    "mcp": "mcp",
    "pandas": "geo",
    "pyarrow": "parquet",
    "pydicom": "dicom",
    "spatialdata": "spatialdata",
}


def optional(module: str, what: str) -> Any:
    """An optional module, untyped.

    Parameters
    ----------
    module : dotted name, one of those that an extra of wsiparse installs
    what : who needs it, as the subject of the error's sentence

    Raises
    ------
    OutputError
        Naming the extra to install, if the module is not there or cannot be loaded.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == package
        found = "is not installed" if absent else f"cannot be loaded ({error})"
        raise OutputError(
            f"{what} needs the package {package}, which {found}: pip install 'wsiparse[{_EXTRAS[package]}]'."
        ) from error
