"""Which prompt gets which pixels of a nucleus, so that the shares of its classes outlive the tile.

A nucleus is of the class with the largest sum over its pixels. Of a pixel the field keeps one class and how sure the
foreground is; the shares of an object are summed from them, wherever blocks and tiles meet. The pixels of a nucleus are
therefore dealt to the prompts in raster order such that each has its share of them: three quarters of the pixels to
"epithelial" where three quarters of the sum are. Integers throughout: what a nucleus gets depends on its pixels alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects.panoptic import quantise
from wsiparse.recognize import kernels

__all__ = ["ALL_NUCLEI", "class_sums", "deal_nuclei", "prompt_of_pixels", "wanted_shares"]

#: Position of the prompt that wants every nucleus which no other prompt asks for.
ALL_NUCLEI: Final = -1

#: Steps of a share.
_WHOLE: Final = 1 << 16
#: What is dealt differs from what is wanted by less than a pixel's weight (255) for each of two prompts; twice that.
_MARGIN: Final = 4 * 255


def class_sums(
    foreground: NDArray[np.float32], class_maps: NDArray[np.float32], labels: NDArray[np.int32], n: int
) -> NDArray[np.int64]:
    """Sums of each class over the pixels of each nucleus, weighted by the foreground.

    Parameters
    ----------
    foreground : (H, W) float32, 0-1
    class_maps : (C, H, W) float32, 0-1, C at least 1
    labels : (H, W) int32, 1..n, 0 is background
    n : number of nuclei

    Returns
    -------
    (n, C) int64
    """
    sums = np.zeros((n, len(class_maps)), np.int64)
    flat = quantise(class_maps).reshape(len(class_maps), -1)
    kernels.class_sums(labels.ravel(), quantise(foreground).ravel(), flat, sums)
    return sums


def deal_nuclei(
    foreground: NDArray[np.float32],
    labels: NDArray[np.int32],
    sums: NDArray[np.int64],
    asked: Sequence[int],
    least_share: float,
    *,
    whole: bool,
) -> NDArray[np.int16]:
    """The prompt of each pixel; which prompts are asked for does not change the class of a nucleus.

    Two classes of nearly the same share may change places by the pixel that is dealt last. The class of a nucleus is
    therefore the one that gets most of it where every class is asked for, whatever is asked for here.

    Parameters
    ----------
    foreground : (H, W) float32, 0-1, as for `class_sums`
    labels : (H, W) int32, 0 for no nucleus, as for `class_sums`
    sums : (n, C) int64, what `class_sums` gives
    asked, least_share, whole : see `wanted_shares`

    Returns
    -------
    (H, W) int16, -1 for none
    """
    classes = sums.shape[1]
    every = (*range(classes), ALL_NUCLEI)
    if set(every[:-1]) <= set(asked) and not whole:
        return prompt_of_pixels(foreground, labels, wanted_shares(sums, asked, least_share, whole=False))
    dealt = prompt_of_pixels(foreground, labels, wanted_shares(sums, every, least_share, whole=False))
    best = _most(foreground, labels, dealt, (len(sums), len(every)))
    wanted = wanted_shares(sums, asked, least_share, whole=whole, best=np.minimum(best, classes - 1))
    prompt = prompt_of_pixels(foreground, labels, wanted)
    # classes that nobody asks for are nuclei of no class here, where those are asked for
    mine = _places(asked, classes)[best]
    lost = (mine >= 0) & (_most(foreground, labels, prompt, wanted.shape) != mine)
    if not lost.any():
        return prompt
    weight = np.bincount(labels.ravel(), quantise(foreground).ravel(), len(sums) + 1)[1:].astype(np.int64)
    wanted[lost, mine[lost]] += _MARGIN * _WHOLE // np.maximum(weight[lost], 1)
    wanted[lost] = wanted[lost] * _WHOLE // wanted[lost].sum(axis=1, keepdims=True)
    return prompt_of_pixels(foreground, labels, wanted)


def _places(asked: Sequence[int], classes: int) -> NDArray[np.int64]:
    """(C + 1,): the prompt of a nucleus of each class, and of none; -1 where nobody asks for it."""
    named = [next((p for p, k in enumerate(asked) if k == c), -1) for c in (*range(classes), ALL_NUCLEI)]
    return np.array([place if place >= 0 else named[-1] for place in named], np.int64)


def _most(
    foreground: NDArray[np.float32], labels: NDArray[np.int32], prompt: NDArray[np.int16], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """(n,): which of P prompts has most of each nucleus, the first of equals; `shape` is (n, P)."""
    dealt = (labels > 0) & (prompt >= 0)
    place = (labels[dealt].astype(np.int64) - 1) * shape[1] + prompt[dealt]
    sums = np.bincount(place, quantise(foreground)[dealt], shape[0] * shape[1]).reshape(shape)
    return sums.argmax(axis=1) if shape[0] else np.zeros(0, np.int64)


def wanted_shares(
    sums: NDArray[np.int64],
    asked: Sequence[int],
    least_share: float,
    *,
    whole: bool,
    best: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """What each prompt gets of each nucleus, in steps of 2^-16.

    A nucleus goes to the prompt of its largest class, or to "nuclei" where that class is not asked for or has less than
    `least_share`; the first of equals. Of the others the prompts get their shares, "nuclei" that of the largest class
    that is not asked for: the closest to being the nucleus's own.

    Parameters
    ----------
    sums : (n, C) int64, of `class_sums`
    asked : class of each prompt, 0 to C - 1, or `ALL_NUCLEI`
    least_share : 0-1
    whole : give each nucleus to its prompt as a whole
    best : (n,) int64, the class of each nucleus; None for its largest

    Returns
    -------
    (n, P) int64, rows sum to at most 2^16; zeros for a nucleus that nobody asks for
    """
    named = [k for k in asked if k != ALL_NUCLEI]
    total = sums.sum(axis=1)
    if best is None:
        best = sums.argmax(axis=1) if len(sums) else np.zeros(0, np.int64)
    # no class is sure enough, or none has any probability: the nucleus is of no class as a whole
    open_class = (sums.max(axis=1, initial=0) < least_share * total) | (total == 0)
    rest = np.delete(sums, named, axis=1).max(axis=1, initial=0)
    parts = np.stack([rest if k == ALL_NUCLEI else sums[:, k] for k in asked], axis=1).astype(np.int64)
    mine = _places(asked, sums.shape[1])[np.where(open_class, sums.shape[1], best)]
    alone = open_class | whole
    parts[alone] = 0
    parts[alone & (mine >= 0), mine[alone & (mine >= 0)]] = 1
    parts[mine < 0] = 0
    out: NDArray[np.int64] = parts * _WHOLE // np.maximum(parts.sum(axis=1), 1)[:, None]
    return out


def prompt_of_pixels(
    foreground: NDArray[np.float32], labels: NDArray[np.int32], wanted: NDArray[np.int64]
) -> NDArray[np.int16]:
    """The prompt of each pixel.

    Parameters
    ----------
    foreground : (H, W) float32, 0-1
    labels : (H, W) int32, 1..n, 0 is background
    wanted : (n, P) int64, of `wanted_shares`

    Returns
    -------
    (H, W) int16, -1 for none
    """
    prompt = np.empty(labels.size, np.int16)
    dealt = np.zeros((len(wanted), wanted.shape[1] + 1), np.int64)
    kernels.deal(labels.ravel(), quantise(foreground).ravel(), wanted, dealt, prompt)
    return prompt.reshape(labels.shape)
