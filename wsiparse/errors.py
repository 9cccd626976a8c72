"""Every error a user can meet.

::

    Exception
    └── WsiparseError            one line for people: what, where, what was found, what to do (exit code 1)
        ├── SlideError           a slide cannot be used
        │   ├── SlideNotFoundError      no such file, or no permission to read it
        │   ├── UnsupportedSlideError   no reader understands the file
        │   ├── MissingMppError         microns per pixel absent or not believable
        │   └── TileReadError           one region of an otherwise good slide cannot be read
        ├── PlanError            tile size, overlap or target mpp that cannot be planned
        ├── RoiError             a region-of-interest file that cannot be used
        ├── ImportFileError      a file of another program's objects that cannot be used
        ├── ConfigError          a config file, key or value that is wrong
        ├── PromptError          a prompt the chosen engine does not answer
        ├── WeightsError         network weights missing, damaged or of another model
        ├── FieldError           a stored field part that is missing or damaged
        ├── OutputError          results cannot be written or read back
        └── SchedulerError       workers that do not come, go away or keep dying

Callers who pass wrong arguments to library functions get ``ValueError``; ``assert`` marks the impossible.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "FieldError",
    "ImportFileError",
    "MissingMppError",
    "OutputError",
    "PlanError",
    "PromptError",
    "RoiError",
    "SchedulerError",
    "SlideError",
    "SlideNotFoundError",
    "TileReadError",
    "UnsupportedSlideError",
    "WeightsError",
    "WsiparseError",
]


class WsiparseError(Exception):
    """Base of all errors meant for users; its text is one complete sentence with a remedy, on one line.

    Examples
    --------
    >>> import wsiparse
    >>> try:
    ...     wsiparse.open_slide("nowhere.svs")
    ... except wsiparse.WsiparseError as error:
    ...     print(error)
    nowhere.svs: no such file. Check the path and that the drive is mounted.
    """

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # the name of a file may hold anything


class SlideError(WsiparseError):
    """A slide cannot be used."""


class SlideNotFoundError(SlideError):
    """No such slide file, or no permission to read it."""


class UnsupportedSlideError(SlideError):
    """No reader understands the file (empty, truncated, not a slide, unknown format)."""


class MissingMppError(SlideError):
    """Microns per pixel are absent from the metadata or outside 0.05-20."""


class TileReadError(SlideError):
    """One region of an otherwise readable slide cannot be decoded; the rest goes on."""


class PlanError(WsiparseError):
    """Tile size, overlap or target mpp that cannot be planned on this slide."""


class RoiError(WsiparseError):
    """A region-of-interest file that cannot be read, is not valid, or misses the slide."""


class ImportFileError(WsiparseError):
    """A file of objects of another program that cannot be read, holds none, or is of another slide or frame."""


class ConfigError(WsiparseError):
    """A configuration file, key or value that is wrong."""


class PromptError(WsiparseError):
    """A prompt that the chosen engine does not answer."""


class WeightsError(WsiparseError):
    """Network weights that are missing, damaged or of another model."""


class FieldError(WsiparseError):
    """A stored piece of the class field that is missing or damaged."""


class OutputError(WsiparseError):
    """Results that cannot be written or read back."""


class SchedulerError(WsiparseError):
    """Worker processes that do not come, go away, run another version or keep dying."""
