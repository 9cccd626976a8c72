"""The halo that a model needs is measured, and written into its card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.recognize.exported.folders import script_bytes, write_exported
from wsiparse.cli.engines import command
from wsiparse.doctor import halo
from wsiparse.recognize.registry import engine_of
from wsiparse.slides import MemorySlide

#: Darkness under a window of 49 px: a pixel depends on what lies up to 24 px away.
REACH_PX = 24


class Wide(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 + 4 * (torch.nn.functional.avg_pool2d(x[:, :1], 49, 1, 24) - 0.5)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_exported(tmp_path / "m", script_bytes(Wide()), "model.pt", input={"halo_px": "measured"})


@pytest.fixture
def picture() -> MemorySlide:
    coarse = np.random.default_rng(0).integers(0, 256, (33, 33, 1))
    return MemorySlide(np.kron(coarse, np.ones((16, 16, 3))).astype(np.uint8), 0.5, name="picture")


def test_the_smallest_halo_as_wide_as_the_network_looks_is_found(model: Path, picture: MemorySlide) -> None:
    told: list[int] = []
    found = halo.measure_halo(str(model), picture, lambda row: told.append(row.halo_px))
    assert told == [0, 32, 64, 96, 128]
    assert found.rows[0].changed > halo.ENOUGH
    assert all(row.changed == 0 for row in found.rows[1:])
    assert found.rows[1].objects > 5
    assert found.enough is not None
    assert found.enough.halo_px == 32 >= REACH_PX


def test_where_nothing_is_found_no_halo_is_enough(model: Path) -> None:
    glass = MemorySlide(np.zeros((256, 256, 3), np.uint8), 0.5)
    assert halo.measure_halo(str(model), glass).enough is None


def test_the_halo_is_written_into_the_card_and_its_comments_stay(
    model: Path, picture: MemorySlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = model / "model.yaml"
    card.write_text("# mine\n" + card.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(halo, "built_in_picture", lambda mpp: picture)
    done = CliRunner().invoke(command, ["check", str(model), "--write"], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "an exported network: a halo of 32 px is enough (torch" in done.output
    text = card.read_text(encoding="utf-8")
    assert text.startswith("# mine\n")
    assert "halo_px: 32" in text
    assert engine_of(str(model)).info(engine_of(str(model)).spec()).halo_px == 32


def test_engines_alone_and_with_folders_still_lists(model: Path) -> None:
    done = CliRunner().invoke(command, [str(model)], standalone_mode=False)
    assert "exported  [ready]" in done.output
    assert done.return_value == 0
    assert CliRunner().invoke(command, ["--json", str(model)], standalone_mode=False).output.startswith("[")
