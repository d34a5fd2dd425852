"""Exemplars of a target in the store: one document per target, replaced as a whole by compare-and-swap.

They outlive the history they were cut from, so that an event that comes once a month is known when it comes again.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from anomaly_exporter.blobs import BlobMissingError, Blobs, StoreUnusableError, digest
from anomaly_models.exceptions import AnomalyModelsError
from anomaly_models.exemplars import MOST, Exemplar
from anomaly_models.frame import EntityKey

log = logging.getLogger(__name__)

FOLDER: Final = "exemplars"
FORMAT: Final = 1
MAX_BYTES: Final = 64 * 2**20
MAX_FEATURES: Final = 512
TRIES: Final = 50


class ShelfError(Exception):
    """The document of exemplars breaks the format or a cap; the message says what was expected."""

    reason = "rejected"


@dataclass(frozen=True)
class Kept:
    """An exemplar and the statement that it came from."""

    statement: str
    exemplar: Exemplar


Shelved = dict[EntityKey, tuple[Kept, ...]]


class Shelf:
    """The exemplars of every target of a store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def load(self, target: str) -> Shelved:
        """What is kept for ``target``, per entity, oldest first. Raises BlobError, OSError, ShelfError."""
        return self._load(target)[0]

    def replace(self, target: str, new: Mapping[EntityKey, tuple[Kept, ...]]) -> None:
        """Put ``new`` in the place of what is kept for its entities; other entities keep theirs.

        A document that cannot be read is written anew: exemplars can be cut again, within the history.

        Raises:
            BlobError: the store cannot be read or written, or other writers were faster every time.
        """
        for attempt in range(TRIES):
            try:
                kept, before = self._load(target)
            except ShelfError as error:
                log.error("the exemplars are written anew", extra={"target": target, "error": str(error)})
                kept, before = {}, digest(self._blobs.fetch(_name(target)).read_bytes())
            after = _encoded(target, {e: k[-MOST:] for e, k in {**kept, **new}.items() if k})
            if (before is None and not any(new.values())) or digest(after) == before:
                return
            if self._blobs.swap(_name(target), before, after):
                return
            time.sleep(random.uniform(0, min(0.001 * 2 ** min(attempt, 7), 0.1)))  # noqa: S311
        raise StoreUnusableError(f"{_name(target)}: other writers were faster {TRIES} times; try again later")

    def _load(self, target: str) -> tuple[Shelved, str | None]:
        try:
            with self._blobs.fetch(_name(target)).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (BlobMissingError, FileNotFoundError):
            return {}, None
        if len(data) > MAX_BYTES:
            raise ShelfError(f"{_name(target)} has more than {MAX_BYTES} bytes")
        try:
            return _decoded(json.loads(data), target), digest(data)
        except (AnomalyModelsError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ShelfError(f"{_name(target)} has another form than expected: {error!r:.200}") from error


def _name(target: str) -> str:
    return f"{FOLDER}/{target}.json"


def _encoded(target: str, kept: Mapping[EntityKey, tuple[Kept, ...]]) -> bytes:
    entities = [
        {"labels": dict(entity.labels), "exemplars": [_to_json(k) for k in found]}
        for entity, found in sorted(kept.items())
    ]
    document = {"format": FORMAT, "target": target, "entities": entities}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _to_json(kept: Kept) -> dict[str, Any]:
    exemplar = kept.exemplar
    return {
        "statement": kept.statement,
        "start": exemplar.start,
        "step": exemplar.step,
        "level": [float(v) for v in exemplar.level],
        "values": base64.b64encode(exemplar.values.astype("<f4").tobytes()).decode("ascii"),
    }


def _decoded(document: Mapping[str, Any], target: str) -> Shelved:
    if document["format"] != FORMAT or document["target"] != target:
        raise ValueError(f"expected format {FORMAT} of {target!r}, received {document['format']!r}")
    out: Shelved = {}
    for item in document["entities"]:
        labels, exemplars = item["labels"], item["exemplars"]
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in labels.items()) or len(exemplars) > MOST:
            raise ValueError(f"expected labels and at most {MOST} exemplars of an entity")
        out[EntityKey.of(target, labels)] = tuple(_from_json(e) for e in exemplars)
    return out


def _from_json(data: Mapping[str, Any]) -> Kept:
    start, step, level = data["start"], data["step"], np.array(data["level"], np.float32)
    if type(start) is not int or type(step) is not int or level.ndim != 1 or not 1 <= level.size <= MAX_FEATURES:
        raise ValueError(f"expected whole seconds and 1 to {MAX_FEATURES} levels, received {start!r}, {step!r}")
    try:
        flat = np.frombuffer(base64.b64decode(data["values"], validate=True), "<f4").astype(np.float32)
    except binascii.Error as error:
        raise ValueError(f"values are no base64: {error}") from error
    if np.isinf(flat).any() or not np.isfinite(level).all() or flat.size % level.size:
        raise ValueError("expected finite or missing values, whole rows of them, and finite levels")
    return Kept(str(data["statement"]), Exemplar(start, step, level, flat.reshape(-1, level.size)))
