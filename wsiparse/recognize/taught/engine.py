"""The engine of a taught model: the nuclei of its base engine, in the classes that a user taught."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsiparse.config import PromptConfig
from wsiparse.errors import WeightsError
from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.prompts import NUCLEI, Answer
from wsiparse.recognize.strength import StainFacts
from wsiparse.recognize.taught.features import REACH_PX
from wsiparse.recognize.taught.model import TAUGHT, TaughtModel, read_taught
from wsiparse.recognize.words import match, plain
from wsiparse.types import EngineInfo, EngineLimits, Prompt, PromptSet, RecognizerSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wsiparse.recognize.base import Recognizer

__all__ = ["DOUBTFUL", "TaughtEngine"]

#: What nuclei are called that the model does not know.
DOUBTFUL: Final = "Doubtful"
_DOUBTFUL_COLOUR: Final = "#999999"

#: From the core of a tile to the middle of a nucleus that reaches into it, px: 32 um.
_NUCLEUS_PX: Final = 64


class TaughtEngine(DeclaredEngine):
    """The engine of a folder with a taught.json.

    Parameters
    ----------
    path : the folder, or taught.json in it
    find : the engine of a name, of which its base is one

    Raises
    ------
    WeightsError
        If there is no such file, or it is not what was written.
    """

    def __init__(self, path: Path, find: Callable[[str], DeclaredEngine]) -> None:
        self.model: TaughtModel = read_taught(path)
        self.folder = path if path.is_dir() else path.parent
        self.base = base = find(self.model.base.engine)
        self.name, self.title = self.model.name, self.model.title
        self.licence, self.source = self.model.base.licence, "wsiparse teach"
        self.devices, self.options, self.idle_options = base.devices, base.options, base.idle_options
        self.answers = _answers(self.model)

    def _spec(self, spec: RecognizerSpec) -> RecognizerSpec:
        """What the base engine is asked."""
        prompts = tuple(Prompt(p.text, p.class_name, p.colour, threshold=p.threshold) for p in self.model.base.prompts)
        return replace(spec, engine=self.model.base.engine, prompts=PromptSet(prompts))

    def info(self, spec: RecognizerSpec) -> EngineInfo:
        """Facts of the base engine, which must be the one that was taught, under this engine's name.

        Raises
        ------
        WeightsError
            If the base engine's weights are missing or are others than those that were taught.
        """
        found, taught = self.base.info(self._spec(spec)), self.model.base
        if (found.weights_sha256, found.card_sha256) != (taught.weights_sha256, taught.card_sha256):
            raise WeightsError(
                f"{self.folder / TAUGHT}: taught on nuclei of {taught.title} with weights "
                f"{taught.weights_sha256[:12] or 'none'}; the engine '{taught.engine}' here has "
                f"{found.weights_sha256[:12] or 'none'}. Teach again on its results."
            )
        align = found.align_px
        halo = max(found.halo_px, -(-(REACH_PX + _NUCLEUS_PX) // align) * align)
        whole = hashlib.sha256(f"{taught.card_sha256} {self.model.sha256}".encode()).hexdigest()
        return replace(found, name=self.name, title=self.title, halo_px=halo, card_sha256=whole)

    def mpp(self) -> tuple[float, ...]:
        """That of the base engine."""
        return self.base.mpp()

    def missing(self, weights: str = "") -> str:
        """What the base engine lacks."""
        return self.base.missing(weights)

    def find_weights(self, given: str) -> str:
        """Those of the base engine."""
        return self.base.find_weights(given)

    def resolve(self, spec: RecognizerSpec) -> RecognizerSpec:
        """As the base engine."""
        return replace(self.base.resolve(self._spec(spec)), engine=spec.engine, prompts=spec.prompts)

    def wants_sample(self) -> bool:
        """As the base engine."""
        return self.base.wants_sample()

    def calibrated(self, spec: RecognizerSpec, sample: NDArray[np.uint8], tissue_mm2: float) -> RecognizerSpec:
        """What the base engine learns from a sample.

        Parameters
        ----------
        spec : as of now
        sample : (N, H, W, 3) uint8 patches of tissue, N at least 1
        tissue_mm2 : tissue of the slide
        """
        found = self.base.calibrated(self._spec(spec), sample, tissue_mm2)
        return replace(found, engine=spec.engine, prompts=spec.prompts)

    def stain_of(self, spec: RecognizerSpec) -> StainFacts | None:
        """As the base engine."""
        return self.base.stain_of(self._spec(spec))

    def load(self, spec: RecognizerSpec) -> Recognizer:
        """The base engine's recognizer with the model on top."""
        from wsiparse.recognize.taught.recognizer import TaughtRecognizer

        stain = self.stain_of(spec)
        return TaughtRecognizer(
            self.model,
            self.base.load(self._spec(spec)),
            self.info(spec),
            self.answers,
            spec.prompts,
            stain.strength if stain is not None else None,
        )

    def default_prompts(self) -> tuple[PromptConfig, ...]:
        """Every class, and the nuclei that the model does not know."""
        classes = tuple(PromptConfig(text=c.name, class_name=c.name, colour=c.colour) for c in self.model.classes)
        return (*classes, PromptConfig(text=NUCLEI, class_name=DOUBTFUL, colour=_DOUBTFUL_COLOUR))

    def colour_of(self, text: str) -> str | None:
        """A class has one colour wherever it is shown."""
        return {c.name: c.colour for c in self.model.classes}.get(text, _DOUBTFUL_COLOUR)

    def limits(self, spec: RecognizerSpec) -> EngineLimits:
        """Those of the base engine's nuclei, and what was taught."""
        base = self.base.limits(self._spec(spec))
        names = ", ".join(c.name for c in self.model.classes)
        examples = sum(int(d["nuclei"]) for d in self.model.data)
        return replace(
            base,
            classes_by_rule=False,
            nucleus_probability=True,
            sentences=(
                f"Kinds of cells are those that were taught ({names}) with {examples} labelled nuclei; on slides "
                "unlike those that were labelled they may be wrong. Nuclei are found by "
                f"{self.model.base.title}. A nucleus whose most probable class has less than {self.model.doubt:.0%} is "
                "of no class.",
                f"Licence of the model that finds nuclei: {self.licence}.",
            ),
        )


def _answers(model: TaughtModel) -> Mapping[str, Answer]:
    answers = {NUCLEI: Answer(NUCLEI)}
    for one in model.classes:
        found = match(one.name)
        keys = [plain(one.name), plain(f"{one.name} cells")] + ([found.target.text] if found is not None else [])
        for key in keys:
            answers.setdefault(key, Answer(one.name))
    return answers
