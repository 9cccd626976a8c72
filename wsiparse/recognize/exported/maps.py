"""Channels of a network to probabilities, by the roles that its card gives them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.card import ModelCard

__all__ = ["activated", "class_maps", "edge_of", "foreground_of", "role", "single"]

Maps = NDArray[np.float32]


def activated(maps: Maps, how: str) -> Maps:
    """Numbers to probabilities.

    Parameters
    ----------
    maps : (C, H, W) float32
    how : "sigmoid" (each by itself), "softmax" (over the channels) or "none" (cut to 0-1)

    Returns
    -------
    (C, H, W) float32, 0-1
    """
    if how == "sigmoid":
        # exp of a large number is inf, and 1 / inf is the 0 that is meant
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-maps)), np.float32)
    if how == "softmax" and len(maps):
        powers = np.exp(maps - maps.max(axis=0))
        return np.asarray(powers / powers.sum(axis=0), np.float32)
    return np.clip(maps, 0, 1)


def role(card: ModelCard, maps: Maps, *names: str) -> Maps | None:
    """The channel of the first of these roles that the card gives, as the network says it.

    Parameters
    ----------
    card : of the model
    maps : (C, H, W) float32
    names : roles

    Returns
    -------
    (H, W) float32; None where the card gives none of them
    """
    channels = card.output.channels
    return next((maps[channels[name]] for name in names if name in channels), None)


def class_maps(card: ModelCard, maps: Maps) -> Maps:
    """Probabilities of the classes.

    Parameters
    ----------
    card : of the model
    maps : (C, H, W) float32

    Returns
    -------
    (K, H, W) float32, 0-1, in order of the classes

    Activated by `class_activation`. Without one the classes of a pixel share 1 wherever others have an activation, as
    our own networks' do; beside a background instead of a foreground they are activated with it.
    """
    out = card.output
    how = out.class_activation or ("none" if out.activation == "none" else "softmax")
    channels = list(out.classes)
    if out.kind == "regions" or _by_background(card):
        how = out.activation
        both = activated(maps[[*_background(card), *channels]], how)
        return both[len(_background(card)) :]
    return activated(maps[channels], how)


def foreground_of(card: ModelCard, maps: Maps) -> Maps:
    """Probability that a pixel is of any nucleus.

    Parameters
    ----------
    card : of the model
    maps : (C, H, W) float32

    Returns
    -------
    (H, W) float32, 0-1

    From the channel `foreground`, beside `background` and `boundary` where the activation is over all of them; without
    one it is what `background` leaves.
    """
    out, channels = card.output, card.output.channels
    if _by_background(card):
        return np.asarray(1 - activated(maps[[*_background(card), *out.classes]], out.activation)[0], np.float32)
    return np.asarray(activated(maps[[channels["foreground"], *_beside(card)]], out.activation)[0])


def edge_of(card: ModelCard, maps: Maps) -> Maps:
    """The channel `boundary` or `contour`; zeros without one.

    Parameters
    ----------
    card : of the model
    maps : (C, H, W) float32

    Returns
    -------
    (H, W) float32, 0-1
    """
    channels = card.output.channels
    name = next((name for name in ("boundary", "contour") if name in channels), None)
    if name is None:
        return np.zeros(maps.shape[1:], np.float32)
    if card.output.activation == "softmax" and "foreground" in channels:
        beside = _beside(card)
        both = activated(maps[[channels["foreground"], *beside]], "softmax")
        return np.asarray(both[1 + beside.index(channels[name])])
    return np.asarray(activated(maps[[channels[name]]], single(card))[0])


def single(card: ModelCard) -> str:
    """The activation of a channel that stands by itself."""
    return "none" if card.output.activation == "none" else "sigmoid"


def _beside(card: ModelCard) -> list[int]:
    """Channels that share 1 with the foreground, where a softmax is over them."""
    channels = card.output.channels
    return [channels[name] for name in ("background", "boundary", "contour") if name in channels]


def _background(card: ModelCard) -> list[int]:
    return [] if card.output.background is None else [card.output.background]


def _by_background(card: ModelCard) -> bool:
    return card.output.foreground is None and card.output.background is not None
