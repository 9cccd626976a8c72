"""Pictures that this program wrote are no slides, wherever results lie."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from wsiparse.atomic import temporary_name
from wsiparse.errors import SlideNotFoundError
from wsiparse.slides.discover import find_slides
from wsiparse.slides.own_results import OwnResults


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}" if name.endswith(".json") else b"x")


INPUTS = ("report_inputs.json", "overview.png", "spots/1.jpg")
FINISHED = ("DONE.json", "overlay.jpg", "density.png", *(f"report_inputs/{name}" for name in INPUTS))


@pytest.mark.parametrize(
    "own",
    [
        pytest.param([f"results/slides/a__0123abcd/{name}" for name in FINISHED], id="finished"),
        pytest.param(["results/slides/a__0123abcd/work-12/job.json", "results/slides/a__0123abcd/x.png"], id="killed"),
        pytest.param(["results/slides/a__0123abcd/log.txt", "results/slides/a__0123abcd/x.png"], id="just begun"),
        pytest.param([f"a__0123abcd/{temporary_name('staging')}/overlay.png"], id="being written"),
        pytest.param([f"a__0123abcd/{name}" for name in FINISHED], id="one slide's folder, copied"),
        pytest.param(["out/a__0123abcd/objects.csv", "out/a__0123abcd/x.png"], id="exports elsewhere"),
        pytest.param(["viewer/wsiparse-view.json", "viewer/slide/0/0_0.jpg", "viewer/class/1/0/0_0.png"], id="viewer"),
        pytest.param(["stage/wsiparse-stage_host_1_0123abcd/a/b.png"], id="staged copies"),
        pytest.param([f"report_inputs/{name}" for name in INPUTS], id="what a report is made of"),
        pytest.param(["basis/basis.json", "basis/overview.png"], id="what a report of an older version is made of"),
    ],
)
def test_a_folder_of_results_is_never_searched(own: list[str], tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "deep/b.png", *own)
    said: list[str] = []
    found = find_slides([tmp_path], recursive=True, extensions=[".png", ".jpg"], say=said.append)
    assert [str(p.relative_to(tmp_path)) for p in found] == ["a.png", "deep/b.png"]
    [line] = said
    assert line.endswith("not searched for slides")
    pattern = find_slides([str(tmp_path / "**" / "*.png")], say=said.append)
    assert pattern == found


def test_a_results_folder_that_was_renamed_is_known_by_its_record(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "mine/overlay.png")
    (tmp_path / "mine" / "DONE.json").write_text(json.dumps({"digest": "1", "summary": {}}))
    assert find_slides([tmp_path], recursive=True, extensions=["png"]) == [tmp_path / "a.png"]


def test_slides_beside_results_are_still_found(tmp_path: Path) -> None:
    """-o . puts results among the slides, and slides/ may be the user's own folder."""
    touch(tmp_path, "run-2026.json", "summary.csv", "a.png", "slides/b.png", "slides/b__0123abcd/DONE.json")
    touch(tmp_path, "slides/b__0123abcd/overlay.png", "case__0123abcd/c.png", "DONE.json")
    found = find_slides([tmp_path], recursive=True, extensions=["png"])
    assert [str(p.relative_to(tmp_path)) for p in found] == ["a.png", "case__0123abcd/c.png", "slides/b.png"]


def test_many_folders_of_one_run_are_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", *(f"results/slides/a__0000000{k}/DONE.json" for k in range(9)))
    said: list[str] = []
    find_slides([tmp_path], recursive=True, extensions=["png"], say=said.append)
    assert said == [f"{tmp_path}/results: results of wsiparse (9 folders), not searched for slides"]


def test_a_file_in_results_may_be_named_itself_and_their_folder_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "r/slides/a__0123abcd/DONE.json", "r/slides/a__0123abcd/overlay.jpg")
    picture = tmp_path / "r" / "slides" / "a__0123abcd" / "overlay.jpg"
    assert find_slides([picture]) == [picture]
    with pytest.raises(SlideNotFoundError, match="holds results of wsiparse, not slides"):
        find_slides([picture.parent], extensions=["jpg"])


def test_label_images_of_ours_are_no_slides(tmp_path: Path) -> None:
    axes = [{"name": n, "type": "space"} for n in "cyx"]
    image = {"axes": axes, "datasets": [{"path": "0"}]}
    for name, more in (("labels", {"wsiparse": {}}), ("picture", {})):
        folder = tmp_path / "x" / f"{name}.ome.zarr"
        folder.mkdir(parents=True)
        attributes = {"ome": {"version": "0.5", "multiscales": [image]}, **more}
        (folder / "zarr.json").write_text(json.dumps({"zarr_format": 3, "attributes": attributes}))
    assert [p.name for p in find_slides([tmp_path], recursive=True)] == ["picture.ome.zarr"]
    old = tmp_path / "x" / "labels.ome.zarr"
    (old / "zarr.json").unlink()
    (old / ".zattrs").write_text(json.dumps({"multiscales": [image], "wsiparse": {}}))
    assert OwnResults().is_own(old)


def test_one_file_under_two_names_is_taken_once_and_told(tmp_path: Path) -> None:
    touch(tmp_path, "Slide.svs", "other.svs")
    (tmp_path / "link.svs").symlink_to(tmp_path / "other.svs")
    # as a file system that does not tell upper from lower case has it
    os.link(tmp_path / "Slide.svs", tmp_path / "slide.SVS")
    # two names of their own are two slides, whatever their content
    os.link(tmp_path / "Slide.svs", tmp_path / "copy.svs")
    said: list[str] = []
    found = find_slides([tmp_path], say=said.append)
    assert len(found) == 3
    assert {p.name.lower() for p in found} == {"copy.svs", "slide.svs", "link.svs"}
    assert len([line for line in said if "is the same file as" in line]) == 2
