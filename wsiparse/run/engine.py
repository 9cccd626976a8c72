"""The recognizers of a run: which prompts at which scales, built once and kept from slide to slide."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from wsiparse.config import DEFAULT_PROMPTS, MAX_TILE_PX, OTHER_NUCLEI, PromptConfig, RunConfig, prompt_set
from wsiparse.errors import ConfigError
from wsiparse.recognize.base import Recognizer, check_prompts, engine_info, load_recognizer, on_this_machine, scales_of
from wsiparse.recognize.biomedparse.weights import find_weights
from wsiparse.recognize.prompts import INFLAMMATORY, answered
from wsiparse.recognize.vocabulary import TARGETS, resolve, trained_target
from wsiparse.types import EngineInfo, RecognizerSpec

__all__ = ["Engine", "Recognizers", "Scale"]


@dataclass(frozen=True, slots=True)
class Scale:
    """Prompts that the network sees at one scale.

    Parameters
    ----------
    positions : of these prompts in the run's prompt set, ascending
    spec : what workers build their recognizer from; holds these prompts only
    info : the engine's facts at this scale, user overrides included
    """

    positions: tuple[int, ...]
    spec: RecognizerSpec
    info: EngineInfo


class Recognizers:
    """Recognizers loaded in this process: weights are shared by scales and kept from slide to slide.

    Parameters
    ----------
    scales : how many are used side by side; older ones (another slide's calibration) are let go
    """

    def __init__(self, scales: int = 2) -> None:
        self._scales = scales
        self._lock = threading.Lock()
        self._loaded: dict[RecognizerSpec, Recognizer] = {}

    def of(self, spec: RecognizerSpec) -> Recognizer:
        """The recognizer of a spec, loaded at first use."""
        with self._lock:
            if spec not in self._loaded:
                kin = next((r for s, r in self._loaded.items() if replace(s, prompts=spec.prompts) == spec), None)
                if len(self._loaded) >= self._scales:
                    self._loaded.clear()
                self._loaded[spec] = load_recognizer(spec) if kin is None else kin.with_prompts(spec.prompts)
            return self._loaded[spec]


class Engine:
    """The engine of a run: facts and prompts are checked at once, weights are loaded at first use and kept.

    Parameters
    ----------
    config : run settings
    resolve : replaces "auto" by a device; asks a worker where others recognise

    Attributes
    ----------
    prompts : all prompts, completed
    scales : the scales they are seen at
    notices : lines the user should read about prompts that were mapped or are untested
    recognizers : those loaded in this process

    Raises
    ------
    PromptError, WeightsError, ConfigError
        If the engine does not answer a prompt, has no weights, or the configuration contradicts itself.
    """

    def __init__(
        self, config: RunConfig, *, resolve: Callable[[RecognizerSpec], RecognizerSpec] = on_this_machine
    ) -> None:
        weights = config.weights or ""
        if not weights and config.engine in ("auto", "biomedparse"):
            weights = str(find_weights() or "")
        engine = config.engine
        if engine == "auto":
            engine = "biomedparse" if weights else "embedded"
        asked, self.notices = _trained(config) if engine == "biomedparse" else _answered(config, engine)
        self.prompts = prompt_set(asked)
        spec = RecognizerSpec(
            engine=engine,
            prompts=self.prompts,
            device=config.device,
            precision=config.precision,
            runtime=config.runtime,
            weights=weights,
            mode=config.mode,
            compiled=config.compiled,
        )
        check_prompts(spec)
        spec = resolve(spec)
        self.scales = tuple(
            Scale(positions, part, _overridden(info, config)) for positions, part, info in scales_of(spec, config.mpp)
        )
        self.recognizers = Recognizers(len(self.scales))

    @property
    def title(self) -> str:
        """The words every output carries."""
        return self.scales[0].info.title


def _trained(config: RunConfig) -> tuple[tuple[PromptConfig, ...], tuple[str, ...]]:
    """Prompts in BiomedParse's own words, with what its vocabulary knows where the user says nothing, and notices."""
    prompts = config.prompts or tuple(PromptConfig(text=t.text) for t in TARGETS if t.scored)
    used = resolve([p.text for p in prompts], strict=config.strict_prompts)
    completed = []
    for prompt, (text, _) in zip(prompts, used, strict=True):
        given = {k: v for k, v in prompt.model_dump().items() if v is not None} | {"text": text}
        target = trained_target(text)
        known = {}
        if target is not None:
            known = {k: getattr(target, k) for k in ("class_name", "colour", "kind", "threshold", "input_mpp")}
        completed.append(PromptConfig(**(known | given)))
    return tuple(completed), tuple(notice for _, notice in used if notice is not None)


def _answered(config: RunConfig, engine: str) -> tuple[tuple[PromptConfig, ...], tuple[str, ...]]:
    """Prompts in the words of the engines without a language model, and notices.

    "Nuclei" beside inflammatory cells gets all others, and is called so.
    """
    if not config.prompts:
        return DEFAULT_PROMPTS, ()
    info = engine_info(RecognizerSpec(engine=engine, prompts=prompt_set(DEFAULT_PROMPTS)))
    used = answered([p.text for p in config.prompts], info.title, strict=config.strict_prompts)
    beside = any(role == INFLAMMATORY for role, _ in used)
    completed = []
    for prompt, (role, _) in zip(config.prompts, used, strict=True):
        name = OTHER_NUCLEI if beside and role == "nuclei" else None
        completed.append(prompt.model_copy(update={"text": role, "class_name": prompt.class_name or name}))
    return tuple(completed), tuple(notice for _, notice in used if notice is not None)


def _overridden(info: EngineInfo, config: RunConfig) -> EngineInfo:
    """The engine's facts with the user's settings; `overlap` is twice the halo."""
    split = info.split
    if config.min_area_um2 is not None:
        split = replace(split, min_area_um2=config.min_area_um2)
    halo = info.halo_px if config.overlap is None else config.overlap // 2
    tile = config.tile_size or info.tile_px
    if config.tile_um is not None:
        tile = max(1, round(config.tile_um / info.mpp / info.align_px)) * info.align_px
        if tile > MAX_TILE_PX:
            raise ConfigError(
                f"tiles of {config.tile_um:g} um are {tile} px at {info.mpp:g} um per px, and {MAX_TILE_PX} px are the "
                f"most. Choose --tile-um {MAX_TILE_PX * info.mpp:g} or less."
            )
    # BiomedParse resizes every tile to its own input: what a tile needs does not depend on its size
    per_px = info.bytes_per_px * info.tile_px**2 // tile**2 if info.name == "biomedparse" else info.bytes_per_px
    return replace(info, split=split, halo_px=halo, tile_px=tile, bytes_per_px=per_px)
