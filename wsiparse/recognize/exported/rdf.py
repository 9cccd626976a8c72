"""bioimage.io's `rdf.yaml` as a card: models of the StarDist and the InstanSeg layout with ONNX or TorchScript weights.

Keys are those of the model description 0.4 and 0.5 (spec-bioimage-io). What it does not say (um per px, how the answers
become objects) is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["OddRdfError", "card_of_rdf", "is_rdf"]

#: Weights that are run, the one that is liked best first.
_RUN: Final = ("onnx", "torchscript")

#: Edge that tiles have where the file leaves it open, px.
_TILE_PX: Final = 512


class OddRdfError(ValueError):
    """The file cannot be read as a card; the text says why."""


def is_rdf(found: Mapping[str, Any]) -> bool:
    """Whether a mapping is a bioimage.io description."""
    return "format_version" in found and "format" not in found


def card_of_rdf(rdf: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a card.

    Parameters
    ----------
    rdf : the file as YAML has it

    Raises
    ------
    OddRdfError
        If it needs Python code of its own, is of another layout, or does not say what a card must.
    """
    try:
        weights = _weights(rdf)
        given, answer = rdf["inputs"][0], rdf["outputs"][0]
        axes = _axes(given)
        step, least = _sides(given, axes)
        tile = max(least, _TILE_PX // step * step)
        output, split = _output(rdf)
        return {
            "format": "wsiparse-model/1",
            "name": "".join(c if c.isalnum() else "-" for c in str(rdf["name"]))[:80],
            "title": str(rdf["name"]),
            "licence": str(rdf.get("license") or "not stated"),
            "source": str(rdf.get("git_repo") or rdf.get("id") or "bioimage.io"),
            "weights": weights,
            "input": {
                "mpp": _mpp(rdf, given),
                "tile_px": tile,
                "multiple_of": step,
                "halo_px": _halo(answer, step),
                "layout": "NHWC" if axes.index("c") > axes.index("x") else "NCHW",
                "normalise": _normalise(given),
            },
            "output": output,
            "split": split,
        }
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise OddRdfError(f"is no complete description of a model ({type(error).__name__}: {error})") from error


def _weights(rdf: Mapping[str, Any]) -> dict[str, str]:
    entries = rdf["weights"]
    kind = next((kind for kind in _RUN if kind in entries), None)
    if kind is None:
        kinds = ", ".join(entries) or "no kind"
        raise OddRdfError(
            f"has weights of {kinds} only, which need Python code of their own; ask for an ONNX or TorchScript export"
        )
    entry = entries[kind]
    return {"file": str(entry["source"]), "sha256": str(entry["sha256"])}


def _axes(tensor: Mapping[str, Any]) -> str:
    """Its axes, a letter each: b, c, y, x."""
    axes = tensor["axes"]
    if isinstance(axes, str):
        return axes
    letters = {"batch": "b", "channel": "c"}
    return "".join(letters.get(axis["type"], str(axis.get("id", "?"))) for axis in axes)


def _sides(tensor: Mapping[str, Any], axes: str) -> tuple[int, int]:
    """Step and least of the tile's edge, px."""
    if set(axes) != set("bcyx"):
        raise OddRdfError(f"takes axes '{axes}'; pictures of one plane (b, c, y, x) are run")
    at = axes.index("x")
    size = tensor["shape"] if isinstance(tensor["axes"], str) else tensor["axes"][at]["size"]
    if isinstance(size, int):
        return size, size
    if isinstance(size, list):
        return int(size[at]), int(size[at])
    step, least = size["step"], size["min"]
    if isinstance(step, list):
        step, least = step[at], least[at]
    return max(1, int(step)), int(least)


def _mpp(rdf: Mapping[str, Any], tensor: Mapping[str, Any]) -> float:
    """Um per px: the scale of the axis, or what the description has for QuPath."""
    if not isinstance(tensor["axes"], str):
        axis = next(axis for axis in tensor["axes"] if axis.get("id") == "x")
        if axis.get("unit") == "micrometer" and axis.get("scale"):
            return float(axis["scale"])
    config = rdf.get("config") or {}
    steps = [axis["step"] for axis in (config.get("qupath") or {}).get("axes", ()) if axis.get("role") == "x"]
    if steps:
        return float(steps[0])
    raise OddRdfError("does not say how many um a pixel is; write a model.yaml beside it")


def _halo(tensor: Mapping[str, Any], step: int) -> int | str:
    axes, halo = _axes(tensor), tensor.get("halo")
    if isinstance(tensor["axes"], list):
        halo = [axis.get("halo", 0) for axis in tensor["axes"]]
    edge = int(halo[axes.index("x")]) if halo else 0
    return -(-edge // step) * step if edge else "measured"


def _normalise(tensor: Mapping[str, Any]) -> dict[str, Any]:
    found = [
        (step.get("id") or step.get("name"), step.get("kwargs") or {}) for step in tensor.get("preprocessing") or ()
    ]
    wanted = [(name, kwargs) for name, kwargs in found if name not in ("ensure_dtype", None)]
    if len(wanted) != 1:
        names = ", ".join(str(name) for name, _ in wanted) or "nothing"
        raise OddRdfError(
            f"prepares pictures by {names}; one of scale_range, scale_linear and fixed mean and std is run"
        )
    name, kwargs = wanted[0]
    if name == "scale_range":
        return {"kind": "percentile", "low": float(kwargs.get("min_percentile", 0)),
                "high": float(kwargs.get("max_percentile", 100))}  # fmt: skip
    if name == "scale_linear" and not kwargs.get("offset") and isinstance(kwargs.get("gain"), int | float):
        return {"kind": "scale", "divide": 1 / float(kwargs["gain"])}
    if name in ("fixed_zero_mean_unit_variance", "zero_mean_unit_variance") and "mean" in kwargs:
        both = {key: [float(v) for v in _three(kwargs[key])] for key in ("mean", "std")}
        return {"kind": "mean-std"} | both
    raise OddRdfError(f"prepares pictures by {name} of each picture, which would make results depend on the tiling")


def _three(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value] * 3


def _output(rdf: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Output and split of the two layouts."""
    config = rdf.get("config") or {}
    star = config.get("stardist")
    if star:
        facts, limits = star["config"], star["thresholds"]
        stride = facts.get("grid", [1])[0]
        output = {"kind": "star", "activation": "none", "probability": 0, "rays": 1, "n_rays": int(facts["n_rays"]),
                  "cut": float(limits["prob"]), "overlap": float(limits["nms"])}  # fmt: skip
        return output | ({"stride": int(stride)} if stride > 1 else {}), {}
    words = " ".join(map(str, (rdf["name"], *(rdf.get("tags") or ())))).lower()
    if "instanseg" in words:
        return {"kind": "instances", "activation": "none", "labels": 0}, {}
    raise OddRdfError("is neither of StarDist's nor of InstanSeg's layout; write a model.yaml beside it")
