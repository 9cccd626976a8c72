"""Chunks of tiles, published one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsiparse import chunks


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
