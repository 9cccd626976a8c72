"""BiomedParse's weights on disk: where they lie, how they are fetched, and whether they are still what was fetched.

One folder holds the checkpoint, CLIP's vocabulary, the parameters of the recognition score, and ``manifest.json``,
which says where each file came from::

    {"format": 1, "fetched": "2025-01-31T12:00:00+00:00", "licence": {"notice": "...", "accepted": true},
     "files": [{"name": "biomedparse_v1.pt", "repository": "microsoft/BiomedParse", "revision": "<commit>",
                "sha256": "<hex>", "size": 1803000000, "licence": "<the repository's licence tag>"}, ...]}

Files are downloaded into a temporary folder beside their place, checked, and moved there only when all are complete.
Nothing but `fetch` downloads.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from wsiparse.errors import WeightsError
from wsiparse.recognize.biomedparse.engine import (
    CHECKPOINT_NAMES,
    SCORE_FILE,
    TOKENIZER_FILE,
    find_checkpoint,
    sha256_of,
)
from wsiparse.recognize.biomedparse.hub import Hub, HuggingFaceHub, Listing, RemoteFile, is_disk_full

__all__ = [
    "FILES",
    "LICENCE",
    "MANIFEST",
    "VARIABLE",
    "FileCheck",
    "WeightsFile",
    "check_loads",
    "default_folder",
    "fetch",
    "find_weights",
    "leftovers",
    "size_text",
    "verify",
]

MANIFEST: Final = "manifest.json"

#: Environment variable with the folder to use instead of the user's data folder.
VARIABLE: Final = "WSIPARSE_WEIGHTS"

#: The repository of the checkpoint; `fetch` takes a revision of this one.
_MODEL: Final = "microsoft/BiomedParse"

#: File -> repository.
FILES: Final[dict[str, str]] = {
    CHECKPOINT_NAMES[0]: _MODEL,
    SCORE_FILE: _MODEL,
    TOKENIZER_FILE: "openai/clip-vit-base-patch32",
}

#: What must be accepted before anything is downloaded.
LICENCE: Final = (
    "The BiomedParse weights are published by Microsoft at https://huggingface.co/microsoft/BiomedParse, whose page "
    "states the licence and the conditions of use; read them there. They are for research and development only, not "
    "for clinical use, and are reported to be licensed CC BY-NC-SA 4.0 (no commercial use). "
    "CLIP's vocabulary is published by OpenAI (MIT licence). wsiparse contains none of these files."
)

_FORMAT: Final = 1
_TEMPORARY: Final = ".fetch-"
_SPARE_BYTES: Final = 16 << 20  # the manifest and the library's own records
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A line of the manifest.

    Parameters
    ----------
    name : file name in the folder
    repository : "owner/name" on the hub
    revision : commit
    sha256 : hexadecimal
    size : bytes
    licence : licence tag of the repository, "" if it has none
    """

    name: str
    repository: str
    revision: str
    sha256: str
    size: int
    licence: str


class FileCheck(NamedTuple):
    """What became of one file of a manifest: "" if it is as fetched, else what is wrong."""

    file: WeightsFile
    fault: str


def _data_home(platform: str, environment: Mapping[str, str]) -> Path | None:
    """Where a user's programs keep data, or None without a home folder (XDG Base Directory; Apple; Windows)."""
    xdg, local = environment.get("XDG_DATA_HOME", ""), environment.get("LOCALAPPDATA", "")
    if platform.startswith("win") and local:
        return Path(local)
    if platform not in ("darwin", "win32") and Path(xdg).is_absolute():  # the specification: ignore relative paths
        return Path(xdg)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / "Library" / "Application Support" if platform == "darwin" else home / ".local" / "share"


def default_folder() -> Path:
    """The folder of the weights: WSIPARSE_WEIGHTS, else ``wsiparse/weights`` in the user's data folder.

    Raises
    ------
    WeightsError
        If the variable names a file, or there is neither the variable nor a home folder.
    """
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen:
        folder = Path(chosen)
        if _is_file(folder):
            raise WeightsError(
                f"{folder}: {VARIABLE} names a file. Set it to the folder, or give the file to --weights."
            )
        return folder
    data = _data_home(sys.platform, os.environ)
    if data is None:
        raise WeightsError(f"the user has no home folder to keep weights in. Set {VARIABLE} to a folder.")
    return data / "wsiparse" / "weights"


def find_weights() -> Path | None:
    """The default folder if it holds a checkpoint and the vocabulary, else None. Nothing is read or downloaded.

    Raises
    ------
    WeightsError
        If WSIPARSE_WEIGHTS names a file, or the folder cannot be looked into.
    """
    if not os.environ.get(VARIABLE, "").strip() and _data_home(sys.platform, os.environ) is None:
        return None
    folder = default_folder()
    has_checkpoint = any(_is_file(folder / name) for name in CHECKPOINT_NAMES)
    return folder if has_checkpoint and _is_file(folder / TOKENIZER_FILE) else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a folder that this user may not look into
        raise WeightsError(
            f"{path.parent}: cannot be looked into ({error.strerror}). Ask for permission, or set {VARIABLE} to "
            "another folder."
        ) from error


def size_text(size: int) -> str:
    """Bytes for people.

    >>> size_text(11183), size_text(1802654321)
    ('11.2 kB', '1802.7 MB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def leftovers(folder: Path) -> list[Path]:
    """Temporary folders of downloads that were killed, or that are still running."""
    return sorted(folder.glob(f"{_TEMPORARY}*"))


def _git_sha1(path: Path, size: int) -> str:
    """Git's blob id of a file."""
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _differs(path: Path, remote: RemoteFile) -> str:
    """How an existing file differs from what the hub reports; "" if it does not."""
    size = path.stat().st_size
    if remote.size is not None and size != remote.size:
        return f"{size} bytes instead of {remote.size}"
    if remote.sha256 is not None and (found := sha256_of(path)) != remote.sha256:
        return f"SHA-256 {found} instead of {remote.sha256}"
    if remote.git_sha1 is not None and (found := _git_sha1(path, size)) != remote.git_sha1:
        return f"git blob {found} instead of {remote.git_sha1}"
    return ""


def _is_there(folder: Path, remote: RemoteFile) -> bool:
    """Whether the folder has this very file; never when the hub reports no digest to tell by."""
    path = folder / remote.name
    return bool(remote.sha256 or remote.git_sha1) and path.is_file() and not _differs(path, remote)


def _look_up(hub: Hub, revision: str) -> tuple[list[RemoteFile], dict[str, Listing]]:
    """Every file of `FILES` as the hub has it, and its repositories."""
    listings: dict[str, Listing] = {}
    for repository in dict.fromkeys(FILES.values()):
        names = [name for name, owner in FILES.items() if owner == repository]
        wanted = revision if repository == _MODEL else "main"
        listing = listings[repository] = hub.look_up(repository, wanted, names)
        absent = [name for name in names if name not in listing.files]
        if absent:
            raise WeightsError(
                f"{repository}: no {' and no '.join(absent)} in revision '{wanted}' ({listing.revision}). Give a "
                f"revision that has it to --revision (see https://huggingface.co/{repository}/commits/main)."
            )
    return [listings[repository].files[name] for name, repository in FILES.items()], listings


def _check_space(folder: Path, files: list[RemoteFile]) -> None:
    """Refuse before the download what cannot fit."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    needed, free = sum(f.size or 0 for f in files) + _SPARE_BYTES, shutil.disk_usage(existing).free
    if files and needed > free:
        raise WeightsError(
            f"{folder}: {needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free on this disk. Make room, or "
            "give a folder on another disk to --to."
        )


def _disk_error(folder: Path, error: OSError) -> WeightsError:
    if is_disk_full(error):
        return WeightsError(
            f"{folder}: the disk, or your quota on it, is full; nothing was kept. Make room, or give a folder on "
            "another disk to --to."
        )
    return WeightsError(
        f"{folder}: cannot be written ({error.strerror or error}). Give a folder that you may write to --to."
    )


def fetch(
    folder: Path,
    *,
    licence_accepted: bool,
    revision: str = "main",
    hub: Hub | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[WeightsFile]:
    """Download the checkpoint, the score parameters and CLIP's vocabulary into a folder, with a manifest.

    A file that is there already and is what the hub has is kept. An interrupted download leaves the folder as it was.

    Parameters
    ----------
    folder : made if it is not there
    licence_accepted : that the user accepted `LICENCE`
    revision : branch, tag or commit of microsoft/BiomedParse
    hub : where files come from; None for the Hugging Face hub
    say : told one line per file

    Returns
    -------
    what the manifest lists

    Raises
    ------
    WeightsError
        If the licence is not accepted, the hub is switched off, not reachable, wants a token or lacks a file, the disk
        is full, the folder cannot be written, or a downloaded file is not what the hub reports.
    """
    if not licence_accepted:
        raise WeightsError("the licence of the weights is not accepted, so nothing was downloaded.")
    hub = hub if hub is not None else HuggingFaceHub()
    remote, listings = _look_up(hub, revision)
    try:
        wanted = [file for file in remote if not _is_there(folder, file)]
        _check_space(folder, wanted)
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=_TEMPORARY, dir=folder, ignore_cleanup_errors=True) as name:
            arrived = {file.name: _download(hub, file, Path(name), say) for file in wanted}
            entries = []
            for file in remote:
                if file not in wanted:
                    say(f"{file.name}: already there")
                path = arrived.get(file.name, folder / file.name)
                licence = listings[file.repository].licence
                entries.append(
                    WeightsFile(
                        file.name, file.repository, file.revision, sha256_of(path), path.stat().st_size, licence
                    )
                )
            manifest = Path(name) / MANIFEST
            manifest.write_text(_manifest_text(entries), encoding="utf-8")
            for file_name, path in {**arrived, MANIFEST: manifest}.items():
                path.replace(folder / file_name)
    except OSError as error:
        raise _disk_error(folder, error) from error
    return entries


def _download(hub: Hub, file: RemoteFile, folder: Path, say: Callable[[str], None]) -> Path:
    """One file in the temporary folder, checked against what the hub reports."""
    say(f"{file.name}: {f'{size_text(file.size)} ' if file.size is not None else ''}from {file.repository}")
    path = hub.download(file, folder)
    difference = _differs(path, file)
    if difference:
        raise WeightsError(
            f"{file.repository}: {file.name} arrived damaged ({difference}); nothing was kept. Run the command again."
        )
    return path


def _manifest_text(entries: list[WeightsFile]) -> str:
    content = {
        "format": _FORMAT,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        "licence": {"notice": LICENCE, "accepted": True},
        "files": [asdict(entry) for entry in entries],
    }
    return json.dumps(content, indent=1) + "\n"


def _read_manifest(folder: Path) -> list[WeightsFile]:
    path = folder / MANIFEST
    remedy = f"`wsiparse weights fetch --to {folder}` writes it and keeps the files that are right."
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the manifest ({error.strerror}). {remedy}") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise WeightsError(f"{path}: truncated or damaged, not JSON ({error}). {remedy}") from error
    try:
        if content["format"] != _FORMAT:
            raise WeightsError(
                f"{path}: of format {content['format']!r}, not {_FORMAT} (another version of wsiparse). {remedy}"
            )
        return [
            WeightsFile(
                name=Path(str(entry["name"])).name,
                repository=str(entry["repository"]),
                revision=str(entry["revision"]),
                sha256=str(entry["sha256"]),
                size=int(entry["size"]),
                licence=str(entry["licence"]),
            )
            for entry in content["files"]
        ]
    except (LookupError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not a manifest of weights (at {error}). {remedy}") from error


def verify(folder: Path) -> list[FileCheck]:
    """Compare every file of a folder with its manifest, byte for byte by SHA-256.

    Returns
    -------
    one entry a file of the manifest, in its order

    Raises
    ------
    WeightsError
        If the folder has no manifest, or one that cannot be read.
    """
    return [FileCheck(file, _fault(folder / file.name, file)) for file in _read_manifest(folder)]


def _fault(path: Path, file: WeightsFile) -> str:
    try:
        size = path.stat().st_size
        if size != file.size:
            return f"has {size} bytes instead of {file.size}"
        return "" if sha256_of(path) == file.sha256 else "has another content than was fetched (SHA-256)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def check_loads(folder: Path) -> Path:
    """Load everything strictly, as a run does: checkpoint, vocabulary and, if it is there, score parameters.

    Returns
    -------
    the checkpoint

    Raises
    ------
    WeightsError
        If a file is missing, damaged, or not BiomedParse v1's.
    """
    from wsiparse.recognize.biomedparse.checkpoint import load_network
    from wsiparse.recognize.biomedparse.tokenizer import ClipTokenizer
    from wsiparse.recognize.score import load_distributions

    checkpoint = find_checkpoint(folder)
    ClipTokenizer(folder / TOKENIZER_FILE)
    if (folder / SCORE_FILE).exists():
        load_distributions(folder / SCORE_FILE)
    load_network(checkpoint)
    return checkpoint
