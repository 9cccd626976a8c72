"""A hub made of dictionaries, for tests of what is done with the files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wsiparse.recognize.biomedparse.hub import Listing, RemoteFile
from wsiparse.recognize.biomedparse.weights import FILES

COMMIT = "0123456789abcdef0123456789abcdef01234567"

CONTENT = {
    "biomedparse_v1.pt": b"PK weights " * 40_000,
    "target_dist.json": b'{"Pathology": {}}',
    "tokenizer.json": b'{"model": {}}',
}


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data)).hexdigest()


@dataclass
class LocalHub:
    """Hands out `content`; the checkpoint has a SHA-256 as large files have, the others git's blob id."""

    content: dict[str, bytes] = field(default_factory=lambda: dict(CONTENT))
    sizes: dict[str, int] = field(default_factory=dict)
    damaged: frozenset[str] = frozenset()
    failures: dict[str, BaseException] = field(default_factory=dict)
    downloaded: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def look_up(self, repository: str, revision: str, names: Sequence[str]) -> Listing:
        self.asked.append((repository, revision))
        files = {}
        for name in names:
            if name in self.content and FILES[name] == repository:
                data = self.content[name]
                large = name.endswith(".pt")
                files[name] = RemoteFile(
                    repository,
                    name,
                    COMMIT,
                    self.sizes.get(name, len(data)),
                    hashlib.sha256(data).hexdigest() if large else None,
                    None if large else git_sha1(data),
                )
        return Listing(COMMIT, "cc-by-nc-sa-4.0" if "BiomedParse" in repository else "", files)

    def download(self, file: RemoteFile, folder: Path) -> Path:
        data = self.content[file.name]
        path = folder / file.name
        path.write_bytes(data[: len(data) // 2])
        if file.name in self.failures:
            raise self.failures[file.name]
        path.write_bytes(data[:-1] + b"?" if file.name in self.damaged else data)
        self.downloaded.append(file.name)
        return path
