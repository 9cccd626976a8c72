"""Engines of model folders: for networks other than those of `wsiparse train`, all that is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wsiparse.config import PromptConfig
from wsiparse.errors import WeightsError
from wsiparse.recognize.arithmetic import by_torch, onnx_resolved
from wsiparse.recognize.card import ModelCard, Stains, card_path, read_card
from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.device import resolve_device
from wsiparse.recognize.embedded.folder import FolderEngine, cut_of
from wsiparse.recognize.exported.energy import LABEL_PERSISTENCE
from wsiparse.recognize.exported.onnx_file import DamagedOnnxError, OnnxFacts, read_onnx
from wsiparse.recognize.prompts import NUCLEI, check_region_prompts
from wsiparse.types import EngineInfo, EngineLimits, RecognizerSpec, SplitSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wsiparse.recognize.base import Recognizer
    from wsiparse.recognize.exported.networks import Network

__all__ = ["ModelEngine", "folder_engine"]

_ONNX: Final = ".onnx"
_TORCHSCRIPT: Final = ".pt"

#: Memory of a process before its first tile, beside the weights, and of a px of a tile: nothing of a stranger's network
#: is known, so these are those of a wide one (six maps of 32 channels at full resolution).
_BASE_BYTES: Final = 500 << 20
_BYTES_PER_PX: Final = 1200


def folder_engine(path: Path) -> DeclaredEngine:
    """The engine of a model folder, by what its weights are.

    Parameters
    ----------
    path : the card

    Raises
    ------
    WeightsError
        If there is no card, it cannot be used, or its weights are of a kind that is not run.
    """
    card = read_card(path)
    return FolderEngine(path, card=card) if card.of_family else ModelEngine(path, card=card)


class ModelEngine(FolderEngine):
    """The engine of a card with an ONNX or a TorchScript file.

    Raises
    ------
    WeightsError
        If its weights are of another kind.
    """

    def __init__(self, path: Path, *, card: ModelCard) -> None:
        super().__init__(path, card=card)
        self._onnx = self._weights.suffix == _ONNX
        self.devices = ("cpu",) if self._onnx else ("cpu", "cuda", "mps")
        self._card_path = card_path(path)
        if self._weights.suffix not in (_ONNX, _TORCHSCRIPT):
            kind = self._weights.suffix or "no ending"
            raise WeightsError(
                f"{self._card_path}: weights '{card.weights.file}': {kind} is not run. Export the model to ONNX "
                f"({_ONNX}) or TorchScript ({_TORCHSCRIPT}); pickled and Keras files are never read."
            )
        self.regions = card.output.kind == "regions"
        if self.regions:
            self.answers = {key: answer for key, answer in self.answers.items() if answer.text != NUCLEI}

    def check_weights(self) -> None:
        """Hash the files, and read what an ONNX file claims.

        Raises
        ------
        WeightsError
            If one is not there or not the card's, or the ONNX file reaches outside its folder or claims too much.
        """
        files = [self._weights, *(self.folder / name for name in self.card.weights.data)]
        _checked(self, tuple(_state(file) for file in files))

    def info(self, spec: RecognizerSpec) -> EngineInfo:
        """Facts of the card; the weights are hashed."""
        card = self.card
        labels = card.output.kind in ("star", "instances")
        split = SplitSettings(
            landscape="stored",
            smoothing_um=0.0,  # the landscape is smoothed where it is made
            persistence=LABEL_PERSISTENCE if labels else card.split.persistence,
            min_area_um2=card.split.min_area_um2,
            min_confidence=cut_of(card).min_confidence,
        )
        fixed = bool(card.input.fixed_size)
        info = super().info(spec)
        return replace(
            info,
            split=split,
            any_size=not fixed,
            fixed_tile=fixed,
            base_bytes=_BASE_BYTES + 3 * self._weights.stat().st_size,
            bytes_per_px=_BYTES_PER_PX,
        )

    def resolve(self, spec: RecognizerSpec) -> RecognizerSpec:
        """The device, runtime and precision that "auto" stands for: float32, as nobody measured another."""
        if self._onnx:
            return onnx_resolved(replace(spec, device="cpu" if spec.device == "auto" else resolve_device(spec.device)))
        return by_torch(replace(spec, device=resolve_device(spec.device)), "float32")

    def least_halo_px(self) -> int:
        """What the network crops of a tile on every side."""
        return self.card.input.margin_px

    def wants_sample(self) -> bool:
        """Whether anything of the slide as a whole is wanted."""
        from wsiparse.recognize.exported.calibration import needs_sample

        return needs_sample(self.card)

    def calibrated(self, spec: RecognizerSpec, sample: NDArray[np.uint8], tissue_mm2: float) -> RecognizerSpec:
        """Strength, stain vectors and percentiles of the slide, as far as the card wants them.

        Parameters
        ----------
        spec : as of now
        sample : (N, H, W, 3) uint8 patches of tissue, N at least 1
        tissue_mm2 : tissue of the slide
        """
        from wsiparse.recognize.exported.calibration import learned

        return replace(spec, calibration=learned(self.card, sample, tissue_mm2).numbers())

    def load(self, spec: RecognizerSpec) -> Recognizer:
        """The recognizer, tried on small pictures."""
        from wsiparse.recognize.exported.calibration import SlideFacts
        from wsiparse.recognize.exported.recognizers import CardNuclei, CardRegions, TileMaps

        self.check_weights()
        spec = self.resolve(spec)
        network = _tried(self, spec.device, spec.precision, spec.runtime)
        maps = TileMaps(self.card, network, SlideFacts.of(self.card, spec.calibration), str(self._weights))
        if self.regions:
            return CardRegions(maps, self.info(spec), self.answers, spec.prompts)
        return CardNuclei(maps, self.info(spec), self.answers, spec.prompts, cut_of(self.card))

    def check(self, spec: RecognizerSpec) -> None:
        """As every engine of a closed list; regions by their own rule."""
        if not self.regions:
            super().check(spec)
            return
        self.check_device(spec.device)
        check_region_prompts(spec.prompts, self.title, self.card.input.mpp, self.answers)

    def default_prompts(self) -> tuple[PromptConfig, ...]:
        """Every class, and the nuclei of none."""
        prompts = super().default_prompts()
        return tuple(p.model_copy(update={"kind": "region"}) for p in prompts[:-1]) if self.regions else prompts

    def completed(
        self, asked: Sequence[PromptConfig], *, strict: bool = False
    ) -> tuple[tuple[PromptConfig, ...], tuple[str, ...]]:
        """As every engine of a closed list; that TorchScript is its author's code is said too."""
        prompts, notices = super().completed(asked, strict=strict)
        if self.regions:
            prompts = tuple(p.model_copy(update={"kind": p.kind or "region"}) for p in prompts)
        if not self._onnx:
            notices = (*notices, f"{self._weights.name} is TorchScript: it runs code of its author ({self.source}).")
        return prompts, notices

    def limits(self, spec: RecognizerSpec) -> EngineLimits:
        """What its card says of it, and what the slide did not tell."""
        from wsiparse.recognize.exported.calibration import SlideFacts

        facts = SlideFacts.of(self.card, spec.calibration)
        warnings = []
        if isinstance(self.card.input.channels, Stains) and not facts.own_stains:
            warnings.append("The slide's own stain vectors are not those of H&E: Ruifrok's fixed ones are taken.")
        if self.card.input.normalise.kind == "percentile" and not facts.sampled:
            warnings.append("The slide has no tissue to take percentiles of: fixed values are taken.")
        licence = (*self.card.notes, f"Licence of the model: {self.licence}.")
        if self.regions:
            classes = ", ".join(self.card.classes)
            sentence = f"Regions are those that the model {self.title} learned ({classes}), each by itself."
            return EngineLimits(warnings=tuple(warnings), sentences=(sentence, *licence))
        found = super().limits(replace(spec, calibration=(facts.strength,) if facts.strength else ()))
        return replace(found, warnings=(*found.warnings, *warnings))


def _state(path: Path) -> tuple[str, int, int]:
    """Name, size and time of a file; changes when it does."""
    try:
        found = path.stat()
    except OSError as error:
        raise WeightsError(
            f"{path}: the model's weights cannot be read ({error.strerror}). {FolderEngine.remedy}"
        ) from error
    return path.name, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=8)
def _checked(engine: ModelEngine, _states: tuple[tuple[str, int, int], ...]) -> None:
    """Hashes of all files, and of an ONNX file what it claims; once for each state of the files."""
    card, folder = engine.card, engine.folder
    content = _read(folder / card.weights.file, card.weights.sha256)
    for name, sha256 in card.weights.data.items():
        _read(folder / name, sha256)
    if not card.weights.file.endswith(_ONNX):
        return
    path = folder / card.weights.file
    try:
        facts = read_onnx(content)
    except DamagedOnnxError as error:
        raise WeightsError(f"{path}: {error}. Export the model again.") from error
    _check_external(path, card, facts)
    _check_input(path, card, facts)


def _read(path: Path, sha256: str) -> bytes:
    """A file's bytes, which are those of the card."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path}: the model's weights cannot be read ({error.strerror}). {FolderEngine.remedy}"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path}: SHA-256 {found[:16]}... is not the card's ({sha256[:16]}...). {FolderEngine.remedy}"
        )
    return content


def _check_external(path: Path, card: ModelCard, facts: OnnxFacts) -> None:
    """Tensors in other files lie in files that the card names and hashes, and inside them."""
    for part in facts.external:
        if Path(part.file).name != part.file or "\\" in part.file or part.file in ("", ".", ".."):
            raise WeightsError(f"{path}: has data in '{part.file}', outside its folder, which is not read. Export the "
                               "model with its data beside it, or in one file.")  # fmt: skip
        if part.file not in card.weights.data:
            raise WeightsError(f"{path}: has data in '{part.file}', which its card does not name. Add it with its "
                               f"SHA-256: weights: {{data: {{{part.file}: ...}}}}.")  # fmt: skip
        if part.offset + part.length > (path.parent / part.file).stat().st_size:
            raise WeightsError(f"{path}: claims {part.length} bytes at {part.offset} of '{part.file}', which is "
                               f"shorter. {FolderEngine.remedy}")  # fmt: skip


def _check_input(path: Path, card: ModelCard, facts: OnnxFacts) -> None:
    """The file takes one picture of the card's channels and size."""
    if len(facts.inputs) != 1:
        names = ", ".join(name for name, _ in facts.inputs) or "none"
        raise WeightsError(f"{path}: takes {len(facts.inputs)} inputs ({names}), not one picture. Export it with one.")
    name, shape = facts.inputs[0]
    if not shape:
        return
    given = card.input
    side = given.tile_px if given.fixed_size else None
    batch, *rest = (1, side, side, given.count) if given.layout == "NHWC" else (1, given.count, side, side)
    wanted = (batch, *rest)
    fits = len(shape) == 4 and all(s is None or s == w for s, w in zip(shape, wanted, strict=True))
    if not fits:
        told = " x ".join("any" if s is None else str(s) for s in shape)
        expected = " x ".join("any" if w is None else str(w) for w in wanted)
        hint = " A model of one size wants `fixed_size: true` and that size as tile_px." if len(shape) == 4 else ""
        raise WeightsError(f"{path}: its input '{name}' is {told}, the card says {expected} ({given.layout}).{hint}")


@lru_cache(maxsize=2)
def _tried(engine: ModelEngine, device: str, precision: str, runtime: str) -> Network:
    """The network of a file, run once; slides share it. The bytes that are loaded are those that were hashed."""
    from wsiparse.recognize.exported.calibration import SlideFacts
    from wsiparse.recognize.exported.networks import OnnxRuntimeNetwork, OpenVinoNetwork, TorchNetwork
    from wsiparse.recognize.exported.recognizers import TileMaps, try_network

    card = engine.card
    path = engine.folder / card.weights.file
    content = _read(path, card.weights.sha256)
    beside = path if card.weights.data else None
    network: Network
    if runtime.startswith("openvino"):
        network = OpenVinoNetwork(content, beside, precision, str(path))
    elif runtime.startswith("onnxruntime"):
        network = OnnxRuntimeNetwork(content, beside, str(path))
    else:
        network = TorchNetwork(content, device, precision, str(path))
    try_network(TileMaps(card, network, SlideFacts.of(card, ()), str(path)))
    return network
