"""The kinds of questions that results answer, and the words of each. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from wsiparse.ask.vocabulary import NameKind

__all__ = [
    "FILLERS", "FORMS", "LOWEST", "MEASURES", "NUMBERS", "RESERVED", "TOPICS", "Form", "Kind", "Measure", "word_set",
]  # fmt: skip

Kind = Literal[
    "classes", "compartments", "groups", "slides", "count", "density", "share", "area", "size", "top", "hot spots",
    "compare", "flags", "engine", "formula", "stromal percentage", "distance",
]  # fmt: skip
Measure = Literal["density", "count", "share", "area", "size"]


def word_set(text: str) -> frozenset[str]:
    """Words with blanks between them."""
    return frozenset(text.split())


def _any(text: str) -> tuple[frozenset[str], ...]:
    """Sets of words with semicolons between them."""
    return tuple(word_set(own) for own in text.split(";"))


#: Words that change nothing.
FILLERS: Final = word_set(
    "a about all an and any are as at be been by can could did do does each every find following for found from give "
    "got had has have here i in inside is it its list many me much my of on or our over overall please print shall "
    "show tell than that the their them there these they this to us was we were what where which who will with within "
    "would you across every compartment class classes group slide slides result results entire whole"
)
NUMBERS: Final = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """A kind of question.

    Parameters
    ----------
    kind : what is asked
    triggers : one of these sets of words must be in the question, whole
    words : further words that it may have
    takes : names that it may have
    """

    kind: Kind
    triggers: tuple[frozenset[str], ...]
    words: frozenset[str]
    takes: frozenset[NameKind]


_PLACES: Final[frozenset[NameKind]] = frozenset(("class", "compartment", "slide"))
_DENSITY_WORDS: Final = word_set("density densities dense per mm2 square millimetre millimeter interval intervals 95 %")
_COUNT_WORDS: Final = word_set("how count counts number numbers total objects cells cell nuclei")
MEASURES: Final[dict[Measure, frozenset[str]]] = {
    "share": word_set("share shares percentage percentages percent fraction fractions proportion proportions %"),
    "size": word_set("size sizes mean average"),
    "area": word_set("area areas tissue analysed analyzed"),
    "count": word_set("count counts number numbers"),
}
TOPICS: Final[dict[str, frozenset[str]]] = {
    "stromal percentage": word_set("stromal stil tils til percentage"),
    "rate ratio": word_set("rate ratio ratios"),
    "cliff's delta": word_set("cliff cliffs cliff's delta effect"),
    "groups": word_set(
        "group groups test tests mann-whitney kruskal-wallis holm p value p-value values comparison patients"
    ),
    "hot spots": word_set("hot spot spots hot-spot hot-spots hotspot hotspots gi* getis-ord"),
    "mixing": word_set("mixing morisita-horn cross-k index"),
    "distance": word_set("distance distances"),
    "compartments": word_set("compartments compartment margin margins border tumour stroma epithelium"),
    "threshold": word_set("threshold band"),
    "doubtful class": word_set("doubtful ambiguous class"),
    "stain": word_set("stain strength"),
    "flags": word_set("flag flags stand out outliers standing"),
    "quality": word_set("quality sharpness blur blurred"),
    "interval": word_set("interval intervals 95 % confidence bootstrap uncertainty"),
    "share": MEASURES["share"],
    "size": word_set("mean size average") | word_set("area"),
    "density": _DENSITY_WORDS,
    "area": word_set("area tissue analysed analyzed compartment_mm2 mm2"),
    "count": word_set("count counts counted number n"),
}
_ORDER: Final = word_set(
    "top highest most lowest least fewest bottom densest rank ranking ranked greatest largest smallest first"
)
LOWEST: Final = word_set("lowest least fewest bottom smallest")

#: In the order in which they are tried.
FORMS: Final[tuple[Form, ...]] = (
    Form(
        "formula",
        _any("explain; formula; computed; calculated; defined; definition; meaning; does mean; means; how made"),
        word_set("explain formula computed calculated defined definition meaning mean means how made number numbers"),
        frozenset(),
    ),
    Form(
        "compare",
        _any("compare; comparison; differ; difference; differences; versus; vs; between"),
        word_set("compare compared comparison differ difference differences versus vs between significant p value")
        | word_set("significantly values patients rate ratio test groups densities density"),
        frozenset(("class", "compartment", "group", "slide")),
    ),
    Form(
        "hot spots",
        _any("hot-spots; hot-spot; hotspots; hotspot; hot spots; hot spot"),
        word_set("hot spot spots hot-spot hot-spots hotspot hotspots hottest squares") | _ORDER,
        frozenset(("class", "slide")),
    ),
    Form(
        "flags",
        _any("flag; flags; flagged; quality; stand out; stands out; warning; warnings; problems; outliers; limits"),
        word_set("flag flags flagged quality stand stands out warnings warning problems blurred outliers limits check")
        | word_set("checks low stain"),
        frozenset(("slide",)),
    ),
    Form(
        "engine",
        _any("engine; engines; settings; setting; weights; version; seed; network; model; pixel size; mpp; scale"),
        word_set("engine engines settings setting weights version seed network model used pixel size mpp scale made")
        | word_set("analysed wsiparse"),
        frozenset(("slide",)),
    ),
    Form(
        "stromal percentage",
        _any("stromal percentage; stil; tils; til"),
        word_set("stromal percentage stil tils til"),
        frozenset(("slide",)),
    ),
    Form(
        "distance",
        _any("distance; distances; far"),
        word_set("distance distances far nearest how cells mean away"),
        _PLACES,
    ),
    Form(
        "top",
        tuple(frozenset((word,)) for word in sorted(_ORDER)),
        (_ORDER | _DENSITY_WORDS | _COUNT_WORDS).union(*MEASURES.values()) - word_set("mean average"),
        _PLACES,
    ),
    Form(
        "share",
        tuple(frozenset((word,)) for word in sorted(MEASURES["share"])),
        MEASURES["share"] | word_set("cells among make up"),
        _PLACES,
    ),
    Form(
        "size",
        _any("mean area; average area; size; sizes"),
        MEASURES["size"] | word_set("area areas nuclear nucleus um2"),
        _PLACES,
    ),
    Form("density", _any("density; densities; dense; per mm2"), _DENSITY_WORDS | word_set("how"), _PLACES),
    Form("groups", _any("groups; patients"), word_set("groups patients how compared number"), frozenset(("group",))),
    Form(
        "area",
        _any("area; areas; tissue; mm2; large"),
        MEASURES["area"] | word_set("how mm2 large big excluded unreadable"),
        frozenset(("compartment", "slide")),
    ),
    Form("classes", _any("classes"), word_set("classes how looked asked"), frozenset()),
    Form("compartments", _any("compartments"), word_set("compartments how"), frozenset(("slide",))),
    Form("count", _any("how many; number; count; counts"), _COUNT_WORDS, _PLACES),
    Form(
        "slides",
        _any("slides; slide"),
        word_set("how many done failed missing state states number status"),
        frozenset(("slide",)),
    ),
)

RESERVED: Final = (
    frozenset().union(*(form.words.union(*form.triggers) for form in FORMS)) | FILLERS | frozenset(NUMBERS)
) - word_set("tumour stroma epithelium cells")
