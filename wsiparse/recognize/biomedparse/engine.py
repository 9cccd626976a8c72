"""What the engine is and where its files lie; importing this does not import torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.config import PromptConfig
from wsiparse.errors import ConfigError, WeightsError
from wsiparse.recognize.arithmetic import by_torch
from wsiparse.recognize.declared import DeclaredEngine, ScaleOf
from wsiparse.recognize.device import resolve_device
from wsiparse.recognize.prompts import Answer
from wsiparse.recognize.score import load_distributions, prompt_scores
from wsiparse.recognize.vocabulary import TARGETS, resolve, support, trained_target
from wsiparse.types import (
    EngineInfo,
    Prompt,
    PromptKind,
    PromptSet,
    RecognitionGrid,
    RecognizerSpec,
    SplitSettings,
    TileGrid,
)

if TYPE_CHECKING:
    from wsiparse.recognize.base import Recognizer

__all__ = [
    "CHECKPOINT_NAMES",
    "ENGINE",
    "SCORE_FILE",
    "TOKENIZER_FILE",
    "engine_info",
    "find_checkpoint",
    "operations_per_tile",
    "scale_of",
    "sha256_of",
]

#: What a weights folder may call the checkpoint, best first.
CHECKPOINT_NAMES: Final = ("biomedparse_v1.pt", "biomedparse_v1.safetensors")

#: The files that lie beside it: CLIP's vocabulary, and the parameters of the recognition score.
TOKENIZER_FILE: Final = "tokenizer.json"
SCORE_FILE: Final = "target_dist.json"


def engine_info(weights_sha256: str = "") -> EngineInfo:
    """Facts about BiomedParse v1 on cells.

    A tile is 256 px at 0.25 um/px, 64 um, as the cell images of the training set (PanNuke, enlarged fourfold). The
    network averages over the whole tile, so no halo makes a core independent of the tiling; 32 px (8 um) keep every
    nucleus of a core whole. Tiles of any size are resized, so nothing needs aligning. Prompts for larger structures
    say their own scale in `Prompt.input_mpp`.
    """
    return EngineInfo(
        name="biomedparse",
        title="BiomedParse v1",
        mpp=0.25,
        tile_px=256,
        halo_px=32,
        align_px=1,
        split=SplitSettings(),
        weights_sha256=weights_sha256,
        base_bytes=1500 << 20,
        bytes_per_px=17_600,
    )


#: Floating-point operations (a multiplication and an addition are two) at the published sizes and 1024 px.
_ENCODE_OPERATIONS: Final = 2.357e12
_DECODE_OPERATIONS: Final = 2.8585e10
_TOKEN_OPERATIONS: Final = 6.05e7


def operations_per_tile(prompts: int, tokens: int = 5, *, joint: bool = False) -> float:
    """Floating-point operations for one tile; text, which is encoded once per run, is not counted.

    Parameters
    ----------
    prompts : how many
    tokens : tokens of a typical prompt, start and end included
    joint : all prompts decoded together instead of each alone
    """
    passes = 1 if joint else prompts
    return _ENCODE_OPERATIONS + passes * _DECODE_OPERATIONS + prompts * tokens * _TOKEN_OPERATIONS


#: Prompts of a kind that name no scale: (um per px, tile edge px, halo px). Cells as in PanNuke, 64 um a tile; regions
#: as in GlaS, 480 um a tile, with 60 um of context on every side.
_SCALES: Final[dict[PromptKind, tuple[float, int, int]]] = {"cell": (0.25, 256, 32), "region": (0.47, 1024, 128)}


def scale_of(prompt: Prompt, mpp: float | None = None) -> tuple[float, int, int]:
    """(um per px, tile edge px, halo px) at which the network should see a prompt.

    A prompt that names its `input_mpp` keeps the tile and halo of its kind in px; `mpp` does the same for all others.
    """
    own, tile, halo = _SCALES[prompt.kind]
    return prompt.input_mpp or mpp or own, tile, halo


def find_checkpoint(path: Path) -> Path:
    """The checkpoint a user means: `path` itself, or the one in the folder `path`.

    Raises
    ------
    WeightsError
        If the folder holds none. A path that does not exist is returned: reading it says so.
    """
    if not path.is_dir():
        return path
    found = next((path / name for name in CHECKPOINT_NAMES if (path / name).is_file()), None)
    if found is None:
        raise WeightsError(
            f"{path}: no {' or '.join(CHECKPOINT_NAMES)} in this folder. `wsiparse weights fetch` downloads them."
        )
    return found


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _BiomedParse(DeclaredEngine):
    """The declaration of BiomedParse."""

    name = "biomedparse"
    title = "BiomedParse v1"
    licence = "weights: reported as CC BY-NC-SA 4.0, no commercial use"
    source = "BiomedParse v1, Zhao et al. 2024; `wsiparse weights fetch`"
    answers: Mapping[str, Answer] = MappingProxyType({t.text: Answer(t.text) for t in TARGETS})
    any_words = True
    devices = ("cpu", "cuda", "mps")
    automatic = True
    resizes = True
    options: Mapping[str, str | bool] = MappingProxyType({"mode": "solo", "compiled": False})
    idle_options = frozenset({"compiled"})

    def find_weights(self, given: str) -> str:
        """The default folder, where it holds weights."""
        from wsiparse.recognize.biomedparse.weights import find_weights

        return given or str(find_weights() or "")

    def mpp(self) -> tuple[float, ...]:
        """Those of cells and of regions."""
        return tuple(sorted(mpp for mpp, _, _ in _SCALES.values()))

    def missing(self, weights: str = "") -> str:
        """Its weights are fetched by hand."""
        return "" if weights else "no weights: `wsiparse weights fetch`"

    def info(self, spec: RecognizerSpec) -> EngineInfo:
        """Facts, with the SHA-256 of the weights."""
        checkpoint = find_checkpoint(Path(spec.weights)) if spec.weights else None
        if checkpoint is None or not checkpoint.is_file():
            raise WeightsError(
                f"engine 'biomedparse': no weights {'at ' + spec.weights if spec.weights else 'given'}. "
                "Run `wsiparse weights fetch`, then give the file to --weights."
            )
        return engine_info(sha256_of(checkpoint))

    def resolve(self, spec: RecognizerSpec) -> RecognizerSpec:
        """The device that "auto" stands for, and on it the precision."""
        import torch

        from wsiparse.recognize.biomedparse.recognizer import backbone_dtype

        device = resolve_device(spec.device)
        half = backbone_dtype("auto", torch.device(device))
        auto = {None: "float32", torch.bfloat16: "bf16", torch.float16: "fp16"}[half]
        return by_torch(replace(spec, device=device), auto)

    def load(self, spec: RecognizerSpec) -> Recognizer:
        """The recognizer, its weights read."""
        from wsiparse.recognize.biomedparse.recognizer import load_recognizer

        return load_recognizer(self.resolve(spec))

    def answer(self, text: str) -> str:
        """Every text is asked; "trained" or "untested"."""
        return support(text)

    def default_prompts(self) -> tuple[PromptConfig, ...]:
        """The targets that have a recognition score."""
        return self.completed(tuple(PromptConfig(text=t.text) for t in TARGETS if t.scored))[0]

    def completed(
        self, asked: Sequence[PromptConfig], *, strict: bool = False
    ) -> tuple[tuple[PromptConfig, ...], tuple[str, ...]]:
        """Prompts in its own words, with what its vocabulary knows where the user says nothing, and notices."""
        if not asked:
            return self.default_prompts(), ()
        used = resolve([p.text for p in asked], strict=strict)
        completed = []
        for prompt, (text, _) in zip(asked, used, strict=True):
            given = {k: v for k, v in prompt.model_dump().items() if v is not None} | {"text": text}
            target = trained_target(text)
            known = {}
            if target is not None:
                known = {k: getattr(target, k) for k in ("class_name", "colour", "kind", "threshold", "input_mpp")}
            completed.append(PromptConfig(**(known | given)))
        return tuple(completed), tuple(notice for _, notice in used if notice is not None)

    def scales(self, spec: RecognizerSpec, info: EngineInfo, mpp: float | None) -> tuple[ScaleOf, ...]:
        """One for cells, one for regions, unless prompts name theirs.

        Raises
        ------
        ConfigError
            If cell prompts, or region prompts, ask for different scales: objects of one kind share one pixel grid.
        """
        wanted = [scale_of(prompt, mpp) for prompt in spec.prompts]
        kinds: tuple[PromptKind, ...] = ("cell", "region")
        for kind in kinds:
            of_kind = sorted({wanted[i] for i in spec.prompts.of_kind(kind)})
            if len(of_kind) > 1:
                raise ConfigError(
                    f"the {kind} prompts ask for {' and '.join(f'{m:g}' for m, _, _ in of_kind)} um per pixel, but "
                    f"objects of one kind share one grid. Give all {kind} prompts the same input_mpp, or make two runs."
                )
        parts = []
        for scale in sorted(set(wanted)):
            positions = tuple(i for i, w in enumerate(wanted) if w == scale)
            prompts = PromptSet(tuple(spec.prompts[i] for i in positions))
            # every tile is resized for the network: what it needs does not depend on the tile's own size
            needed = info.bytes_per_px * info.tile_px**2 // scale[1] ** 2
            facts = replace(info, mpp=scale[0], tile_px=scale[1], halo_px=scale[2], bytes_per_px=needed)
            parts.append((positions, replace(spec, prompts=prompts), facts))
        return tuple(parts)

    def operations_per_tile(self, spec: RecognizerSpec) -> float | None:
        """Of one tile with all prompts."""
        return operations_per_tile(len(spec.prompts))

    def recognition_grid(
        self,
        spec: RecognizerSpec,
        positions: tuple[int, ...],
        grid: TileGrid,
        tiles: Sequence[tuple[int, NDArray[np.float32]]],
    ) -> RecognitionGrid | None:
        """Scores of every tile and prompt.

        Raises
        ------
        WeightsError
            If the score parameters lie beside the weights but are damaged; without them all scores are NaN.
        """
        shape = (len(positions), grid.rows, grid.columns)
        statistics = np.full((*shape, 4), np.nan, np.float32)
        for index, values in tiles:
            statistics[:, index // grid.columns, index % grid.columns] = values
        path = find_checkpoint(Path(spec.weights)).parent / SCORE_FILE
        known = load_distributions(path) if path.is_file() else {}
        texts = [prompt.text for prompt in spec.prompts]
        flat = np.moveaxis(statistics, 0, 2).reshape(-1, len(positions), 4)
        scores = np.full(flat.shape[:2], np.nan, np.float32)
        read = np.isfinite(flat).all(axis=(1, 2))
        scores[read] = prompt_scores(flat[read], texts, known)
        return RecognitionGrid(positions, grid, statistics, scores.T.reshape(shape))


ENGINE: Final = _BiomedParse()
