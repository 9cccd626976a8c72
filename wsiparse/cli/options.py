"""Options that several commands share, and how they become a `RunConfig`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from wsiparse.config import RunConfig

__all__ = ["analysis_options", "class_options", "config_from", "say_notice", "shard_options", "slide_options"]

F = TypeVar("F", bound=Callable[..., Any])


def _engines(_context: click.Context, _option: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of engines that a shell completes; folders beside them."""
    from wsiparse.recognize.registry import AUTO, engine_names

    names = [CompletionItem(name) for name in (AUTO, *engine_names()) if name.startswith(begun)]
    return names or [CompletionItem(begun, type="dir")]


def say_notice(text: str) -> None:
    """A line on standard error about something that was done otherwise than one may think."""
    click.echo(f"notice: {text}", err=True)


def slide_options(function: F) -> F:
    """SLIDES arguments and how slides are found and read."""
    for option in reversed(
        [
            click.argument("slides", nargs=-1, required=True, metavar="SLIDES..."),
            click.option("--slide-mpp", type=float, help="Microns per pixel of level 0, where the metadata lack it."),
            click.option(
                "--override-mpp",
                type=float,
                help="Microns per pixel of level 0, instead of what the metadata say, for all slides.",
            ),
            click.option("--recursive", is_flag=True, help="Look into sub-folders too."),
            click.option("--ext", multiple=True, metavar=".svs", help="Only files with this ending (repeatable)."),
            click.option(
                "--reader",
                type=click.Choice(["auto", "direct", "tiffslide", "openslide", "image", "zarr"]),
                help="Library that reads the slides; direct needs none, auto takes it where the pixels are the same.",
            ),
            click.option(
                "--image",
                metavar="NAME|NUMBER",
                help="Image of a file of several, by name or from 0 (default: the one that is no macro or label).",
            ),
        ]
    ):
        function = option(function)
    return function


def analysis_options(function: F) -> F:
    """What is looked for, where and at which scale."""
    for option in reversed(
        [
            click.option("--prompt", "prompts", multiple=True, help="What to look for, in words (repeatable)."),
            click.option(
                "--strict-prompts",
                is_flag=True,
                default=None,
                help="Refuse prompts BiomedParse was not trained on (see `wsiparse prompts`).",
            ),
            click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of settings."),
            click.option(
                "--engine",
                metavar="NAME|FOLDER",
                shell_complete=_engines,
                help="Recognizer: a name of `wsiparse engines`, or the folder of a model; auto takes BiomedParse when "
                "its weights are configured, else the embedded network.",
            ),
            click.option("--weights", help="BiomedParse weights (file or folder)."),
            click.option(
                "--mode",
                type=click.Choice(["solo", "joint"]),
                help="BiomedParse: each prompt alone (default), or all in one pass, where they influence each other.",
            ),
            click.option(
                "--compile", "compiled", is_flag=True, default=None, help="BiomedParse: compile the network first."
            ),
            click.option("--mpp", type=float, help="Microns per pixel the network sees (default: the engine's own)."),
            click.option(
                "--roi",
                type=click.Path(path_type=Path),
                help="GeoJSON of the regions to analyse; for several slides a folder with <slide>.geojson for each.",
            ),
            click.option("--whole-slide", is_flag=True, default=None, help="Analyse everything, not only tissue."),
            click.option("--device", help="auto, cpu, cuda, cuda:1, mps."),
            click.option(
                "--precision",
                type=click.Choice(["auto", "float32", "bf16", "fp16"]),
                help="Of the network; auto is bf16 on processors that compute it.",
            ),
            click.option(
                "--runtime",
                type=click.Choice(["auto", "openvino", "torch"]),
                help="What computes the network on the processor; auto is OpenVINO where it is installed.",
            ),
            click.option("--tile-size", type=int, help="Edge of the network's input, px (default: the engine's own)."),
            click.option(
                "--tile-um",
                type=float,
                help="Edge of the network's input, um: larger is faster and less accurate (BiomedParse cells: 64).",
            ),
            click.option("--overlap", type=int, help="Overlap of neighbouring tiles, px: context, not results."),
            click.option(
                "--min-recognition",
                type=float,
                help="Drop objects in tiles whose recognition score for their class is lower (BiomedParse; default 0).",
            ),
            click.option("--min-area-um2", type=float, help="Drop smaller cells (default: the engine's own)."),
        ]
    ):
        function = option(function)
    return function


def class_options(function: F) -> F:
    """Which classes of drawn regions are tumour and stroma."""
    for option in reversed(
        [
            click.option(
                "--tumour-class",
                "tumour_classes",
                multiple=True,
                metavar="NAME",
                help="A class of regions that is tumour, beside Tumor and its like (repeatable).",
            ),
            click.option(
                "--stroma-class",
                "stroma_classes",
                multiple=True,
                metavar="NAME",
                help="A class of regions that is stroma, beside Stroma and its like (repeatable).",
            ),
            click.option(
                "--tumour-is-epithelium/--no-tumour-is-epithelium",
                default=None,
                help="Call epithelium tumour: that of these slides is neoplastic (default: it may be normal).",
            ),
        ]
    ):
        function = option(function)
    return function


def shard_options(function: F) -> F:
    """Which share of the work is done here."""
    for option in reversed(
        [
            click.option(
                "--shard",
                metavar="i/N|auto|none",
                help="Do the i-th of N shares; auto reads i and N from the variables of Slurm, PBS, SGE and LSF array "
                "jobs. Default: everything that is given, also in a job of an array.",
            ),
            click.option(
                "--shard-by",
                type=click.Choice(["slides", "tiles"]),
                default="slides",
                help="What is shared out: whole slides (longest first), or the tiles of each slide.",
            ),
        ]
    ):
        function = option(function)
    return function


def config_from(config_file: Path | None, prompts: tuple[str, ...], values: dict[str, Any]) -> RunConfig:
    """The file's settings with command-line values winning."""
    from wsiparse.config import PromptConfig, RunConfig, load_config
    from wsiparse.slides.scale import given_mpp
    from wsiparse.tiling import RegionClasses

    config = load_config(config_file) if config_file is not None else RunConfig()
    given: dict[str, Any] = {k: v for k, v in values.items() if k in RunConfig.model_fields and v != ()}
    if prompts:
        by_text = {p.text: p for p in config.prompts}
        given["prompts"] = tuple(by_text.get(text, PromptConfig(text=text)).model_dump() for text in prompts)
    updated = config.updated(given)
    given_mpp(updated.slide_mpp, updated.override_mpp)  # a wrong one is told once, not for every slide
    RegionClasses(updated.tumour_classes, updated.stroma_classes)  # a name that is both is told before any work
    return updated
