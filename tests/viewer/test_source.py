from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.viewer.made import make, truth
from wsiparse.errors import OutputError, SlideError, SlideNotFoundError
from wsiparse.results.folder import own_hash
from wsiparse.slides.synthetic import paint_he, write_svs
from wsiparse.viewer.source import find_shown

SMALL = (640, 512)


@pytest.fixture
def slide(demo_slide: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(demo_slide, tmp_path / "demo.svs"))


@pytest.fixture
def of_slide(slide: Path, tmp_path: Path) -> Path:
    """Results of a slide that is where their run says."""
    return make(tmp_path / "results", truth(SMALL), slide=slide)


def test_the_run_tells_where_the_slide_is(of_slide: Path, slide: Path) -> None:
    shown = find_shown(of_slide)
    assert shown.slide is not None
    with shown.slide as opened:
        assert opened.path == slide
    assert shown.missing == ""
    assert (shown.size, shown.mpp) == (SMALL, (0.5, 0.5))


def test_a_slide_that_is_gone_is_told_and_does_without(of_slide: Path, slide: Path) -> None:
    slide.unlink()
    shown = find_shown(of_slide)
    assert shown.slide is None
    assert str(slide) in shown.missing


def test_a_slide_that_changed_is_told_and_does_without(of_slide: Path, slide: Path) -> None:
    write_svs(slide, paint_he(*SMALL, seed=8).image)
    shown = find_shown(of_slide)
    assert shown.slide is None
    assert "not the slide these results are of" in shown.missing


def test_a_slide_that_was_moved_is_named(of_slide: Path, slide: Path, tmp_path: Path) -> None:
    moved = slide.rename(tmp_path / "elsewhere.svs")
    shown = find_shown(of_slide, moved)
    assert shown.slide is not None
    with shown.slide as opened:
        assert opened.path == moved


def test_another_slide_is_refused_when_it_is_named(of_slide: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.svs"
    write_svs(other, paint_he(*SMALL, seed=8).image)
    with pytest.raises(SlideError, match="not the slide these results are of"):
        find_shown(of_slide, other)


def test_a_slide_that_is_named_and_not_there_is_refused(of_slide: Path, tmp_path: Path) -> None:
    with pytest.raises(SlideNotFoundError):
        find_shown(of_slide, tmp_path / "nothing.svs")


def test_a_slide_at_an_address_is_not_fetched(of_slide: Path) -> None:
    run_log = next(of_slide.parent.parent.glob("run-*.json"))
    run_log.write_text(run_log.read_text().replace(f'"path": "{Path(run_log).parent.parent}', '"path": "https://host'))
    shown = find_shown(of_slide)
    assert shown.slide is None
    assert "https://host/demo.svs" in shown.missing


def test_without_a_run_file_there_is_no_slide(made: Path) -> None:
    shown = find_shown(made)
    assert shown.slide is None
    assert "run-*.json" in shown.missing


def test_a_results_folder_with_one_slide_is_that_slide(made: Path) -> None:
    assert find_shown(made.parent.parent).folder == made


def test_of_several_slides_one_must_be_named(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200))
    shutil.copytree(folder, folder.with_name("made__00000001"))
    with pytest.raises(OutputError, match=r"2 slides; name one, e\.g\. wsiparse view .*made__00000000"):
        find_shown(tmp_path)


def test_results_that_are_not_finished_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200))
    (folder / "DONE.json").unlink()
    for path, said in ((folder, "not finished"), (tmp_path, "no finished slide here")):
        with pytest.raises(OutputError, match=said):
            find_shown(path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no results folder"):
        find_shown(tmp_path)


def test_numbers_and_objects_of_different_runs_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, truth((300, 200)), size=(300, 200))
    done = folder / "DONE.json"
    record = json.loads(done.read_text())
    record["summary"]["counts"] = []
    done.write_text(json.dumps(record))
    with pytest.raises(OutputError, match=r"DONE\.json is not what was written"):
        find_shown(folder)
    record["sha256"] = own_hash(record)
    done.write_text(json.dumps(record))
    with pytest.raises(OutputError, match="of different runs"):
        find_shown(folder)
