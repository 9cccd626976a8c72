"""What BiomedParse was trained to find in pathology images: the table of targets, and where each fact comes from.

BiomedParse (Zhao et al., Nature Methods 2024, doi:10.1038/s41592-024-02499-w) learned six pathology targets from two
data sets:

* PanNuke (Gamper et al. 2020, arXiv:2003.10778): images of 256 x 256 px at 0.25 um/px, enlarged fourfold for the
  network, so that it saw 64 um; 16,223 masks, each the union of all nuclei of one type;
* GlaS (Sirinukunwattana et al. 2017, doi:10.1016/j.media.2016.08.008): 165 images of colon glands at 0.62 um/px, most
  of them 775 px wide, padded to a square and resized to 1024 px, so that it saw 480 um at 0.47 um/px.

The training texts are a target alone ("neoplastic cells") or with its site ("neoplastic cells in breast pathology").
Upstream publishes Dice coefficients per target and test images; they are given here as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from wsiparse.types import PromptKind

__all__ = ["TARGETS", "Dice", "Synonym", "Target"]


class Dice(NamedTuple):
    """Dice coefficient that upstream publishes for a target: mean and median over so many test images."""

    mean: float
    median: float
    images: int


@dataclass(frozen=True, slots=True)
class Synonym:
    """Other words for a target.

    Parameters
    ----------
    texts : lower case, single spaces, no hyphens; English first, then Chinese, German, French and Spanish
    caution : how the target differs from these words; "" when both mean the same
    """

    texts: tuple[str, ...]
    caution: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that BiomedParse was trained to find in pathology images.

    Parameters
    ----------
    text : the training text, without a site
    class_name : what outputs call it
    colour : "#rrggbb", from the palette of Okabe and Ito (2008), which colour-blind readers can tell apart
    kind : "cell" or "region"
    threshold : probability above which a pixel counts, upstream's
    input_mpp : microns per pixel of the tile before it is resized for the network
    tile_px : edge of that tile, px
    means : what the training masks show
    source : training data set
    masks : training and test masks of this target in the published lists
    sites : tissue sites in the training set, as the training texts spell them
    dice : upstream's result on its test images, or None where none is published
    scored : whether the published recognition parameters (see `wsiparse.recognize.score`) cover it
    synonyms : other words that are replaced by `text`
    """

    text: str
    class_name: str
    colour: str
    kind: PromptKind
    threshold: float
    input_mpp: float
    tile_px: int
    means: str
    source: str
    masks: int
    sites: tuple[str, ...]
    dice: Dice | None
    scored: bool
    synonyms: tuple[Synonym, ...]

    @property
    def tile_um(self) -> float:
        """Edge of what the network sees at once, microns."""
        return self.tile_px * self.input_mpp


def _texts(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(", "))


#: The 19 sites of PanNuke.
_PANNUKE_SITES: Final = _texts(
    "adrenal gland, bile duct, bladder, breast, cervix, colon, esophagus, headneck, kidney, liver, lung, ovarian, "
    "pancreatic, prostate, skin, stomach, testis, thyroid, uterus"
)

_PANNUKE: Final = "PanNuke, 0.25 um/px"
_GLAS: Final = "GlaS, 0.62 um/px"


def _words(texts: str, caution: str = "") -> Synonym:
    return Synonym(_texts(texts), caution)


def _cells(
    text: str,
    class_name: str,
    colour: str,
    means: str,
    masks: int,
    dice: Dice | None,
    scored: bool,
    synonyms: tuple[Synonym, ...],
) -> Target:
    """A PanNuke target: they share their data set and scale."""
    return Target(
        text=text,
        class_name=class_name,
        colour=colour,
        kind="cell",
        threshold=0.5,
        input_mpp=0.25,
        tile_px=256,
        means=means,
        source=_PANNUKE,
        masks=masks,
        sites=_PANNUKE_SITES,
        dice=dice,
        scored=scored,
        synonyms=synonyms,
    )


#: Every pathology target, cells first; their order breaks ties between prompts.
TARGETS: Final[tuple[Target, ...]] = (
    _cells(
        "neoplastic cells",
        "Neoplastic",
        "#d55e00",
        "nuclei of tumour cells",
        masks=4191,
        dice=Dice(0.745, 0.826, 665),
        scored=True,
        synonyms=(
            _words("neoplastic cell, neoplastic nuclei, neoplastic nucleus"),
            _words("tumor cells, tumour cells, tumor cell, tumour cell, tumor nuclei, tumour nuclei"),
            _words("肿瘤细胞, 肿瘤性细胞, 瘤细胞, 腫瘤細胞, tumorzellen, cellules tumorales, células tumorales"),
            _words(
                "cancer cells, cancer cell, malignant cells, malignant cell, carcinoma cells, 癌细胞, 癌細胞, "
                "恶性细胞, 恶性肿瘤细胞, krebszellen, cellules cancéreuses, células cancerosas",
                "cells of benign tumours are counted too",
            ),
        ),
    ),
    _cells(
        "inflammatory cells",
        "Inflammatory",
        "#f0e442",
        "nuclei of leukocytes; their types are not distinguished",
        masks=4132,
        dice=Dice(0.538, 0.617, 682),
        scored=True,
        synonyms=(
            _words("inflammatory cell, inflammatory nuclei, immune cells, immune cell"),
            _words("leukocytes, leucocytes, leukocyte, leucocyte, white blood cells"),
            _words("炎症细胞, 炎性细胞, 发炎细胞, 免疫细胞, 白细胞, 炎症細胞, 發炎細胞, 炎性細胞, 免疫細胞, 白血球"),
            _words("entzündungszellen, immunzellen, leukozyten, cellules inflammatoires, cellules immunitaires"),
            _words("células inflamatorias, células inmunes, células inmunitarias, leucocitos"),
            _words(
                "tumor infiltrating lymphocytes, tumour infiltrating lymphocytes, tils, til, 肿瘤浸润淋巴细胞, "
                "腫瘤浸潤淋巴細胞, tumorinfiltrierende lymphozyten",
                "all inflammatory cells are counted, of every type and wherever they lie",
            ),
            _words(
                "lymphocytes, lymphocyte, lymphoid cells, t cells, t lymphocytes, b cells, b lymphocytes, "
                "plasma cells, plasma cell, macrophages, macrophage, histiocytes, monocytes, neutrophils, neutrophil, "
                "eosinophils, eosinophil, granulocytes, mast cells, 淋巴细胞, 淋巴細胞, 浆细胞, 漿細胞, 巨噬细胞, "
                "巨噬細胞, 中性粒细胞, 嗜中性粒细胞, 嗜酸性粒细胞, 粒细胞, 单核细胞, 肥大细胞, t细胞, b细胞, "
                "lymphozyten, plasmazellen, makrophagen, granulozyten, linfocitos, macrófagos",
                "they are only a part of the inflammatory cells, which are all counted",
            ),
        ),
    ),
    _cells(
        "connective tissue cells",
        "Connective tissue",
        "#0072b2",
        "nuclei of connective and soft tissue",
        masks=6140,
        dice=Dice(0.568, 0.645, 1038),
        scored=True,
        synonyms=(
            _words("connective tissue cell, connective tissue nuclei, connective cells, soft tissue cells"),
            _words("结缔组织细胞, 結締組織細胞, bindegewebszellen, cellules du tissu conjonctif"),
            _words("células del tejido conectivo, células del tejido conjuntivo"),
            _words(
                "fibroblasts, fibroblast, fibrocytes, myofibroblasts, 成纤维细胞, 纤维母细胞, 纤维细胞, 成纖維細胞, "
                "fibroblasten, fibroblastes, fibroblastos",
                "they are only a part of the connective tissue cells, which are all counted",
            ),
            _words(
                "stromal cells, stromal cell, stroma cells, 间质细胞, 基质细胞, 間質細胞, stromazellen",
                "inflammatory cells of the stroma are a target of their own and are not counted",
            ),
        ),
    ),
    _cells(
        "epithelial cells",
        "Epithelial",
        "#56b4e9",
        "nuclei of epithelium that is not neoplastic; those of carcinomas are 'neoplastic cells'",
        masks=1528,
        dice=Dice(0.75, 0.818, 288),
        scored=True,
        synonyms=(
            _words("epithelial cell, epithelial nuclei, epithelial nucleus"),
            _words("上皮细胞, 上皮細胞, 正常上皮细胞, 非肿瘤性上皮细胞, 良性上皮细胞, epithelzellen"),
            _words("cellules épithéliales, células epiteliales"),
            _words(
                "non neoplastic epithelial cells, normal epithelial cells, benign epithelial cells, "
                "healthy epithelial cells"
            ),
        ),
    ),
    _cells(
        "dead cells",
        "Dead",
        "#000000",
        "nuclei of apoptotic and necrotic cells; the rarest target",
        masks=232,
        dice=None,
        scored=False,
        synonyms=(
            _words("dead cell, dead nuclei"),
            _words("死亡细胞, 死细胞, 死亡細胞, tote zellen, cellules mortes, células muertas"),
            _words(
                "apoptotic cells, apoptotic cell, apoptotic nuclei, 凋亡细胞, 凋亡細胞, apoptotische zellen, "
                "cellules apoptotiques, células apoptóticas",
                "necrotic cells are counted too",
            ),
            _words(
                "necrotic cells, necrotic cell, necrotic nuclei, 坏死细胞, 壞死細胞, nekrotische zellen, "
                "cellules nécrotiques, células necróticas",
                "apoptotic cells are counted too",
            ),
            _words("dying cells, pyknotic cells, pyknotic nuclei", "dead cells of every look are counted"),
        ),
    ),
    Target(
        text="glandular structure",
        class_name="Glands",
        colour="#009e73",
        kind="region",
        threshold=0.5,
        input_mpp=0.47,
        tile_px=1024,
        means="whole glands of the colon, lumen included, benign and malignant",
        source=_GLAS,
        masks=165,
        sites=("colon",),
        dice=Dice(0.918, 0.942, 42),
        scored=False,
        synonyms=(
            _words("glandular structures, gland, glands, colon glands, colonic glands"),
            _words("腺体, 腺体结构, 腺體, 腺體結構, drüsen, glandes, glándulas"),
            _words(
                "crypts, crypt, colonic crypts, colon crypts, 隐窝, 隱窩, krypten, cryptes, criptas",
                "glands of tumours, which are no crypts, are found too",
            ),
        ),
    ),
)
