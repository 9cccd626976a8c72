"""Tiles in, probabilities out: the network behind the same call as every other engine.

A cell tile is 256 px at 0.25 um/px (64 um), enlarged to 1024 px for the network as in training; its 256 px mask logits
are then the tile's own pixels and nothing is enlarged on the way out. Tiles of other sizes are resized to 1024 px and
their logits interpolated back.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsiparse.choices import Mode
from wsiparse.errors import ConfigError, WsiparseError
from wsiparse.recognize.biomedparse.checkpoint import load_network
from wsiparse.recognize.biomedparse.engine import TOKENIZER_FILE, engine_info, find_checkpoint, sha256_of
from wsiparse.recognize.biomedparse.network import BiomedParseNetwork, to_probabilities
from wsiparse.recognize.biomedparse.resample import resize_like_pillow
from wsiparse.recognize.biomedparse.tokenizer import ClipTokenizer
from wsiparse.recognize.device import resolve_device
from wsiparse.recognize.score import mask_statistics
from wsiparse.types import EngineInfo, PromptSet, Recognition, RecognizerSpec

__all__ = ["BiomedParseRecognizer", "backbone_dtype", "load_recognizer"]

logger = logging.getLogger(__name__)

_DTYPES = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def backbone_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The half precision the backbone runs in, or None for float32.

    "auto" takes bfloat16 on NVIDIA GPUs from compute capability 8.0 (Ampere), float16 from 7.0 (Volta), and float32
    elsewhere: on a CPU the result then does not depend on the processor.

    Raises
    ------
    ConfigError
        If the precision is not known or the device does not offer it.
    """
    if precision == "auto":
        if device.type != "cuda":
            return None
        capability = torch.cuda.get_device_capability(device)
        return torch.bfloat16 if capability >= (8, 0) else torch.float16 if capability >= (7, 0) else None
    if precision not in _DTYPES:
        raise ConfigError(f"precision {precision!r} is not known: use auto, float32, bf16 or fp16.")
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 needs a GPU: use bf16 or float32 on the CPU.")
    return _DTYPES[precision]


@contextmanager
def _exact_convolutions(wanted: bool) -> Iterator[None]:
    """Keep cuDNN from rounding float32 convolutions to TensorFloat-32 while the context lasts."""
    if not wanted:
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        yield


class BiomedParseRecognizer:
    """BiomedParse on batches of tiles.

    Prompts are encoded once, when the recognizer is built. Threads may share a recognizer: on the CPU they run side by
    side, a GPU takes one batch at a time. On the CPU tiles go through one by one - larger batches gain nothing there
    but take a gigabyte each - so a tile's numbers do not depend on its batch by a single bit; on a GPU they do not
    beyond rounding.

    Parameters
    ----------
    network : filled network; moved to the device of `spec`
    tokenizer : words to token ids
    spec : prompts, device and precision
    mode : "solo" decodes each prompt alone, "joint" all together (see `BiomedParseNetwork.decode`)
    weights_sha256 : SHA-256 of the checkpoint, for the manifest
    largest_batch : tiles at once; None is 1 on the CPU and no limit (but memory's) on a GPU
    compile_backbone : let ``torch.compile`` build the backbone's blocks; the first tiles then take a minute

    Raises
    ------
    ConfigError
        If device or precision are not there.
    PromptError
        If a prompt has no words.
    """

    def __init__(
        self,
        network: BiomedParseNetwork,
        tokenizer: ClipTokenizer,
        spec: RecognizerSpec,
        *,
        mode: Mode = "solo",
        weights_sha256: str = "",
        largest_batch: int | None = None,
        compile_backbone: bool = False,
    ) -> None:
        if mode not in ("solo", "joint"):
            raise ConfigError(f"prompt mode {mode!r} is not known: use solo or joint.")
        self._device = torch.device(resolve_device(spec.device))
        self._half = backbone_dtype(spec.precision, self._device)
        self._exact = spec.precision == "float32" and self._device.type == "cuda"
        self._mode: Mode = mode
        self._network = network.to(self._device)
        self._limit = largest_batch or (1 if self._device.type == "cpu" else None)
        self._told = False
        # cuDNN's switches are global to the process, and two batches at once would double the memory
        self._one_at_a_time: AbstractContextManager[object] = (
            nullcontext() if self._device.type == "cpu" else threading.Lock()
        )
        if compile_backbone:
            self._network.backbone.compile_blocks()
        self._tokenizer = tokenizer
        self._ask(spec.prompts)
        self.info: EngineInfo = engine_info(weights_sha256)

    def _ask(self, prompts: PromptSet) -> None:
        self._cells = list(prompts.of_kind("cell"))
        self._text = self._network.encode_text([self._tokenizer.encode(prompt.text) for prompt in prompts])

    def with_prompts(self, prompts: PromptSet) -> BiomedParseRecognizer:
        """The same network asked for other prompts."""
        other = copy.copy(self)
        other._ask(prompts)
        return other

    def limit_threads(self) -> None:
        """Run the calling thread's network on one core: workers are threads, and each takes one."""
        torch.set_num_threads(1)

    def __call__(self, images: NDArray[np.uint8]) -> Recognition:
        """Recognize the prompts on a batch of tiles.

        Parameters
        ----------
        images : (B, H, W, 3) uint8, RGB; H and W as wanted, seen by the network at its own input size

        Returns
        -------
        probabilities (B, P, H, W) float32, the largest cell probability (0-255) as landscape (B, H, W) uint8 when a
        prompt is of kind "cell", and the mask statistics (B, P, 4) float32

        Raises
        ------
        ValueError
            If `images` has another shape or dtype.
        WsiparseError
            If one tile alone does not fit into the GPU's memory, or the masks are not finite numbers.
        """
        size = images.shape[1], images.shape[2]
        parts = [to_probabilities(logits, size).cpu() for logits in self._parts(images)]
        probabilities: NDArray[np.float32] = torch.cat(parts).numpy()
        landscape = None
        if self._cells:
            landscape = np.rint(probabilities[:, self._cells].max(axis=1) * np.float32(255)).astype(np.uint8)
        statistics = np.stack([mask_statistics(p, image) for p, image in zip(probabilities, images, strict=True)])
        return Recognition(probabilities, landscape, statistics)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Mask logits at the network's own resolution.

        Parameters
        ----------
        images : (B, H, W, 3) uint8, RGB

        Returns
        -------
        (B, P, S / 4, S / 4) float32, for an input of S px

        Raises
        ------
        ValueError
            If `images` has another shape or dtype.
        WsiparseError
            If one tile alone does not fit into the GPU's memory, or the masks are not finite numbers.
        """
        out: NDArray[np.float32] = torch.cat([logits.cpu() for logits in self._parts(images)]).numpy()
        return out

    def _parts(self, images: NDArray[np.uint8]) -> Iterator[Tensor]:
        """Logits of successive parts of a batch, as large as fits; parts halve when the GPU's memory runs out."""
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or min(images.shape) < 1:
            raise ValueError(f"images must be (B, H, W, 3) uint8, got {images.shape} {images.dtype}")
        start = 0
        while start < len(images):
            count = min(len(images) - start, self._limit or len(images))
            logits = self._try(images[start : start + count])
            if logits is not None:
                start += count
                yield logits
            elif count == 1:
                raise WsiparseError(
                    f"device {self._device}: out of memory with a single tile. "
                    "Free the GPU, use --precision bf16 or fp16, or --device cpu."
                )
            else:
                if not self._told:
                    logger.warning(
                        "%s: out of memory with %d tiles at once; going on with smaller batches", self._device, count
                    )
                    self._told = True
                self._limit = count // 2

    @torch.inference_mode()
    def _try(self, images: NDArray[np.uint8]) -> Tensor | None:
        """Logits of a batch, or None when it does not fit into the GPU's memory."""
        try:
            with self._one_at_a_time, _exact_convolutions(self._exact):
                side = self._network.config.input_px
                pixels = resize_like_pillow(self._on_device(images), (side, side))
                encoding = self._network.encode_image(pixels, self._half)
                logits = self._network.decode(encoding, self._text, self._mode).logits
        except torch.cuda.OutOfMemoryError:
            logits = None
        if logits is None:  # outside of the handler: the exception's frames no longer hold the tensors
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            return None
        if not bool(torch.isfinite(logits).all()):
            how = {torch.float16: "fp16", torch.bfloat16: "bf16"}.get(self._half) if self._half else None
            raise WsiparseError(
                f"BiomedParse: the backbone overflows at precision {how}; use --precision float32 (or bf16)."
                if how
                else "BiomedParse: the masks are not finite numbers; the weights are damaged, fetch them again."
            )
        return logits

    def _on_device(self, images: NDArray[np.uint8]) -> Tensor:
        # torch warns about arrays it must not write to; tiles may well be read-only views
        tiles = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        if self._device.type == "cuda":
            return tiles.pin_memory().to(self._device, non_blocking=True)
        return tiles.to(self._device)


def load_recognizer(spec: RecognizerSpec) -> BiomedParseRecognizer:
    """Build the recognizer of a spec from files: the checkpoint it names, and tokenizer.json in the same folder.

    ``spec.weights`` may also name the folder.

    Raises
    ------
    WeightsError
        If a file is missing, damaged or of another model.
    ConfigError, PromptError
        As `BiomedParseRecognizer`.
    """
    path = find_checkpoint(Path(spec.weights))
    tokenizer = ClipTokenizer(path.parent / TOKENIZER_FILE)
    network = load_network(path)
    return BiomedParseRecognizer(
        network,
        tokenizer,
        spec,
        mode="joint" if spec.option("mode", "solo") == "joint" else "solo",
        weights_sha256=sha256_of(path),
        compile_backbone=bool(spec.option("compiled", False)),
    )
