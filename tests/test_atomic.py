from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsiparse.atomic import (
    AtomicFile,
    output_error,
    publish,
    publish_folder,
    sha256_file,
    sha256_tree,
    temporary_name,
)
from wsiparse.errors import OutputError


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file may grow past `size` bytes: what a full disk looks like to the program."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_and_fail(path: Path) -> None:
    with publish(path) as temporary:
        temporary.write_text("new")
        raise KeyError("x")


def fill_and_fail(path: Path) -> None:
    with publish_folder(path) as folder:
        (folder / "new").write_text("")
        raise ZeroDivisionError


def test_a_file_appears_whole_and_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "overlay.jpg"
    with publish(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".jpg"
        temporary.write_bytes(b"half")
        assert not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert names_in(tmp_path) == ["overlay.jpg"]


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("old")
    with pytest.raises(KeyError):
        write_and_fail(path)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["counts.csv"]


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, words in (
        (tmp_path / "file" / "a.csv", "is a file"),
        (tmp_path / "absent" / "a.csv", "does not exist"),
        (tmp_path / ("x" * 300), "too long"),
    ):
        with pytest.raises(OutputError, match=words) as caught, publish(path):
            pytest.fail("the block must not run")
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(OutputError, match=words), publish_folder(path):
            pytest.fail("the block must not run")
        with pytest.raises(OutputError, match=words):
            AtomicFile(path)


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="largest size"), files_up_to(1000), publish(tmp_path / "a") as temporary:
        temporary.write_bytes(bytes(5000))
    file = AtomicFile(tmp_path / "b")
    with pytest.raises(OutputError, match="largest size"), files_up_to(1000):
        file.write(bytes(5_000_000))
    file = AtomicFile(tmp_path / "b")
    file.write(bytes(2000))
    with pytest.raises(OutputError, match="largest size"), files_up_to(1000):
        file.commit()
    with pytest.raises(OutputError, match="largest size"), files_up_to(1000), publish_folder(tmp_path / "c") as folder:
        (folder / "part").write_bytes(bytes(5000))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_disk_errors_without_a_file_name_are_taken_as_about_the_output(tmp_path: Path, code: int) -> None:
    with pytest.raises(OutputError, match=r"disk|read-only"), publish(tmp_path / "a"):
        raise OSError(code, os.strerror(code))


def test_errors_name_what_the_work_in_progress_would_have_become() -> None:
    full = OSError(errno.ENOSPC, "no space left")
    inner = Path("/r/slides/a", temporary_name("staging"), temporary_name("objects.zarr"), "cells", "c", "0")
    assert str(output_error(inner, full)).startswith(
        "/r/slides/a/objects.zarr/cells/c/0: cannot write: the disk is full"
    )
    assert str(output_error(Path("/r", temporary_name("summary.csv")), full)).startswith("/r/summary.csv: ")
    for kept in (Path("/r/.tmp-x/staging/a"), Path("b"), Path("/r/.tmp-demo")):
        assert str(output_error(kept, full)).startswith(f"{kept}: ")


def test_errors_about_other_files_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), publish(tmp_path / "a"):
        (Path(sys.prefix) / "no such slide.svs").read_bytes()
    assert names_in(tmp_path) == []


def test_an_atomic_file_can_choose_its_name_at_the_end(tmp_path: Path) -> None:
    file = AtomicFile(tmp_path / "cells.geojson")
    file.write(b"abc")
    assert file.commit(tmp_path / "cells.part001.geojson").read_bytes() == b"abc"
    file.discard()
    assert names_in(tmp_path) == ["cells.part001.geojson"]


def test_a_folder_is_published_whole_and_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "objects.zarr"
    for text in ("old", "new"):
        with publish_folder(path) as folder:
            (folder / "c").mkdir()
            (folder / "c" / "0").write_text(text)
            (folder / text).write_text("")
    assert sorted(p.name for p in path.iterdir()) == ["c", "new"]
    assert (path / "c" / "0").read_text() == "new"
    assert names_in(tmp_path) == ["objects.zarr"]


def test_a_folder_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "objects.zarr"
    path.mkdir()
    (path / "old").write_text("")
    with pytest.raises(ZeroDivisionError):
        fill_and_fail(path)
    assert names_in(path) == ["old"]
    assert names_in(tmp_path) == ["objects.zarr"]


def test_a_folder_whose_rename_fails_brings_the_older_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "objects.zarr"
    path.mkdir()
    (path / "old").write_text("")
    replace = os.replace

    def fail_into_place(source: Path, target: Path) -> None:
        if target == path and (source / "new").exists():
            raise OSError(errno.EIO, "broken")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_into_place)
    with pytest.raises(OutputError, match="input/output"), publish_folder(path) as folder:
        (folder / "new").write_text("")
    assert names_in(path) == ["old"]
    assert names_in(tmp_path) == ["objects.zarr"]


def test_checksums_of_files_and_folders_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"two" * 1_000_000)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "c").write_bytes(b"one")
    (tmp_path / ".tmp-1-x").write_bytes(b"work in progress")
    one, two = (hashlib.sha256(data).hexdigest() for data in (b"one", b"two" * 1_000_000))
    assert sha256_file(tmp_path / "b") == two
    assert sha256_tree(tmp_path) == hashlib.sha256(f"{one}  a/c\n{two}  b\n".encode()).hexdigest()


def test_checksums_of_what_is_not_there_are_errors(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot read"):
        sha256_file(tmp_path / "a")
    with pytest.raises(OutputError, match="no such folder"):
        sha256_tree(tmp_path / "a")
