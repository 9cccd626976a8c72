"""The recognizers of a run: which prompts at which scales, built once and kept from slide to slide."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from wsiparse.config import MAX_TILE_PX, PromptConfig, RunConfig, prompt_set
from wsiparse.errors import ConfigError
from wsiparse.recognize.base import Recognizer, check_prompts, load_recognizer, on_this_machine, scales_of
from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.registry import AUTO, automatic_engine, engine_names, engine_of, model_beside
from wsiparse.recognize.vocabulary import trained_target
from wsiparse.recognize.words import check_one_each
from wsiparse.types import UNKNOWN_HALO, EngineInfo, RecognizerSpec

#: What epithelial cells are called where the user says that they are tumour.
TUMOUR: Final = "Tumour"

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
    given : instead of the engine that the settings name; it must be found by its name (`registry.given_engine`)

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
        self,
        config: RunConfig,
        *,
        resolve: Callable[[RecognizerSpec], RecognizerSpec] = on_this_machine,
        given: DeclaredEngine | None = None,
    ) -> None:
        named = config.weights or ""
        engine = given or (automatic_engine(named) if config.engine == AUTO else engine_of(config.engine))
        weights = engine.find_weights(named)
        check_one_each([prompt.text for prompt in config.prompts])
        asked, self.notices = engine.completed(config.prompts, strict=config.strict_prompts)
        self.notices += _unused(engine, config)
        if config.tumour_is_epithelium:
            asked = _called_tumour(asked, config.prompts)
        self.prompts = prompt_set(asked)
        spec = RecognizerSpec(
            # a model may be called what an engine is called: what was asked for decides
            engine=engine.name if config.engine in (AUTO, *engine_names()) else str(Path(config.engine).absolute()),
            prompts=self.prompts,
            device=config.device,
            precision=config.precision,
            runtime=config.runtime,
            weights=weights,
            options=tuple((name, getattr(config, name)) for name in engine.options),
        )
        check_prompts(spec)
        spec = resolve(spec)
        self.scales = tuple(
            Scale(positions, part, _overridden(info, config, resizes=engine.resizes))
            for positions, part, info in scales_of(spec, config.mpp)
        )
        self.recognizers = Recognizers(len(self.scales))

    @property
    def title(self) -> str:
        """The words every output carries."""
        return self.scales[0].info.title


def _unused(engine: DeclaredEngine, config: RunConfig) -> tuple[str, ...]:
    """A line for each setting that the engine has no use for, and for a model that is called as the engine is."""
    idle = [name for name in engine.idle_settings if getattr(config, name) != RunConfig.model_fields[name].default]
    lines = [f"--{name} {getattr(config, name)}: the {engine.name} engine has no use for it" for name in idle]
    model = model_beside(config.engine)
    if model is not None:
        lines.append(
            f"--engine {config.engine}: the engine of that name, not the model in the folder {config.engine} here; "
            f"--engine ./{config.engine} is the model"
        )
    return tuple(lines)


def _called_tumour(asked: Sequence[PromptConfig], given: Sequence[PromptConfig]) -> tuple[PromptConfig, ...]:
    """Epithelial cells as tumour, where the user gave them no other name."""
    named = [p.class_name is not None for p in given] or [False] * len(asked)
    taken = {p.class_name for p in asked}
    out = []
    for prompt, own in zip(asked, named, strict=True):
        target = trained_target(prompt.text)
        called = target is not None and target.text == "epithelial cells" and not own and TUMOUR not in taken
        out.append(prompt.model_copy(update={"class_name": TUMOUR}) if called else prompt)
    return tuple(out)


def _overridden(info: EngineInfo, config: RunConfig, *, resizes: bool) -> EngineInfo:
    """The engine's facts with the user's settings; `overlap` is twice the halo."""
    split = info.split
    if config.min_area_um2 is not None:
        split = replace(split, min_area_um2=config.min_area_um2)
    halo = info.halo_px if config.overlap is None else config.overlap // 2
    if halo == UNKNOWN_HALO:
        raise ConfigError(
            f"engine '{info.name}' does not know how much context its tiles need. Measure it and write it into the "
            "model's card with `wsiparse engines check MODEL SLIDE --write`, or give --overlap."
        )
    tile = config.tile_size or info.tile_px
    if config.tile_um is not None:
        tile = max(1, round(config.tile_um / info.mpp / info.align_px)) * info.align_px
        if tile > MAX_TILE_PX:
            raise ConfigError(
                f"tiles of {config.tile_um:g} um are {tile} px at {info.mpp:g} um per px, and {MAX_TILE_PX} px are the "
                f"most. Choose --tile-um {MAX_TILE_PX * info.mpp:g} or less."
            )
    if info.fixed_tile and tile != info.tile_px:
        raise ConfigError(
            f"engine '{info.name}' takes tiles of {info.tile_px} px only, not of {tile}. Leave --tile-size and "
            "--tile-um out."
        )
    # what a tile needs does not depend on its size where every tile is resized
    per_px = info.bytes_per_px * info.tile_px**2 // tile**2 if resizes else info.bytes_per_px
    return replace(info, split=split, halo_px=halo, tile_px=tile, bytes_per_px=per_px)
