"""Chunks of tiles, published one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wsiparse.config import RunConfig
from wsiparse.coords import Frame
from wsiparse.errors import TileReadError
from wsiparse.field.store import PartReader
from wsiparse.parallel.progress import Quiet
from wsiparse.parallel.threads import Waits
from wsiparse.recognize.base import Recognizer
from wsiparse.run import chunks, tiles
from wsiparse.run.engine import Engine
from wsiparse.run.plan import Pass, prepare
from wsiparse.run.tiles import TileWork
from wsiparse.slides import Slide, open_slide
from wsiparse.types import Tile


@pytest.mark.parametrize("scheduler", ["serial", "threads"])
def test_idle_memory_goes_back_after_every_full_chunk_and_not_for_a_small_slide(
    wsiparse, demo_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    returned = 0

    def count() -> None:
        nonlocal returned
        returned += 1

    monkeypatch.setattr(chunks, "return_idle_memory", count)
    run = ("run", demo_slide, "--engine", "classical", "--tile-size", 512, "--overlap", 64, "--scheduler", scheduler)
    assert wsiparse(*run, "-o", tmp_path / "a").code == 0
    assert returned == 0
    monkeypatch.setattr(chunks, "CHUNK_TILES", 2)
    assert wsiparse(*run, "-o", tmp_path / "b").code == 0
    [folder] = (tmp_path / "b" / "slides").iterdir()
    [tiles] = [line for line in (folder / "log.txt").read_text().splitlines() if "tiles of 512 px" in line]
    assert returned == int(tiles.split(" INFO ")[1].split()[0]) // 2 >= 1


@pytest.fixture
def work_and_slide(demo_slide: Path) -> Iterator[tuple[Pass, Slide, Recognizer]]:
    config = RunConfig(engine="classical", tile_size=128, overlap=64, whole_slide=True)
    engine = Engine(config)
    with open_slide(demo_slide) as slide:
        [scale_pass] = prepare(slide, config, engine).passes
        yield scale_pass, slide, engine.recognizers.of(scale_pass.scale.spec)


def fill(
    setup: tuple[Pass, Slide, Recognizer], folder: Path, *, stop_after: int | None = None, workers: int = 2
) -> list[int]:
    """Fill the missing chunks, or stop when that many batches have been asked about; the tiles that were recognised."""
    scale_pass, slide, recognizer = setup
    folder.mkdir(exist_ok=True)
    own = [chunk for chunk in chunks.chunks_of(folder, scale_pass.plan.kept.tolist()) if chunk.unreadable() is None]
    seen: list[int] = []
    real = chunks.recognise

    def told(slide: Slide, scale_pass: Pass, recognizer: Recognizer, indices: list[int], how: TileWork) -> Any:
        for cores, lost in real(slide, scale_pass, recognizer, indices, how):
            seen.extend(tile.index for tile in cores)
            yield cores, lost

    left = stop_after

    def stop() -> bool:
        nonlocal left
        if left is None:
            return False
        left -= 1
        return left < 0

    chunks.recognise = told
    try:
        for _ in chunks.fill_chunks(
            slide,
            scale_pass,
            recognizer,
            own,
            TileWork(workers, 0, 1, Quiet(), Waits()),
            stop=stop,
        ):
            pass
    finally:
        chunks.recognise = real
    return seen


def tiles_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def field_of(folder: Path, scale_pass: Pass) -> list[tuple[int, bytes]]:
    out = []
    for path in sorted(folder.glob("part-*.zip")):
        reader = PartReader(path, scale_pass.plan.grid)
        for index in reader.tiles:
            tile = reader.tile(index)
            assert tile is not None
            out.append((index, tile.cells.tobytes() + tile.regions.tobytes() + tile.od.tobytes()))
        reader.close()
    return out


@pytest.mark.parametrize("stop_after", [1, 2, 7, 30, 63, 64, 65, 70])
def test_a_run_that_is_stopped_loses_no_tile_and_ends_with_the_same_field(
    stop_after: int, work_and_slide: Any, tmp_path: Path
) -> None:
    scale_pass = work_and_slide[0]
    assert len(scale_pass.plan) == 80, "a chunk and a piece"
    fill(work_and_slide, tmp_path / "whole")
    first = fill(work_and_slide, tmp_path / "twice", stop_after=stop_after)
    second = fill(work_and_slide, tmp_path / "twice")
    assert len(first) >= stop_after - 1 > -1
    assert sorted(first + second) == list(range(80)), "no tile twice"
    assert field_of(tmp_path / "twice", scale_pass) == field_of(tmp_path / "whole", scale_pass)
    assert sorted(tiles_of(tmp_path / "twice")) == sorted(tiles_of(tmp_path / "whole")), "nothing else is left"


def test_stopped_again_and_again_it_still_ends(work_and_slide: Any, tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(40):
        seen += fill(work_and_slide, tmp_path / "often", stop_after=3)
    seen += fill(work_and_slide, tmp_path / "often")
    fill(work_and_slide, tmp_path / "whole")
    assert sorted(seen) == list(range(80))
    assert field_of(tmp_path / "often", work_and_slide[0]) == field_of(tmp_path / "whole", work_and_slide[0])


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_an_error_or_a_signal_keeps_what_was_done_of_a_chunk(
    error: type[BaseException], work_and_slide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    real = tiles.core_field

    def torn(*args: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        if count == 20:
            raise error
        return real(*args, **more)

    monkeypatch.setattr(tiles, "core_field", torn)
    with pytest.raises(error):
        fill(work_and_slide, tmp_path / "f", workers=1)
    monkeypatch.undo()
    assert sorted(fill(work_and_slide, tmp_path / "f")) == list(range(19, 80))


def test_a_chunk_is_put_aside_by_time_as_well(
    work_and_slide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a process that is killed without a word."""
    monkeypatch.setattr(chunks, "SAVE_S", 0.0)
    sizes: list[int] = []
    real = chunks._put_aside

    def told(chunk: chunks.Chunk, part: Any, lost: Any) -> None:
        real(chunk, part, lost)
        sizes.append(len(chunk.aside.indices))

    monkeypatch.setattr(chunks, "_put_aside", told)
    fill(work_and_slide, tmp_path / "f", workers=1)
    assert sizes[:3] == [0, 1, 2]
    monkeypatch.undo()
    fill(work_and_slide, tmp_path / "whole")
    assert tiles_of(tmp_path / "f").keys() == tiles_of(tmp_path / "whole").keys()
    assert field_of(tmp_path / "f", work_and_slide[0]) == field_of(tmp_path / "whole", work_and_slide[0])


@pytest.mark.parametrize("damage", ["cut", "other tiles", "no sidecar"])
def test_a_damaged_piece_is_not_used(damage: str, work_and_slide: Any, tmp_path: Path) -> None:
    fill(work_and_slide, tmp_path / "f", stop_after=10)
    [piece], [sidecar] = tmp_path.glob("f/some-*.zip"), tmp_path.glob("f/some-*.json")
    if damage == "cut":
        piece.write_bytes(piece.read_bytes()[:100])
    elif damage == "no sidecar":
        sidecar.unlink()
    else:
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
        sidecar.write_text(json.dumps(facts | {"tiles": facts["tiles"][1:]}), encoding="utf-8")
    assert sorted(fill(work_and_slide, tmp_path / "f")) == list(range(80))


def test_nothing_is_put_aside_of_a_chunk_with_an_unreadable_tile(
    work_and_slide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its neighbours were read without their context: when the slide is mended they must be read again."""
    real = tiles._pixels

    def torn(slide: Slide, tile: Tile, frame: Frame) -> Any:
        if tile.index == 3:
            raise TileReadError("torn")
        return real(slide, tile, frame)

    monkeypatch.setattr(tiles, "_pixels", torn)
    fill(work_and_slide, tmp_path / "f", stop_after=10)
    assert not list(tmp_path.glob("f/some-*"))
