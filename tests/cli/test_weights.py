from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recognize.biomedparse.local_hub import CONTENT, LocalHub
from wsiparse.recognize.biomedparse import weights
from wsiparse.recognize.biomedparse.weights import FILES, LICENCE, MANIFEST, fetch


class Terminal(io.StringIO):
    """Standard input with somebody at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default folder, not there yet."""
    path = tmp_path / "weights"
    monkeypatch.setenv("WSIPARSE_WEIGHTS", str(path))
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """Stands in for the Hugging Face hub."""
    local = LocalHub()
    monkeypatch.setattr(weights, "HuggingFaceHub", lambda: local)
    return local


@pytest.mark.parametrize("name", ["fetch", "path", "verify"])
def test_every_verb_has_help_whose_example_is_understood(
    name: str, wsiparse: Callable, folder: Path, hub: LocalHub
) -> None:
    said = wsiparse("weights", name, "--help")
    assert said.code == 0
    example = re.search(r"Example: wsiparse (.+?)(?= Options:)", re.sub(r"\s+", " ", said.out))
    assert example is not None
    fetch(folder, licence_accepted=True, hub=hub)
    ran = wsiparse(*shlex.split(example.group(1)))
    # the stand-in's files are found and are as fetched, but they are no network to load
    expected = 1 if "--load" in example.group(1) else 0
    assert ran.code == expected, ran.err
    assert "tokenizer.json" in ran.out


def test_the_verbs_are_listed(wsiparse: Callable) -> None:
    said = wsiparse("weights", "--help")
    assert all(verb in said.out for verb in ("fetch", "path", "verify"))


# --- fetch


def test_the_licence_is_shown_and_a_yes_at_the_terminal_downloads(
    wsiparse: Callable, folder: Path, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    said = wsiparse("weights", "fetch")
    assert said.code == 0, said.err
    assert LICENCE in said.err
    assert {p.name for p in folder.iterdir()} == {*FILES, MANIFEST}


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_anything_but_a_yes_downloads_nothing(
    answer: str, wsiparse: Callable, folder: Path, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    said = wsiparse("weights", "fetch")
    assert said.code == 1
    assert "not accepted" in said.err
    assert hub.asked == []
    assert not folder.exists()


def test_without_a_terminal_nobody_is_asked_and_the_flag_is_named(
    wsiparse: Callable, folder: Path, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    said = wsiparse("weights", "fetch")
    assert said.code == 1
    assert LICENCE in said.err
    assert "--accept-licence" in said.err.splitlines()[-1]
    assert hub.asked == []
    assert not folder.exists()


def test_the_flag_accepts_without_asking(wsiparse: Callable, tmp_path: Path, folder: Path, hub: LocalHub) -> None:
    said = wsiparse("weights", "fetch", "--accept-licence", "--revision", "v1", "--to", tmp_path / "other")
    assert said.code == 0, said.err
    assert hub.asked[0] == ("microsoft/BiomedParse", "v1")
    assert (tmp_path / "other" / MANIFEST).exists()
    assert not folder.exists()
    assert f"--weights {tmp_path / 'other'}" in said.err


# --- path


def test_the_path_of_missing_weights_is_shown_with_the_remedy(wsiparse: Callable, folder: Path) -> None:
    said = wsiparse("weights", "path")
    assert said.code == 1
    assert said.out == f"{folder}\n"
    assert said.err.count("\n") == 1
    assert "wsiparse weights fetch" in said.err


def test_the_path_lists_what_is_there(wsiparse: Callable, folder: Path, hub: LocalHub) -> None:
    fetch(folder, licence_accepted=True, hub=hub)
    (folder / ".fetch-abc").mkdir()
    said = wsiparse("weights", "path")
    assert said.code == 0
    assert said.out.splitlines()[0] == str(folder)
    assert all(name in said.out for name in (*FILES, MANIFEST))
    assert ".fetch-abc" in said.err


def test_a_half_filled_folder_names_what_is_missing(wsiparse: Callable, folder: Path) -> None:
    folder.mkdir()
    (folder / "biomedparse_v1.pt").write_bytes(CONTENT["biomedparse_v1.pt"])
    said = wsiparse("weights", "path")
    assert said.code == 1
    assert "tokenizer.json" in said.err
    assert "biomedparse_v1.pt," not in said.err


# --- verify


def test_what_was_fetched_is_as_fetched(wsiparse: Callable, folder: Path, hub: LocalHub) -> None:
    fetch(folder, licence_accepted=True, hub=hub)
    said = wsiparse("weights", "verify")
    assert said.code == 0
    assert said.out.count("as fetched") == len(FILES)


def test_a_changed_file_is_named_with_the_remedy(wsiparse: Callable, tmp_path: Path, hub: LocalHub) -> None:
    fetch(tmp_path, licence_accepted=True, hub=hub)
    (tmp_path / "tokenizer.json").write_bytes(b"other")
    said = wsiparse("weights", "verify", tmp_path)
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "tokenizer.json" in said.err
    assert f"weights fetch --to {tmp_path}" in said.err
    assert said.out.count("as fetched") == len(FILES) - 1


def test_a_folder_without_a_manifest_is_one_line(wsiparse: Callable, tmp_path: Path) -> None:
    said = wsiparse("weights", "verify", tmp_path)
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert MANIFEST in said.err


def test_files_put_there_by_hand_can_be_loaded_without_a_manifest(wsiparse: Callable, tmp_path: Path) -> None:
    (tmp_path / "biomedparse_v1.pt").write_bytes(b"no network")
    (tmp_path / "tokenizer.json").write_bytes(b"{}")
    said = wsiparse("weights", "verify", "--load", tmp_path)
    assert said.code == 1
    assert MANIFEST in said.err.splitlines()[0]
    assert "tokenizer.json: not a byte-pair tokenizer" in said.err.splitlines()[1]
