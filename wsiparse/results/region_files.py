"""Which file of regions belongs to which slide, of `run`, `plan` and `report` alike.

A folder of region files is matched by name, as people have them: the slide's name with or without its ending, the name
of its results folder, and any of these with a word such as ``_annotations`` behind it; capitals, blanks and Unicode
forms do not matter. A folder within it is one of slides: its files are for slides in a folder of that name, so that
``p1/HE.geojson`` belongs to ``p1/HE.svs``. What could be meant for two slides, and two files for one, are refused.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsiparse.errors import ConfigError, RoiError
from wsiparse.names import path_parts
from wsiparse.results.folder import file_name, slide_folder
from wsiparse.slides.own_results import OwnResults

__all__ = ["Matched", "Named", "match_regions", "named"]

#: Endings of region files; a file with one of the second kind counts where there is none of the first.
_GEOJSON: Final = (".geojson", ".geojson.gz", ".geojson.zip")
_OTHER: Final = (".json", ".json.gz", ".json.zip", ".zip")
#: What programs and people write behind a slide's name.
_WORDS: Final = re.compile(r"(?<=.)[ _.\-]+(annotations?|annotated|regions?|rois?|areas?|objects|qupath)$")
#: Names told in one line.
_MOST_TOLD: Final = 8


@dataclass(frozen=True, slots=True)
class Named:
    """The names of a slide.

    Parameters
    ----------
    shown : as messages tell it
    file : its file name, with ending
    folder : name of its results folder
    called : what its results are called, where that is not in its file name
    """

    shown: str
    file: str
    folder: str
    called: str = ""

    def ranks(self) -> dict[str, int]:
        """Every name that a region file may have, and how closely it names the slide; 0 is closest."""
        stem = Path(self.file).stem
        names = [self.folder, self.file, self.called or stem, stem]
        names += [stem[:-4]] if stem.lower().endswith(".ome") else []
        return {_folded(name): rank for rank, name in reversed(list(enumerate(names)))}

    def lies_in(self, folders: tuple[str, ...]) -> bool:
        """Whether the slide's path has these folders before the file, as `_folded`; so it has if there are none."""
        own = tuple(map(_folded, path_parts(self.shown)[:-1]))
        return not folders or own[-len(folders) :] == folders


def named(slide: Path | str) -> Named:
    """The names of a slide that is given as a file or an address."""
    file = file_name(slide)
    return Named(file if isinstance(slide, str) else str(slide), file, slide_folder(Path(), slide).name)


@dataclass(frozen=True, slots=True)
class Matched:
    """The region file of each slide.

    Parameters
    ----------
    files : in the order of the slides, None for those without one
    unused : files that are named as no slide, or that another was taken before
    lacking : the slides without one
    """

    files: tuple[Path | None, ...]
    unused: tuple[Path, ...] = ()
    lacking: tuple[Named, ...] = ()

    def only(self, folder: str, slides: Sequence[Named]) -> Matched:
        """The same for one of the slides that were matched.

        Parameters
        ----------
        folder : name of its results folder
        slides : those that were matched, in their order
        """
        files = tuple(file for file, slide in zip(self.files, slides, strict=True) if slide.folder == folder)
        return Matched(files, (), tuple(slide for slide in self.lacking if slide.folder == folder))

    def told(self, instead: str) -> list[str]:
        """A line for files that no slide uses, one for slides that have none; none where all is well.

        Parameters
        ----------
        instead : what happens to slides without regions
        """
        out = []
        if self.unused:
            files = "file of regions belongs" if len(self.unused) == 1 else "files of regions belong"
            out.append(f"{len(self.unused)} {files} to no slide: {_listed([path.name for path in self.unused])}")
        if self.lacking:
            slides = "slide has" if len(self.lacking) == 1 else "slides have"
            names = _listed([slide.shown for slide in self.lacking])
            out.append(f"{len(self.lacking)} {slides} no file of regions, {instead}: {names}")
        return out


def match_regions(roi: Path, slides: Sequence[Named], *, own: Sequence[Path | None] = ()) -> Matched:
    """The region file of every slide.

    Parameters
    ----------
    roi : a folder of region files, or the file of the only slide without one of its own
    slides : each once
    own : files that some slides have of their own (a sheet's column roi), which count before `roi`; by default none

    Raises
    ------
    RoiError
        If `roi` does not exist, is one file for several slides, or is a folder in which no file is named as a slide,
        one could be of two slides, or two could be of one.
    """
    roi = roi.expanduser()
    own = tuple(own) or (None,) * len(slides)
    waiting = [k for k, file in enumerate(own) if file is None]
    files = list(own)
    if roi.is_dir():
        found, unused = _in_folder(roi, slides, waiting)
        files = [mine or found.get(k) for k, mine in enumerate(files)]
    elif not roi.exists():
        raise RoiError(f"{roi}: no such folder or file of regions. Check the path.")
    elif len(waiting) > 1:
        raise RoiError(f"{roi}: one file of regions, but several slides. Give a folder with <slide>.geojson for each.")
    else:
        unused = () if waiting else (roi,)
        files = [mine or roi for mine in files]
    return Matched(tuple(files), unused, tuple(slides[k] for k, file in enumerate(files) if file is None))


def match_tissue(tissue: Path | None, slides: Sequence[Named], *, whole: bool) -> Matched:
    """The file of drawn tissue (`--tissue`) of every slide, matched as regions are; nothing where none is given.

    Parameters
    ----------
    tissue : a folder of files, the file of the only slide, or None
    slides : each once
    whole : everything of the slides is to be analysed

    Raises
    ------
    ConfigError
        If `whole` and `tissue` are both asked for.
    RoiError
        As `match_regions`.
    """
    if tissue is None:
        return Matched((None,) * len(slides))
    if whole:
        raise ConfigError("--whole-slide analyses everything, --tissue only what is drawn: give one of them.")
    return match_regions(tissue, slides)


def _in_folder(roi: Path, slides: Sequence[Named], waiting: Sequence[int]) -> tuple[dict[int, Path], tuple[Path, ...]]:
    """The files of slides by position, and those of none."""
    ranks = [slide.ranks() for slide in slides]
    files: dict[int, list[tuple[tuple[bool, bool], Path]]] = {}
    unused: list[Path] = []
    everything = _region_files(roi)
    if not everything:
        raise RoiError(f"{roi}: no file of regions in it. Give a folder with <slide>.geojson for each slide.")
    for path, folders, name, other in everything:
        fits = _fitting(name, {k: own for k, own in enumerate(ranks) if slides[k].lies_in(folders)})
        if len(fits) > 1 and any(k in waiting for k in fits):
            both = " and ".join(slides[k].shown for k in fits[:2])
            raise RoiError(
                f"{path}: is named as two slides, {both}. Name the files as the slides' results folders "
                f"({slides[fits[0]].folder}.geojson), or list slides and files in a slides.csv."
            )
        if fits:
            files.setdefault(fits[0], []).append(((folders != (), other), path))
        else:
            unused.append(path)
    if not files:
        raise RoiError(
            f"{roi}: none of its {len(everything)} region files is named as a slide (the first: "
            f"{everything[0][0].name}, {slides[0].file}). Name them <slide>.geojson."
        )
    found = {}
    for k, several in sorted(files.items()):
        best = sorted(path for rank, path in several if rank == min(several)[0])
        if len(best) > 1 and k in waiting:
            raise RoiError(
                f"{roi}: two files of regions for {slides[k].shown}, {best[0].name} and {best[1].name}. Keep one."
            )
        found[k] = best[0]
        unused += [path for _, path in several if path != best[0]]
    return found, tuple(sorted(unused))


def _fitting(name: str, ranks: Mapping[int, dict[str, int]]) -> list[int]:
    """Positions of the slides that a file's name fits best."""
    for tried in dict.fromkeys((name, _WORDS.sub("", name))):
        fits = {k: own[tried] for k, own in ranks.items() if tried in own}
        if fits:
            return [k for k, rank in fits.items() if rank == min(fits.values())]
    return []


def _region_files(folder: Path) -> list[tuple[Path, tuple[str, ...], str, bool]]:
    """Files of regions in a folder and below it, what is below last and GeoJSON only; results are not searched.

    Each with its path, the folders it lies in below `folder`, its name without ending, and whether its ending says less
    than GeoJSON.
    """
    out: list[tuple[Path, tuple[str, ...], str, bool]] = []
    own = OwnResults()

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise RoiError(f"{folder}: cannot be read ({error.strerror or error}). Check the permissions.") from error

    for place, below, files in os.walk(folder, onerror=unreadable):
        here = Path(place)
        below[:] = sorted(name for name in below if not name.startswith(".") and not own.is_own(here / name))
        within = tuple(map(_folded, here.relative_to(folder).parts))
        for name in sorted(files):
            low = name.lower()
            endings = [e for e in (_GEOJSON if within else (*_GEOJSON, *_OTHER)) if low.endswith(e)]
            if endings and not low.startswith(".") and (here / name).is_file():
                ending = max(endings, key=len)
                out.append((here / name, within, _folded(name[: -len(ending)]), ending not in _GEOJSON))
    return out


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFC", name).casefold().split()))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_TOLD
    return ", ".join(names[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")
