"""Annotated tiles from disk: `<name>.png` or `.jpg` with outlines or points beside it.

`<name>.label.png` holds instance ids (0 background), `<name>.types.json` their classes ({"id": class});
`<name>.points.json` holds [[x, y, class], ...] in px. Tiles are read as 0.5 um/px.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsiparse.errors import ConfigError
from wsiparse.train.recipe import Recipe, SetRecipe

__all__ = ["Tile", "TileSet", "read_sets"]

_SUFFIXES: Final = (".jpg", ".png")


@dataclass(frozen=True, slots=True)
class Tile:
    """One annotated tile; either `labels` or `points` is there.

    Parameters
    ----------
    name : name of the file, without suffix
    rgb : (H, W, 3) uint8
    labels : (H, W) int32 instance ids 1..n, or None
    classes : (n + 1,) or (N,) int64, annotation class of each instance or point
    points : (N, 2) float64, x then y, px, or None
    typed : whether classes were annotated
    """

    name: str
    rgb: NDArray[np.uint8]
    labels: NDArray[np.int32] | None
    points: NDArray[np.float64] | None
    classes: NDArray[np.int64]
    typed: bool


@dataclass(frozen=True, slots=True)
class TileSet:
    """A folder of tiles, divided.

    Parameters
    ----------
    name : name of the folder
    recipe : how it is used
    seen : tiles that shape weights
    held_out : tiles that measure
    sha256 : SHA-256 of every file read, by its name
    """

    name: str
    recipe: SetRecipe
    seen: tuple[Tile, ...]
    held_out: tuple[Tile, ...]
    sha256: dict[str, str]


def read_sets(folders: list[Path], recipe: Recipe) -> list[TileSet]:
    """All tiles of some folders, decoded; the sets in the order of their names, however the folders are given.

    Raises
    ------
    ConfigError
        If a folder is missing or holds no annotated tile, two have one name, or a file cannot be read.
    """
    sets: list[TileSet] = []
    for folder in sorted(folders, key=lambda path: path.name):
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder. Give folders of annotated tiles.")
        if folder.name in {s.name for s in sets}:
            raise ConfigError(f"{folder}: two folders of tiles have the name {folder.name}. Rename one.")
        sets.append(_read_set(folder, recipe.sets.get(folder.name, SetRecipe(held_out_every=10))))
    return sets


def _read_set(folder: Path, recipe: SetRecipe) -> TileSet:
    images = sorted(
        p for p in folder.iterdir() if p.suffix in _SUFFIXES and not p.name.endswith(".label.png") and _annotated(p)
    )
    if not images:
        raise ConfigError(
            f"{folder}: no annotated tile. Put NAME.label.png or NAME.points.json beside each NAME.jpg or NAME.png."
        )
    sha256: dict[str, str] = {}
    seen: list[Tile] = []
    held_out: list[Tile] = []
    for rank, path in enumerate(images):
        tile = _read_tile(path, sha256)
        measures = path.stem.startswith(recipe.held_out) if recipe.held_out else False
        measures |= bool(recipe.held_out_every) and rank % recipe.held_out_every == 0 and len(images) > 1
        (held_out if measures else seen).append(tile)
    if not seen:
        raise ConfigError(f"{folder}: every tile is held out, none is left to learn from. Change held_out.")
    return TileSet(folder.name, recipe, tuple(seen), tuple(held_out), sha256)


def _beside(image: Path, ending: str) -> Path:
    return image.with_name(image.stem + ending)


def _annotated(image: Path) -> bool:
    return _beside(image, ".label.png").exists() or _beside(image, ".points.json").exists()


def _bytes_of(path: Path, sha256: dict[str, str]) -> bytes:
    content = path.read_bytes()
    sha256[path.name] = hashlib.sha256(content).hexdigest()
    return content


def _read_tile(path: Path, sha256: dict[str, str]) -> Tile:
    rgb = np.asarray(_picture(path, sha256).convert("RGB"))
    drawing = _beside(path, ".label.png")
    if not drawing.exists():
        where = _beside(path, ".points.json")
        try:
            rows = np.array(json.loads(_bytes_of(where, sha256)), np.float64).reshape(-1, 3)
        except (OSError, ValueError, TypeError) as error:
            raise _unreadable(where, error) from error
        return Tile(path.stem, rgb, None, rows[:, :2].copy(), rows[:, 2].astype(np.int64), typed=True)
    drawn = np.asarray(_picture(drawing, sha256))
    if drawn.ndim != 2:
        raise ConfigError(f"{drawing}: a picture of {drawn.shape[2]} channels. Labels have one channel, a number each.")
    if drawn.shape != rgb.shape[:2]:
        found, wanted = (f"{shape[1]} x {shape[0]} px" for shape in (drawn.shape, rgb.shape))
        raise ConfigError(f"{drawing}: {found}, but the tile has {wanted.removesuffix(' px')}. Draw it anew.")
    types = _types_of(_beside(path, ".types.json"), sha256)
    ids, labels = np.unique(drawn, return_inverse=True)
    if ids[0] != 0:
        ids, labels = np.concatenate([[0], ids]), labels + 1
    classes = np.array([0, *(types.get(int(i), 0) for i in ids[1:])], np.int64)
    return Tile(path.stem, rgb, labels.reshape(drawn.shape).astype(np.int32), None, classes, typed=bool(types))


def _types_of(path: Path, sha256: dict[str, str]) -> dict[int, int]:
    if not path.exists():
        return {}
    try:
        return {int(k): int(v) for k, v in json.loads(_bytes_of(path, sha256)).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error


def _picture(path: Path, sha256: dict[str, str]) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(_bytes_of(path, sha256)))
        picture.load()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error
    return picture


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{path}: cannot be read as part of an annotated tile ({error}). Mend or remove it.")
