"""Edge in: slide files become pixels of a frame. No slide library is imported before a slide is opened."""

from wsiparse.slides.base import READERS, Slide, open_slide, require_mpp
from wsiparse.slides.discover import SLIDE_EXTENSIONS, find_slides
from wsiparse.slides.memory import MemorySlide
from wsiparse.slides.overviews import missing_mm2, overview, overview_frame, survey
from wsiparse.slides.sheet import SheetSlide, find_listed

__all__ = [
    "READERS",
    "SLIDE_EXTENSIONS",
    "MemorySlide",
    "SheetSlide",
    "Slide",
    "find_listed",
    "find_slides",
    "missing_mm2",
    "open_slide",
    "overview",
    "overview_frame",
    "require_mpp",
    "survey",
]
