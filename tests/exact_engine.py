"""A recognizer that is exactly right on pictures painted in two flat colours: what the road is measured against."""

from __future__ import annotations

import numpy as np

from wsiparse.slides.synthetic import SyntheticField, paint_he
from wsiparse.types import EngineInfo, PromptSet, Recognition, SplitSettings

COLOURS = ((150, 20, 60), (40, 40, 170))
STROMA = (225, 170, 200)

INFO = EngineInfo(
    name="embedded",
    title="exact test engine",
    mpp=0.5,
    tile_px=256,
    halo_px=32,
    align_px=16,
    split=SplitSettings(landscape="distance", persistence=1e6),
)


class ExactRecognizer:
    """Probability 1 where a pixel has exactly the colour of the prompt's position."""

    info = INFO

    def __init__(self, prompts: PromptSet) -> None:
        self._n = len(prompts)

    def limit_threads(self) -> None:
        """Single-threaded anyway."""

    def with_prompts(self, prompts: PromptSet) -> ExactRecognizer:
        """The same for other prompts."""
        return ExactRecognizer(prompts)

    def __call__(self, images: np.ndarray) -> Recognition:
        hits = [np.all(images == np.array(colour, np.uint8), axis=-1) for colour in COLOURS[: self._n]]
        return Recognition(np.stack(hits, axis=1).astype(np.float32))


def flat_picture(width: int, height: int, seed: int = 0) -> tuple[np.ndarray, SyntheticField]:
    """A picture for `ExactRecognizer`: nuclei in flat class colours on flat stroma, and its truth."""
    field = paint_he(width, height, seed=seed)
    image = np.empty((height, width, 3), np.uint8)
    image[:] = STROMA
    inside = field.labels > 0
    chosen = np.where(field.inflammatory[field.labels[inside] - 1][:, None], COLOURS[0], COLOURS[1])
    image[inside] = chosen.astype(np.uint8)
    return image, field
