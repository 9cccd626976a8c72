"""The recipe of a training: every number that shapes the weights, from YAML; strict, frozen."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsiparse.errors import ConfigError

__all__ = ["ClassRecipe", "Recipe", "SetRecipe", "load_recipe"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SetRecipe(_Strict):
    """One folder of annotated tiles.

    Parameters
    ----------
    share : how often its tiles are drawn, relative to the other sets
    partial : whether nuclei without annotation may lie anywhere
    zoom : least and largest enlargement of a crop
    shape_weight : how far its outlines are trusted, 0-1
    held_out : beginnings of tile names that shape nothing and measure
    held_out_every : besides, each tile of this rank by name (10: the 1st, 11th, ...); 0 for none
    licence, notice : carried into the card
    """

    share: float = Field(default=1.0, gt=0)
    partial: bool = False
    zoom: tuple[float, float] = (0.8, 1.25)
    shape_weight: float = Field(default=1.0, ge=0, le=1)
    held_out: tuple[str, ...] = ()
    held_out_every: int = Field(default=0, ge=0)
    licence: str = "not stated"
    notice: str = ""

    @model_validator(mode="after")
    def _check(self) -> SetRecipe:
        if not 0.1 <= self.zoom[0] <= self.zoom[1] <= 10:
            raise ValueError(f"zoom {self.zoom} is not a least and a largest enlargement between 0.1 and 10")
        return self


class ClassRecipe(_Strict):
    """One class map: its name, and the class number of the annotations."""

    name: str
    annotated: int = Field(ge=1)


class Recipe(_Strict):
    """Everything that shapes weights, apart from the tiles.

    Parameters
    ----------
    seed : seed of the random numbers
    widths, deep : those of the network
    classes : class maps, in order
    steps, batch, crop_px : how much is seen
    rate, decay, warm_up : highest learning rate, weight decay, steps until the highest rate
    average : how much of the averaged weights one step keeps, 0-1
    outline_points_at : steps, as shares of all, at which points get outlines from the network as far as it has come
    measure_every, save_every : steps between held-out figures and between checkpoints
    precision : precision of the convolutions in training
    ink : share of crops with a stroke of ink
    bare : share of crops of glass and painted dirt without any nucleus
    sets : by folder name
    """

    seed: int = 0
    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    deep: int = Field(default=3, ge=1, le=8)
    classes: tuple[ClassRecipe, ...] = (
        ClassRecipe(name="epithelial", annotated=3),
        ClassRecipe(name="inflammatory", annotated=2),
        ClassRecipe(name="connective", annotated=4),
    )
    steps: int = Field(default=12000, ge=1)
    batch: int = Field(default=8, ge=1)
    crop_px: int = Field(default=256, ge=64, multiple_of=16)
    rate: float = Field(default=2.5e-3, gt=0)
    decay: float = Field(default=0.02, ge=0)
    warm_up: int = Field(default=300, ge=0)
    average: float = Field(default=0.999, ge=0, lt=1)
    outline_points_at: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.1, 0.25, 0.55)
    measure_every: int = Field(default=1000, ge=1)
    save_every: int = Field(default=100, ge=1)
    precision: Literal["float32", "bf16"] = "bf16"
    ink: float = Field(default=0.07, ge=0, le=1)
    bare: float = Field(default=0.02, ge=0, le=1)
    sets: dict[str, SetRecipe] = {}

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        for key in ("name", "annotated"):
            if len({getattr(c, key) for c in self.classes}) < len(self.classes):
                raise ValueError(f"classes: two have the same {key}")
        if min(self.widths) < 4:
            raise ValueError("widths: each is at least 4")
        return self


def load_recipe(path: Path) -> Recipe:
    """A recipe file.

    Raises
    ------
    ConfigError
        If the file cannot be read, is not YAML, or holds an unknown key or a value out of range.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the recipe ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a YAML file ({error}).") from error
    if not isinstance(found, dict | None):
        raise ConfigError(f"{path}: no mapping of keys to values. docs/training.md shows a recipe.")
    try:
        return Recipe.model_validate(found or {})
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_fault(error)}. docs/training.md lists the keys of a recipe.") from error


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    *above, last = (str(part) for part in first["loc"]) if first["loc"] else ("",)
    if first["type"] != "extra_forbidden":
        where = ".".join([*above, last]).strip(".")
        return f"{where}: {first['msg']}" if where else str(first["msg"])
    inner: dict[str, type[_Strict]] = {"sets": SetRecipe, "classes": ClassRecipe}
    model = inner.get(above[0], Recipe) if above else Recipe
    near = difflib.get_close_matches(last, model.model_fields, 1)
    hint = f"; did you mean '{near[0]}'" if near else ""
    return f"{'.'.join(above)}: unknown key '{last}'{hint}".removeprefix(": ")
