"""Everything in the package is used by the package: what only tests call, or nobody, is taken out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import vulture

PACKAGE = Path(__file__).resolve().parents[2] / "wsiparse"

#: Used by others than our own code, by name.
USED_ELSEWHERE = {
    # hooks that a library calls
    "cli/options.py": {"get_metavar", "shell_complete"},
    "cli/main.py": {"list_commands", "get_command", "format_commands", "ctx"},
    "parallel/dask.py": {"setup"},
    "slides/urls.py": {"absolute_update", "inc"},
    "viewer/server.py": {
        *("_view", "daemon_threads", "protocol_version", "server_version", "sys_version", "close_connection"),
        *("do_CONNECT", "do_DELETE", "do_HEAD", "do_OPTIONS", "do_PATCH", "do_POST", "do_PUT", "do_TRACE"),
        *("log_message", "args"),
    },
    # commands that click finds by their decorator
    "cli/engines.py": {"list_command", "check_command"},
    "cli/weights.py": {"fetch_command", "path_command", "verify_command"},
    # settings read as a whole, columns of tables read by name
    "config.py": None,
    # elements of a data set of DICOM, by keyword
    "export/dicom_source.py": None,
    "napari/reader.py": {"get_reader"},  # napari finds it by the manifest
    "train/recipe.py": None,
    # what the registry finds by name
    "recognize/biomedparse/engine.py": {"ENGINE"},
    "recognize/classical.py": {"ENGINE"},
    "recognize/embedded/engine.py": {"embedded_engine"},
    "recognize/exported/engine.py": {"folder_engine"},
    "recognize/card.py": None,
    "recognize/taught/engine.py": {"TaughtEngine"},
    "recognize/taught/model.py": {"model_config"},
    "measure/intervals.py": {"mean_low", "mean_high"},  # of evaluation.json
    "recognize/embedded/compact.py": {"flop_per_px"},  # for docs/training.md and tests
    "report/stats/groups.py": None,
    "types.py": {"ragged"},  # for users, docs/python-api.md
    "report/stats/threshold.py": {"lowered_known"},  # a field of report.json
    "tiling/roi.py": {"skipped"},  # for users of the regions of a file
    "tiling/grid.py": {"tile_mpx"},  # for users of a plan
    "slides/zarrguard.py": {"max_length"},  # of a Protocol
    "cli/compiled.py": {"on_start", "on_end"},  # Numba's events
    "results/one_slide.py": {"handleError"},  # logging's
    "objects/scores.py": None,  # for scripts/evaluate_*.py
    "recognize/biomedparse/checkpoint.py": {"expected_shapes"},  # for scripts/compare_golden.py
    "stitch/stitcher.py": {"carry_bytes"},  # for benchmarks
}
#: Arguments of ``__exit__``, and names that templates use.
ANYWHERE = {"trace", "kind", "error", "__getattr__", "__dir__"}


def without_exports(source: str) -> str:
    """The module without its ``__all__``, which names what it defines."""
    lines = source.split("\n")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            for k in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[k] = ""
    return "\n".join(lines)


def test_nothing_in_the_package_is_used_by_nobody(tmp_path: Path) -> None:
    finder = vulture.Vulture()
    for path in PACKAGE.rglob("*.py"):
        copy = tmp_path / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(without_exports(path.read_text(encoding="utf-8")), encoding="utf-8")
    public = set(re.findall(r'"(\w+)"', (PACKAGE / "__init__.py").read_text(encoding="utf-8")))
    templates = {word for page in PACKAGE.rglob("*.html") for word in re.findall(r"\w+", page.read_text("utf-8"))}
    finder.scavenge([str(tmp_path)])
    dead = []
    for item in finder.get_unused_code(min_confidence=60):
        place = Path(item.filename).relative_to(tmp_path).as_posix()
        allowed = USED_ELSEWHERE.get(place, set())
        if allowed is None or item.name in allowed | ANYWHERE | public | templates or item.typ == "import":
            continue
        dead.append(f"{place}:{item.first_lineno} {item.typ} {item.name}")
    assert not dead, "\n".join(dead)
