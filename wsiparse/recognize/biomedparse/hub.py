"""The Hugging Face hub: which files a repository holds, and one file downloaded; every failure in one line.

The only home of huggingface_hub, which is imported when a `HuggingFaceHub` is made and never before: a run downloads
nothing.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from wsiparse.errors import WeightsError

__all__ = ["Hub", "HuggingFaceHub", "Listing", "RemoteFile", "is_disk_full"]

_TIMEOUT_S: Final = 20.0
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class RemoteFile(NamedTuple):
    """A file of a repository at one commit; the hub reports a SHA-256 for large files, git's blob id for the others.

    Parameters
    ----------
    repository : "owner/name"
    name : file name
    revision : commit, 40 hexadecimal digits
    size : bytes, or None where the hub does not say
    sha256 : hexadecimal, or None
    git_sha1 : hexadecimal blob id, or None
    """

    repository: str
    name: str
    revision: str
    size: int | None
    sha256: str | None
    git_sha1: str | None


class Listing(NamedTuple):
    """What a repository holds: the commit, its licence tag ("" if it has none) and the asked-for files found in it."""

    revision: str
    licence: str
    files: dict[str, RemoteFile]


class Hub(Protocol):
    """Where files come from."""

    def look_up(self, repository: str, revision: str, names: Sequence[str]) -> Listing:
        """The commit that a branch, tag or commit names, and those of the files that are in it."""

    def download(self, file: RemoteFile, folder: Path) -> Path:
        """Put a file into an existing folder and tell where it lies."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that the disk or the user's quota is full."""
    return any(
        (isinstance(e, OSError) and e.errno in _FULL) or "no space left" in str(e).lower() for e in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _reason(error: BaseException) -> str:
    """The first line of what went wrong in the first place."""
    first = list(_chain(error))[-1]
    return next((line.strip() for line in str(first).splitlines() if line.strip()), type(first).__name__)


def _is_address(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or a broken bracket
        return False


class HuggingFaceHub:
    """The hub through huggingface_hub, with the user's own endpoint, proxy, token and offline switch.

    Parameters
    ----------
    endpoint : address of the hub, or None for the library's (HF_ENDPOINT, else huggingface.co)

    Raises
    ------
    WeightsError
        If a setting in the environment, such as HF_ENDPOINT, is malformed.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        try:
            from huggingface_hub import HfApi, constants, errors
            from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
        except ValueError as error:  # it reads its settings when it is imported
            raise WeightsError(
                f"the hub library refuses its settings ({error}). Check the environment variables that begin with HF_."
            ) from error
        # the library's advice would come on top of the one line that our errors are
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        if not sys.stderr.isatty() and constants.HF_HUB_DISABLE_PROGRESS_BARS is None:
            disable_progress_bars()
        self._api = HfApi(endpoint=endpoint, library_name="wsiparse")
        if not _is_address(self._api.endpoint):
            raise WeightsError(
                f"the hub's address {self._api.endpoint!r} is not of the form https://host. Correct HF_ENDPOINT, or "
                "unset it."
            )
        self._errors = errors
        # requests, httpx or a later client, by version: its base error is the first base of the library's own.
        # RuntimeError is the Rust downloader's; the others are what an answer that is no hub's is read with.
        self._failures: tuple[type[BaseException], ...] = (
            *errors.HfHubHTTPError.__bases__,
            OSError,
            RuntimeError,
            ValueError,
            TypeError,
            LookupError,
        )

    def look_up(self, repository: str, revision: str, names: Sequence[str]) -> Listing:
        """See `Hub.look_up`.

        Raises
        ------
        WeightsError
            If the hub is switched off, not reachable, wants a token, or has no such repository or revision.
        """
        try:
            info = self._api.model_info(repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
        except self._failures as error:
            raise self._told(error, repository, revision) from error
        commit = info.sha or revision
        files = {
            f.rfilename: RemoteFile(
                repository, f.rfilename, commit, f.size, f.lfs.sha256 if f.lfs else None, None if f.lfs else f.blob_id
            )
            for f in info.siblings or ()
            if f.rfilename in names
        }
        licence = info.card_data.license if info.card_data is not None else None
        return Listing(commit, str(licence or ""), files)

    def download(self, file: RemoteFile, folder: Path) -> Path:
        """See `Hub.download`.

        Raises
        ------
        WeightsError
            As `look_up`, or if the hub does not give the file to this user or the connection broke.
        OSError
            If the folder cannot be written.
        """
        try:
            return Path(self._api.hf_hub_download(file.repository, file.name, revision=file.revision, local_dir=folder))
        except self._failures as error:
            if is_disk_full(error) or (isinstance(error, OSError) and error.filename is not None):
                raise  # the folder's fault, which the caller knows how to tell
            raise self._told(error, file.repository, file.revision) from error

    def _told(self, error: BaseException, repository: str, revision: str) -> WeightsError:
        """The one line for an error of the library."""
        errors = self._errors
        links = list(_chain(error))
        page = f"https://huggingface.co/{repository}"

        def caused_by(*kinds: type[BaseException]) -> bool:
            return any(isinstance(link, kinds) for link in links)

        status = next((e.response.status_code for e in links if isinstance(e, errors.HfHubHTTPError)), None)
        if caused_by(errors.OfflineModeIsEnabled):
            return WeightsError(
                f"{repository}: not downloaded, because HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set. Unset it, or "
                "fetch on another machine and copy the folder."
            )
        if caused_by(errors.GatedRepoError):
            return WeightsError(
                f"{repository}: the hub gives this file only to users who accepted its conditions ({status}). Log in "
                f"at {page}, accept them, and set HF_TOKEN to a read token from https://huggingface.co/settings/tokens."
            )
        if caused_by(errors.RevisionNotFoundError):
            return WeightsError(
                f"{repository}: has no revision '{revision}'. Give a branch, tag or commit of {page}/commits/main to "
                "--revision."
            )
        if status in (401, 403) or caused_by(errors.LocalTokenNotFoundError):
            return WeightsError(
                f"{repository}: the hub wants a token, or refuses the one it got ({status}). Set HF_TOKEN to a read "
                "token from https://huggingface.co/settings/tokens."
            )
        if status == 404:
            return WeightsError(
                f"{repository}: not found on {self._api.endpoint} (404, revision '{revision}'). Look at {page} for "
                "what there is."
            )
        if status is not None:
            return WeightsError(
                f"{repository}: the hub answered {status} ({_reason(error)}). Run the command again later."
            )
        return WeightsError(
            f"{repository}: {self._api.endpoint} cannot be reached or broke off ({_reason(error)}). Check the network "
            "and the proxy (HTTPS_PROXY), or fetch on another machine and copy the folder."
        )
