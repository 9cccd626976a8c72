"""Slides at an address instead of a path: the only home of fsspec, which is imported when an address is opened.

A user name, password or signature in an address never enters a message: `shown_url` is what people see.
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from wsiparse.errors import SlideError, SlideNotFoundError

__all__ = ["Stopped", "download", "is_url", "local_path", "open_filesystem", "shown_url", "url_errors", "url_name"]

#: One scheme letter is a Windows drive. Chains as fsspec has them (zip://a.svs::s3://bucket/a.zip) begin alike.
_SCHEME: Final = re.compile(r"(?:[a-z][a-z0-9+.-]+::)*([a-z][a-z0-9+.-]+)://", re.IGNORECASE)

_CONNECT_S: Final = 30.0
#: A server that sends nothing for so long is given up; how long all of it takes does not matter.
_SILENCE_S: Final = 90.0

#: These come from writing the copy.
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})

_PACKAGES: Final = {
    "http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs",
    "abfs": "adlfs", "az": "adlfs", "sftp": "paramiko", "ssh": "paramiko",
}  # fmt: skip


class Stopped(Exception):  # noqa: N818  (not an error)
    """A copy that nobody wants any more."""


def is_url(text: str | Path) -> bool:
    """Whether a slide is named by an address rather than a path.

    >>> is_url("s3://bucket/a.svs"), is_url("zip://a.svs::file:///b.zip"), is_url("C:/a.svs"), is_url(Path("s3://b/a"))
    (True, True, False, False)
    """
    return isinstance(text, str) and _SCHEME.match(text) is not None


def _scheme(url: str) -> str:
    """The scheme of an address; of a chain, that of its first link.

    >>> _scheme("S3://b/a.svs"), _scheme("zip://a.svs::https://h/b.zip")
    ('s3', 'zip')
    """
    return url.partition("://")[0].rpartition("::")[2].lower()


def local_path(url: str) -> Path | None:
    """The path that a ``file://`` address names; None for every other address.

    >>> local_path("file:///data/a%20b.svs").as_posix(), local_path("http://host/a.svs")
    ('/data/a b.svs', None)
    """
    if "::" in url or _scheme(url) not in ("file", "local"):
        return None
    path = url.split("://", 1)[1]
    return Path(unquote(path.removeprefix("localhost") if path.startswith("localhost/") else path))


def url_name(url: str) -> str:
    """The file name at the end of an address, without query and percent signs; "slide" where there is none.

    >>> url_name("https://host/a/slide%201.svs?X-Amz-Signature=0"), url_name("s3://bucket/a#1.svs"), url_name("s3://b/")
    ('slide 1.svs', 'a#1.svs', 'slide')
    """
    first = url.split("::", 1)[0]
    path = unquote(urlsplit(first).path) if _scheme(first) in ("http", "https") else first.split("://", 1)[1]
    name = path.replace("\\", "/").rsplit("/", 1)[-1].replace("\0", "")
    return name if name not in ("", ".", "..") else "slide"


def shown_url(url: str) -> str:
    """An address as people may see it: without user name, password, query and fragment.

    >>> shown_url("https://me:secret@host:81/a.svs?sig=0"), shown_url("s3://key:secret@bucket/a.svs")
    ('https://host:81/a.svs', 's3://bucket/a.svs')
    """
    if "::" in url:
        return "::".join(shown_url(part) if "://" in part else part for part in url.split("::"))
    if _scheme(url) in ("http", "https"):
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", ""))
    scheme, rest = url.split("://", 1)
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rsplit('@', 1)[-1]}{slash}{path}"


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path on it; call it inside `url_errors`."""
    import fsspec

    options: dict[str, Any] = {}
    if _scheme(url) in ("http", "https") and "::" not in url:
        import aiohttp

        # the library's own limit is five minutes for the whole of a file, and it ignores HTTPS_PROXY
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}, "simple_links": False}
        # bytes as they are stored: a size told before compression would not match what arrives
        options["headers"] = {"Accept-Encoding": "identity"}
    filesystem, path = fsspec.core.url_to_fs(url, **options)
    return filesystem, str(path)


def download(filesystem: Any, path: str, target: Path, stop: Event) -> None:
    """Copy one file of an fsspec file system.

    Raises
    ------
    Stopped
        If `stop` is set meanwhile.
    """
    from fsspec.callbacks import Callback

    class Watch(Callback):  # type: ignore[misc]  # the library has no types
        def relative_update(self, inc: int = 1) -> None:
            if stop.is_set():
                raise Stopped

        def absolute_update(self, value: int) -> None:
            self.relative_update()

    filesystem.get_file(path, str(target), callback=Watch())


def _failures() -> tuple[type[Exception], ...]:
    """What file systems and the libraries behind them raise; only a library that is loaded can have raised anything."""
    named = (
        ("aiohttp", ("ClientError",)),
        ("botocore.exceptions", ("BotoCoreError", "ClientError")),
        ("gcsfs.retry", ("HttpError",)),
        ("azure.core.exceptions", ("AzureError",)),
        ("paramiko", ("SSHException",)),
    )
    found: list[type[Exception]] = [OSError, ValueError]
    for module, names in named:
        if module in sys.modules:
            found += [getattr(sys.modules[module], name) for name in names if hasattr(sys.modules[module], name)]
    return tuple(found)


@contextmanager
def url_errors(url: str) -> Iterator[None]:
    """Turn everything that can go wrong with an address into one line.

    Raises
    ------
    SlideNotFoundError
        If a package for this kind of address is missing, there is no such file, it may not be read, or the server
        cannot be reached or breaks off.
    OSError
        If the disk here is full: that is not the address's fault.
    """
    try:
        yield
    except (Stopped, SlideError):
        raise
    except ImportError as error:
        package = _PACKAGES.get(_scheme(url), "")
        fix = f"pip install {package}" if package else "Install the package it names"
        raise SlideNotFoundError(
            f"{shown_url(url)}: {_scheme(url)}:// needs a package that is not installed ({_first_line(error)}). {fix}, "
            "or copy the slide here yourself."
        ) from error
    except _failures() as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            raise
        raise _told(url, error) from error


def _told(url: str, error: Exception) -> SlideNotFoundError:
    shown = shown_url(url)
    if isinstance(error, ValueError) and "rotocol not known" in str(error):
        return SlideNotFoundError(
            f"{shown}: {_scheme(url)}:// is no kind of address known here. Use file://, http(s)://, s3:// or another "
            "one that fsspec knows, or copy the slide here yourself."
        )
    statuses = {getattr(link, "status", None) for link in (error, error.__cause__) if link is not None}
    if isinstance(error, PermissionError) or statuses & {401, 403} or "credentials" in type(error).__name__.lower():
        hint = (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; FSSPEC_S3_ANON=true for a public bucket"
            if _scheme(url).startswith("s3")
            else "ask for access, or log in as this kind of address wants it"
        )
        return SlideNotFoundError(f"{shown}: no permission to read it ({_redacted(url, error)}). Check it: {hint}.")
    if isinstance(error, FileNotFoundError) and (error.__cause__ is None or 404 in statuses):
        return SlideNotFoundError(f"{shown}: no such file there. Check the address.")
    cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
    return SlideNotFoundError(
        f"{shown}: cannot be fetched ({_redacted(url, cause)}). Check the address, the network and the proxy, or copy "
        "the slide here yourself."
    )


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _redacted(url: str, error: BaseException) -> str:
    """The first line of an error without the address, which may hold a secret."""
    text = _first_line(error).replace(url, shown_url(url))
    query = urlsplit(url).query
    return text.replace(query, "...") if query else text
