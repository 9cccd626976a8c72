"""The same folder again: the same settings are done already, other ones replace nothing unasked."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wsiparse.results.folder import done_record, own_hash, own_record
from wsiparse.slides.synthetic import paint_he, write_svs

CLASSICAL = ("--engine", "classical")


def content(folder: Path) -> dict[str, str]:
    """SHA-256 of everything in a slide's folder but its log."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "log.txt"
    }


def only(results: Path) -> Path:
    [folder] = (results / "slides").iterdir()
    return folder


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide and regions."""

    place = tmp_path_factory.mktemp("rerun")
    write_svs(place / "s.svs", paint_he(400, 320, seed=5).image)
    ring = [[20, 20], [300, 20], [300, 250], [20, 250], [20, 20]]
    region = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
    (place / "r.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [region]}), encoding="ascii")
    return place


@pytest.fixture
def place(material: Path, tmp_path: Path, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: slide, regions, finished results, an export of them."""
    for path in material.iterdir():
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert wsiparse("run", "s.svs", "-o", "r", *CLASSICAL).code == 0
    assert wsiparse("export", "r", "--format", "csv").code == 0
    return tmp_path


# every setting that people can change and that shapes results: what the line must say
OTHER = {
    "--engine embedded": "engine classical, not BiomedParse there, embedded",
    "--prompt nuclei": "prompts inflammatory cells, nuclei there, nuclei now",
    "--tumour-class Gland": "tumour classes none there, Gland now",
    "--stroma-class Gland": "stroma classes none there, Gland now",
    "--roi r.geojson": "regions none there, 1 (",
    "--mpp 0.6": "mpp 0.5 there, 0.6 now",
    "--whole-slide": "whole slide no there, yes now",
    "--tile-size 256": "tile size",
    "--overlap 32": "overlap",
    "--min-area-um2 30": "min area um2",
    "--no-labels": "labels 0.5 there, none now",
    "--ngff 0.4": "labels 0.5 there, 0.4 now",
    "--compartments none": "compartments none there, none now",
    "--reader tiffslide": "reader direct there, tiffslide now",
    "--min-recognition 0.3": "min recognition",
}


@pytest.mark.parametrize("options", OTHER)
def test_other_settings_replace_nothing_and_are_one_line(options: str, place: Path, wsiparse: Callable) -> None:
    before = content(only(place / "r"))
    engine = () if "--engine" in options else CLASSICAL
    said = wsiparse("run", "s.svs", "-o", "r", *engine, *options.split())
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    if options != "--compartments none":
        assert OTHER[options] in said.err
    for words in ("classical, not BiomedParse", "for inflammatory cells, nuclei", "-o", "--overwrite"):
        assert words in said.err
    assert content(only(place / "r")) == before
    assert "already done" in wsiparse("run", "s.svs", "-o", "r", *CLASSICAL).out
    again = wsiparse("run", "s.svs", "-o", "r", *engine, *options.split(), "--overwrite")
    assert again.code == 0
    assert content(only(place / "r")) != before


def test_another_content_or_pixel_size_of_the_slide_replaces_nothing(place: Path, wsiparse: Callable) -> None:
    write_svs(place / "s.svs", paint_he(400, 320, seed=6).image)
    said = wsiparse("run", "s.svs", "-o", "r", *CLASSICAL)
    assert said.code == 1
    assert "the slide's file was changed since" in said.err
    assert wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, "--overwrite").code == 0


def test_one_slide_with_other_results_costs_itself(place: Path, wsiparse: Callable) -> None:
    write_svs(place / "t.svs", paint_he(400, 320, seed=7).image)
    said = wsiparse("run", "s.svs", "t.svs", "-o", "r", *CLASSICAL, "--prompt", "nuclei")
    assert (said.code, said.out.count(": done:"), said.err.count("error:")) == (3, 1, 1)


def test_what_auto_stands_for_on_another_machine_is_no_other_setting(place: Path, wsiparse: Callable) -> None:
    """The results were made on a GPU; this machine has none, and nobody said which device."""
    path = only(place / "r") / "DONE.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record |= {"digest": "0" * 64, "settings": record["settings"] | {"device": "cuda"}}
    record["sha256"] = own_hash(record)
    path.write_text(json.dumps(record), encoding="utf-8")
    assert "already done" in wsiparse("run", "s.svs", "-o", "r", *CLASSICAL).out
    said = wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, "--device", "cpu")
    assert said.code == 1
    assert "device cuda there, cpu now" in said.err


def test_results_that_tell_no_settings_are_kept_too(place: Path, wsiparse: Callable) -> None:
    path = only(place / "r") / "DONE.json"
    path.write_text('{"format": 1, "wsiparse": "0.0.1", "digest": "1"}', encoding="ascii")
    said = wsiparse("run", "s.svs", "-o", "r", *CLASSICAL)
    assert said.code == 1
    assert "holds results of another version of wsiparse (0.0.1, format 1; this is " in said.err
    assert "replace them with --overwrite" in said.err


@pytest.mark.parametrize("options", [(), ("--prompt", "nuclei")])
def test_shards_of_tiles_replace_nothing_either(options: tuple[str, ...], place: Path, wsiparse: Callable) -> None:
    before = content(only(place / "r"))
    shard = ("--shard", "1/1", "--shard-by", "tiles")
    said = wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, *options, *shard)
    assert said.code == (1 if options else 0)
    assert wsiparse("merge", "r").code == 0
    assert content(only(place / "r")) == before


def test_a_merge_replaces_no_results_that_came_meanwhile(place: Path, wsiparse: Callable) -> None:
    other = (*CLASSICAL, "--prompt", "nuclei")
    shard = ("--shard", "1/1", "--shard-by", "tiles")
    assert wsiparse("run", "s.svs", "-o", "q", *other, *shard).code == 0
    [work] = only(place / "q").glob("work-*")
    shutil.move(work, only(place / "r") / work.name)
    (only(place / "r") / work.name / "touched").touch()
    before = content(only(place / "r"))
    said = wsiparse("merge", "r")
    assert said.code == 3
    assert "prompts inflammatory cells, nuclei there, nuclei now" in said.err
    assert content(only(place / "r")) == before


def test_results_published_meanwhile_by_another_run_are_not_replaced(
    place: Path, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was there when the run began."""
    from wsiparse.run import slide

    real = slide.publish_staged
    shutil.copytree(only(place / "r"), place / "kept")

    def late(own: Path, folder: Path, *args: Any, **more: Any) -> list[str]:
        shutil.copytree(place / "kept", folder, dirs_exist_ok=True)
        return real(own, folder, *args, **more)

    shutil.rmtree(only(place / "r"))
    monkeypatch.setattr(slide, "publish_staged", late)
    said = wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, "--prompt", "nuclei")
    assert said.code == 1
    assert "another run has published results of other settings meanwhile" in said.err
    assert done_record(only(place / "r")) == own_record(place / "kept")


def test_exports_stay_with_the_same_objects_and_are_named_when_they_go(place: Path, wsiparse: Callable) -> None:
    export = only(place / "r") / "exports" / "objects.csv"
    same = wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, "--overwrite")
    assert export.is_file()
    assert "notice" not in same.err
    assert wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, "--no-labels", "--overwrite").code == 0
    assert export.is_file(), "the objects are the same"
    said = wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, "--prompt", "nuclei", "--overwrite")
    assert said.code == 0
    assert not export.exists()
    [line] = [line for line in said.err.splitlines() if "notice: " in line]
    assert "exports/objects.csv" in line
    assert "exports/objects.csv" in (only(place / "r") / "log.txt").read_text(encoding="utf-8")


def test_a_damaged_file_is_made_again_and_exports_stay(place: Path, wsiparse: Callable) -> None:
    before = content(only(place / "r"))
    (only(place / "r") / "overlay.jpg").write_bytes(b"")
    assert ": done:" in wsiparse("run", "s.svs", "-o", "r", *CLASSICAL).out
    assert content(only(place / "r")) == before


def test_tiles_that_were_unreadable_are_tried_again_though_the_tissue_differs(place: Path, wsiparse: Callable) -> None:
    """The slide could not be seen whole then, so tissue was found elsewhere: that is no other setting."""
    path = only(place / "r") / "DONE.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    lost = {"index": 0, "core": {"x": 0, "y": 0, "width": 1, "height": 1}, "reason": "torn", "mpp": 0.5}
    record |= {"digest": "0" * 64, "settings": record["settings"] | {"tissue": "other"}, "unreadable": [lost]}
    record["sha256"] = own_hash(record)
    path.write_text(json.dumps(record), encoding="utf-8")
    assert ": done:" in wsiparse("run", "s.svs", "-o", "r", *CLASSICAL).out


def test_a_run_killed_while_it_publishes_leaves_nothing_beside_the_next_results(
    place: Path, wsiparse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after each move; then other settings, which have fewer files, publish over what is left."""
    from wsiparse.results import publish

    clean = wsiparse("run", "s.svs", "-o", "clean", *CLASSICAL, "--prompt", "nuclei", "--no-labels")
    assert clean.code == 0
    want = content(only(place / "clean"))
    shutil.copytree("r", "first")
    real = publish._move

    class Killed(BaseException):
        pass

    for k in range(12):
        shutil.rmtree("r")
        shutil.copytree("first", "r")
        (only(place / "r") / "my notes.txt").write_text("mine", encoding="ascii")
        left = k

        def move(*paths: Path) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            real(*paths)

        monkeypatch.setattr(publish, "_move", move)
        try:
            main("run", "s.svs", "-o", "r", *CLASSICAL, "--min-area-um2", "30", "--overwrite")
            assert k > 8, "every file is moved"
        except Killed:
            pass
        monkeypatch.setattr(publish, "_move", real)
        more = ("--overwrite",) if done_record(only(place / "r")) else ()
        said = wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, "--prompt", "nuclei", "--no-labels", *more)
        assert said.code == 0, said.err
        found = content(only(place / "r"))
        assert found.pop("my notes.txt")
        found = {name: digest for name, digest in found.items() if not name.startswith("work-")}
        assert found == want
        told = wsiparse("verify", "r")
        assert told.code == 0
        assert "my notes.txt: not of wsiparse" in told.err


def main(*arguments: str) -> None:
    from wsiparse.cli.main import main as command

    with pytest.raises(SystemExit):
        command(list(arguments))


def test_a_printed_report_does_not_outlive_what_it_was_printed_of(place: Path, wsiparse: Callable) -> None:
    printed = only(place / "r") / "report.pdf"
    printed.write_bytes(b"%PDF")
    assert wsiparse("verify", "r").code == 0
    assert wsiparse("report", "r").code == 0
    assert not printed.exists()


def test_the_report_goes_with_its_objects(place: Path, wsiparse: Callable) -> None:
    """A report made while the objects were replaced is told apart from theirs, and made anew."""
    folder = only(place / "r")
    old = {name: (folder / name).read_bytes() for name in ("counts.csv", "density.png", "report.html", "report.json")}
    assert wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, "--prompt", "nuclei", "--overwrite").code == 0
    good = content(folder)
    for name, data in old.items():
        (folder / name).write_bytes(data)
    told = wsiparse("verify", "r")
    assert told.code == 3
    assert "made of other results" in told.out
    assert "already done" in wsiparse("run", "s.svs", "-o", "r", *CLASSICAL, "--prompt", "nuclei").out
    assert content(folder) == good
