from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import ROOT, SHARED
from tests.recognize.biomedparse.local_hub import COMMIT, CONTENT, LocalHub
from wsiparse.errors import WeightsError
from wsiparse.recognize.biomedparse import weights
from wsiparse.recognize.biomedparse.weights import (
    FILES,
    LICENCE,
    MANIFEST,
    check_loads,
    default_folder,
    fetch,
    find_weights,
    leftovers,
    verify,
)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def fetched(folder: Path, hub: LocalHub | None = None) -> LocalHub:
    hub = hub or LocalHub()
    fetch(folder, licence_accepted=True, hub=hub)
    return hub


def refused(folder: Path, hub: LocalHub) -> str:
    with pytest.raises(WeightsError) as caught:
        fetch(folder, licence_accepted=True, hub=hub)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- fetch


def test_every_file_arrives_with_a_manifest_that_says_where_it_is_from(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "weights"
    fetched(folder)
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}
    assert {name: data for name, data in everything(folder).items() if name != MANIFEST} == CONTENT
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["licence"] == {"notice": LICENCE, "accepted": True}
    assert datetime.fromisoformat(manifest["fetched"]).tzinfo is not None
    assert manifest["files"] == [
        {
            "name": name,
            "repository": repository,
            "revision": COMMIT,
            "sha256": hashlib.sha256(CONTENT[name]).hexdigest(),
            "size": len(CONTENT[name]),
            "licence": "cc-by-nc-sa-4.0" if "BiomedParse" in repository else "",
        }
        for name, repository in FILES.items()
    ]


def test_nothing_is_even_looked_up_before_the_licence_is_accepted(tmp_path: Path) -> None:
    hub = LocalHub()
    with pytest.raises(WeightsError, match="licence"):
        fetch(tmp_path / "weights", licence_accepted=False, hub=hub)
    assert hub.asked == []
    assert not (tmp_path / "weights").exists()


def test_the_revision_is_asked_of_the_model_and_not_of_the_vocabulary(tmp_path: Path) -> None:
    hub = LocalHub()
    fetch(tmp_path, licence_accepted=True, revision="v1", hub=hub)
    assert hub.asked == [("microsoft/BiomedParse", "v1"), ("openai/clip-vit-base-patch32", "main")]


def test_a_second_fetch_downloads_nothing(tmp_path: Path) -> None:
    fetched(tmp_path)
    said: list[str] = []
    hub = LocalHub()
    fetch(tmp_path, licence_accepted=True, hub=hub, say=said.append)
    assert hub.downloaded == []
    assert said == [f"{name}: already there" for name in FILES]
    assert not any(check.fault for check in verify(tmp_path))


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_is_fetched_again(name: str, tmp_path: Path) -> None:
    fetched(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b"!" + data[1:])
    assert fetched(tmp_path).downloaded == [name]
    assert (tmp_path / name).read_bytes() == data


def test_a_right_file_put_there_by_hand_is_kept(tmp_path: Path) -> None:
    (tmp_path / "biomedparse_v1.pt").write_bytes(CONTENT["biomedparse_v1.pt"])
    assert fetched(tmp_path).downloaded == ["target_dist.json", "tokenizer.json"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), SystemExit(143), WeightsError("the line was cut")])
@pytest.mark.parametrize("name", FILES)
def test_an_interrupted_download_leaves_the_folder_as_it_was(name: str, failure: BaseException, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes(b"old")
    with pytest.raises(type(failure)):
        fetched(folder, LocalHub(failures={name: failure}))
    assert everything(folder) == {"tokenizer.json": b"old"}
    assert leftovers(folder) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_is_told_and_nothing_is_kept(number: int, tmp_path: Path) -> None:
    hub = LocalHub(failures={"biomedparse_v1.pt": OSError(number, os.strerror(number))})
    said = refused(tmp_path, hub)
    assert str(tmp_path) in said
    assert "full" in said
    assert "--to" in said
    assert everything(tmp_path) == {}


def test_a_disk_without_room_is_told_before_anything_is_downloaded(tmp_path: Path) -> None:
    hub = LocalHub(sizes={"biomedparse_v1.pt": 10**18})
    said = refused(tmp_path / "weights", hub)
    assert "1000000000.02 GB are needed" in said
    assert hub.downloaded == []
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_arrives_damaged_is_refused_by_name(name: str, tmp_path: Path) -> None:
    said = refused(tmp_path, LocalHub(damaged=frozenset({name})))
    assert name in said
    assert "damaged" in said
    assert everything(tmp_path) == {}


def test_a_file_of_another_length_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, LocalHub(sizes={"target_dist.json": 5}))
    assert f"{len(CONTENT['target_dist.json'])} bytes instead of 5" in said


def test_a_repository_without_the_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    content = {name: data for name, data in CONTENT.items() if name != "biomedparse_v1.pt"}
    said = refused(tmp_path / "weights", LocalHub(content=content))
    assert "microsoft/BiomedParse" in said
    assert "biomedparse_v1.pt" in said
    assert "--revision" in said
    assert not (tmp_path / "weights").exists()


def test_a_file_in_the_way_of_the_folder_is_told(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("here first", encoding="ascii")
    assert str(in_the_way) in refused(in_the_way, LocalHub())
    assert str(in_the_way) in refused(in_the_way / "weights", LocalHub())
    assert in_the_way.read_text(encoding="ascii") == "here first"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "cannot be written" in refused(locked / "weights", LocalHub())


# --- verify


def test_what_was_fetched_verifies(tmp_path: Path) -> None:
    fetched(tmp_path)
    assert [(check.file.name, check.fault) for check in verify(tmp_path)] == [(name, "") for name in FILES]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda p: p.unlink(), "missing"),
        (lambda p: p.write_bytes(p.read_bytes()[:-1]), "bytes instead of"),
        (lambda p: p.write_bytes(b"!" + p.read_bytes()[1:]), "SHA-256"),
    ],
    ids=["gone", "shorter", "changed"],
)
def test_only_the_harmed_file_fails(harm: Callable[[Path], object], word: str, name: str, tmp_path: Path) -> None:
    fetched(tmp_path)
    harm(tmp_path / name)
    faults = {check.file.name: check.fault for check in verify(tmp_path)}
    assert word in faults.pop(name)
    assert set(faults.values()) == {""}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (None, "cannot read"),
        ("{", "not JSON"),
        ("[]", "not a manifest"),
        ("{}", "not a manifest"),
        ('{"format": 2, "files": []}', "format 2"),
        ('{"format": 1, "files": [{"name": "tokenizer.json"}]}', "not a manifest"),
        ('{"format": 1, "files": 5}', "not a manifest"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_one_line(text: str | None, word: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError) as caught:
        verify(tmp_path)
    assert word in str(caught.value)
    assert MANIFEST in str(caught.value)
    assert "\n" not in str(caught.value)


def test_loading_refuses_a_checkpoint_that_is_none(tmp_path: Path) -> None:
    if not (SHARED / "biomedparse" / "tokenizer.json").exists():
        pytest.skip("needs ../shared/biomedparse (CLIP's vocabulary), which is not here")
    (tmp_path / "tokenizer.json").write_bytes((SHARED / "biomedparse" / "tokenizer.json").read_bytes())
    (tmp_path / "biomedparse_v1.pt").write_bytes(b"PK\x03\x04 no network")
    with pytest.raises(WeightsError, match=r"biomedparse_v1\.pt"):
        check_loads(tmp_path)


def test_loading_refuses_a_vocabulary_that_is_none(tmp_path: Path) -> None:
    fetched(tmp_path)
    with pytest.raises(WeightsError, match=r"tokenizer\.json"):
        check_loads(tmp_path)


def test_loading_an_empty_folder_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"biomedparse_v1\.pt"):
        check_loads(tmp_path)


# --- where weights lie


def test_the_variable_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_WEIGHTS", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"


def test_without_the_variable_it_is_the_user_s_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_WEIGHTS", " ")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_folder() == tmp_path / "data" / "wsiparse" / "weights"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_folder() == tmp_path / ".local" / "share" / "wsiparse" / "weights"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_folder() == tmp_path / "Library" / "Application Support" / "wsiparse" / "weights"


def test_weights_are_found_once_they_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSIPARSE_WEIGHTS", str(tmp_path))
    assert find_weights() is None
    fetched(tmp_path)
    assert find_weights() == tmp_path


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["biomedparse_v1.pt"], False),
        (["tokenizer.json"], False),
        (["biomedparse_v1.safetensors", "tokenizer.json"], True),
        (["other.pt", "tokenizer.json"], False),
    ],
)
def test_weights_are_a_checkpoint_and_a_vocabulary(
    files: list[str], found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSIPARSE_WEIGHTS", str(tmp_path))
    for name in files:
        (tmp_path / name).touch()
    assert (find_weights() is not None) == found


def test_a_variable_that_names_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "biomedparse_v1.pt"
    file.touch()
    monkeypatch.setenv("WSIPARSE_WEIGHTS", str(file))
    with pytest.raises(WeightsError, match="names a file"):
        find_weights()


def test_a_folder_that_may_not_be_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> bool:
        if path.name in FILES:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return False

    monkeypatch.setenv("WSIPARSE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(Path, "is_file", forbidden)
    with pytest.raises(WeightsError, match="cannot be looked into"):
        find_weights()


def test_a_user_without_a_home_has_no_weights_and_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("WSIPARSE_WEIGHTS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert find_weights() is None
    with pytest.raises(WeightsError, match="WSIPARSE_WEIGHTS"):
        default_folder()


def test_downloads_that_were_killed_are_listed(tmp_path: Path) -> None:
    (tmp_path / ".fetch-abc").mkdir()
    assert leftovers(tmp_path) == [tmp_path / ".fetch-abc"]


def test_importing_this_loads_neither_the_hub_s_library_nor_torch() -> None:
    code = f"import sys, {weights.__name__}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert not {"huggingface_hub", "torch"} & set(out.stdout.split())
