"""Results that are whole, and every way in which they are not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.errors import OutputError
from wsiparse.results.folder import REPORT_FILES, own_hash, write_done, write_report_record
from wsiparse.results.verify import Finding, slide_folders, verify, verify_beside
from wsiparse.types import SlideSummary


@pytest.fixture(scope="session")
def analysed(demo_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of a real run; copy it before changing anything."""
    from wsiparse.cli.main import main

    results = tmp_path_factory.mktemp("verify") / "results"
    with pytest.raises(SystemExit) as stop:
        main(["run", str(demo_slide), "-o", str(results)])
    assert not stop.value.code
    return results


@pytest.fixture
def results(analysed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(analysed, tmp_path / "results"))


def only(results: Path) -> Path:
    [folder] = slide_folders(results)
    return folder


def found(results: Path) -> list[Finding]:
    return [finding for slide in verify(slide_folders(results), workers=2) for finding in slide.findings]


def recorded(folder: Path) -> dict[str, dict[str, object]]:
    """What DONE.json and report.json name."""
    records = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("DONE.json", "report.json"))
    return {name: facts for record in records for name, facts in record["files"].items()}


def flip(path: Path, at: int = -1) -> None:
    """Change one byte, size and time of modification as they were."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def summary() -> SlideSummary:
    return SlideSummary(slide="a", engine="none", analysed_mm2=1.0, unreadable_mm2=0.0, counts=())


def toy(results: Path, name: str, files: dict[str, bytes]) -> Path:
    """A finished slide of arbitrary files."""
    folder = results / "slides" / name
    folder.mkdir(parents=True)
    for file, data in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(data)
    write_done(folder, sorted({file.split("/")[0] for file in files}), "digest", summary(), {"unreadable": []})
    for file in REPORT_FILES:
        (folder / file).write_bytes(b"report")
    write_report_record(folder, {})
    return folder


def test_untouched_results_are_good(results: Path) -> None:
    [slide] = verify(slide_folders(results))
    assert slide.good
    assert slide.findings == ()
    files = recorded(only(results))
    assert slide.files == len(files) >= 8
    assert slide.n_bytes == sum(facts["bytes"] for facts in files.values())


def test_every_file_of_a_run_is_watched(results: Path) -> None:
    """One changed byte anywhere is found, and told of that file alone."""
    folder = only(results)
    for path in sorted(path for name in recorded(folder) for path in [folder / name, *(folder / name).rglob("*")]):
        if not path.is_file():
            continue
        flip(path)
        [finding] = found(results)
        assert finding.kind == "changed"
        assert finding.path == folder / path.relative_to(folder).parts[0]
        assert ("wsiparse report" if path.name in REPORT_FILES else "--overwrite") in finding.text
        flip(path)
    assert found(results) == []


def test_a_damaged_column_is_named(results: Path) -> None:
    column = only(results) / "objects.zarr" / "cells" / "score"
    flip(next(path for path in sorted(column.rglob("*")) if path.is_file() and path.name != "zarr.json"), 20)
    [finding] = found(results)
    assert "cells/score" in finding.text
    assert "\n" not in finding.text


def test_a_file_of_another_size_is_told_without_reading_it(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = only(results) / "counts.csv"
    path.write_bytes(path.read_bytes() + b"\n")
    [finding] = found(results)
    assert finding.kind == "changed"
    assert "bytes instead of" in finding.text


@pytest.mark.parametrize("name", ["counts.csv", "objects.zarr"])
def test_a_missing_file_is_told(name: str, results: Path) -> None:
    path = only(results) / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    [finding] = found(results)
    assert (finding.kind, finding.path) == ("missing", path)


def test_a_folder_in_place_of_a_file_is_a_change(results: Path) -> None:
    path = only(results) / "counts.csv"
    path.unlink()
    path.mkdir()
    assert [finding.kind for finding in found(results)] == ["changed"]


def test_a_slide_without_done_is_unfinished(results: Path) -> None:
    (only(results) / "DONE.json").unlink()
    [finding] = found(results)
    assert (finding.kind, finding.path) == ("unfinished", only(results))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 99, "files": {}}', '{"format": 3}', '{"format": 3, "files": []}',
     '{"format": 3, "files": {"a": 1}}', '{"format": 3, "files": {"../../x": {"bytes": 1, "sha256": ""}}}',
     '{"format": 3, "files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}',
     '{"format": 3, "files": {"": {"bytes": 1, "sha256": ""}}}'],
)  # fmt: skip
def test_a_damaged_record_is_one_finding(text: str, results: Path) -> None:
    (only(results) / "DONE.json").write_text(text, encoding="utf-8")
    [finding] = found(results)
    assert finding.kind == "damaged"
    assert finding.path.name == "DONE.json"


def test_leftovers_are_told_and_harmless(results: Path) -> None:
    folder = only(results)
    (folder / "work-0123456789ab").mkdir()
    (folder / ".tmp-0123-counts.csv").touch()
    [slide] = verify([folder])
    assert [finding.kind for finding in slide.findings] == ["leftover", "leftover"]
    assert slide.good


def test_a_file_the_user_put_there_is_said_and_harmless(results: Path) -> None:
    (only(results) / "my notes.txt").touch()
    [slide] = verify(slide_folders(results))
    assert [finding.kind for finding in slide.findings] == ["unknown"]
    assert slide.good


@pytest.mark.parametrize("name", ["labels.ome.zarr", "regions.geojson.gz", "cells.part002.geojson.gz"])
def test_a_file_of_ours_that_is_not_of_these_results_is_a_problem(name: str, results: Path) -> None:
    folder = only(results)
    record = json.loads((folder / "DONE.json").read_text(encoding="utf-8"))
    record["files"].pop(name, None)
    record["sha256"] = own_hash(record)
    (folder / "DONE.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / name).mkdir(exist_ok=True)
    [slide] = verify([folder])
    assert [finding.kind for finding in slide.findings] == ["stray"]
    assert not slide.good


def test_a_number_changed_in_the_record_is_found(results: Path) -> None:
    path = only(results) / "DONE.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["summary"]["counts"][0]["n"] += 1
    path.write_text(json.dumps(record), encoding="utf-8")
    assert [(finding.kind, finding.path) for finding in found(results)] == [("damaged", path)]


def test_a_disk_that_gives_an_error_is_told(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wsiparse.results import verify as module

    real = module.sha256_file

    def broken(path: Path) -> str:
        if path.name == "counts.csv":
            raise OutputError(f"{path}: cannot read: Input/output error.")
        return real(path)

    monkeypatch.setattr(module, "sha256_file", broken)
    [finding] = found(results)
    assert finding.kind == "unreadable"
    assert "(Input/output error)" in finding.text


def test_results_come_in_order_whatever_the_number_of_threads(tmp_path: Path) -> None:
    for k in range(30):
        toy(tmp_path, f"slide{k:02d}__{k:08x}", {"a.txt": b"x" * k, "t.zarr/b": b"y" * 1000 * (30 - k)})
    flip(tmp_path / "slides" / "slide07__00000007" / "a.txt")
    folders = slide_folders(tmp_path)
    assert len(folders) == 30
    told = [list(verify(folders, workers=workers)) for workers in (1, 2, 7)]
    assert told[0] == told[1] == told[2]
    assert [slide.folder for slide in told[0]] == folders
    assert [k for k, slide in enumerate(told[0]) if not slide.good] == [7]


@given(
    files=st.dictionaries(
        st.sampled_from(["a", "b", "c.zarr/x", "c.zarr/y/z"]), st.binary(min_size=1, max_size=40), min_size=1
    ),
    data=st.data(),
)
def test_any_change_of_any_file_is_found(
    files: dict[str, bytes], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = toy(tmp_path_factory.mktemp("any"), "s__01234567", files)
    assert next(verify([folder])).good
    name = data.draw(st.sampled_from(sorted(files)))
    new = data.draw(st.binary(max_size=41).filter(lambda new: new != files[name]))
    (folder / name).write_bytes(new)
    [finding] = next(verify([folder])).findings
    assert finding.path.name == name.split("/")[0]
    assert hashlib.sha256(new).digest() != hashlib.sha256(files[name]).digest()


def test_a_slide_folder_will_do(results: Path) -> None:
    assert slide_folders(only(results)) == [only(results)]


@pytest.mark.parametrize("what", ["absent", "other", "empty"])
def test_what_is_no_results_folder_is_one_line(what: str, tmp_path: Path) -> None:
    if what != "absent":
        (tmp_path / what).mkdir()
    if what == "empty":
        (tmp_path / what / "slides").mkdir()
    with pytest.raises(OutputError, match=what) as told:
        slide_folders(tmp_path / what)
    assert "\n" not in str(told.value)


def run(wsiparse: Callable, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> object:
    from wsiparse.cli import main

    monkeypatch.setitem(main.COMMANDS, "verify", ("verify", "Take every hash again."))
    return wsiparse("verify", *arguments)


def test_the_command_says_that_all_is_good(results: Path, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(wsiparse, monkeypatch, results)
    assert said.code == 0
    assert said.out.startswith("1 of 1 slides are as written")
    assert said.out.count("\n") == 1
    assert said.err == ""


def test_the_command_has_a_line_for_each_problem_and_code_3(
    results: Path, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = only(results)
    flip(folder / "counts.csv")
    (folder / "overlay.jpg").unlink()
    (folder.with_name("other__01234567")).mkdir()
    said = run(wsiparse, monkeypatch, results)
    assert said.code == 3
    lines = said.out.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("0 of 2 slides are as written")
    assert lines[-1].endswith("3 problems")
    assert sum("wsiparse run" in line for line in lines[:-1]) == 2
    assert sum("wsiparse report" in line for line in lines[:-1]) == 1


def test_the_command_has_code_1_for_another_folder(
    tmp_path: Path, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run(wsiparse, monkeypatch, tmp_path)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_kept_table_and_records_of_runs_are_checked_and_those_without_a_hash_are_no_damage(results: Path) -> None:
    assert verify_beside(results) == []
    [run_file] = results.glob("run-*.json")
    record = json.loads(run_file.read_text(encoding="utf-8"))
    del record["sha256"]  # as earlier versions wrote it
    run_file.write_text(json.dumps(record), encoding="utf-8")
    assert verify_beside(results) == []
    for other in (record | {"sha257": "0"}, {k: v for k, v in record.items() if k != "host"}, [], 7):
        run_file.write_text(json.dumps(other), encoding="utf-8")
        assert [finding.path for finding in verify_beside(results)] == [run_file]
    run_file.unlink()
    table: dict[str, object] = {"format": 1, "file": "t.csv", "rows": []}
    path = results / "metadata.json"
    path.write_text(json.dumps(table | {"sha256": own_hash(table)}), encoding="utf-8")
    assert verify_beside(results) == []
    for text in (json.dumps(table | {"file": "u.csv", "sha256": own_hash(table)}), "{", "[]", "[" * 100_000):
        path.write_text(text, encoding="utf-8")
        [finding] = verify_beside(results)
        assert (finding.kind, finding.path) == ("damaged", path)
        assert "--metadata" in finding.text
