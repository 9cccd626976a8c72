"""How a number of the results is made: its formula, and the method and source that the results hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wsiparse.ask.facts import Answer, AskedResults, plain

__all__ = ["TOPICS_EXPLAINED", "explain"]

#: Topic -> formula, keys in report.json or cohort.json, title of the section "methods" of report.json.
_FORMULAS: Final[Mapping[str, tuple[str, str, str]]] = {
    "count": ("n = objects of the class with their centroid in the compartment", "rows: n", "Tissue and densities"),
    "density": ("density = n / compartment_mm2", "rows: density_per_mm2", "Tissue and densities"),
    "interval": (
        "estimate +- t SE on the log scale (densities) or logit scale (shares), from a spatial block bootstrap",
        "rows: density_low, density_high, share_low, share_high",
        "Intervals",
    ),
    "share": ("share = 100 x n / cells of all classes in the compartment", "rows: share_percent",
              "Tissue and densities"),
    "area": ("analysed area = exact area of the tissue mask in the compartment", "area, rows: compartment_mm2",
             "Tissue and densities"),
    "size": ("mean area = object_area_um2 / n", "rows: mean_area_um2", "Tissue and densities"),
    "stromal percentage": (
        "100 x summed area of inflammatory nuclei with their centroid in stroma / area of stroma",
        "immune: panel: stil_nuclei",
        "Panel of immune cells",
    ),
    "distance": ("mean over immune cells of the distance to the nearest tumour or epithelial cell",
                 "immune: distances", "Distances"),
    "hot spots": ("Getis-Ord Gi* of squares, one-sided, false discovery rate", "immune: hot_spots; dense_squares",
                  "Hot spots"),
    "mixing": ("Morisita-Horn index and cross-K", "immune: mixing", "Mixing"),
    "compartments": ("places separated by the cells found, or drawn regions", "compartments", "Compartments"),
    "threshold": ("objects left when the threshold rises by the step", "uncertainty: threshold", "Threshold band"),
    "doubtful class": ("the largest class share leads the second by less than the lead", "uncertainty: ambiguous",
                       "Doubtful class"),
    "stain": ("one factor a slide brings the 99th percentile of hematoxylin to 1", "stain_strength",
              "Strength of the stain"),
    "quality": ("variance of the Laplacian and mean squared gradient over the variance of grey; mean optical density",
                "quality", "Quality"),
    "flags": ("modified z = 0.6745 (x - median) / MAD beyond 3.5; less than 1 mm2 of tissue",
              "cohort.json: slides: flags, z", "Slides that stand out"),
    "groups": ("counts and areas summed by patient; Mann-Whitney or Kruskal-Wallis; Holm's correction of pairs",
               "cohort.json: groups", "Groups"),
    "cliff's delta": ("P(second > first) - P(second < first)", "cohort.json: groups: pairs: cliffs_delta", "Groups"),
    "rate ratio": ("exp(b) of log E[n] = log area + a + b [second group], quasi-Poisson",
                   "cohort.json: groups: pairs: rate_ratio", "Groups"),
}  # fmt: skip

#: What can be explained.
TOPICS_EXPLAINED: Final = tuple(_FORMULAS)


def explain(topic: str, results: AskedResults, cohort_methods: tuple[Mapping[str, str], ...]) -> Answer:
    """The formula of a topic, with what the results say of their own method.

    Parameters
    ----------
    topic : one of `TOPICS_EXPLAINED`
    cohort_methods : of the numbers over all slides, which no file of a slide holds
    """
    if topic not in _FORMULAS:
        return Answer(False, f"what can be explained is: {', '.join(TOPICS_EXPLAINED)}")
    formula, keys, title = _FORMULAS[topic]
    lines = [formula, f"in report.json: {keys}" if "cohort.json" not in keys else f"in {keys}"]
    for _, report in results.reports[:1]:
        of_slide = [m for m in report.data["methods"] if m["title"] == title]
        for method in of_slide or [m for m in cohort_methods if m["title"] == title]:
            lines.append(method["text"])
            lines += [f"after {method['source']}"] if method["source"] else []
    return Answer(True, f"how the {topic} is computed", tuple(plain(line, 2000) for line in lines))
