"""One slide at work: what every step of writing its results needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wsiparse.config import RunConfig
from wsiparse.parallel.progress import Progress
from wsiparse.run.plan import Prepared
from wsiparse.slides import Slide, missing_mm2

__all__ = ["SlideRun"]


@dataclass(frozen=True, slots=True)
class SlideRun:
    """One slide at work: what is read, where it is written, and how.

    Parameters
    ----------
    slide : open
    folder : where finished results are published
    work : parts of the field, kept from run to run until the slide is done
    staging : results in the making; moved into `folder` in one go at the end
    prepared : what was decided about the slide
    config : run settings
    workers : threads of this process
    progress : where to tell how far it is
    scale_doubt : a line where nuclei do not look like the slide's pixel size, or ""
    """

    slide: Slide
    folder: Path
    work: Path
    staging: Path
    prepared: Prepared
    config: RunConfig
    workers: int
    progress: Progress
    scale_doubt: str = ""

    @property
    def mpp_notices(self) -> tuple[str, ...]:
        """What is doubtful about the slide's pixel size, by its metadata and its nuclei."""
        return (*self.slide.mpp_notices, *((self.scale_doubt,) if self.scale_doubt else ()))

    def facts(self) -> dict[str, object]:
        """What results say about the slide."""
        slide = self.slide
        return {
            "name": slide.name,
            "fingerprint": slide.fingerprint,
            "size": list(slide.size),
            "mpp": list(slide.mpp or ()),
            "mpp_source": slide.mpp_source,
            "mpp_notices": list(self.mpp_notices),
            "vendor": slide.vendor,
            "reader": slide.reader,
            "image": slide.image,
            "notes": list(slide.notes),
            "missing_mm2": missing_mm2(slide),
            "bounds": [slide.bounds.x, slide.bounds.y, slide.bounds.width, slide.bounds.height],
        }
