"""Options that several commands share, and how they become a `RunConfig`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from wsiparse.choices import Device, Mode, Precision, Reader, Runtime, ShardBy, words
from wsiparse.plugins import READERS

if TYPE_CHECKING:
    from wsiparse.config import RunConfig

__all__ = ["NameOf", "analysis_options", "class_options", "config_from", "say_notice", "shard_options", "slide_options"]


class NameOf(click.ParamType):  # type: ignore[type-arg]
    """One of this program's words, or the name of a part of another package; those are looked for when it is asked."""

    name = "name"

    def __init__(self, built_in: tuple[str, ...], group: str) -> None:
        self._built_in, self._group = built_in, group

    def names(self) -> tuple[str, ...]:
        """All of them."""
        from wsiparse.plugins import plugin_names

        return plugin_names(self._group, self._built_in)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """As a choice is shown."""
        return f"[{'|'.join(self.names())}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word itself."""
        if value not in self.names():
            self.fail(f"{value!r} is not one of {', '.join(map(repr, self.names()))}.", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The words that begin so."""
        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]


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
            click.option(
                "--slide-mpp",
                type=float,
                help="Pixel size in um at full resolution, for slides whose file does not say it.",
            ),
            click.option(
                "--override-mpp",
                type=float,
                help="Pixel size in um at full resolution, for all slides, instead of what their files say.",
            ),
            click.option("--recursive", is_flag=True, help="Look into sub-folders too."),
            click.option("--ext", multiple=True, metavar=".svs", help="Only files with this ending (repeatable)."),
            click.option(
                "--reader",
                type=NameOf(words(Reader), READERS),
                help="Library that reads the slides. direct uses none of them and is fastest; auto (default) uses it "
                "where it gives the same pixels.",
            ),
            click.option(
                "--image",
                metavar="NAME|NUMBER",
                help="Which image, for a file with several: its name, or its number from 0 (default: the one that "
                "is no "
                "macro or label).",
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
                help="Stop at prompts that BiomedParse was not trained on (see `wsiparse prompts`).",
            ),
            click.option(
                "--config",
                "config_file",
                type=click.Path(path_type=Path),
                help="File of settings (YAML); options given here win over it.",
            ),
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
                type=click.Choice(words(Mode)),
                help="BiomedParse: each prompt alone (default), or all in one pass, where they influence each other.",
            ),
            click.option(
                "--compile",
                "compiled",
                is_flag=True,
                default=None,
                help="BiomedParse: compile the network first, which takes minutes and makes it faster.",
            ),
            click.option(
                "--mpp", type=float, help="Pixel size in um at which slides are analysed (default: the engine's own)."
            ),
            click.option(
                "--roi",
                type=click.Path(path_type=Path),
                help="Analyse only these regions: a GeoJSON file, for several slides a folder with <slide>.geojson "
                "for each.",
            ),
            click.option(
                "--tissue",
                type=click.Path(path_type=Path),
                help="Your own tissue instead of what is found: a GeoJSON file of polygons, or a folder, as for --roi.",
            ),
            click.option("--whole-slide", is_flag=True, default=None, help="Analyse everything, not only tissue."),
            click.option(
                "--keep-artefacts",
                is_flag=True,
                default=None,
                help="Count also where the slide is out of focus or under ink: such parts are reported, not left out.",
            ),
            click.option(
                "--device",
                metavar="|".join(words(Device)),
                help="Where the network runs; cuda:1 is the second GPU. Default: a GPU if there is one.",
            ),
            click.option(
                "--precision",
                type=click.Choice(words(Precision)),
                help="Precision of the network's arithmetic: the 16-bit ones are faster where the device computes "
                "them and "
                "may change a few objects. auto (default) is bf16 on processors that compute it.",
            ),
            click.option(
                "--runtime",
                type=click.Choice(words(Runtime)),
                help="Library that computes the network on the processor; auto (default) is OpenVINO where it is "
                "installed.",
            ),
            click.option("--tile-size", type=int, help="Width and height of a tile, px (default: the engine's own)."),
            click.option(
                "--tile-um",
                type=float,
                help="Width and height of a tile, um: larger is faster and less accurate (BiomedParse cells: 64).",
            ),
            click.option(
                "--overlap",
                type=int,
                help="How far neighbouring tiles overlap, px: what the network sees around a tile. No object is "
                "counted "
                "twice.",
            ),
            click.option(
                "--min-recognition",
                type=float,
                help="Leave out objects in tiles where BiomedParse is less sure than this, 0 to 1, that their class is "
                "there at all (default: 0).",
            ),
            click.option(
                "--min-area-um2", type=float, help="Leave out cells smaller than this, um2 (default: the engine's own)."
            ),
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
                help="Regions of this class are tumour, as those called Tumor are (repeatable).",
            ),
            click.option(
                "--stroma-class",
                "stroma_classes",
                multiple=True,
                metavar="NAME",
                help="Regions of this class are stroma, as those called Stroma are (repeatable).",
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
                help="Split the work among N jobs and do part i here, such as 2/8; auto takes i and N from the "
                "array job "
                "of Slurm, PBS, SGE or LSF this runs in. Default: do everything that is given.",
            ),
            click.option(
                "--shard-by",
                type=click.Choice(words(ShardBy)),
                default="slides",
                help="Split by whole slides (default), or the tiles of each slide; then `wsiparse merge` joins them.",
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
