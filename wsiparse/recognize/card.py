"""The card of a model: `model.yaml` in its folder says what its weights answer and how they are run; strict, frozen.

format: wsiparse-model/1
name: my-nuclei
title: My nuclei 1.2
licence: Apache-2.0
source: https://...
weights: {file: weights.safetensors, sha256: ...}
input: {mpp: 0.5, tile_px: 1024, output_px: 1024, multiple_of: 16, halo_px: 112, channels: RGB, ...}
output: {kind: nuclei, activation: sigmoid, foreground: 0, centre: 1, boundary: 2, classes: {3: epithelial}, ...}
split: {smoothing_um: 0.5, persistence: 7, min_area_um2: 6, centre_share: 0.7}
prompts:
  - {class: epithelial, text: epithelial cells, kind: cell, colour: "#d55e00"}
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsiparse.errors import WeightsError

__all__ = ["CARD", "FORMAT", "ModelCard", "PromptOfClass", "card_path", "read_card"]

#: The file that makes a folder a model.
CARD: Final = "model.yaml"

FORMAT: Final = "wsiparse-model/1"

#: A card is a page of text; a larger file is none.
_LARGEST: Final = 4 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class _Weights(_Strict):
    """Which file holds the weights, and the SHA-256 that it must have."""

    file: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Normalise(_Strict):
    """How bytes become numbers: (value - mean) / std, in 8-bit values."""

    kind: Literal["mean-std"] = "mean-std"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)


class _Input(_Strict):
    """What the network sees."""

    mpp: float = Field(ge=0.05, le=20)
    tile_px: int = Field(default=1024, ge=64, le=16384)
    output_px: int | None = Field(default=None, ge=64, le=16384)
    multiple_of: int = Field(default=16, ge=1, le=1024)
    halo_px: int = Field(ge=0, le=4096)
    channels: Literal["RGB"] = "RGB"
    layout: Literal["NCHW"] = "NCHW"
    normalise: _Normalise = _Normalise()
    stain: Literal["as it is", "reference"] = "as it is"

    @model_validator(mode="after")
    def _check(self) -> _Input:
        if self.output_px not in (None, self.tile_px):
            raise ValueError(f"output_px {self.output_px} differs from tile_px {self.tile_px}: cropping networks are "
                             "not run")  # fmt: skip
        if self.tile_px % self.multiple_of or self.halo_px % self.multiple_of:
            raise ValueError(f"tile_px and halo_px must be multiples of {self.multiple_of}")
        if self.tile_px <= 2 * self.halo_px:
            raise ValueError(f"a tile of {self.tile_px} px leaves nothing inside a halo of {self.halo_px} px")
        if self.normalise != _Normalise():
            raise ValueError("normalise: this family takes mean and std of 127.5")
        return self


class _Output(_Strict):
    """What its maps mean."""

    kind: Literal["nuclei"] = "nuclei"
    activation: Literal["sigmoid"] = "sigmoid"
    foreground: Literal[0] = 0
    centre: Literal[1] = 1
    boundary: Literal[2] = 2
    classes: dict[int, str] = {}
    cut: float = Field(default=0.5, gt=0, lt=1)
    min_foreground: float = Field(default=0.0, ge=0, le=1)
    least_share: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> _Output:
        if list(self.classes) != list(range(3, 3 + len(self.classes))):
            raise ValueError("classes: their maps are numbered 3, 4, ... in order")
        if len(set(self.classes.values())) < len(self.classes) or not all(n.strip() for n in self.classes.values()):
            raise ValueError("classes: each needs a name of its own")
        return self


class _Split(_Strict):
    """How touching nuclei are told apart."""

    smoothing_um: float = Field(default=0.5, ge=0, le=20)
    persistence: float = Field(default=7.0, ge=0, le=255)
    min_area_um2: float = Field(default=6.0, ge=0)
    centre_share: float = Field(default=0.7, ge=0, le=1)
    boundary_share: float = Field(default=0.0, ge=0, le=1)


class PromptOfClass(_Strict):
    """The prompt that a class answers, and how it is drawn."""

    of_class: str = Field(alias="class", min_length=1)
    text: str = Field(min_length=1)
    kind: Literal["cell"] = "cell"
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")
    class_name: str | None = None


class ModelCard(_Strict):
    """Everything of a card; `training` and `figures` are for people and tools, and shape nothing.

    Parameters
    ----------
    name : of the model, a word
    title : what every output says
    licence, source : of the weights
    weights, input, output, split, prompts : as at the top of this file
    notes : sentences that reports say of it
    """

    format: Literal["wsiparse-model/1"]
    name: str = Field(pattern=r"^[\w.-]{1,80}$")
    title: str = Field(min_length=1, max_length=200)
    licence: str = Field(min_length=1)
    source: str = Field(min_length=1)
    weights: _Weights
    input: _Input
    output: _Output
    split: _Split = _Split()
    prompts: tuple[PromptOfClass, ...] = ()
    notes: tuple[str, ...] = ()
    training: dict[str, Any] = {}
    figures: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check(self) -> ModelCard:
        named = [prompt.of_class for prompt in self.prompts]
        for name in self.output.classes.values():
            if named.count(name) != 1:
                raise ValueError(f"prompts: class '{name}' needs one entry with a text and a colour")
        unknown = sorted(set(named) - set(self.output.classes.values()))
        if unknown:
            raise ValueError(f"prompts: no map is of class '{unknown[0]}'")
        if "\n" in self.title:
            raise ValueError("title: one line")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class maps, in order."""
        return tuple(self.output.classes.values())

    def shaping_sha256(self) -> str:
        """Over what shapes results beside the weights themselves."""
        facts = self.model_dump(mode="json", include={"input", "output", "split"})
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def card_path(path: Path) -> Path:
    """The card that a user means by a folder or by the card itself."""
    return path if path.suffix in (".yaml", ".yml") else path / CARD


def read_card(path: Path) -> ModelCard:
    """The card of a model folder.

    Parameters
    ----------
    path : the folder, or the card in it

    Raises
    ------
    WeightsError
        If there is no card, it cannot be read, or it holds an unknown key or a wrong value; one line.
    """
    card = card_path(path)
    try:
        if card.stat().st_size > _LARGEST:
            raise WeightsError(f"{card}: {card.stat().st_size} bytes are no model card.")
        found = yaml.safe_load(card.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"{card.parent}: no {card.name} in this folder, so it is no model. `wsiparse train` writes them."
        ) from error
    except NotADirectoryError as error:
        raise WeightsError(f"{card.parent}: a file, not the folder of a model.") from error
    except OSError as error:
        raise WeightsError(f"{card}: cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise WeightsError(f"{card}: not a YAML file ({' '.join(str(error).split())[:120]}).") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{card}: no mapping of keys to values. docs/engines.md shows a card.")
    try:
        return ModelCard.model_validate(found)
    except ValidationError as error:
        raise WeightsError(f"{card}: {_first_fault(error)}. docs/engines.md shows a card.") from error


#: Section -> its keys, for the nearest one.
_SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "weights": _Weights, "input": _Input, "normalise": _Normalise, "output": _Output, "split": _Split,
    "prompts": PromptOfClass,
}  # fmt: skip


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    *above, last = (str(part) for part in first["loc"]) if first["loc"] else ("",)
    if first["type"] != "extra_forbidden":
        where = ".".join([*above, last]).strip(".")
        text = str(first["msg"]).removeprefix("Value error, ")
        return f"{where}: {text}" if where else text
    model = next((_SECTIONS[part] for part in reversed(above) if part in _SECTIONS), ModelCard)
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(last, known, 1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'" if near else f"known keys: {', '.join(known)}"
    return f"unknown key '{'.'.join([*above, last])}': {hint}"
