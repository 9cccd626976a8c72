"""Run settings from YAML: strict, frozen, with an error that names the nearest known key.

A file holds the keys of `RunConfig`; command-line values win over it. See ``configs/`` for commented examples.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from wsiparse.choices import ArtefactKind, ArtefactUse, Coords, Division, Mode, Ngff, Precision, Reader, words
from wsiparse.errors import ConfigError
from wsiparse.plugins import READERS, plugin_names
from wsiparse.types import Prompt, PromptKind, PromptSet

__all__ = [
    "DEFAULT_PROMPTS",
    "MAX_TILE_PX",
    "OTHER_NUCLEI",
    "ArtefactConfig",
    "PromptConfig",
    "RunConfig",
    "SlurmConfig",
    "load_config",
    "prompt_set",
]

#: Colours of classes nobody coloured, in prompt order (Okabe & Ito 2008: told apart by colour-blind readers).
PALETTE = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#999999")

#: A tile of this edge takes some 200 GB of memory in a network.
MAX_TILE_PX = 16384


def _known_reader(name: str) -> str:
    names = plugin_names(READERS, words(Reader))
    if name not in names:
        raise ValueError(f"Input should be {', '.join(map(repr, names[:-1]))} or {names[-1]!r}")
    return name


#: A reader of this package, or of another one.
ReaderName = Annotated[str, AfterValidator(_known_reader)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PromptConfig(_Strict):
    """One prompt as written in a file; only `text` is required, and text alone is a prompt too."""

    text: str
    class_name: str | None = None
    colour: str | None = None
    kind: PromptKind | None = None
    threshold: float | None = Field(default=None, gt=0, lt=1)
    input_mpp: float | None = Field(default=None, ge=0.01, le=20)

    @model_validator(mode="before")
    @classmethod
    def _from_words(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"text": given}
        return asdict(given) if isinstance(given, Prompt) else given


class ArtefactConfig(_Strict):
    """What is done with each kind of artefact: left out, reported only, or not looked for.

    Parameters
    ----------
    out_of_focus : parts where fine detail is lost
    ink : pen and ink of any colour
    """

    out_of_focus: ArtefactUse = "exclude"
    ink: ArtefactUse = "exclude"


class SlurmConfig(_Strict):
    """Jobs that ``--scheduler slurm`` asks the batch system for; each is one worker process.

    Parameters
    ----------
    cores, memory : of a job, such as 4 and "16GB"
    walltime : such as "04:00:00"
    queue, account : partition and account, where the site wants them
    job_extra_directives : further #SBATCH lines, such as "--gres=gpu:1"
    job_script_prologue : shell lines before the worker, such as "module load cuda"
    interface : network interface the workers use
    python : interpreter of the workers; None for the one that runs this
    local_directory, log_directory : of the workers
    wait_s : how long to wait for the first worker
    """

    cores: int = Field(default=1, ge=1)
    memory: str = "8GB"
    walltime: str = "04:00:00"
    queue: str | None = None
    account: str | None = None
    job_extra_directives: tuple[str, ...] = ()
    job_script_prologue: tuple[str, ...] = ()
    worker_extra_args: tuple[str, ...] = ()
    interface: str | None = None
    python: str | None = None
    local_directory: str | None = None
    log_directory: str | None = None
    wait_s: float = Field(default=24 * 3600.0, gt=0)


class RunConfig(_Strict):
    """Everything that shapes a run apart from the slides themselves. None means "the engine's own choice".

    Raises
    ------
    pydantic.ValidationError
        A ``ValueError``: if a name is unknown or a value of another kind or out of range.

    Examples
    --------
    >>> import wsiparse
    >>> wsiparse.RunConfig(engine="classical", prompts=["nuclei"], min_area_um2=8)
    RunConfig(prompts=['nuclei'], engine='classical', min_area_um2=8.0)
    """

    prompts: tuple[PromptConfig, ...] = ()
    strict_prompts: bool = False
    engine: str = Field(default="auto", min_length=1)
    device: str = "auto"
    precision: Precision = "auto"
    runtime: str = Field(default="auto", pattern=r"^(auto|(openvino|onnxruntime|torch)( \d+\.\d+)?)?$")
    weights: str | None = None
    mode: Mode = "solo"
    compiled: bool = False
    mpp: float | None = Field(default=None, gt=0, le=20)
    slide_mpp: float | None = Field(default=None, gt=0)
    override_mpp: float | None = Field(default=None, gt=0)
    tile_size: int | None = Field(default=None, ge=16, le=MAX_TILE_PX)
    tile_um: float | None = Field(default=None, gt=0)
    overlap: int | None = Field(default=None, ge=0)
    block_size: int = Field(default=2048, ge=16, le=8192)
    batch_size: int = Field(default=1, ge=1, le=4096)
    num_workers: int | None = Field(default=None, ge=1, le=4096)
    scheduler: str = "auto"
    slurm: SlurmConfig = SlurmConfig()
    whole_slide: bool = False
    artefacts: ArtefactConfig = ArtefactConfig()
    keep_artefacts: bool = False
    reader: ReaderName = "auto"
    image: str | None = None
    coords: Coords = "qupath"
    compartments: Division | None = None
    tumour_classes: tuple[str, ...] = ()
    stroma_classes: tuple[str, ...] = ()
    tumour_is_epithelium: bool = False
    labels: bool = True
    ngff: Ngff = "0.5"
    min_area_um2: float | None = Field(default=None, ge=0)
    min_recognition: float = Field(default=0.0, ge=0, le=1)

    @field_validator("prompts", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str | Prompt) else given

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """What differs from the defaults, for a short repr."""
        for name, facts in type(self).model_fields.items():
            value = getattr(self, name)
            if value != facts.default:
                yield name, [p.text for p in self.prompts] if name == "prompts" else value

    @property
    def artefact_use(self) -> dict[ArtefactKind, ArtefactUse]:
        """What is done with each kind: nothing is left out where artefacts are kept, or everything is analysed."""
        kept = self.keep_artefacts or self.whole_slide
        use: dict[ArtefactKind, ArtefactUse] = {"out_of_focus": self.artefacts.out_of_focus, "ink": self.artefacts.ink}
        return {kind: "report" if kept and asked == "exclude" else asked for kind, asked in use.items()}

    def updated(self, values: dict[str, Any]) -> RunConfig:
        """A copy in which every value that is not None replaces the file's; checked again.

        Raises
        ------
        ConfigError
            If a value is out of range.
        """
        merged = self.model_dump() | {k: v for k, v in values.items() if v is not None}
        return _validated(merged, "command line")


#: What "nuclei" is called beside inflammatory cells, which it then does not hold.
OTHER_NUCLEI = "Other nuclei"

#: What is looked for when nobody says: every nucleus, inflammatory ones told apart.
DEFAULT_PROMPTS = (
    PromptConfig(text="inflammatory cells", class_name="Inflammatory", colour="#ffd60a"),
    PromptConfig(text="nuclei", class_name=OTHER_NUCLEI, colour="#19e68c"),
)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    homes: dict[str, type[BaseModel]] = {"prompts": PromptConfig, "slurm": SlurmConfig, "artefacts": ArtefactConfig}
    model = next((homes[str(part)] for part in location[:-1] if part in homes), RunConfig)
    return sorted(model.model_fields)


def _one_line(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    more = f" ({error.error_count() - 1} more problems follow)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        known = _known_keys(first["loc"])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}."
        return f"{source}: unknown key '{where}': {hint}{more}"
    return (
        f"{source}: '{where}' is {first.get('input')!r}: {first['msg']}. Correct the value or leave the key out.{more}"
    )


def _validated(values: dict[str, Any], source: str) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as err:
        raise ConfigError(_one_line(err, source)) from err


def load_config(path: str | Path) -> RunConfig:
    """Read a YAML file of `RunConfig` keys.

    Parameters
    ----------
    path : UTF-8 text; an empty file gives the defaults

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, is not a mapping, has an unknown key (the nearest known one is named) or
        a value out of range.

    Examples
    --------
    >>> import wsiparse
    >>> wsiparse.load_config("settings.yaml")
    RunConfig(prompts=['nuclei'], engine='classical')
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as err:
        raise ConfigError(f"{path}: no such config file. Give an existing YAML file to --config.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: cannot be read ({err}). Give a readable UTF-8 YAML file to --config.") from err
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{path}: not valid YAML{line}. Compare it with the files in configs/.") from err
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds {type(values).__name__}, not 'key: value' lines. See the files in configs/.")
    return _validated(values, str(path))


def prompt_set(asked: Sequence[PromptConfig]) -> PromptSet:
    """Prompts with names, colours, kinds and thresholds filled in.

    Raises
    ------
    ConfigError
        If two prompts share a text or a class name, or a colour or class name is malformed.
    """
    try:
        return PromptSet(
            tuple(
                Prompt(
                    text=p.text,
                    class_name=p.class_name if p.class_name is not None else p.text.strip().capitalize(),
                    colour=p.colour or PALETTE[i % len(PALETTE)],
                    kind=p.kind or "cell",
                    threshold=p.threshold if p.threshold is not None else 0.5,
                    input_mpp=p.input_mpp,
                )
                for i, p in enumerate(asked)
            )
        )
    except ValueError as err:
        raise ConfigError(f"prompts: {err}. Correct the prompt in the config file or on the command line.") from err
