"""Which row of a table is about which slide. Pure.

Rows name slides as people do: by a path that was right on another machine, by a file name, without the ending, in
another case or Unicode form. A row is joined only to a slide that it cannot be told apart from by guessing less:

1. the row's path, relative to the table, is the slide's, or the row says the slide's id;
2. all that the row says (folders, file name, or file name without ending) is the end of the slide's path, and of no
   other slide's;
3. the row's folders are others, as after a move, but its file name is that of one slide and of no other row, or the
   folders next to the file agree with one slide only. This is told.

A row that fits several slides, and rows that contradict each other about one slide, are refused.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from wsiparse.names import folded, missing, path_parts, same_text, some_of

__all__ = ["Joined", "Metadata", "Named", "Row", "joined_rows"]

#: How the last part of what a row says fits a slide: its file name, its name without ending, or with another ending.
_FILE, _STEM, _OTHER_ENDING = 3, 2, 1


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table about slides.

    Parameters
    ----------
    line : of the file, counted from 1
    slide : as it is written
    values : of the other columns, by name
    places : full paths or addresses that it may mean, taken relative to the table; the one as it is written first
    """

    line: int
    slide: str
    values: Mapping[str, str]
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metadata:
    """A table about slides.

    Parameters
    ----------
    file : its name
    columns : beside that of the slide, as they are called in summary.csv
    rows : in order
    patient, group : columns that say which patient a slide is of, and which group the patient is in; None for none
    notices : what is to be told about the table itself
    folder : full path that slides are named relative to
    score : column with a percentage of stroma that somebody scored, None for none
    """

    file: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    patient: str | None
    group: str | None
    notices: tuple[str, ...] = ()
    folder: str = ""
    score: str | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """What a slide can be called by.

    Parameters
    ----------
    path : as the run was given it, or its address; the slide's id where nobody knows
    name : without ending
    id : name of its results folder
    places : full paths that are this slide
    """

    path: str
    name: str
    id: str
    places: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Joined:
    """What came of a join.

    Parameters
    ----------
    rows : for each slide its row, or None; several rows that say the same are one, with all their values
    unmatched : rows that are about no slide
    notices : what was guessed, one line each
    refused : rows that cannot be joined without a wrong guess, one line each; they are in none of the others
    """

    rows: tuple[Row | None, ...]
    unmatched: tuple[Row, ...]
    notices: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Fit:
    """How well a row fits a slide, best last in order.

    Parameters
    ----------
    exact : the row's path is the slide's: 2 as it is written, 1 by a link or but for case, 0 not
    whole : all folders the row tells are the slide's
    kind : see above
    folders : how many folders next to the file agree
    case : they are spelt alike
    """

    exact: int
    whole: bool
    kind: int
    folders: int
    case: bool

    @property
    def order(self) -> tuple[int, bool, int, int, bool]:
        return (self.exact, self.whole, self.kind, self.folders, self.case)


class _Index:
    """The slides, found by everything that they are called."""

    def __init__(self, slides: Sequence[Named], endings: Collection[str]) -> None:
        self.slides, self.endings = slides, endings
        self.parts = [path_parts(slide.path) for slide in slides]
        self.by_key: dict[str, list[int]] = defaultdict(list)
        self.by_parent: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.by_place: dict[str, list[int]] = defaultdict(list)
        for k, slide in enumerate(slides):
            last = self.parts[k][-1] if self.parts[k] else slide.name
            for key in {*map(folded, (slide.name, slide.id, last)), *_bare(last, endings)}:
                self.by_key[key].append(k)
                if len(self.parts[k]) > 1:
                    self.by_parent[folded(self.parts[k][-2]), key].append(k)
            for place in {*slide.places, *_folded_places(slide)}:
                self.by_place[place].append(k)

    def fit(self, row: Row, parts: tuple[str, ...], k: int) -> _Fit | None:
        slide, own = self.slides[k], self.parts[k]
        exact = 2 if slide.id == row.slide or slide.path in row.places[:1] else 0
        if not exact and not slide.places.isdisjoint(row.places):
            exact = 1
        if exact or folded(row.slide) == folded(slide.id) or _folded_places(slide) & set(map(folded, row.places)):
            return _Fit(exact=exact or 1, whole=True, kind=_FILE, folders=0, case=exact > 0)
        kind = self._kind(parts[-1], own[-1] if own else slide.name, slide)
        if not kind:
            return None
        agree = 0
        for a, b in zip(parts[-2::-1], own[-2::-1], strict=False):
            if folded(a) != folded(b):
                break
            agree += 1
        tail, said = own[len(own) - agree - 1 :], parts[len(parts) - agree - 1 :]
        alike = tail[:-1] == said[:-1] and said[-1] in (tail[-1], slide.name, PurePosixPath(tail[-1]).stem)
        return _Fit(exact=0, whole=agree == len(parts) - 1, kind=kind, folders=agree, case=alike)

    def _kind(self, said: str, file: str, slide: Named) -> int:
        if folded(said) == folded(file) and slide.path != slide.id:
            return _FILE
        stems = {folded(slide.name), *(_bare(file, self.endings) if slide.path != slide.id else ())}
        if folded(said) in stems:
            return _STEM
        if stems & _bare(said, self.endings):
            # of a slide whose path nobody knows the ending is not known either
            return _STEM if slide.path == slide.id else _OTHER_ENDING
        return 0


def _folded_places(slide: Named) -> set[str]:
    """The slide's places, to compare by where case and Unicode form do not count."""
    return set(map(folded, slide.places))


def _bare(file: str, endings: Collection[str]) -> set[str]:
    """A file name without what may be its ending, to compare by."""
    found = set()
    text = PurePosixPath(file)
    if text.suffix.lower() in endings:
        found.add(folded(text.stem))
        if text.stem.lower().endswith(".ome"):
            found.add(folded(text.stem[:-4]))
    return found


def joined_rows(slides: Sequence[Named], metadata: Metadata, endings: Collection[str] = ()) -> Joined:
    """Join rows to slides as the module says.

    Parameters
    ----------
    slides : of the results
    metadata : the table
    endings : of slide files, lower case with the dot
    """
    index = _Index(slides, endings)
    sure: dict[int, list[Row]] = defaultdict(list)
    guessed: dict[int, list[tuple[Row, str]]] = defaultdict(list)
    unmatched: list[Row] = []
    refused: list[str] = []
    guesses: dict[str, list[str]] = defaultdict(list)
    loose: list[tuple[Row, list[tuple[_Fit, int]]]] = []
    for row in metadata.rows:
        fits = _fits(row, index)
        top = max((fit.order for fit, _ in fits), default=None)
        best = [(fit, k) for fit, k in fits if fit.order == top]
        if not best:
            unmatched.append(row)
        elif best[0][0].whole and len(best) > 1:
            refused.append(same_text(_several(metadata.file, row, [slides[k] for _, k in best])))
        elif best[0][0].whole and best[0][0].kind > _OTHER_ENDING:
            sure[best[0][1]].append(row)
        else:
            loose.append((row, best))
    known = _folders(index, metadata)
    files = Counter(folded(parts[-1]) for text in {row.slide for row in metadata.rows} if (parts := path_parts(text)))
    for row, best in loose:
        if len(best) > 1 and best[0][0].folders:
            refused.append(same_text(_several(metadata.file, row, [slides[k] for _, k in best])))
        elif len(best) == 1 and (why := _guess(row, *best[0], index, known, files)):
            guessed[best[0][1]].append((row, why))
        else:
            unmatched.append(row)
    rows: list[Row | None] = []
    for k, slide in enumerate(slides):
        own = sure.get(k, [])
        if not own and len({row.slide for row, _ in guessed.get(k, [])}) == 1:
            own = [row for row, _ in guessed[k]]
            guesses[guessed[k][0][1]].append(f"line {own[0].line}: {same_text(own[0].slide)!r} to {slide.path}")
        else:
            unmatched += [row for row, _ in guessed.get(k, [])]
        merged, wrong = _merged(metadata, slide, own)
        refused += wrong
        rows.append(merged)
    notices = [f"{metadata.file}: joined {why} alone: {some_of(lines, 3)}" for why, lines in guesses.items()]
    return Joined(tuple(rows), tuple(sorted(unmatched, key=lambda row: row.line)), tuple(notices), tuple(refused))


def _fits(row: Row, index: _Index) -> list[tuple[_Fit, int]]:
    parts = path_parts(row.slide)
    if not parts:
        return []
    keys = {folded(parts[-1]), folded(row.slide), *_bare(parts[-1], index.endings)}
    places = {*row.places, *map(folded, row.places)}
    # whoever is at the place, or else in a folder of the name, goes before all others: few slides to look at
    found = {k for place in places for k in index.by_place.get(place, ())}
    if not found and len(parts) > 1:
        found = {k for key in keys for k in index.by_parent.get((folded(parts[-2]), key), ())}
    if not found or len(parts) == 1:
        found |= {k for key in keys for k in index.by_key.get(key, ())}
    fits = ((index.fit(row, parts, k), k) for k in sorted(found))
    return [(fit, k) for fit, k in fits if fit is not None]


def _folders(index: _Index, metadata: Metadata) -> tuple[set[str], set[str]]:
    """Names of folders that slides, and that rows, lie in."""
    of_slides = {folded(part) for parts in index.parts for part in parts[:-1]}
    of_rows = {folded(part) for row in metadata.rows for part in path_parts(row.slide)[:-1]}
    return of_slides, of_rows


def _guess(
    row: Row, fit: _Fit, k: int, index: _Index, known: tuple[set[str], set[str]], files: Mapping[str, int]
) -> str:
    """By what a row whose folders or whose ending are others may be joined all the same, "" if by nothing."""
    parts, own = path_parts(row.slide), index.parts[k]
    if fit.whole:
        return "by the name with another ending"
    if fit.kind == _OTHER_ENDING:
        return ""
    if files[folded(parts[-1])] == 1 and len(index.by_key.get(folded(parts[-1]), ())) == 1:
        return "by the end of the path" if fit.folders else "by the file name, in another folder,"
    # the folders that differ must be names that the other side does not know: else they say "another slide"
    said, there = parts[-2 - fit.folders], own[-2 - fit.folders] if len(own) > fit.folders + 1 else ""
    if fit.folders and folded(said) not in known[0] and folded(there) not in known[1]:
        return "by the end of the path"
    return ""


def _several(file: str, row: Row, slides: Sequence[Named]) -> str:
    longest = max(slides, key=lambda slide: len(path_parts(slide.path)))
    better = f"{'/'.join(path_parts(longest.path)[-2:])}, or " if longest.path != longest.id else ""
    shown = some_of([slide.path for slide in slides], 2)
    return (
        f"{file}, line {row.line}: {same_text(row.slide)!r} fits several slides: {shown}. "
        f"Write folder and ending too, {'such as ' if better else ''}{better}the slide's id, such as {longest.id}."
    )


def _contradiction(file: str, rows: tuple[Row, Row], slide: Named, name: str, values: tuple[str, str]) -> str:
    a, b = map(same_text, values)
    return (
        f"{file}, lines {rows[0].line} and {rows[1].line}: both are about {slide.path}, but {name} is {a!r} in the one "
        f"and {b!r} in the other. Keep one of the two rows."
    )


def _merged(metadata: Metadata, slide: Named, rows: Sequence[Row]) -> tuple[Row | None, list[str]]:
    """Rows about one slide as one, or the line that says how they contradict each other."""
    if not rows:
        return None, []
    values = dict(rows[0].values)
    for row in rows[1:]:
        for name, value in row.values.items():
            first = values.get(name, "")
            said = name in (metadata.patient, metadata.group)
            if not value or (said and missing(value)):
                continue
            if first and not (said and missing(first)) and folded(first) != folded(value):
                wrong = _contradiction(metadata.file, (rows[0], row), slide, name, (first, value))
                return None, [same_text(wrong)]
            values[name] = first if first and not (said and missing(first)) else value
    return Row(rows[0].line, rows[0].slide, values, rows[0].places), []
