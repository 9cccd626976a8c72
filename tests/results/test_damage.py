"""Every file of a results folder damaged in every way: verify finds it, and no reader takes it for whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from wsiparse.errors import OutputError
from wsiparse.results import whole
from wsiparse.results.folder import file_facts, made_of, own_hash, report_inputs_in, report_record
from wsiparse.results.report_inputs import read_report_inputs
from wsiparse.results.verify import slide_folders, verify, verify_beside
from wsiparse.slides.synthetic import paint_he, write_svs
from wsiparse.viewer.source import find_shown
from wsiparse.viewer.view import View


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGES = (flip, cut, zero, empty, Path.unlink)


@pytest.fixture(scope="session")
def analysed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from wsiparse.cli.main import main

    place = tmp_path_factory.mktemp("damage")
    write_svs(place / "s.svs", paint_he(320, 256, seed=5).image)
    with pytest.raises(SystemExit) as stop:
        main(["run", str(place / "s.svs"), "-o", str(place / "r"), "--engine", "classical"])
    assert not stop.value.code
    return place / "r"


@pytest.fixture
def results(analysed_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(analysed_once, tmp_path / "r"))


def watched(results: Path) -> list[Path]:
    """Every file that is a result; the log is not."""
    return [path for path in sorted(results.rglob("*")) if path.is_file() and path.name != "log.txt"]


def problems(results: Path) -> list[str]:
    found = [f for slide in verify(slide_folders(results)) for f in slide.findings] + verify_beside(results)
    return [finding.text for finding in found if finding.wrong]


def test_verify_finds_every_damage_of_every_file(results: Path) -> None:
    assert problems(results) == []
    count = 0
    for path in watched(results):
        good = path.read_bytes()
        for damage in DAMAGES:
            if damage in (flip, cut, zero) and not any(good):
                continue
            damage(path)
            if path.exists() and path.read_bytes() == good:
                continue
            if damage is Path.unlink and path.name.startswith("run-"):
                path.write_bytes(good)
                continue  # a run whose file is gone has never been
            assert problems(results), f"{damage.__name__} of {path.relative_to(results)}"
            count += 1
            path.write_bytes(good)
    assert count > 135
    assert problems(results) == []


def test_verify_finds_a_slide_that_is_gone(results: Path) -> None:
    write_svs(results.parent / "t.svs", paint_he(320, 256, seed=6).image)
    [folder] = (results / "slides").iterdir()
    folder.rename(folder.with_name("other__01234567"))
    assert any("missing" in text for text in problems(results))


#: Who reads results -> which names of a slide's folder it reads.
READERS: dict[str, tuple[str, ...]] = {
    "export": ("objects.zarr", "DONE.json"),
    "report": ("objects.zarr", "report_inputs", "DONE.json"),
    "view": ("objects.zarr", "labels.ome.zarr", "report_inputs", "DONE.json"),
    "read_objects": ("objects.zarr",),
}


def use(reader: str, folder: Path, wsiparse: Callable) -> str:
    """What a reader makes of results, as text; an `OutputError` if it refuses."""
    if reader == "view":
        shown = find_shown(folder)
        return json.dumps(View(shown).facts([]), default=str)
    if reader == "read_objects":
        from wsiparse import read_objects

        return str(read_objects(folder).polygons().tolist())
    said = wsiparse(*(("export", folder, "-f", "csv") if reader == "export" else ("report", folder.parent.parent)))
    if said.code:
        assert said.err.count("\n") == 1, said.err
        assert "Traceback" not in said.err
        raise OutputError(said.err)
    files = ("exports/objects.csv",) if reader == "export" else ("counts.csv", "report.html", "report.json")
    return "".join(hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files)


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_uses_a_damaged_file(reader: str, results: Path, wsiparse: Callable) -> None:
    """One file of each array and folder, each damage; whatever it does not read changes nothing for it."""
    [folder] = (results / "slides").iterdir()
    want = use(reader, folder, wsiparse)
    chosen: dict[Path, Path] = {}
    for path in watched(folder):
        if "exports" not in path.parts:
            chosen.setdefault(path.parent / path.suffix if path.parent != folder else path, path)
    spare = shutil.copytree(folder, folder.parent.parent / "spare")
    for path in chosen.values():
        name = path.relative_to(folder).parts[0]
        for damage in (flip, Path.unlink) if reader == "report" else DAMAGES:
            good = path.read_bytes()
            if damage in (flip, cut, zero) and not any(good):
                continue
            damage(path)
            if path.exists() and path.read_bytes() == good:
                continue
            where = f"{reader}: {damage.__name__} of {path.relative_to(folder)}"
            try:
                got = use(reader, folder, wsiparse)
            except OutputError as error:
                got = str(error)
            if got != want:
                assert "again" in got, where
                assert "damaged" in got or not path.exists(), where
            else:
                assert name not in READERS[reader], where
            shutil.rmtree(folder)
            shutil.copytree(spare, folder)


def test_a_file_that_has_not_changed_is_hashed_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [folder] = (results / "slides").iterdir()
    count = 0
    real = whole.sha256_tree

    def counted(path: Path) -> str:
        nonlocal count
        count += 1
        return real(path)

    monkeypatch.setattr(whole, "sha256_tree", counted)
    for _ in range(3):
        whole.check_whole(folder, "objects.zarr", "report_inputs")
    assert count == 2
    file = folder / "report_inputs" / "report_inputs.json"
    os.utime(file, (1, 1))
    whole.check_whole(folder, "report_inputs")
    assert count == 3
    flip(file)
    with pytest.raises(OutputError, match="report_inputs: damaged"):
        whole.check_whole(folder, "report_inputs")


def test_a_damaged_slide_is_told_by_export_and_status_and_made_anew_by_run(results: Path, wsiparse: Callable) -> None:
    [folder] = (results / "slides").iterdir()
    flip(folder / "DONE.json")
    said = wsiparse("export", results, "-f", "csv")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "DONE.json is not" in said.err
    assert "DONE.json is not" in wsiparse("status", results).out
    shutil.copytree(folder, folder.with_name("more__01234567"))
    assert wsiparse("export", results, "-f", "csv").code == 3


def test_objects_without_a_record_beside_them_are_read(results: Path, wsiparse: Callable, tmp_path: Path) -> None:
    [folder] = (results / "slides").iterdir()
    shutil.copytree(folder / "objects.zarr", tmp_path / "alone" / "objects.zarr")
    assert wsiparse("export", tmp_path / "alone" / "objects.zarr", "-f", "csv", "-o", tmp_path / "out").code == 0


def test_results_that_call_the_reports_inputs_basis_are_read(
    results: Path, analysed_once: Path, wsiparse: Callable
) -> None:
    """Results written before the folder was renamed: nothing of them is damaged, missing or unknown."""
    [folder] = (results / "slides").iterdir()
    (folder / "report_inputs").rename(folder / "basis")
    (folder / "basis" / "report_inputs.json").rename(folder / "basis" / "basis.json")
    done = json.loads((folder / "DONE.json").read_text(encoding="utf-8"))
    del done["files"]["report_inputs"]
    done["files"]["basis"] = file_facts(folder / "basis")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["made_of"] = made_of(folder)
    assert set(report["made_of"]) == {"objects.zarr/zarr.json", "basis/basis.json"}
    for name, record in (("DONE.json", done), ("report.json", report)):
        (folder / name).write_text(json.dumps(record | {"sha256": own_hash(record)}), encoding="utf-8")

    assert problems(results) == []
    assert report_record(folder) is not None
    assert "1 done" in wsiparse("status", results).out
    assert use("view", folder, wsiparse)
    for command in (("export", folder, "-f", "csv"), ("report", results), ("verify", results)):
        assert wsiparse(*command).code == 0, command
    assert report_record(folder) is not None
    assert read_report_inputs(report_inputs_in(folder)).slide["name"] == "s"
    # a run of other settings replaces it by the name of today
    slide = analysed_once.parent / "s.svs"
    again = wsiparse("run", slide, "-o", results, "--engine", "classical", "--no-labels", "--overwrite")
    assert again.code == 0
    assert sorted(path.name for path in folder.iterdir() if path.name in ("basis", "report_inputs")) == [
        "report_inputs"
    ]


def test_results_of_another_version_are_one_line_and_stay(results: Path, wsiparse: Callable) -> None:
    [folder] = (results / "slides").iterdir()
    record = json.loads((folder / "DONE.json").read_text(encoding="utf-8"))
    older = {key: value for key, value in record.items() if key not in ("sha256", "settings")} | {"format": 2}
    (folder / "DONE.json").write_text(json.dumps(older), encoding="utf-8")
    before = {path: path.read_bytes() for path in watched(folder)}
    said = "another version of wsiparse"
    for command in (("export", folder, "-f", "csv"), ("view", folder, "--export", results.parent / "page")):
        got = wsiparse(*command)
        assert (got.code, got.err.count("\n")) == (1, 1), command
        assert said in got.err
        assert "--overwrite" in got.err
    assert said in wsiparse("status", results).out
    assert said in wsiparse("verify", results).out
    assert wsiparse("report", results).code == 3
    assert {path: path.read_bytes() for path in watched(folder)} == before
