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
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsiparse.errors import WeightsError
from wsiparse.recognize.exported.rdf import OddRdfError, card_of_rdf, is_rdf
from wsiparse.types import PromptKind

__all__ = ["CARD", "FORMAT", "ModelCard", "PromptOfClass", "Stains", "card_path", "read_card"]

#: The file that makes a folder a model.
CARD: Final = "model.yaml"

#: bioimage.io's description, which is a card where there is no other.
RDF: Final = "rdf.yaml"

FORMAT: Final = "wsiparse-model/1"

#: A card is a page of text; a larger file is none.
_LARGEST: Final = 4 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


def _check_keys(model: BaseModel, what: str, needs: Iterable[str], may: Iterable[str]) -> None:
    """`ValueError` where a key that this kind needs is not given, or one is that it has no use for."""
    needs = tuple(needs)
    given = {name for name in model.model_fields_set if getattr(model, name) is not None}
    missing = [name for name in needs if name not in given]
    if missing:
        raise ValueError(f"{what} needs {' and '.join(missing)}")
    idle = sorted(given - set(may) - set(needs))
    if idle:
        raise ValueError(f"{what} has no use for {', '.join(idle)}")


_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Weights(_Strict):
    """Which file holds the weights, and the SHA-256 that it must have; so too the files of an ONNX model's own data."""

    file: str = Field(min_length=1)
    sha256: _Sha256
    data: dict[str, _Sha256] = {}


class _Normalise(_Strict):
    """How values become numbers.

    scale : value / divide; mean-std : (value - mean) / std; percentile : (value - low) / (high - low), of the slide's
    own percentiles, each channel by itself. Values are bytes, or what `channels` makes of them.
    """

    kind: Literal["scale", "mean-std", "percentile"] = "mean-std"
    divide: float | None = Field(default=None, gt=0)
    mean: tuple[float, ...] | None = Field(default=None, min_length=1, max_length=4)
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(default=None, min_length=1, max_length=4)
    low: float | None = Field(default=None, ge=0, lt=100)
    high: float | None = Field(default=None, gt=0, le=100)
    over: Literal["slide"] | None = None
    clip: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> _Normalise:
        wants = {"scale": ("divide",), "mean-std": ("mean", "std"), "percentile": ("low", "high")}
        takes = {"over", "clip"} if self.kind == "percentile" else set()
        _check_keys(self, f"kind {self.kind}", wants[self.kind], takes | {"kind"})
        if self.kind == "percentile" and (self.low or 0) >= (self.high or 0):
            raise ValueError(f"low {self.low} is not below high {self.high}")
        return self


#: The normalisation of the network family of `wsiparse train`.
_FAMILY_NORMALISE: Final = _Normalise(mean=(127.5,) * 3, std=(127.5,) * 3)


class Stains(_Strict):
    """Channels that are amounts of stain, by the slide's own stain vectors, or their mean optical density."""

    stains: tuple[Literal["hematoxylin", "eosin", "residual", "density"], ...] = Field(min_length=1, max_length=4)


class _Input(_Strict):
    """What the network sees."""

    mpp: float = Field(ge=0.05, le=20)
    tile_px: int = Field(default=1024, ge=64, le=16384)
    output_px: int | None = Field(default=None, ge=16, le=16384)
    multiple_of: int = Field(default=16, ge=1, le=1024)
    halo_px: Annotated[int, Field(ge=0, le=4096)] | Literal["measured"]
    fixed_size: bool | None = None
    channels: Literal["RGB", "BGR"] | Stains = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    normalise: _Normalise = _FAMILY_NORMALISE
    stain: Literal["as it is", "reference"] = "as it is"

    @property
    def count(self) -> int:
        """Channels."""
        return len(self.channels.stains) if isinstance(self.channels, Stains) else 3

    @property
    def margin_px(self) -> int:
        """How much narrower the network's answer is than what it sees, px on every side."""
        return 0 if self.output_px is None else (self.tile_px - self.output_px) // 2

    @model_validator(mode="after")
    def _check(self) -> _Input:
        halo = 0 if self.halo_px == "measured" else self.halo_px
        if self.tile_px % self.multiple_of or halo % self.multiple_of:
            raise ValueError(f"tile_px and halo_px must be multiples of {self.multiple_of}")
        if self.tile_px <= 2 * halo:
            raise ValueError(f"a tile of {self.tile_px} px leaves nothing inside a halo of {halo} px")
        if self.output_px is not None and (self.output_px > self.tile_px or (self.tile_px - self.output_px) % 2):
            raise ValueError(f"output_px {self.output_px} is not the middle of tile_px {self.tile_px}")
        if self.halo_px != "measured" and halo < self.margin_px:
            raise ValueError(f"halo_px {halo} is less than what the network crops, {self.margin_px} px on every side")
        for name, values in (("mean", self.normalise.mean), ("std", self.normalise.std)):
            if values is not None and len(values) != self.count:
                raise ValueError(f"normalise.{name}: {self.count} channels need as many numbers")
        return self


#: Kind of output -> keys that it needs, and keys that it may have beside those of every kind.
_OUTPUTS: Final[dict[str, tuple[tuple[str, ...], frozenset[str]]]] = {
    "nuclei": ((), frozenset({"background", "foreground", "centre", "distance", "boundary", "contour"})),
    "hover": (("foreground", "horizontal", "vertical"), frozenset({"background"})),
    "star": (("probability", "rays", "n_rays"), frozenset({"overlap"})),
    "instances": (("labels",), frozenset({"probability"})),
    "regions": (("classes",), frozenset({"background"})),
}
_EVERY_KIND: Final = frozenset(
    {"kind", "activation", "class_activation", "classes", "cut", "min_foreground", "least_share", "stride"}
)

_Channel = Annotated[int, Field(ge=0, le=4095)]


class _Output(_Strict):
    """What its maps mean: roles by the number of their channel. Several outputs count as one, in their order."""

    kind: Literal["nuclei", "hover", "star", "instances", "regions"] = "nuclei"
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    class_activation: Literal["sigmoid", "softmax", "none"] | None = None
    background: _Channel | None = None
    foreground: _Channel | None = None
    centre: _Channel | None = None
    distance: _Channel | None = None
    boundary: _Channel | None = None
    contour: _Channel | None = None
    horizontal: _Channel | None = None
    vertical: _Channel | None = None
    probability: _Channel | None = None
    rays: _Channel | None = None
    n_rays: int | None = Field(default=None, ge=3, le=256)
    overlap: float | None = Field(default=None, gt=0, lt=1)
    labels: _Channel | None = None
    stride: int | None = Field(default=None, ge=1, le=16)
    classes: dict[_Channel, str] = {}
    cut: float = Field(default=0.5, gt=0, lt=1)
    min_foreground: float = Field(default=0.0, ge=0, le=1)
    least_share: float = Field(default=0.0, ge=0, le=1)

    @property
    def channels(self) -> dict[str, int]:
        """Role -> channel of those that are given, classes and rays included."""
        names = ("background", "foreground", "centre", "distance", "boundary", "contour", "horizontal", "vertical",
                 "probability", "labels")  # fmt: skip
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        found |= {f"class {name}": channel for channel, name in self.classes.items()}
        rays = range(self.n_rays or 0)
        return found | {f"ray {k}": (self.rays or 0) + k for k in rays}

    @model_validator(mode="after")
    def _check(self) -> _Output:
        if len(set(self.classes.values())) < len(self.classes) or not all(n.strip() for n in self.classes.values()):
            raise ValueError("classes: each needs a name of its own")
        needs, may = _OUTPUTS[self.kind]
        _check_keys(self, f"kind {self.kind}", needs, may | _EVERY_KIND)
        for one, other in (("centre", "distance"), ("boundary", "contour")):
            if {one, other} <= self.channels.keys():
                raise ValueError(f"{one} and {other} are two names of one role: leave one out")
        twice = sorted(c for c in self.channels.values() if list(self.channels.values()).count(c) > 1)
        if twice:
            names = [name for name, channel in self.channels.items() if channel == twice[0]]
            raise ValueError(f"channel {twice[0]} is given to {' and '.join(names)}")
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
    kind: Literal["cell", "region"] | None = None
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

    @model_validator(mode="before")
    @classmethod
    def _no_guess(cls, data: Any) -> Any:
        """Whoever does not say how bytes become numbers would get the family's way."""
        if not isinstance(data, dict) or not isinstance(data.get("weights"), dict):
            return data
        found = data.get("input")
        if not _is_family(str(data["weights"].get("file"))) and isinstance(found, dict) and "normalise" not in found:
            raise ValueError("input.normalise: Field required (how bytes become numbers)")
        return data

    @model_validator(mode="after")
    def _check(self) -> ModelCard:
        for file in (self.weights.file, *self.weights.data):
            if Path(file).name != file:
                raise ValueError(f"weights '{file}' do not lie beside the card")
        if _is_family(self.weights.file):
            _check_family(self)
        elif self.output.kind == "nuclei" and self.output.foreground is None and self.output.background is None:
            raise ValueError("output: kind nuclei needs foreground, or the background that it is not")
        kind: PromptKind = "region" if self.output.kind == "regions" else "cell"
        odd = next((prompt for prompt in self.prompts if prompt.kind not in (None, kind)), None)
        if odd is not None:
            raise ValueError(f"prompts: class '{odd.of_class}' is of kind {odd.kind}, but an output of kind "
                             f"{self.output.kind} answers kind {kind}")  # fmt: skip
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

    @property
    def of_family(self) -> bool:
        """Whether its weights are of the network family of `wsiparse train`."""
        return _is_family(self.weights.file)

    def shaping_sha256(self) -> str:
        """Over what shapes results beside the weights themselves."""
        facts = self.model_dump(mode="json", include={"input", "output", "split"}, exclude_none=True)
        if self.weights.data:
            facts["data"] = self.weights.data
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _is_family(file: str) -> bool:
    return Path(file).suffix == ".safetensors"


#: Of the output of that family: roles, which are always these.
_FAMILY_ROLES: Final = {"foreground": 0, "centre": 1, "boundary": 2}


def _check_family(card: ModelCard) -> None:
    """`ValueError` for a card of the family of `wsiparse train` that wants what its networks do not do."""
    given, output = card.input, card.output
    if given.output_px not in (None, given.tile_px):
        raise ValueError(f"input: output_px {given.output_px} differs from tile_px {given.tile_px}: cropping networks "
                         "of this family are not run")  # fmt: skip
    if given.normalise != _FAMILY_NORMALISE:
        raise ValueError("input.normalise: this family takes mean and std of 127.5")
    if (given.channels, given.layout, given.fixed_size or False) != ("RGB", "NCHW", False):
        raise ValueError("input: this family takes channels RGB, layout NCHW and tiles of any size")
    if (output.kind, output.activation, output.class_activation) != ("nuclei", "sigmoid", None):
        raise ValueError("output: this family is of kind nuclei with activation sigmoid")
    if output.stride or any(_FAMILY_ROLES.get(name) != n for name, n in output.channels.items() if " " not in name):
        raise ValueError("output: the roles of this family are foreground 0, centre 1, boundary 2")
    if list(output.classes) != list(range(3, 3 + len(output.classes))):
        raise ValueError("output.classes: their maps are numbered 3, 4, ... in order")


def card_path(path: Path) -> Path:
    """The card that a user means by a folder or by the card itself."""
    if path.suffix in (".yaml", ".yml"):
        return path
    return path / RDF if (path / RDF).is_file() and not (path / CARD).is_file() else path / CARD


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
    if is_rdf(found):
        try:
            found = card_of_rdf(found)
        except OddRdfError as error:
            raise WeightsError(f"{card}: {error}.") from error
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
