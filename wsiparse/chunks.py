"""The field of a pass on disk: published chunk by chunk, so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from wsiparse.field.store import write_part
from wsiparse.field.tiles import FieldTile
from wsiparse.pipeline import recognise
from wsiparse.prepare import Pass
from wsiparse.site import Site
from wsiparse.types import Box, Unreadable
from wsiparse.write.manifest import write_text
from wsiparse.write.parts import publish, sha256_file

__all__ = ["CHUNK_TILES", "Chunk", "chunks_of", "fill_field"]

log = logging.getLogger("wsiparse")

#: Tiles published together in one part of the field: the unit of work that an interruption can lose.
CHUNK_TILES: Final = 64


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of kept tiles that is published as one part, with a sidecar that proves it whole."""

    part: Path
    indices: tuple[int, ...]

    @property
    def sidecar(self) -> Path:
        """The file that tells the part's tiles, size and sha256."""
        return self.part.with_suffix(".json")

    def unreadable(self) -> list[Unreadable] | None:
        """The tiles this published part lacks, or None when the part is absent or torn."""
        try:
            facts = json.loads(self.sidecar.read_text(encoding="utf-8"))
            if facts["tiles"] != list(self.indices) or facts["bytes"] != self.part.stat().st_size:
                return None
            if facts["sha256"] != sha256_file(self.part):
                return None
            return [Unreadable(u["index"], Box(**u["core"]), u["reason"]) for u in facts["unreadable"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None


def chunks_of(work: Path, kept: Sequence[int]) -> list[Chunk]:
    """The kept tiles of a pass cut into chunks, with their parts in the folder `work`."""
    return [
        Chunk(work / f"part-{k // CHUNK_TILES:06d}.zip", tuple(kept[k : k + CHUNK_TILES]))
        for k in range(0, len(kept), CHUNK_TILES)
    ]


def fill_field(site: Site, work: Pass, chunks: list[Chunk]) -> list[Unreadable]:
    """Compute and publish every chunk of a pass that is not there yet; returns the unreadable tiles of all chunks."""
    known = {chunk.part: chunk.unreadable() for chunk in chunks}
    missing = [chunk for chunk in chunks if known[chunk.part] is None]
    if len(missing) < len(chunks):
        log.info("resuming: %d of %d parts are there", len(chunks) - len(missing), len(chunks))
    n_regions = len(work.scale.spec.prompts.of_kind("region"))
    found = recognise(
        site.slide,
        work,
        site.engine,
        [i for chunk in missing for i in chunk.indices],
        workers=site.workers,
        batch=site.config.batch_size,
        progress=site.progress,
    )
    lost_all: list[Unreadable] = []
    cores: list[FieldTile] = []
    lost: list[Unreadable] = []
    for chunk in missing:
        while len(cores) + len(lost) < len(chunk.indices):
            more_cores, more_lost = next(found)
            cores += more_cores
            lost += more_lost
        mine = set(chunk.indices)
        now = [t for t in cores if t.index in mine]
        gone = [u for u in lost if u.index in mine]
        with publish(chunk.part) as temporary:
            write_part(temporary, now, work.plan.grid, n_regions)
        facts = {
            "tiles": list(chunk.indices),
            "bytes": chunk.part.stat().st_size,
            "sha256": sha256_file(chunk.part),
            "unreadable": [asdict(u) for u in gone],
        }
        write_text(chunk.sidecar, json.dumps(facts))
        cores = [t for t in cores if t.index not in mine]
        lost = [u for u in lost if u.index not in mine]
        known[chunk.part] = gone
    for chunk in chunks:
        lost_all += known[chunk.part] or []
    # close the stage of `found`
    for _ in found:
        raise AssertionError("more tiles came back than were asked for")
    return sorted(lost_all, key=lambda u: u.index)
