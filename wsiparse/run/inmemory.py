"""The way in for Python: an array, a picture or a slide; out come its objects in that image's own pixels, in memory.

Settings are checked as those of a run are. What is wrong with an argument is a ``ValueError`` that names it; errors of
the run itself keep their class, and their remedies name arguments instead of options of the command line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from wsiparse.config import PromptConfig, RunConfig
from wsiparse.errors import ConfigError, WsiparseError
from wsiparse.recognize.base import Recognizer
from wsiparse.recognize.given import GivenEngine
from wsiparse.recognize.registry import AUTO, check_engine_name, given_engine
from wsiparse.run import pipeline
from wsiparse.run.engine import Engine
from wsiparse.run.pipeline import Analysis
from wsiparse.slides import MemorySlide, Slide, open_slide
from wsiparse.slides.metadata import MAX_MPP, MIN_MPP
from wsiparse.slides.pyramid import WHITE, composite
from wsiparse.types import Prompt

__all__ = ["Picture", "PromptLike", "analyse", "recognise"]

#: What objects may be looked for in.
Picture = Slide | NDArray[np.uint8] | Image.Image | str | Path

#: What a prompt may be given as.
PromptLike = str | Prompt | PromptConfig | Mapping[str, Any]


def recognise(
    image: Picture,
    mpp: float | tuple[float, float] | None = None,
    prompts: Sequence[PromptLike] | str = (),
    *,
    engine: str = "auto",
    recognizer: Recognizer | None = None,
    device: str = "auto",
    workers: int = 1,
) -> Analysis:
    """Objects in an image, all of which counts as tissue: for fields of view, tiles and crops. See also `analyse`.

    Parameters
    ----------
    image : (H, W, 3) uint8, RGB; or (H, W) grey, (H, W, 4) with alpha, a Pillow image, a file, an open slide
    mpp : um per px of the image, one number or (x, y), 0.05-20; None where a file or slide tells it
    prompts : words such as "nuclei", or `Prompt`s; empty for what the engine asks by itself
    engine : "auto" (BiomedParse where its weights are, else embedded), a name of `wsiparse engines`, or the folder of
        a model
    recognizer : a network of your own instead, as for `analyse`
    device : "auto", "cpu", "cuda", "cuda:1" or "mps"
    workers : threads; changes no result

    Returns
    -------
    Analysis whose `polygons`, `to_pandas` and `to_geopandas` are in px of the image

    Raises
    ------
    ValueError
        If an argument is wrong; the text names it.
    WsiparseError
        If the engine does not answer a prompt or lacks its weights, or a file cannot be read.

    Examples
    --------
    >>> import wsiparse
    >>> from wsiparse.slides.synthetic import paint_he
    >>> image = paint_he(256, 256, seed=1).image  # (256, 256, 3) uint8, 0.5 um per px
    >>> found = wsiparse.recognise(image, mpp=0.5, prompts=["nuclei"], engine="classical")
    >>> found
    Analysis(33 cells, 0 regions on 0.0164 mm2; classical, not BiomedParse)
    >>> found.polygons()[0].geom_type
    'Polygon'
    """
    config = _config(prompts, {"engine": engine, "device": device, "whole_slide": True})
    return _run(image, config, mpp, _How(None, None, workers, recognizer))


def analyse(
    slide: Picture,
    config: RunConfig | None = None,
    *,
    prompts: Sequence[PromptLike] | str = (),
    mpp: float | tuple[float, float] | None = None,
    roi: str | Path | None = None,
    tissue: str | Path | None = None,
    recognizer: Recognizer | None = None,
    workers: int = 1,
) -> Analysis:
    """Objects in the tissue of a slide: what `wsiparse run` does, in memory, for slides whose objects fit there.

    Parameters
    ----------
    slide : open slide, file, or image as for `recognise`
    config : run settings; None for the defaults
    prompts : instead of those of `config`, as for `recognise`
    mpp : um per level-0 px, one number or (x, y), where neither slide nor file tells it; not for open slides
    roi : GeoJSON file of the regions to analyse
    tissue : GeoJSON file of the slide's tissue; None for what is found
    recognizer : a network of your own instead of an engine: an object with ``info`` (an `EngineInfo`), that turns
        pictures (B, H, W, 3) uint8 into a `Recognition`, and has ``with_prompts`` and ``limit_threads`` (see
        `wsiparse.recognize.base.Recognizer`). Name and title of ``info`` stand in what is found; `workers` above 1 need
        one that several threads may call
    workers : threads; changes no result

    Returns
    -------
    Analysis with all objects

    Raises
    ------
    ValueError
        If an argument is wrong; the text names it.
    WsiparseError
        If the slide, the regions, the prompts or the engine cannot be used.

    Examples
    --------
    >>> import wsiparse
    >>> from wsiparse.slides.synthetic import paint_he
    >>> image = paint_he(256, 256, seed=1).image
    >>> config = wsiparse.RunConfig(engine="classical", prompts=["nuclei"])
    >>> found = wsiparse.analyse(image, config, mpp=0.5)
    >>> len(found.cells), len(found.to_pandas())
    (33, 33)

    A network of your own, which answers every prompt by how dark a pixel is:

    >>> from wsiparse.types import EngineInfo, Recognition, SplitSettings
    >>> class Darkness:
    ...     info = EngineInfo("darkness", "darkness, a try", 0.5, 512, 32, 1, SplitSettings(min_area_um2=6))
    ...
    ...     def __init__(self, prompts=()):
    ...         self.prompts = prompts
    ...
    ...     def __call__(self, images):
    ...         dark = 1 - images[..., 0].astype(np.float32) / 255
    ...         return Recognition(np.repeat(dark[:, None], len(self.prompts), axis=1))
    ...
    ...     def with_prompts(self, prompts):
    ...         return Darkness(prompts)
    ...
    ...     def limit_threads(self): ...
    >>> found = wsiparse.analyse(image, prompts=["nuclei"], mpp=0.5, recognizer=Darkness())
    >>> len(found.cells) > 10, found.prepared.title
    (True, 'darkness, a try')
    """
    if config is not None and not isinstance(config, RunConfig):
        raise ValueError(
            f"config: a RunConfig is needed, got {type(config).__name__}; load_config reads one from a file"
        )
    given = {} if config is None else config.model_dump()
    roi, tissue = (None if file is None else Path(file) for file in (roi, tissue))
    how = _How(roi, tissue, workers, recognizer)
    return _run(slide, _config(prompts, given), mpp, how)


@dataclass(frozen=True, slots=True)
class _How:
    """What `analyse` was given beside the picture and the settings."""

    roi: Path | None
    tissue: Path | None
    workers: int
    recognizer: Recognizer | None


def _run(image: Picture, config: RunConfig, mpp: float | tuple[float, float] | None, how: _How) -> Analysis:
    workers = how.workers
    if isinstance(workers, bool) or not isinstance(workers, int | np.integer) or workers < 1:
        raise ValueError(f"workers: a number of threads from 1 on is needed, got {workers!r}")
    given = None if how.recognizer is None else GivenEngine(how.recognizer)
    if given is not None and config.engine != AUTO:
        raise ValueError(f"recognizer: it is instead of an engine, and the engine {config.engine!r} is named too")
    pair = _checked_mpp(mpp)
    with _told_in_python(), _opened(image, pair) as slide, ExitStack() as stack:
        if given is not None:
            stack.enter_context(given_engine(given))
        engine = Engine(config, given=given)
        return pipeline.analyse(
            slide,
            config,
            engine=engine,
            roi=how.roi,
            tissue=how.tissue,
            workers=int(workers),
        )


def _config(prompts: Sequence[PromptLike] | str | None, given: dict[str, Any]) -> RunConfig:
    if prompts is None or (isinstance(prompts, Sequence) and not isinstance(prompts, str) and not prompts):
        prompts = given.get("prompts", ())
    try:
        config = RunConfig(**(given | {"prompts": prompts}))
        check_engine_name(config.engine)
        return config
    except ConfigError as error:
        raise ValueError(f"engine: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}, got {first['input']!r}") from error


def _checked_mpp(mpp: float | tuple[float, float] | None) -> tuple[float, float] | None:
    if mpp is None:
        return None
    pair = tuple(mpp) if isinstance(mpp, Sequence | np.ndarray) and not isinstance(mpp, str) else (mpp, mpp)
    numbers = [isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in pair]
    if len(pair) != 2 or not all(numbers) or not all(MIN_MPP <= v <= MAX_MPP for v in pair):
        raise ValueError(
            f"mpp: um per px between {MIN_MPP:g} and {MAX_MPP:g} are needed (0.25 is usual at 40x, 0.5 at 20x), one "
            f"number or (x, y), got {mpp!r}"
        )
    return float(pair[0]), float(pair[1])


@contextmanager
def _opened(image: Picture, mpp: tuple[float, float] | None) -> Iterator[Slide]:
    """The image as a slide; one that was opened here is closed."""
    if isinstance(image, str | Path):
        if mpp is not None and mpp[0] != mpp[1]:
            raise ValueError(f"mpp: one number is needed for a file, got {mpp!r}")
        with open_slide(image, slide_mpp=None if mpp is None else mpp[0]) as slide:
            yield slide
    elif isinstance(image, np.ndarray | Image.Image):
        if mpp is None:
            raise ValueError("mpp: um per px of the image are needed, such as mpp=0.5")
        yield MemorySlide(_rgb(image), mpp, name="image")
    elif callable(getattr(image, "read", None)) and hasattr(image, "fingerprint"):
        if mpp is not None:
            raise ValueError("mpp: an open slide has its own; give open_slide(..., slide_mpp=0.25) another")
        yield image
    else:
        raise ValueError(f"image: an array, a Pillow image, a path or a slide is needed, got {type(image).__name__}")


def _rgb(image: NDArray[Any] | Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of what people have; refuses what would have to be guessed."""
    if isinstance(image, Image.Image):
        if image.mode not in ("RGB", "L", "RGBA", "LA", "P"):
            raise ValueError(f"image: a Pillow image of mode {image.mode!r}, give it as 8-bit: image.convert('RGB')")
        clear = image.mode in ("RGBA", "LA", "P")
        image = np.asarray(image.convert("RGBA" if clear else "RGB"))
    if image.dtype != np.uint8:
        raise ValueError(
            f"image: 8-bit values (uint8, 0-255) are needed, got {image.dtype}; values of 0-1 become "
            "(image * 255).round().astype('uint8')"
        )
    if min(image.shape, default=0) < 1:
        raise ValueError(f"image: it has no pixel (shape {image.shape})")
    if image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim == 3 and image.shape[2] == 3:
        return np.ascontiguousarray(image)
    if image.ndim == 3 and image.shape[2] == 4:
        return composite(image, WHITE)
    hint = "; channels come last: np.moveaxis(image, 0, -1)" if image.ndim == 3 and image.shape[0] in (3, 4) else ""
    raise ValueError(f"image: (height, width, 3) is needed, got {image.shape}{hint}")


#: Options of the command line in messages, with a value that follows.
_OPTION: Final = re.compile(r"--([a-z][a-z-]+)(?: (\d[\d.]*\d|\d|cpu|biomedparse|embedded|classical))?")


def _argument(option: re.Match[str]) -> str:
    name = option[1].replace("-", "_")
    if name not in (*RunConfig.model_fields, "roi", "tissue"):
        return option[0]
    name = "mpp" if name == "slide_mpp" else name
    value = option[2]
    if value is None:
        return f"{name}=True" if name == "whole_slide" else f"the argument {name}"
    return f"{name}={value}" if value[0].isdigit() else f'{name}="{value}"'


@contextmanager
def _told_in_python() -> Iterator[None]:
    """Errors name arguments where they name options of the command line."""
    try:
        yield
    except WsiparseError as error:
        text = str(error).replace(" in the config file or on the command line", "")
        error.args = (_OPTION.sub(_argument, text), *error.args[1:])
        raise
