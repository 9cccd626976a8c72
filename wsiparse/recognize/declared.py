"""What an engine says of itself: everything that the rest of the program knows of it.

An engine is one object that derives from `DeclaredEngine`, in one file or folder. It is found by its name
(`wsiparse.recognize.registry`), whoever wrote it; nothing outside its folder compares that name. Declaring an engine
must be cheap: torch and weights are for `load`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.config import DEFAULT_PROMPTS, OTHER_NUCLEI, PromptConfig
from wsiparse.errors import ConfigError
from wsiparse.recognize.prompts import NUCLEI, TWO_PROMPTS, Answer, answer_of, answered, check_nucleus_prompts
from wsiparse.recognize.strength import StainFacts
from wsiparse.types import EngineInfo, EngineLimits, Prompt, PromptSet, RecognitionGrid, RecognizerSpec, TileGrid

if TYPE_CHECKING:
    from wsiparse.recognize.base import Recognizer

__all__ = ["DeclaredEngine", "ScaleGuess", "ScaleOf", "ScalePatches"]

#: Positions of prompts that are seen at one scale, a spec with these prompts only, the engine's facts at that scale.
ScaleOf = tuple[tuple[int, ...], RecognizerSpec, EngineInfo]

#: Patches of a slide, (H, W, 3) uint8 each, as the engine would see them if level-0 pixels were of so many um.
ScalePatches = Callable[[float], Sequence[NDArray[np.uint8]]]

_NO_OPTIONS: Final[Mapping[str, str | bool]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ScaleGuess:
    """The pixel size that the nuclei of a slide look like.

    Parameters
    ----------
    mpp : um per level-0 px
    low, high : between which it most likely lies
    trust : "good" is right within a fifth in nine of ten tiles, "rough" within a half; "none" is not to be relied on
    """

    mpp: float
    low: float
    high: float
    trust: Literal["good", "rough", "none"]


class DeclaredEngine(abc.ABC):
    """An engine's declaration; a stranger's engine overrides `info` and `load` and sets the first four attributes.

    Attributes
    ----------
    name : what `--engine` takes, one word
    title : what every output says, e.g. "embedded network, not BiomedParse"
    licence, source : of its weights and code, a few words each
    answers : what it answers -> how (see `wsiparse.recognize.prompts.Answer`); the whole list, unless `any_words`
    any_words : it has a language model: every text is asked, and `answers` does not matter
    takes_all_nuclei : "nuclei" beside classes means the nuclei of no class
    devices : where it runs
    automatic : `--engine auto` may take it
    resizes : it brings every tile to one size, so that what a tile needs does not depend on the tile's own size
    options : its own options -> what they are where nobody says anything
    idle_options : those of them that change no result
    idle_settings : settings of a run that it has no use for; where one is given, a notice says so
    """

    name: str
    title: str
    licence: str
    source: str
    answers: Mapping[str, Answer] = TWO_PROMPTS
    any_words: ClassVar[bool] = False
    devices: tuple[Literal["cpu", "cuda", "mps"], ...] = ("cpu",)
    automatic: ClassVar[bool] = False
    resizes: ClassVar[bool] = False
    options: Mapping[str, str | bool] = _NO_OPTIONS
    idle_options: frozenset[str] = frozenset()
    idle_settings: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def info(self, spec: RecognizerSpec) -> EngineInfo:
        """Scale, tile, halo, memory and splitting; weights are found and hashed, not loaded.

        Raises
        ------
        WeightsError
            If the engine's weights are missing or are others than it declares.
        """

    @abc.abstractmethod
    def load(self, spec: RecognizerSpec) -> Recognizer:
        """Build the recognizer; the only call that imports torch. `spec` has been checked by `check`.

        Raises
        ------
        WeightsError, ConfigError
            If weights are missing or damaged, or the device or precision is not there.
        """

    def mpp(self) -> tuple[float, ...]:
        """The scales it sees slides at, um per px, ascending; asked of an engine that is ready or has no weights."""
        return (self.info(self.spec()).mpp,)

    def missing(self, weights: str = "") -> str:
        """What is missing before it can run, a few words with the remedy; "" when it is ready.

        Parameters
        ----------
        weights : as given by the user, or ""
        """
        return ""

    def find_weights(self, given: str) -> str:
        """Where its weights are: what the user gave, or where they usually lie; "" for none."""
        return given

    def resolve(self, spec: RecognizerSpec) -> RecognizerSpec:
        """The spec with what "auto" stands for on this machine: device, precision and runtime.

        Raises
        ------
        ConfigError
            If the device or the runtime is not there.
        """
        return replace(spec, runtime="")

    def check(self, spec: RecognizerSpec) -> None:
        """Refuse devices, options and prompts that the engine does not take, before anything is read or loaded.

        Raises
        ------
        ConfigError
            If the engine does not run on the device, or has no such option.
        PromptError
            If it does not answer a prompt.
        """
        self.check_device(spec.device)
        for name, value in spec.options:
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                raise ConfigError(f"engine '{self.name}' has no option '{name}' (given: {value!r}; it has: {known}).")
        if not self.any_words:
            check_nucleus_prompts(spec.prompts, self.title, self.info(spec).mpp, self.answers)

    def check_device(self, device: str) -> None:
        """Refuse a device that the engine does not run on.

        Raises
        ------
        ConfigError
            If it does not.
        """
        if device == "auto" or device.partition(":")[0] in self.devices:
            return
        if self.devices == ("cpu",):
            raise ConfigError(f"device '{device}': the {self.name} engine runs on the CPU only. Use --device cpu.")
        raise ConfigError(
            f"device '{device}': the {self.name} engine runs on {', '.join(self.devices)}. Use one of them, or "
            "--device auto."
        )

    def default_prompts(self) -> tuple[PromptConfig, ...]:
        """What it is asked when nobody says."""
        return DEFAULT_PROMPTS if len(self.answers) > 1 else (PromptConfig(text="nuclei", class_name="Nuclei"),)

    def completed(
        self, asked: Sequence[PromptConfig], *, strict: bool = False
    ) -> tuple[tuple[PromptConfig, ...], tuple[str, ...]]:
        """Prompts in the engine's own words with its names and colours where the user gave none, and notices.

        "Nuclei" beside classes gets the nuclei of no class, and is called so.

        Parameters
        ----------
        asked : as the user wrote them
        strict : refuse words that mean only a part of what is counted

        Raises
        ------
        PromptError
            If one is not answered, or two ask for the same.
        """
        if not asked:
            return self.default_prompts(), ()
        used = answered([p.text for p in asked], self.title, strict=strict, answers=self.answers)
        beside = any(text != NUCLEI for text, _ in used)
        completed = []
        for prompt, (text, _) in zip(asked, used, strict=True):
            known: dict[str, str | None] = {"text": text}
            if beside and text == NUCLEI:
                known["class_name"] = prompt.class_name or OTHER_NUCLEI
            known["colour"] = prompt.colour or self.colour_of(text)
            completed.append(prompt.model_copy(update=known))
        return tuple(completed), tuple(notice for _, notice in used if notice is not None)

    def colour_of(self, text: str) -> str | None:
        """The colour of what it answers where the user gives none; None for the next one of the palette."""
        return None

    def answer(self, text: str) -> str:
        """How it takes a text: "" not at all, "answered", or a word of its own."""
        return "answered" if answer_of(text, self.answers) is not None else ""

    def scales(self, spec: RecognizerSpec, info: EngineInfo, mpp: float | None) -> tuple[ScaleOf, ...]:
        """The scales at which it wants to see the slide, each with its prompts.

        Parameters
        ----------
        spec : with all prompts of the run
        info : the engine's facts
        mpp : overrides the engine's own scale, um per px; None for its own
        """
        return ((tuple(range(len(spec.prompts))), spec, replace(info, mpp=mpp or info.mpp)),)

    def wants_sample(self) -> bool:
        """Whether `calibrated` makes anything of a sample of the slide."""
        return False

    def calibrated(self, spec: RecognizerSpec, sample: NDArray[np.uint8], tissue_mm2: float) -> RecognizerSpec:
        """The spec with what the engine learns from a sample of the slide, once for all tiles.

        Parameters
        ----------
        spec : as of now
        sample : (N, H, W, 3) uint8 patches of tissue at the engine's scale, N at least 1
        tissue_mm2 : tissue of the slide
        """
        return spec

    def stain_of(self, spec: RecognizerSpec) -> StainFacts | None:
        """What a calibrated spec knows of the slide's stain; None for an engine that takes every slide as it is."""
        return None

    def tells_scale(self) -> bool:
        """Whether `scale_guess` knows anything."""
        return False

    def scale_guess(self, recognizer: Recognizer, look: ScalePatches) -> ScaleGuess | None:
        """The pixel size that nuclei look like, or None where it cannot know.

        Parameters
        ----------
        recognizer : of this engine, with any prompts
        look : gives patches, (H, W, 3) uint8 each, at an assumed size, um per level-0 px
        """
        return None

    def limits(self, spec: RecognizerSpec) -> EngineLimits:
        """What a report must say of its answers on one slide; `spec` is calibrated to the slide."""
        return EngineLimits()

    def least_halo_px(self) -> int:
        """The least halo its tiles can have, px: what the network crops of them."""
        return 0

    def operations_per_tile(self, spec: RecognizerSpec) -> float | None:
        """Floating-point operations of one tile with all prompts, where it is heavy enough to count."""
        return None

    def recognition_grid(
        self,
        spec: RecognizerSpec,
        positions: tuple[int, ...],
        grid: TileGrid,
        tiles: Sequence[tuple[int, NDArray[np.float32]]],
    ) -> RecognitionGrid | None:
        """Scores of every tile and prompt, or None for an engine that has no such statistics.

        Parameters
        ----------
        spec : whose prompts the statistics are of
        positions : of these prompts in the run's prompt set
        grid : the tiles
        tiles : index and statistics, (P, 4) float32, of each tile that was read
        """
        return None

    def spec(self, prompts: PromptSet | None = None) -> RecognizerSpec:
        """A spec of this engine, on the CPU; of one prompt for all nuclei where none are given."""
        return RecognizerSpec(self.name, prompts or PromptSet((Prompt("nuclei", "Nuclei"),)))
