"""Which engines there are, found by name or by the folder of a model.

Built-in engines and those of other packages register in the same way: an entry point of the group `wsiparse.engines`
whose value is "module:object", the object a `DeclaredEngine` or a function that makes
one. Other packages name theirs in their metadata,

    [project.entry-points."wsiparse.engines"]
    darkness = "my_package.darkness:ENGINE"

and need nothing else. A folder with a `model.yaml`, as `wsiparse train` writes it, is an engine too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, NamedTuple

from wsiparse.errors import ConfigError, WsiparseError
from wsiparse.recognize.card import card_path
from wsiparse.recognize.declared import DeclaredEngine

__all__ = [
    "AUTO",
    "GROUP",
    "Listed",
    "automatic_engine",
    "check_engine_name",
    "engine_names",
    "engine_of",
    "given_engine",
    "listed",
    "model_beside",
    "only_on_cpu",
    "scale_engine",
]

GROUP: Final = "wsiparse.engines"

#: The word for "whichever fits".
AUTO: Final = "auto"

#: Engines of this package, the one that `auto` likes best first.
_BUILT_IN: Final = (
    EntryPoint("biomedparse", "wsiparse.recognize.biomedparse.engine:ENGINE", GROUP),
    EntryPoint("embedded", "wsiparse.recognize.embedded.engine:embedded_engine", GROUP),
    EntryPoint("classical", "wsiparse.recognize.classical:ENGINE", GROUP),
)

#: What makes an engine of a model folder.
_FOLDER: Final = EntryPoint("folder", "wsiparse.recognize.exported.engine:folder_engine", GROUP)


#: The engine of a recognizer that the program handed in, while it is at work.
_GIVEN: Final[ContextVar[DeclaredEngine | None]] = ContextVar("given engine", default=None)


@contextmanager
def given_engine(engine: DeclaredEngine) -> Iterator[None]:
    """Have an engine found by its name in this context, and nowhere else."""
    token = _GIVEN.set(engine)
    try:
        yield
    finally:
        _GIVEN.reset(token)


class Listed(NamedTuple):
    """A registered engine, or why there is none of that name."""

    name: str
    engine: DeclaredEngine | None
    fault: str = ""


@cache
def _points() -> dict[str, EntryPoint]:
    """Entry points by name; a stranger's cannot replace one of this package."""
    strangers = {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value))}
    built_in = {point.name: point for point in _BUILT_IN}
    return built_in | {name: point for name, point in strangers.items() if name not in built_in}


def engine_names() -> tuple[str, ...]:
    """Names of the registered engines, this package's first; nothing of them is imported."""
    return tuple(_points())


def engine_of(name: str) -> DeclaredEngine:
    """The engine of a name, of the folder of a model or its `model.yaml`, or what "auto" stands for without weights.

    Raises
    ------
    ConfigError
        If there is none of that name, or the package that registers it does not work.
    WeightsError
        If the folder's card cannot be used.
    """
    given = _GIVEN.get()
    if given is not None and name == given.name:
        return given
    if name == AUTO:
        return automatic_engine()
    point = _points().get(name)
    if point is not None:
        return _loaded(point)
    check_engine_name(name)
    card = card_path(Path(name).absolute())
    return _of_folder(card, card.stat().st_mtime_ns if card.is_file() else 0)


def model_beside(name: str) -> Path | None:
    """The model that a registered name hides: a folder of that name here, with a card; None where there is none."""
    folder = Path(name).absolute()
    return folder if (name == AUTO or name in _points()) and card_path(folder).is_file() else None


def check_engine_name(name: str) -> None:
    """Refuse a name that is none, without loading anything.

    Raises
    ------
    ConfigError
        If nothing is registered by that name, and no file or folder is called so.
    """
    if name != AUTO and name not in _points() and not Path(name).exists():
        if Path(name).name != name:
            raise ConfigError(f"engine '{name}': there is no such folder. Give that of a model, with its model.yaml.")
        names = (AUTO, *engine_names())
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'? There are" if near else "choose one of"
        raise ConfigError(f"engine '{name}' is unknown: {hint} {', '.join(names)}, or the folder of a model.")


@cache
def _loaded(point: EntryPoint) -> DeclaredEngine:
    try:
        found = point.load()
        if not isinstance(found, DeclaredEngine) and callable(found):
            found = found()
    except (ImportError, AttributeError, SyntaxError, TypeError) as error:
        raise ConfigError(
            f"engine '{point.name}' is registered as {point.value}, which cannot be loaded ({error}). Reinstall or "
            "remove the package that registers it."
        ) from error
    if not isinstance(found, DeclaredEngine) or found.name != point.name:
        raise ConfigError(
            f"engine '{point.name}' is registered as {point.value}, which is no DeclaredEngine of that name. Reinstall "
            "or remove the package that registers it."
        )
    return found


@lru_cache(maxsize=8)
def _of_folder(card: Path, _changed_ns: int) -> DeclaredEngine:
    """Read once, and again when its card has changed; `wsiparse train` writes the card last."""
    made: DeclaredEngine = _FOLDER.load()(card)
    return made


def automatic_engine(weights: str = "") -> DeclaredEngine:
    """The engine that "auto" stands for here: the first of this package's that is automatic and ready.

    Parameters
    ----------
    weights : as given by the user, or ""
    """
    engines = [engine for engine in map(_loaded, _BUILT_IN) if engine.automatic]
    return next((e for e in engines if not e.missing(e.find_weights(weights))), engines[-1])


def scale_engine() -> DeclaredEngine | None:
    """The first engine of this package that can tell the pixel size from nuclei; None where none can."""
    return next((engine for engine in map(_loaded, _BUILT_IN) if engine.tells_scale() and not engine.missing()), None)


def only_on_cpu(name: str) -> bool:
    """Whether the engine of a name, "auto" included, has no use for a GPU.

    Raises
    ------
    ConfigError, WeightsError
        As `engine_of`.
    """
    return name != AUTO and engine_of(name).devices == ("cpu",)


def listed() -> tuple[Listed, ...]:
    """Every registered engine; one that cannot be loaded is told, and costs the others nothing."""
    out = []
    for name, point in _points().items():
        try:
            out.append(Listed(name, _loaded(point)))
        except WsiparseError as error:
            out.append(Listed(name, None, str(error)))
    return tuple(out)
