"""Readers of other packages: what one says of itself, and which there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wsiparse.choices import Reader, words
from wsiparse.errors import ConfigError
from wsiparse.plugins import READERS, load_plugin, plugin_names, plugins
from wsiparse.slides.pyramid import PyramidSlide
from wsiparse.slides.scale import GivenMpp

__all__ = ["DeclaredReader", "reader_names", "reader_of", "readers_for", "reading_endings"]


@dataclass(frozen=True, slots=True)
class DeclaredReader:
    """A reader of another package; it registers by an entry point of the group `wsiparse.readers`.

    Parameters
    ----------
    name : what ``--reader`` takes, one word; slides that it opens have it as `reader`
    endings : endings of the files that it opens when nobody names a reader, lower case, with the dot
    open : opens a file; gets its path and the pixel size people gave (`wsiparse.slides.scale.settle_mpp` takes it);
        raises `UnsupportedSlideError`, whose text is the bare reason, for a file that it cannot read
    """

    name: str
    endings: tuple[str, ...]
    open: Callable[[Path, GivenMpp], PyramidSlide]


def reader_names() -> tuple[str, ...]:
    """Names of all readers, this package's first; nothing of the others is imported."""
    return plugin_names(READERS, words(Reader))


def reader_of(name: str) -> DeclaredReader:
    """The reader of another package.

    Parameters
    ----------
    name : one of `reader_names` that is none of this package's

    Raises
    ------
    ConfigError
        If it cannot be loaded.
    """
    return load_plugin(plugins(READERS, words(Reader))[name], DeclaredReader)


def _sound() -> list[DeclaredReader]:
    """Those that can be loaded."""
    found = []
    for name in plugins(READERS, words(Reader)):
        try:
            found.append(reader_of(name))
        except ConfigError:  # told where it is named
            continue
    return found


def readers_for(path: Path) -> tuple[str, ...]:
    """Names of readers of other packages that open files of this ending."""
    return tuple(reader.name for reader in _sound() if path.suffix.lower() in reader.endings)


def reading_endings() -> tuple[str, ...]:
    """Endings that readers of other packages open."""
    return tuple(dict.fromkeys(ending for reader in _sound() for ending in reader.endings))
