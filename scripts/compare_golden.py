#!/usr/bin/env python3
"""Compare the BiomedParse network with a file of reference outputs, array by array.

The reference file names a seed of the synthetic weights and the prompts; the weights are made again from the seed
(`tests.reference.recipe`), the network runs on the image, and for every stored array the largest
absolute error is printed beside its tolerance. Exit code 0: all within tolerance; 1: some are not; 2: wrong usage.

    python -m scripts.compare_golden golden_dev.npz golden_dev_image.png --mode both
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tests.reference.recipe import recipe_array
from wsiparse.errors import WsiparseError
from wsiparse.machine import peak_rss_bytes
from wsiparse.recognize.biomedparse.checkpoint import expected_shapes, network_from_state
from wsiparse.recognize.biomedparse.config import NetworkConfig
from wsiparse.recognize.biomedparse.decoder import ImageEncoding, QueryEmbeddings
from wsiparse.recognize.biomedparse.network import BiomedParseNetwork, PromptMasks, to_probabilities
from wsiparse.recognize.biomedparse.text import TextEncoding
from wsiparse.recognize.biomedparse.tokenizer import END, ClipTokenizer

#: Image features and text embeddings: values of order 1, before any hard threshold.
FEATURE_ATOL = 1e-3
#: Similarities, logits and probabilities. The attention masks are a hard step, so rounding noise can grow there: a
#: reference that says its own logits moved by more than `NOISY` under a relative input noise of 1e-6 gets the wider
#: tolerance in joint mode.
DECODER_ATOL = 5e-3
NOISY_DECODER_ATOL = 3e-2
NOISY = 1e-4
#: Embeddings and masks of all queries, matched or not. Single queries are bistable: noise of 1e-5 on the prompt tokens
#: or the features, which is what float32 leaves of them, moves one caption of golden_dev by 2e-2; float64 shows the
#: reference itself to be that far from exact arithmetic.
EMBEDDING_ATOL = 3e-2
#: Pixels of a matched mask, and of every query's attention mask, as a fraction of the plane.
AREA_FRACTION = 2e-3
BLOCKED_FRACTION = 2e-2

Golden = Mapping[str, NDArray[np.generic]]


@dataclass
class Report:
    """Comparisons made so far."""

    failed: list[str] = field(default_factory=list)
    compared: set[str] = field(default_factory=set)

    def row(self, name: str, error: float, tolerance: float, note: str = "") -> None:
        good = error <= tolerance  # a NaN error fails
        print(
            f"{'ok  ' if good else 'FAIL'} {name:40s} error {error:10.3e}  tolerance {tolerance:.1e}  {note}".rstrip()
        )
        self.compared.add(name)
        if not good:
            self.failed.append(name)

    def arrays(self, name: str, found: NDArray[np.generic], wanted: NDArray[np.generic], tolerance: float) -> None:
        if found.shape != wanted.shape:
            self.row(name, math.inf, tolerance, f"shape {found.shape}, not {wanted.shape}")
            return
        difference = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
        self.row(name, float(difference.max(initial=0.0)), tolerance)

    def same(self, name: str, equal: bool, note: str) -> None:
        self.row(name, 0.0 if equal else math.inf, 0.0, note)


def statistics(x: Tensor) -> NDArray[np.float64]:
    """Mean, standard deviation, mean absolute value, minimum and maximum, in float64."""
    flat = x.reshape(-1)
    total = flat.sum(dtype=torch.float64)
    mean = total / flat.numel()
    square = sum(((part.double() - mean) ** 2).sum() for part in flat.chunk(-(-flat.numel() // (1 << 22))))
    size = flat.abs().sum(dtype=torch.float64) / flat.numel()
    values = (mean, (square / flat.numel()) ** 0.5, size, flat.min().double(), flat.max().double())
    return np.array([float(v) for v in values])


def numpy(x: Tensor) -> NDArray[np.generic]:
    return x.detach().cpu().numpy()


# Each stored slice keeps every so-manieth value of one tensor.


def slice_tokens(x: Tensor) -> Tensor:
    """(1, H, W, C) as row-major tokens (L, C), 64 x 32 of them."""
    tokens = x[0].flatten(0, 1)
    return tokens[:: tokens.shape[0] // 64, :: tokens.shape[1] // 32]


def slice_stem(x: Tensor) -> Tensor:
    """(1, H, W, C) as (C, H, W)."""
    return x[0].permute(2, 0, 1)[::24, ::16, ::16]


def slice_map(x: Tensor) -> Tensor:
    """(1, C, S, S)."""
    return x[0, :: x.shape[1] // 16, :: x.shape[2] // 16, :: x.shape[3] // 16]


def slice_pyramid(x: Tensor) -> Tensor:
    """(1, C, S, S)."""
    return x[0, ::16, :: x.shape[2] // 16, :: x.shape[3] // 16]


@contextmanager
def hooks(watched: list[tuple[nn.Module, Callable[[object], None]]]) -> Iterator[None]:
    """Call a function with the output of each watched module while the context lasts."""
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, see=see: see(output)) for module, see in watched
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def build(seed: str) -> BiomedParseNetwork:
    """The full-size network with the synthetic weights of `seed`."""
    state = {key: torch.from_numpy(recipe_array(seed, key, shape)) for key, shape in expected_shapes().items()}
    return network_from_state(state, source=f"recipe {seed}")


def network_input(path: Path, golden: Golden, report: Report) -> Tensor:
    """The image at the network's size as (1, 3, S, S) float32 grey levels, compared with what the reference saw."""
    size = NetworkConfig().input_px
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    wanted_size = tuple(int(v) for v in golden["orig_size_hw"])
    report.same("orig_size_hw", (rgb.height, rgb.width) == wanted_size, f"{rgb.height} x {rgb.width} px")
    # x before y, as every Pillow before 13 did in one call
    wide = rgb.resize((size, rgb.height), Image.Resampling.BICUBIC)
    pixels = np.asarray(wide.resize((size, size), Image.Resampling.BICUBIC))
    digests = {hashlib.sha256(x.tobytes()).hexdigest(): x for x in (np.asarray(rgb), pixels)}
    hashed = digests.get(str(golden["input_u8_sha256"]))  # of the network's input or of the image as it was
    report.same("input_u8_sha256", hashed is not None, f"{golden['input_u8_sha256']!s:.12}...")
    stored = pixels if hashed is None else hashed
    report.arrays("input_u8_stride32", stored[::32, ::32], golden["input_u8_stride32"], 0)
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()


def token_ids(golden: Golden, tokenizer: Path | None, report: Report) -> list[list[int]]:
    """Ids of the stored prompts up to the first end-of-text; compared with the tokenizer's own when there is one."""
    stored = []
    for row, mask in zip(golden["token_ids"].tolist(), golden["attention_mask"], strict=True):
        ids = row[: row.index(END) + 1]
        assert len(ids) == int(mask.sum())
        stored.append(ids)
    if tokenizer is not None:
        clip = ClipTokenizer(tokenizer)
        own = [list(clip.encode(str(prompt))) for prompt in golden["prompts"]]
        report.same("token_ids", own == stored, str(tokenizer.name))
        report.compared.add("attention_mask")
    return stored


def compare_image(network: BiomedParseNetwork, image: Tensor, golden: Golden, report: Report) -> ImageEncoding:
    """Encode the image, comparing the backbone and the pixel decoder stage by stage."""

    def watch(name: str, cut: Callable[[Tensor], Tensor]) -> Callable[[object], None]:
        def see(output: object) -> None:
            assert isinstance(output, Tensor)
            if f"slice_{name}" in golden:
                report.arrays(f"slice_{name}", numpy(cut(output)), golden[f"slice_{name}"], FEATURE_ATOL)
            if f"stat_{name}" in golden:
                report.arrays(f"stat_{name}", statistics(output), golden[f"stat_{name}"], FEATURE_ATOL)

        return see

    def see_pyramid(output: object) -> None:
        assert isinstance(output, tuple)
        mask_features, scales, encoded = output
        watch("transformer_encoder_features", slice_pyramid)(encoded)
        for name, scale in zip(("ms0_32", "ms1_64", "ms2_128"), scales, strict=True):
            watch(name, slice_pyramid)(scale)
        watch("mask_features", slice_pyramid)(mask_features)

    def see_maps(output: object) -> None:
        assert isinstance(output, tuple)
        for i, x in enumerate(output):
            watch(f"res{i + 2}", slice_map)(x)

    backbone = network.backbone
    watched: list[tuple[nn.Module, Callable[[object], None]]] = [
        (backbone.patch_embed, watch("patch_embed", slice_stem)),
        (backbone, see_maps),
        (network.sem_seg_head.pixel_decoder, see_pyramid),
    ]
    for i, stage in enumerate(backbone.layers):
        first = backbone.get_submodule(f"layers.{i}.blocks.0")
        watched.append((first, watch(f"stage{i}_block0_tokens", slice_tokens)))
        watched.append((stage, watch(f"stage{i}_tokens", slice_tokens)))
    with hooks(watched):
        return network.encode_image(image)


def compare_masks(
    network: BiomedParseNetwork,
    image: ImageEncoding,
    masks: PromptMasks,
    queries: QueryEmbeddings,
    golden: Golden,
    prefix: str,
    tolerance: float,
    report: Report,
) -> None:
    """Compare what one decoding said with the arrays named `prefix`."""

    def stored(name: str, found: NDArray[np.generic], atol: float = tolerance) -> None:
        if f"{prefix}{name}" in golden:
            report.arrays(f"{prefix}{name}", found, golden[f"{prefix}{name}"], atol)

    wanted = golden[f"{prefix}matched"].astype(np.int64)
    found = numpy(masks.matched[0])
    scores = np.sort(golden[f"{prefix}sim"].astype(np.float64), axis=0)
    gaps = scores[-1] - scores[-2]
    clear = gaps > tolerance
    note = ", ".join(
        f"{f} (reference {w}, gap {g:.4f})" for f, w, g in zip(found.tolist(), wanted.tolist(), gaps, strict=True)
    )
    report.same(f"{prefix}matched", bool(np.all((found == wanted) | ~clear)), note)
    stored("query_caption_emb", numpy(queries.captions[0]), EMBEDDING_ATOL)
    stored("query_maskemb", numpy(queries.masks[0]), EMBEDDING_ATOL)
    stored("sim", numpy(masks.scores[0]))

    b, height, width, _ = image.mask_features.shape
    logits = masks.logits
    every = (queries.masks @ image.mask_features.flatten(1, 2).transpose(1, 2)).view(b, -1, height, width)
    if not np.array_equal(found, wanted):  # an allowed tie: compare the query that the reference took
        logits = every[:, torch.from_numpy(wanted)]
    stored("stat_masks_all", statistics(every), EMBEDDING_ATOL)
    del every
    stored("mask_logits_f16", numpy(logits[0]))
    size = int(golden["orig_size_hw"][0]), int(golden["orig_size_hw"][1])
    probabilities = to_probabilities(logits, size)[0].cpu().numpy()
    stored("prob_stride", probabilities[:, ::4, ::4])
    crop = golden.get(f"{prefix}prob_crop")
    if crop is not None:
        top, left = (size[0] - crop.shape[1]) // 2, (size[1] - crop.shape[2]) // 2
        stored("prob_crop", probabilities[:, top : top + crop.shape[1], left : left + crop.shape[2]])
    stored("area_gt_half", (probabilities > 0.5).sum(axis=(1, 2)), AREA_FRACTION * size[0] * size[1])


def decode_watched(
    network: BiomedParseNetwork, image: ImageEncoding, text: TextEncoding, mode: str
) -> tuple[PromptMasks, QueryEmbeddings, list[Tensor]]:
    """Decode, keeping the query embeddings and the normed queries of every prediction."""
    predictor = network.sem_seg_head.predictor
    normed: list[Tensor] = []
    queries: list[QueryEmbeddings] = []
    with hooks([(predictor.decoder_norm, normed.append), (predictor, queries.append)]):  # type: ignore[list-item]
        masks = network.decode(image, text, "joint" if mode == "joint" else "solo")
    return masks, queries[-1], normed


def compare_joint(
    network: BiomedParseNetwork, image: ImageEncoding, text: TextEncoding, golden: Golden, report: Report
) -> None:
    noise = float(golden["noise1e-6_max_abs_dlogit"]) if "noise1e-6_max_abs_dlogit" in golden else math.inf
    tolerance = NOISY_DECODER_ATOL if noise > NOISY else DECODER_ATOL
    masks, queries, normed = decode_watched(network, image, text, "joint")
    predictor = network.sem_seg_head.predictor
    if "attn_masked_count" in golden:
        counts = [
            predictor.blocked(x, image.reduced[i % len(image.reduced)]).sum(dim=-1)[0] for i, x in enumerate(normed)
        ]
        planes = np.array([image.reduced[i % len(image.reduced)].shape[1] for i in range(len(normed))])
        found, wanted = np.stack([numpy(c) for c in counts]), golden["attn_masked_count"]
        report.arrays("attn_masked_count", found / planes[:, None], wanted / planes[:, None], BLOCKED_FRACTION)
    if "joint_aux_caption_slice" in golden:
        wanted = golden["joint_aux_caption_slice"]
        captions = np.stack([numpy((x @ predictor.class_embed)[0, :, ::16]) for x in normed[: len(wanted)]])
        report.arrays("joint_aux_caption_slice", captions, wanted, EMBEDDING_ATOL)
    compare_masks(network, image, masks, queries, golden, "joint_", tolerance, report)


def compare_solo(
    network: BiomedParseNetwork, image: ImageEncoding, text: TextEncoding, golden: Golden, report: Report
) -> None:
    prompts = [str(prompt) for prompt in golden["prompts"]]
    for prefix in sorted(name[: -len("matched")] for name in golden if name.startswith("solo") and "matched" in name):
        named = f"{prefix}prompt"
        p = prompts.index(str(golden[named])) if named in golden else int(prefix[len("solo") : -1])
        alone = TextEncoding((text.tokens[p],), text.classes[p : p + 1])
        masks, queries, _ = decode_watched(network, image, alone, "solo")
        report.compared.add(named)
        compare_masks(network, image, masks, queries, golden, prefix, DECODER_ATOL, report)


def mapped_file_bytes() -> int:
    """Pages of files, such as the GPU libraries of a PyTorch build, that are in this process's memory now.

    How many there are depends on what the machine has in its cache, not on the network. 0 where it is not known.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("RssFile:"))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Compare the BiomedParse network with stored reference outputs.",
        epilog="example: python -m scripts.compare_golden golden_dev.npz golden_dev_image.png --mode both",
    )
    parser.add_argument("golden", type=Path, help="reference outputs, .npz")
    parser.add_argument("image", type=Path, help="the image they were made from")
    parser.add_argument("--mode", choices=("solo", "joint", "both"), default="both")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json (default: the one beside GOLDEN, if any)")
    parser.add_argument("--float64", action="store_true", help="exact arithmetic, to tell the reference's rounding")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    options = parser.parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        with np.load(options.golden, allow_pickle=False) as file:
            golden = {name: file[name] for name in file.files}
        report = Report()
        image = network_input(options.image, golden, report)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        print(f"compare_golden: {options.golden}, {options.image}: {error}", file=sys.stderr)
        return 2
    beside = options.golden.parent / "tokenizer.json"
    tokenizer = options.tokenizer or (beside if beside.is_file() else None)
    try:
        ids = token_ids(golden, tokenizer, report)
    except WsiparseError as error:
        print(f"compare_golden: {error}", file=sys.stderr)
        return 2

    started, busy = time.perf_counter(), time.process_time()
    network = build(str(golden["seed"]))
    print(f"     weights of recipe {golden['seed']} made in {time.perf_counter() - started:.1f} s")
    if options.float64:
        network, image = network.double(), image.double()
    with torch.inference_mode():
        text = network.encode_text(ids)
        if "class_emb" in golden:
            report.arrays("class_emb", numpy(text.classes), golden["class_emb"], FEATURE_ATOL)
        if "grounding_tokens" in golden:
            tokens = numpy(torch.cat(text.tokens))
            report.arrays("grounding_tokens", tokens, golden["grounding_tokens"], FEATURE_ATOL)
        encoding = compare_image(network, image, golden, report)
        if options.mode in ("joint", "both"):
            compare_joint(network, encoding, text, golden, report)
        if options.mode in ("solo", "both"):
            compare_solo(network, encoding, text, golden, report)

    peak = (peak_rss_bytes() or 0) / 2**30
    mapped = mapped_file_bytes() / 2**30
    described = {"image", "prompts", "seed"} | {name for name in golden if name.startswith("noise")}
    left = sorted(golden.keys() - report.compared - described)
    print(
        f"     {time.perf_counter() - started:.0f} s, {time.process_time() - busy:.0f} CPU-s, peak RSS {peak:.2f} GiB, "
        f"{mapped:.2f} GiB of it pages of libraries' files"
    )
    if left:
        print(f"     not compared: {', '.join(left)}")
    print(f"{len(report.compared)} arrays compared, {len(report.failed)} beyond tolerance")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
