"""One slide at work: what every step of writing its results needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wsiparse.config import RunConfig
from wsiparse.parallel.progress import Progress
from wsiparse.recognize.base import limits_of
from wsiparse.run.plan import Prepared, SlideOverview
from wsiparse.slides import Slide, missing_mm2
from wsiparse.tiling import AnalysisArea
from wsiparse.types import EngineLimits, PromptSet

__all__ = ["SlideOutput", "SlideRun", "slide_facts"]


@dataclass(frozen=True, slots=True)
class SlideOutput:
    """What the files and the report of a slide are made of beside its objects, whoever found those.

    Parameters
    ----------
    slide : open
    folder : where finished results are published
    staging : results in the making
    config : settings of the outputs
    prompts : what class ids mean
    title : what every output says of where the objects come from
    area : that was analysed
    ground : what was seen of the slide
    limits : what a report must say of the objects
    facts : what results say about the slide
    """

    slide: Slide
    folder: Path
    staging: Path
    config: RunConfig
    prompts: PromptSet
    title: str
    area: AnalysisArea
    ground: SlideOverview
    limits: EngineLimits
    facts: dict[str, object]


def slide_facts(slide: Slide) -> dict[str, object]:
    """What results say about a slide."""
    return {
        "name": slide.name,
        "fingerprint": slide.fingerprint,
        "size": list(slide.size),
        "mpp": list(slide.mpp or ()),
        "mpp_source": slide.mpp_source,
        "mpp_notices": list(slide.mpp_notices),
        "vendor": slide.vendor,
        "reader": slide.reader,
        "image": slide.image,
        "notes": list(slide.notes),
        "missing_mm2": missing_mm2(slide),
        "bounds": [slide.bounds.x, slide.bounds.y, slide.bounds.width, slide.bounds.height],
    }


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
        return slide_facts(self.slide) | {"mpp_notices": list(self.mpp_notices)}

    def output(self) -> SlideOutput:
        """What its files are made of."""
        first = self.prepared.passes[0]
        return SlideOutput(
            slide=self.slide,
            folder=self.folder,
            staging=self.staging,
            config=self.config,
            prompts=self.prepared.prompts,
            title=self.prepared.title,
            area=first.plan.area,
            ground=self.prepared.ground,
            limits=limits_of(first.scale.spec),
            facts=self.facts(),
        )
