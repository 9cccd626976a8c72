"""What the engine is and where its files lie; importing this does not import torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from wsiparse.errors import WeightsError
from wsiparse.types import EngineInfo, Prompt, PromptKind, SplitSettings

__all__ = [
    "CHECKPOINT_NAMES",
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
    tokens : of a typical prompt, start and end included
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
