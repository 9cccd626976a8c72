"""Weights: those in the package, BiomedParse's, and whether the latter could be fetched."""

from __future__ import annotations

import base64
import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, files
from typing import Final

from wsiparse.doctor.check import Check, good, note, problem
from wsiparse.errors import WeightsError
from wsiparse.recognize.biomedparse.weights import FILES, MANIFEST, default_folder, find_weights, verify
from wsiparse.recognize.embedded.engine import MODEL
from wsiparse.recognize.registry import engine_of

__all__ = ["check_embedded", "check_hub", "check_weights"]

_TIMEOUT_S: Final = 5.0

#: File of the weights in the folder of the model that ships.
WEIGHTS: Final = "weights.safetensors"


def check_embedded() -> Check:
    """The embedded network's file, against what the installation recorded of it."""
    try:
        engine = engine_of("embedded")
        fault, weights = engine.missing(), MODEL / WEIGHTS
        digest = hashlib.sha256(b"" if fault else weights.read_bytes())
    except (WeightsError, OSError) as error:
        fault = str(error)
    if fault:
        return problem("embedded", fault, "Reinstall wsiparse: pip install --force-reinstall --no-deps wsiparse")
    found = f"{WEIGHTS} of {engine.title}, SHA-256 {digest.hexdigest()[:16]}..."
    recorded = _recorded()
    if recorded is None:
        return good("embedded", f"{found} (a checkout: no record to compare with)")
    if base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() != recorded:
        todo = "Reinstall wsiparse: pip install --force-reinstall --no-deps wsiparse"
        return problem("embedded", f"{found} is not what was installed", todo)
    return good("embedded", f"{found}, as installed")


def _recorded() -> str | None:
    """What the installation recorded: SHA-256 in URL-safe base64 without padding; None in a checkout."""
    try:
        entries = files("wsiparse") or ()
    except PackageNotFoundError:
        return None
    for entry in entries:
        if (
            entry.name == WEIGHTS
            and entry.parent.name == MODEL.name
            and entry.hash is not None
            and entry.hash.mode == "sha256"
        ):
            return entry.hash.value
    return None


def check_weights() -> Iterator[Check]:
    """BiomedParse's files, against the manifest of when they were fetched."""
    try:
        folder, found = default_folder(), find_weights()
        if found is None:
            todo = "wsiparse weights fetch, or set WSIPARSE_WEIGHTS to their folder."
            yield note("biomedparse", f"no weights in {folder}: runs take the embedded network", todo)
            return
        if not (found / MANIFEST).is_file():
            yield note("biomedparse", f"{found} has no {MANIFEST} to compare with", "wsiparse weights verify --load")
            return
        wrong = [f"{check.file.name} {check.fault}" for check in verify(found) if check.fault]
    except WeightsError as error:
        yield problem("biomedparse", str(error), "wsiparse weights path shows where they are looked for.")
        return
    if wrong:
        yield problem("biomedparse", f"{found}: {'; '.join(wrong)}", f"wsiparse weights fetch --to {found}")
    else:
        yield good("biomedparse", f"{found}, every file as fetched")


def check_hub(environment: Mapping[str, str], *, offline: bool) -> Check:
    """Whether weights could be fetched: one HEAD request to the hub, unless told to stay off the network."""
    switch = next((n for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if _is_on(environment.get(n, ""))), None)
    if switch is not None:
        return good("hub", f"switched off by {switch}; `wsiparse weights fetch` would refuse")
    if offline:
        return good("hub", "not asked (--offline)")
    endpoint = environment.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    address = f"{endpoint}/{next(iter(FILES.values()))}/resolve/main/{next(iter(FILES))}"
    todo = "Only `wsiparse weights fetch` needs it: check HTTPS_PROXY, or fetch elsewhere and copy the folder."
    try:
        request = urllib.request.Request(address, method="HEAD")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            return good("hub", f"{endpoint} answers, the weights can be fetched ({answer.status})")
    except urllib.error.HTTPError as error:
        with error:
            if error.code in (401, 403):
                found = f"{endpoint} answers, but wants a token for the weights ({error.code})"
                return note("hub", found, "Set HF_TOKEN before `wsiparse weights fetch`.")
            return note("hub", f"{endpoint} answers {error.code} {error.reason}", todo)
    except (OSError, ValueError) as error:
        return note("hub", f"{endpoint} cannot be reached ({getattr(error, 'reason', error)})", todo)


def _is_on(value: str) -> bool:
    """As the hub library reads its switches."""
    return value.strip().upper() in ("1", "ON", "YES", "TRUE")
