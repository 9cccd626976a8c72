"""Parts of other packages, found by entry points: engines, readers, export formats.

A package names them in its metadata and needs no edit here; a name of this package cannot be taken. Nothing is imported
before it is asked for, and one that cannot be loaded costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final, TypeVar

from wsiparse.errors import ConfigError

__all__ = ["FORMATS", "READERS", "load_plugin", "plugin_names", "plugins"]

READERS: Final = "wsiparse.readers"
FORMATS: Final = "wsiparse.formats"

T = TypeVar("T")


@cache
def plugins(group: str, built_in: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name, without those called as a part of this package is."""
    found = sorted(entry_points(group=group), key=lambda point: (point.name, point.value))
    return {point.name: point for point in found if point.name not in built_in}


def plugin_names(group: str, built_in: tuple[str, ...]) -> tuple[str, ...]:
    """All names of a kind, this package's first."""
    return (*built_in, *plugins(group, built_in))


def load_plugin(point: EntryPoint, kind: type[T]) -> T:
    """What an entry point names.

    Parameters
    ----------
    point : entry point of one of the groups
    kind : what it must be; its `name`, where it has one, must be that of the entry point

    Raises
    ------
    ConfigError
        If it cannot be imported, or is something else.
    """
    what = f"{point.group.rpartition('.')[2].rstrip('s')} '{point.name}' is registered as {point.value}"
    remedy = "Reinstall or remove the package that registers it."
    try:
        found = point.load()
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError, NameError) as error:
        told = " ".join(str(error).split())
        raise ConfigError(f"{what}, which cannot be loaded ({told}). {remedy}") from error
    if not isinstance(found, kind) or getattr(found, "name", point.name) != point.name:
        raise ConfigError(f"{what}, which is no {kind.__name__} of that name. {remedy}")
    return found
