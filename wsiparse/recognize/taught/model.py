"""A taught model: `taught.json` in its folder, numbers as text, which no loader can run as a program."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wsiparse.errors import WeightsError
from wsiparse.recognize.taught import kernels
from wsiparse.recognize.taught.features import NAMES

__all__ = ["FORMAT", "TAUGHT", "TaughtBase", "TaughtClass", "TaughtModel", "probabilities", "read_taught", "sealed"]

#: The file that makes a folder a taught model.
TAUGHT: Final = "taught.json"

FORMAT: Final = "wsiparse-taught/1"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BasePrompt(_Strict):
    """A prompt that the base engine is asked."""

    text: str
    class_name: str
    colour: str
    threshold: float


class TaughtBase(_Strict):
    """The engine that finds the nuclei, as it was when it was taught."""

    engine: str
    title: str
    licence: str
    weights_sha256: str
    card_sha256: str
    prompts: tuple[BasePrompt, ...] = Field(min_length=1)


class TaughtClass(_Strict):
    """A class that was taught."""

    name: str = Field(min_length=1)
    colour: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")


class TaughtModel(_Strict):
    """Everything of the file.

    Parameters
    ----------
    name, title : of the model
    base : the engine that finds nuclei
    classes : what was taught
    own_shares : the base engine's own classes are features too
    doubt : a nucleus whose most probable class has less is of no class, 0-1
    features : names of the columns
    mean, scale, weights : see `wsiparse.recognize.taught.kernels.scores`
    figures, data : for people: cross-validated figures, annotations with their hashes
    sha256 : of everything else
    """

    format: str
    name: str = Field(pattern=r"^[\w.-]{1,80}$")
    title: str = Field(min_length=1, max_length=200)
    base: TaughtBase
    classes: tuple[TaughtClass, ...] = Field(min_length=2, max_length=100)
    own_shares: bool
    doubt: float = Field(ge=0, le=1)
    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    figures: dict[str, Any] = {}
    data: list[dict[str, Any]] = []
    sha256: str

    @model_validator(mode="after")
    def _check(self) -> TaughtModel:
        shares = tuple(f"share_{p.class_name}" for p in self.base.prompts) if self.own_shares else ()
        if self.features != (*NAMES, *shares):
            raise ValueError("features: of another version of wsiparse; teach again")
        n = len(self.features)
        if not (len(self.mean) == len(self.scale) == n == len(self.weights) - 1):
            raise ValueError("mean, scale and weights do not fit the features")
        if any(len(row) != len(self.classes) for row in self.weights):
            raise ValueError("weights: a column for each class")
        return self


def sealed(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of a model with their hash."""
    text = json.dumps({k: v for k, v in facts.items() if k != "sha256"}, sort_keys=True, ensure_ascii=True)
    return {**facts, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def read_taught(path: Path) -> TaughtModel:
    """The model of a folder.

    Parameters
    ----------
    path : the folder, or taught.json in it

    Raises
    ------
    WeightsError
        If there is none, or it is not what was written; one line.
    """
    file = path / TAUGHT if path.is_dir() else path
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{file}: cannot be read ({error.strerror}). Copy the whole folder again.") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{file}: not JSON ({str(error)[:80]}). Copy the whole folder again.") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise WeightsError(f"{file}: no taught model of this version ({FORMAT}). Teach again.")
    if sealed(facts)["sha256"] != facts.get("sha256"):
        raise WeightsError(
            f"{file}: not what `wsiparse teach` wrote: its SHA-256 differs. Copy the whole folder again."
        )
    try:
        return TaughtModel.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        text = str(first["msg"]).removeprefix("Value error, ")
        raise WeightsError(f"{file}: {where + ': ' if where else ''}{text}.") from error


def probabilities(model: TaughtModel, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Calibrated probability of each class.

    Parameters
    ----------
    model : taught
    features : (n, F) float64, in its order

    Returns
    -------
    (n, C) float64, rows sum to 1
    """
    out = np.empty((len(features), len(model.classes)))
    mean, scale, weights = (np.array(values, np.float64) for values in (model.mean, model.scale, model.weights))
    kernels.scores(np.ascontiguousarray(features), mean, scale, weights, out)
    return out
