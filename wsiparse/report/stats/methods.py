"""How the numbers of a report are made, for its last section: title, text, source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["COHORT_METHODS", "METHODS"]

METHODS: Final[tuple[Mapping[str, str], ...]] = (
    {
        "title": "Tissue and densities",
        "text": (
            "Tissue is found on the overview (about 8 um per px); pen, ink and black borders are kept out. "
            "The analysed area is what tissue covers within the region of interest: in each cell of the overview, the "
            "part that loses at least half as much light as the tissue just inside of the edge. It is without tiles "
            "that could not be read and without regions drawn as Ignore* or Artefact. An object counts where its "
            "centroid lies: in cells that tissue touches, and those around them. "
            "Density = n / area. Area per cent = summed area of the objects / area. Share = n / cells of all classes."
        ),
        "source": "Otsu, IEEE Trans. Systems, Man and Cybernetics 9, 62-66, 1979 (threshold)",
    },
    {
        "title": "Intervals",
        "text": (
            "Spatial block bootstrap: the density is the ratio of summed counts to summed tissue area over square "
            "blocks; each block's remainder is taken about a quadratic surface fitted to its neighbours; blocks are "
            "drawn with replacement; the variance is corrected for clusters cut by block borders from blocks of half "
            "the edge; the interval is estimate +- t SE on the log scale (densities) or the logit scale (shares). In "
            "simulation (Poisson and clustered cells, even tissue and tissue with gradients and foci) the 95 % "
            "intervals held the true density in 92.8-96.4 % of 1,000 replicates. Other parts of the tumour and other "
            "patients are not in them."
        ),
        "source": (
            "Lahiri, Resampling Methods for Dependent Data, 2003, ch. 12; Cochran, Sampling Techniques, 1977; Politis "
            "and Romano, J. Time Series Analysis 16, 67-103, 1995"
        ),
    },
    {
        "title": "Threshold band",
        "text": (
            "How many objects remain when the threshold rises by the step: those whose mean probability is above it "
            "(a lower bound of what a new run would find). When the threshold falls, today's objects still count, and "
            "more would be found: only the lower bound is known without another run."
        ),
        "source": "Markov's inequality for the area that is left",
    },
    {
        "title": "Doubtful class",
        "text": (
            "A cell's class share is its class's part of the summed confidence of its pixels. A cell is doubtful when "
            "its largest share leads the second by less than the stated lead."
        ),
        "source": "own definition",
    },
    {
        "title": "Compartments",
        "text": (
            "auto: places are separated by a Poisson likelihood ratio of neoplastic or epithelial cells and "
            "connective cells, smoothed over tissue; the two pairs of densities and the places are found in turn "
            "until they agree. The inside is called tumour where neoplastic cells were asked for or the user says "
            "that the epithelium is tumour, else epithelium. Margin bands lie outside its border at the stated "
            "distances. roi: the classes of the annotated regions; where classes overlap the one with less area wins; "
            "areas are exact."
        ),
        "source": (
            "Celeux and Govaert, Computational Statistics & Data Analysis 14, 315-332, 1992 (classification EM)"
        ),
    },
    {
        "title": "Panel of immune cells",
        "text": (
            "After the international TIL working group, for research; no substitute for a pathologist's score. Stroma "
            "occupied by immune cells: of their nuclei, and of discs with a rim of 1 um for the cytoplasm, an "
            "assumption. Zones of 500 um on either side of the border, measured on cells of the overview. "
            "Tumour-stroma ratio: share of stroma, interval from blocks of 1 mm. Hot-spot average: squares that are "
            "the densest tenth of the tissue by a random half of the cells, their density by the other half. In "
            "simulation the 95 % intervals of the panel held the true number in 92-98 % of 200-250 replicates."
        ),
        "source": (
            "Salgado et al., Annals of Oncology 26, 259-271, 2015; Hendry et al., Advances in Anatomic Pathology 24, "
            "235-251 and 311-335, 2017; Amgad et al., npj Breast Cancer 6, 16, 2020"
        ),
    },
    {
        "title": "Distances",
        "text": (
            "From the centre of each immune cell to that of the nearest tumour or epithelial cell, without a "
            "correction for edges; where no tumour cells were asked for and a tumour is drawn, to its border with "
            "other analysed tissue, negative inside."
        ),
        "source": "",
    },
    {
        "title": "Strength of the stain",
        "text": (
            "The classical engine sees every slide at one strength: optical densities are multiplied by one factor of "
            "the slide that brings the 99th percentile of hematoxylin over a fixed sample of its tissue to 1. Checked "
            "from 0.5 to 3; slides with less than 0.25 mm2 of tissue are seen as they are."
        ),
        "source": "Macenko et al., ISBI 2009 (pseudo-maximum); Ruifrok and Johnston, Anal. Quant. Cytol. Histol. 2001",
    },
    {
        "title": "Hot spots",
        "text": (
            "Getis-Ord Gi* over the squares of the density grid, each with its eight neighbours, weighed by tissue; "
            "one-sided p values, false discovery rate after Benjamini and Hochberg."
        ),
        "source": (
            "Ord and Getis, Geographical Analysis 27, 286-306, 1995; Benjamini and Hochberg, J. Royal Statistical "
            "Society B 57, 289-300, 1995"
        ),
    },
    {
        "title": "Mixing",
        "text": (
            "Morisita-Horn: 2 sum x y / ((sum x^2 / X^2 + sum y^2 / Y^2) X Y) over the squares, 0 (never together) to "
            "1 (same proportions everywhere). Cross-K: mean number of cells of the second kind within r of one of the "
            "first over their density, with the translation correction for edges; L = sqrt(K / pi) is r where the two "
            "kinds take no notice of each other and tissue is even. Compare with the L of all cells, which holds the "
            "unevenness."
        ),
        "source": (
            "Horn, The American Naturalist 100, 419-424, 1966; Maley et al., Breast Cancer Research 17, 131, 2015; "
            "Ohser, Math. Operationsforschung und Statistik 14, 63-71, 1983"
        ),
    },
    {
        "title": "Quality",
        "text": (
            "On the overview, over tissue: variance of the Laplacian and mean squared Sobel gradient, each over the "
            "variance of grey (sharpness), and mean optical density ln(background / intensity) of red, green and blue "
            "(stain). They see gross blur and strange stain, not the focus of a nucleus."
        ),
        "source": "Pech-Pacheco et al., ICPR 2000; Krotkov, Int. J. Computer Vision 1, 223-237, 1988",
    },
)

COHORT_METHODS: Final[tuple[Mapping[str, str], ...]] = (
    *METHODS,
    {
        "title": "Slides that stand out",
        "text": (
            "Low tissue: less than 1 mm2 analysed. Blurred, stain: the modified z score 0.6745 (x - median) / MAD of "
            "log sharpness (both measures, on the low side) or of a channel's optical density is beyond 3.5. Needs "
            "eight slides."
        ),
        "source": "Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993",
    },
    {
        "title": "Groups",
        "text": (
            "The patient is the unit: counts and areas of a patient's slides are summed. Mann-Whitney (two groups) or "
            "Kruskal-Wallis test of densities, pairs with Holm's correction, Cliff's delta, and the rate ratio of a "
            "quasi-Poisson model with log area as offset. Patients whose slides are in several groups are listed and "
            "left out."
        ),
        "source": (
            "Holm, Scandinavian J. Statistics 6, 65-70, 1979; Cliff, Psychological Bulletin 114, 494-509, 1993; "
            "McCullagh and Nelder, Generalized Linear Models, 1989, ch. 6"
        ),
    },
    {
        "title": "For the next study",
        "text": (
            "Variances of log((n + 1/2) / area): between patients and between slides of a patient from a nested "
            "analysis of variance within groups, within a slide from the block bootstrap (mean squared relative "
            "standard error). Variation is 100 sqrt(exp(variance) - 1) per cent. Agreement within patients: one-way "
            "intraclass correlation; two slides of a patient differ by less than the factor 95 times of 100. Patients "
            "a group needs: Mann-Whitney test, two-sided 5 %, power 80 %; power of the t test of n' = 3 n / pi "
            "patients with noncentrality log(1 + x / 100) / sqrt(2 V / n'), V the variance of a patient's mean log "
            "density, at the level that the rank test really has; at least 4. In simulation within 3 points of the "
            "power."
        ),
        "source": (
            "Searle, Casella and McCulloch, Variance Components, 1992; Shrout and Fleiss, Psychological Bulletin 86, "
            "420-428, 1979; Hodges and Lehmann, Annals of Mathematical Statistics 27, 324-335, 1956"
        ),
    },
    {
        "title": "Measured against scored",
        "text": (
            "Differences measured - scored: mean and limits of agreement, mean +- 1.96 standard deviations, with "
            "intervals; slope of the difference over the mean of both. ICC(A,1): two-way random, absolute agreement, "
            "single scores. A range (10-20) counts as its middle, a bound (<5) as itself."
        ),
        "source": (
            "Bland and Altman, The Lancet 327, 307-310, 1986; McGraw and Wong, Psychological Methods 1, 30-46, 1996"
        ),
    },
)
