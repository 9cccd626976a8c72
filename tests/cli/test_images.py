"""--image and the notes about a file, from the command line to the results and the viewer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.fixtures_slides import textured
from wsiparse.cli.main import main
from wsiparse.slides.sheet import read_sheet
from wsiparse.viewer.source import find_shown

MACRO = textured(100, 150, seed=1)


def slide(path: Path) -> Path:
    picture = np.full((300, 400, 3), 243, np.uint8)
    picture[50:250, 50:350] = (220, 160, 200)
    for y in range(75, 240, 40):
        for x in range(75, 340, 40):
            picture[y : y + 14, x : x + 14] = (84, 60, 140)
    options = {"photometric": "rgb", "tile": (64, 64)}
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, array, mpp in (("macro", MACRO, 8.0), ("HE", picture, 0.5), ("again", picture[:200], 0.5)):
            size = {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
            writer.write(array, metadata={"axes": "YXS", "Name": name, **size}, **options)
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def done(results: Path) -> dict[str, object]:
    [record] = results.glob("slides/*/DONE.json")
    return json.loads(record.read_text(encoding="utf-8"))


def test_info_names_the_image_and_takes_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = slide(tmp_path / "a.ome.tif")
    assert run("info", path, "--json") == 0
    [fact] = json.loads(capsys.readouterr().out)
    assert (fact["image"], fact["size"]) == (1, [400, 300])
    assert "1 'HE' (400 x 300 px) is read" in fact["notes"][0]
    assert run("info", path, "--image", "again") == 0
    told = capsys.readouterr().out
    assert "400 x 200 px" in told
    assert "note       Of 3 images 2 'again'" in told
    assert run("info", path, "--image", "IHC") == 1
    told = capsys.readouterr().err
    assert "has no image 'IHC'" in told
    assert "Choose one that it has with --image, or leave that out." in told
    assert "Convert" not in told
    assert len(told.splitlines()) == 1


def test_a_run_takes_the_slide_and_remembers_which_image_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = slide(tmp_path / "a.ome.tif")
    options = ("--engine", "classical", "--num-workers", "1")
    assert run("run", path, "-o", tmp_path / "r", *options) == 0
    assert "1 'HE' (400 x 300 px) is read" in capsys.readouterr().err
    assert run("run", path, "-o", tmp_path / "other", "--image", "again", *options) == 0
    first, other = done(tmp_path / "r"), done(tmp_path / "other")
    assert (first["slide"]["image"], other["slide"]["image"]) == (1, 2)
    assert first["slide"]["fingerprint"] != other["slide"]["fingerprint"]
    assert first["summary"]["analysed_mm2"] > other["summary"]["analysed_mm2"] > 0
    for results, size in (("r", (400, 300)), ("other", (400, 200))):
        shown = find_shown(tmp_path / results)
        assert shown.slide is not None
        assert shown.slide.size == size
        shown.slide.close()
    assert "is read, not" in next((tmp_path / "r" / "slides").glob("*/log.txt")).read_text(encoding="utf-8")
    capsys.readouterr()
    assert run("run", path, "-o", tmp_path / "r", "--image", "again", *options) == 1
    assert "which differ: image 1 there, 2 now. " in capsys.readouterr().err


def test_a_sheet_names_the_image_of_each_slide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide(tmp_path / "a.ome.tif")
    sheet = tmp_path / "slides.csv"
    sheet.write_text("slide,image\na.ome.tif,again\n", encoding="utf-8")
    [(_, listed)] = read_sheet(sheet)
    assert listed.image == "again"
    assert run("info", sheet, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["image"] == 2
    assert run("plan", sheet, "--engine", "classical") == 0
    assert "2 'again' (400 x 200 px) is read" in capsys.readouterr().err


def test_processes_of_their_own_read_the_same_image(tmp_path: Path) -> None:
    path = slide(tmp_path / "a.ome.tif")
    here, there = tmp_path / "here", tmp_path / "there"
    assert run("run", path, "-o", here, "--image", "2", "--engine", "classical", "--num-workers", "1") == 0
    assert (
        run(
            "run",
            path,
            "-o",
            there,
            "--image",
            "2",
            "--engine",
            "classical",
            "--scheduler",
            "local",
            "--num-workers",
            "1",
        )
        == 0
    )
    assert done(here)["summary"] == done(there)["summary"]


def test_area_without_data_is_told_in_info_log_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tif"
    picture = np.full((300, 400, 3), (220, 160, 200), np.uint8)
    tifffile.imwrite(
        path,
        picture,
        photometric="rgb",
        tile=(64, 64),
        metadata=None,
        resolution=(2e4, 2e4),
        resolutionunit="CENTIMETER",
    )
    with tifffile.TiffFile(path, mode="r+") as tiff:
        counts = list(tiff.pages[0].databytecounts)
        counts[:8] = [0] * 8
        tiff.pages[0].tags["TileByteCounts"].overwrite(counts)
    mm2 = (6 * 64 + 16 + 64) * 64 * 0.25e-6
    assert run("info", path) == 0
    assert f"no data    {mm2:.3f} mm2 that the file does not have" in capsys.readouterr().out
    assert run("run", path, "-o", tmp_path / "r", "--engine", "classical", "--num-workers", "1") == 0
    assert done(tmp_path / "r")["slide"]["missing_mm2"] == pytest.approx(mm2)
    [folder] = (tmp_path / "r" / "slides").iterdir()
    assert f"{mm2:.3f} mm2 of the slide are not in the file" in (folder / "log.txt").read_text(encoding="utf-8")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "not in the file" in page
