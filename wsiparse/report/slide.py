"""One slide's report: objects.zarr and report_inputs/ become counts.csv, density.png, report.html and report.json.

Nothing else is read, so a report can be redone without its slide. report.json is written last: it holds every number
of the page and names the other three files with size and sha256, as DONE.json does for the results themselves.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wsiparse.atomic import output_error, publish
from wsiparse.choices import Division
from wsiparse.machine import own_version
from wsiparse.report.data import RegionsFile, ReportData, load
from wsiparse.report.pages.limits import limits
from wsiparse.report.pages.maps import RAMP, density_sheet
from wsiparse.report.pages.page import slide_page
from wsiparse.report.pictures import map_background, report_maps, spot_pictures
from wsiparse.report.stats.methods import METHODS
from wsiparse.report.stats.numbers import compute_report
from wsiparse.report.stats.regions_drawn import DrawnRegion
from wsiparse.report.stats.rows import CsvSlide, counts_csv
from wsiparse.report.stats.summary import nothing_told
from wsiparse.results.folder import made_of, report_inputs_in, report_record, write_report_record, write_text
from wsiparse.results.publish import publish_report, staging
from wsiparse.results.report_inputs import read_report_inputs
from wsiparse.results.whole import check_whole
from wsiparse.store.read import ObjectsReader
from wsiparse.tiling import RegionClasses

__all__ = ["redo_slide_report", "write_slide_report"]


def write_slide_report(
    folder: Path, slide_id: str, loaded: ReportData, squares: Mapping[str, bytes], *, analysed: str | None = None
) -> dict[str, Any]:
    """Write a slide's report, report.json last; its numbers.

    Parameters
    ----------
    folder : where the four files go
    slide_id : name of the slide's results folder
    squares : JPEG of every pictured square of the inputs that could be read, by file name
    analysed : day the slide was analysed, YYYY-MM-DD in UTC; None for today

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    analysis = compute_report(loaded.source, loaded.settings, loaded.area, loaded.quality)
    source = loaded.source
    nothing = nothing_told(source.prompts, source.objects.n_cells, source.tissue.area_mm2)
    today = _day(time.time())
    pictures, maps, tops = report_maps(loaded, analysis)
    spots = spot_pictures(loaded, analysis.spots, squares)
    spots |= spot_pictures(loaded, analysis.aggregates, squares, "aggregate")
    numbers: dict[str, Any] = {
        "wsiparse": own_version(),
        "slide": dict(loaded.inputs.slide),
        "engine": loaded.reader.engine,
        "dates": {"analysed": analysed or today, "report": today},
        "settings": loaded.settings.as_json()
        | {
            "roi": loaded.file[0] if loaded.file is not None else None,
            "roi_sha256": loaded.file[1] if loaded.file is not None else None,
            "tissue": loaded.inputs.tissue_file[0] if loaded.inputs.tissue_file is not None else None,
            "tissue_sha256": loaded.inputs.tissue_file[1] if loaded.inputs.tissue_file is not None else None,
            "tumour_is_epithelium": loaded.tumour_is_epithelium,
        },
        "region_notes": list(loaded.notes),
        **analysis.numbers,
        "limits": limits(
            analysis.numbers["area"],
            loaded.inputs.slide,
            loaded.inputs.limits,
            nothing,
            tumour_is_epithelium=loaded.tumour_is_epithelium,
        ),
        "stain_strength": loaded.inputs.limits.stain_strength,
        "regions": _named(loaded.drawn),
        "maps": maps,
        "ramp": list(RAMP),
        "methods": [dict(method) for method in METHODS],
    }
    for spot in numbers["immune"]["hot_spots"]["spots"]:
        name = f"spot/{spot['rank']}"
        spot["picture"] = name if name in spots else None
    for lump in (numbers["immune"]["structures"] or {"aggregates": {"listed": []}})["aggregates"]["listed"]:
        name = f"aggregate/{lump['rank']}"
        lump["picture"] = name if name in spots else None
    write_text(folder / "counts.csv", counts_csv(CsvSlide(numbers, str(numbers["slide"]["name"]), slide_id)))
    sheet = density_sheet(
        map_background(loaded),
        analysis.grid,
        [p.class_name for p in loaded.source.prompts],
        tops,
        f"{numbers['slide']['name']}   {numbers['engine']}   research use only",
    )
    with publish(folder / "density.png") as temporary:
        sheet.save(temporary, format="PNG", compress_level=4)
    write_text(folder / "report.html", slide_page(numbers, pictures | spots))
    numbers["made_of"] = made_of(loaded.reader.path.parent)
    write_report_record(folder, numbers)
    return numbers


def redo_slide_report(
    folder: Path,
    asked: Division | None,
    regions: RegionsFile | None,
    *,
    seed: int = 0,
    classes: RegionClasses | None = None,
    tumour_is_epithelium: bool | None = None,
) -> dict[str, Any]:
    """Make the report of a finished slide anew from its objects.zarr and report_inputs/; its numbers.

    Raises
    ------
    OutputError
        If the slide is not finished, its results are damaged, or the report cannot be written.
    """
    where = report_inputs_in(folder)
    check_whole(folder, "objects.zarr", where.name)
    inputs = read_report_inputs(where)
    squares = {}
    for square in inputs.squares:
        try:
            squares[square.file] = (where / square.file).read_bytes()
        except OSError as error:
            raise output_error(where / square.file, error, "read") from error
    loaded = load(
        ObjectsReader(folder / "objects.zarr"),
        inputs,
        asked,
        regions,
        seed=seed,
        classes=classes,
        tumour_is_epithelium=tumour_is_epithelium,
    )
    with staging(folder) as own:
        numbers = write_slide_report(own, folder.absolute().name, loaded, squares, analysed=_analysed(folder))
        publish_report(own, folder)
    return numbers


def _day(seconds: float) -> str:
    """Day of a time since 1970, YYYY-MM-DD in UTC."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _analysed(folder: Path) -> str:
    """Day a finished slide was analysed: as its report says, else when DONE.json was written."""
    before = report_record(folder)
    if before is not None and "dates" in before:
        return str(before["dates"]["analysed"])
    try:
        return _day((folder / "DONE.json").stat().st_mtime)
    except OSError as error:
        raise output_error(folder / "DONE.json", error, "read") from error


def _named(drawn: Sequence[DrawnRegion]) -> list[dict[str, Any]]:
    """Classes of drawn regions, how many there are of each, and whether they are left out; in order of their names."""
    counted = Counter((region.class_name, region.left_out) for region in drawn)
    return [{"class": name, "left_out": out, "n": n} for (name, out), n in sorted(counted.items())]
