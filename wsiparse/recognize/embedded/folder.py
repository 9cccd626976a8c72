"""Engines of model folders: a card, and weights of the compact network."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from wsiparse.config import OTHER_NUCLEI, PromptConfig
from wsiparse.errors import WeightsError
from wsiparse.recognize.arithmetic import resolved
from wsiparse.recognize.card import ModelCard, card_path, read_card
from wsiparse.recognize.declared import DeclaredEngine, ScaleGuess, ScalePatches
from wsiparse.recognize.device import resolve_device
from wsiparse.recognize.embedded.cut import Cut
from wsiparse.recognize.embedded.scale import ScaleForm, read_form, tell_scale
from wsiparse.recognize.prompts import NUCLEI, Answer, answer_of
from wsiparse.recognize.ruled import strength_of
from wsiparse.recognize.strength import StainFacts
from wsiparse.recognize.words import match, plain
from wsiparse.types import UNKNOWN_HALO, EngineInfo, EngineLimits, Prompt, PromptSet, RecognizerSpec, SplitSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wsiparse.recognize.base import Recognizer

__all__ = ["FolderEngine", "answers_of", "cut_of"]

#: Measured on a CPU: memory before the first tile, and for each px of a tile.
_BASE_BYTES: Final = 420 << 20
_BYTES_PER_PX: Final = 420

#: Colour of nuclei of no class beside classes: grey, which no class has.
_OTHER_COLOUR: Final = "#999999"

_NOT_TOLD_APART: Final = "normal and neoplastic epithelium are not distinguished"

_EPITHELIAL: Final = "epithelial"

#: What a licence says that forbids use in trade, or says nothing.
_RESTRICTED: Final = re.compile(r"\bNC\b|non-?commercial|no commercial|not stated", re.IGNORECASE)


def answers_of(card: ModelCard) -> Mapping[str, Answer]:
    """What a model answers: "nuclei", and a prompt for each class in the vocabulary's words and its own."""
    answers = {NUCLEI: Answer(NUCLEI)}
    for prompt in card.prompts:
        epithelium = prompt.of_class == _EPITHELIAL
        answer = Answer(prompt.text, note=_NOT_TOLD_APART if epithelium else "")
        found = match(prompt.text)
        words = [prompt.text, prompt.of_class, f"{prompt.of_class} cells", f"{prompt.of_class} nuclei"]
        keys = [plain(word) for word in words] + ([found.target.text] if found is not None else [])
        answers |= dict.fromkeys(keys, answer)
        if epithelium and "neoplastic" not in card.classes:
            caution = f"{_NOT_TOLD_APART}, so epithelium that is no tumour is counted too"
            answers["neoplastic cells"] = Answer(prompt.text, caution, _NOT_TOLD_APART)
            answers["epithelium"] = answer
    return answers


def cut_of(card: ModelCard) -> Cut:
    """How the maps of a model become nuclei."""
    mpp = card.input.mpp
    # the family's own landscape leaves the boundary out unless its card says so; of others' networks it is taken off
    whole = not card.of_family and "boundary_share" not in card.split.model_fields_set
    return Cut(
        foreground=card.output.cut,
        centre_share=card.split.centre_share,
        boundary_share=1.0 if whole else card.split.boundary_share,
        sigma_px=card.split.smoothing_um / mpp,
        persistence=card.split.persistence,
        min_area_px=round(card.split.min_area_um2 / mpp**2),
        min_foreground=card.output.min_foreground,
    )


class FolderEngine(DeclaredEngine):
    """The engine of a folder with a card.

    Parameters
    ----------
    path : the folder, or the card in it
    name, title : what the engine is called, by users and by outputs; None for what its card says
    card : of the folder, where it has been read

    Raises
    ------
    WeightsError
        If there is no card, it cannot be used, or its weights are of a kind that is not run.
    """

    devices: tuple[Literal["cpu", "cuda", "mps"], ...] = ("cpu", "cuda", "mps")
    #: What to do when the folder is not whole.
    remedy: ClassVar[str] = "Copy the whole folder again."
    idle_settings = ("weights",)

    def __init__(
        self, path: Path, name: str | None = None, title: str | None = None, *, card: ModelCard | None = None
    ) -> None:
        self.card: ModelCard = card or read_card(path)
        self.folder: Path = card_path(path).parent
        self.name, self.title = name or self.card.name, title or self.card.title
        self.licence, self.source = self.card.licence, self.card.source
        self.answers = answers_of(self.card)
        self._weights = self.folder / self.card.weights.file

    @cached_property
    def _content(self) -> bytes:
        """The weights file, read once; its hash is the card's."""
        try:
            content = self._weights.read_bytes()
        except OSError as error:
            raise WeightsError(
                f"{self._weights}: the model's weights cannot be read ({error.strerror}). {self.remedy}"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.card.weights.sha256:
            raise WeightsError(
                f"{self._weights}: SHA-256 {found[:16]}... is not the card's ({self.card.weights.sha256[:16]}...). "
                f"{self.remedy}"
            )
        return content

    def mpp(self) -> tuple[float, ...]:
        """That of the card."""
        return (self.card.input.mpp,)

    def check_weights(self) -> None:
        """See that the weights are there, and are those of the card.

        Raises
        ------
        WeightsError
            If they are not.
        """
        assert self._content is not None

    def missing(self, weights: str = "") -> str:
        """Its weights, where they are not beside the card or others than it says."""
        try:
            self.check_weights()
            return ""
        except WeightsError as error:
            return str(error)

    def info(self, spec: RecognizerSpec) -> EngineInfo:
        """Facts of the card; the weights are hashed."""
        card = self.card
        self.check_weights()
        return EngineInfo(
            name=self.name,
            title=self.title,
            mpp=card.input.mpp,
            tile_px=card.input.tile_px,
            halo_px=UNKNOWN_HALO if card.input.halo_px == "measured" else card.input.halo_px,
            align_px=card.input.multiple_of,
            split=SplitSettings(
                landscape="stored",
                smoothing_um=0.0,  # the landscape is smoothed where it is made
                persistence=card.split.persistence,
                min_area_um2=card.split.min_area_um2,
                min_confidence=cut_of(card).min_confidence,
            ),
            weights_sha256=card.weights.sha256,
            card_sha256=card.shaping_sha256(),
            any_size=True,
            base_bytes=_BASE_BYTES,
            bytes_per_px=_BYTES_PER_PX,
        )

    def resolve(self, spec: RecognizerSpec) -> RecognizerSpec:
        """The device, runtime and precision that "auto" stands for."""
        return resolved(replace(spec, device=resolve_device(spec.device)))

    def wants_sample(self) -> bool:
        """Whether slides are shown at the reference strength of their stain."""
        return self.card.input.stain == "reference"

    def calibrated(self, spec: RecognizerSpec, sample: NDArray[np.uint8], tissue_mm2: float) -> RecognizerSpec:
        """The strength of the slide's stain, where it is wanted and the slide tells it.

        Parameters
        ----------
        spec : as of now
        sample : (N, H, W, 3) uint8 patches of tissue, N at least 1
        tissue_mm2 : tissue of the slide
        """
        strength = strength_of(sample, tissue_mm2) if self.wants_sample() else None
        return spec if strength is None else replace(spec, calibration=(strength,))

    def stain_of(self, spec: RecognizerSpec) -> StainFacts | None:
        """Strength of the stain, where it is wanted."""
        return StainFacts(spec.calibration[0] if spec.calibration else None) if self.wants_sample() else None

    def load(self, spec: RecognizerSpec) -> Recognizer:
        """The recognizer, tried on one small picture."""
        from wsiparse.recognize.embedded.classes import ClassRecognizer
        from wsiparse.recognize.embedded.loading import tried_network

        network = tried_network(self._content, str(self._weights), self.card, self.resolve(spec))
        text_of = {prompt.of_class: prompt.text for prompt in self.card.prompts}
        return ClassRecognizer(
            network,
            self.info(spec),
            [text_of[name] for name in self.card.classes],
            self.answers,
            spec.prompts,
            cut=cut_of(self.card),
            least_share=self.card.output.least_share,
            strength=spec.calibration[0] if spec.calibration else None,
        )

    def default_prompts(self) -> tuple[PromptConfig, ...]:
        """Every class, and the nuclei of none."""
        if not self.card.prompts:
            return (PromptConfig(text=NUCLEI, class_name="Nuclei"),)
        classes = tuple(
            PromptConfig(text=p.text, class_name=p.class_name or p.of_class.capitalize(), colour=p.colour)
            for p in self.card.prompts
        )
        return (*classes, PromptConfig(text=NUCLEI, class_name=OTHER_NUCLEI, colour=_OTHER_COLOUR))

    def colour_of(self, text: str) -> str | None:
        """A class has one colour wherever it is shown."""
        colours = {prompt.text: prompt.colour for prompt in self.card.prompts}
        return colours.get(text, _OTHER_COLOUR if self.card.prompts else None)

    def completed(
        self, asked: Sequence[PromptConfig], *, strict: bool = False
    ) -> tuple[tuple[PromptConfig, ...], tuple[str, ...]]:
        """As every engine of a closed list; a licence that restricts use is said at every run."""
        prompts, notices = super().completed(asked, strict=strict)
        if _RESTRICTED.search(self.licence):
            notices = (*notices, f"the licence of {self.title}: {self.licence}")
        return prompts, notices

    @cached_property
    def _scale_form(self) -> ScaleForm | None:
        return read_form(self.folder)

    def tells_scale(self) -> bool:
        """Whether the folder has what was fitted for it."""
        return self._scale_form is not None

    def scale_guess(self, recognizer: Recognizer, look: ScalePatches) -> ScaleGuess | None:
        """What the nuclei found at several assumed sizes look like.

        Parameters
        ----------
        recognizer : of this engine, with any prompts
        look : gives patches, (H, W, 3) uint8 each, at an assumed size, um per level-0 px
        """
        if self._scale_form is None:
            return None
        nuclei = recognizer.with_prompts(PromptSet((Prompt(NUCLEI, "Nuclei"),)))
        return tell_scale(self._scale_form, nuclei, nuclei.info, look)

    def limits(self, spec: RecognizerSpec) -> EngineLimits:
        """What was learned, and what its card says of it."""
        used = [answer_of(prompt.text, self.answers) for prompt in spec.prompts]
        learned = ", ".join(self.card.classes) or "none"
        sentences = [
            f"Kinds of cells are those that the model {self.title} learned ({learned}). A probability it gives is that "
            "of a nucleus, not of the nucleus's class; how sure the class is, its shares say."
        ]
        if any(answer is not None and answer.note for answer in used):
            sentences.append(f"{_NOT_TOLD_APART.capitalize()}: epithelial cells are of both.")
        stain = self.stain_of(spec)
        classes = any(answer is not None and answer.text != NUCLEI for answer in used)
        return EngineLimits(
            nucleus_probability=True,
            stain_strength=stain.strength if stain is not None else None,
            warnings=(stain.flag,) if stain is not None and stain.flag and classes else (),
            sentences=(*sentences, *self.card.notes, f"Licence of the model: {self.licence}."),
        )
