"""Results of searches for better settings: a JSON blob per search, the newest of a target and model counts."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from anomaly_exporter.blobs import BlobError, Blobs

log = logging.getLogger(__name__)

FOLDER: Final = "tuning"
KEPT: Final = 8
"""Searches that are kept per target."""
MAX_BYTES: Final = 2**20


def put(blobs: Blobs, target: str, finished_at: float, document: Mapping[str, Any]) -> None:
    """Store the result of a search that finished at wall time ``finished_at``; older ones beyond eight are removed.

    Raises:
        BlobError: the store failed.
    """
    data = json.dumps(document, sort_keys=True, allow_nan=False).encode() + b"\n"
    blobs.put(f"{FOLDER}/{target}/{int(finished_at * 1000):015d}.json", data)
    for name in sorted(blobs.list(f"{FOLDER}/{target}/"))[:-KEPT]:
        blobs.remove(name)


def newest(blobs: Blobs, target: str) -> dict[str, dict[str, Any]]:
    """The newest readable result of every model of ``target``, by the model's name; none where the store fails."""
    out: dict[str, dict[str, Any]] = {}
    try:
        names = sorted(blobs.list(f"{FOLDER}/{target}/"), reverse=True)
    except BlobError as error:
        log.warning("results of tuning cannot be listed", extra={"target": target, "error": str(error)})
        return out
    for name in names[:KEPT]:
        try:
            with blobs.fetch(name).open("rb") as file:
                document = json.loads(file.read(MAX_BYTES))
            out.setdefault(str(document["model"]), document)
        except (BlobError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("a result of tuning cannot be read", extra={"blob": name, "error": str(error)})
    return out
