"""What a generation says, and its JSON.

* ``GenerationError``              a generation must not be used: keep what is in force; ``reason`` fits a metric label
    * ``GenerationMissingError``   nothing is stored: train first
    * ``GenerationTruncatedError`` bytes are missing: fetch again, or roll back
    * ``GenerationRejectedError``  contents break the format or a cap: roll back or train anew
    * ``GenerationConflictError``  other writers won every race: try again later
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from anomaly_models.exceptions import AnomalyModelsError
from anomaly_models.frame import EntityKey
from anomaly_models.pack import MAX_MODELS
from anomaly_models.thresholds import ThresholdInputs

from .shared import SHA256, SharedEntry

FORMAT = 1
MAX_DOCUMENT_BYTES = 256 * 2**20

Key = tuple[EntityKey, str]
"""An entity and the configured name of a model."""


class GenerationError(Exception):
    """A generation must not be used; what is in force stays."""

    reason = "generation"


class GenerationMissingError(GenerationError):
    """Nothing is stored under the name."""

    reason = "missing"


class GenerationTruncatedError(GenerationError):
    """Bytes of a document are missing."""

    reason = "truncated"


class GenerationRejectedError(GenerationError):
    """A document breaks the format or a cap."""

    reason = "rejected"


class GenerationConflictError(GenerationError):
    """Other writers were faster every time."""

    reason = "conflict"


@dataclass(frozen=True)
class Entry:
    """The model in force for one entity: row ``row`` of the pack ``pack``, and everything serving needs beside it.

    ``trained_at`` and ``evaluated_at`` are wall time, ``trained_data_end`` is data time. ``data_digest`` stands for the
    queries, labels, step and aggregation that the samples came from: where the configuration's differs, the model must
    not be used. ``figures`` (quality) and ``training`` (provenance) are JSON, and so is ``gate``: what the promotion
    gate said and remembers. ``rejected`` is the newest model that the gate kept out of force, None after a promotion.
    """

    entity: EntityKey
    model: str
    pack: str
    row: int
    threshold: ThresholdInputs
    data_digest: str
    trained_at: float
    trained_data_end: int
    evaluated_at: float
    verdict: str = "promoted"
    figures: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    rejected: Entry | None = None

    @property
    def key(self) -> Key:
        return self.entity, self.model

    @property
    def place(self) -> tuple[str, int]:
        """Pack and row: which model this is."""
        return self.pack, self.row


@dataclass(frozen=True)
class Generation:
    """The models in force for ``target``.

    ``previous`` is the generation a rollback returns to: the one in force before the round of training began whose
    commits this generation holds. ``round_began`` and ``created_at`` are wall time. ``shared``: by configured name, the
    models of series without an entry.
    """

    number: int
    target: str
    created_at: float
    round_began: float
    previous: int | None
    entries: Mapping[Key, Entry]
    shared: Mapping[str, SharedEntry] = field(default_factory=dict)

    @property
    def packs(self) -> frozenset[str]:
        """Digests of all packs that the entries name, rejected models' too: they may still be promoted."""
        own = {e.pack for known in self.entries.values() for e in (known, known.rejected) if e is not None}
        return frozenset(own | {e.pack for e in self.shared.values()})


Settle = Callable[[Entry, Entry | None], Entry | None]
"""What becomes of a new entry beside the one in force (None: there is none); None leaves things as they are."""


def replaces(new: Entry, in_force: Entry | None) -> Entry | None:
    """The new entry, whatever is in force."""
    return new


def merged(
    entries: Mapping[Key, Entry], new: Iterable[Entry], forget_before: int | None, settle: Settle = replaces
) -> dict[Key, Entry]:
    """``entries`` with ``new`` laid over them, without those whose newest training sample is before ``forget_before``.

    Entities that are not in ``new`` keep their entry, so trainers cannot overwrite each other. A model that the gate
    keeps lives as long as the data that it was judged on.
    """
    out = dict(entries)
    for entry in new:
        settled = settle(entry, out.get(entry.key))
        if settled is not None:
            out[entry.key] = settled
    return {k: e for k, e in out.items() if forget_before is None or _newest_data(e) >= forget_before}


def _newest_data(entry: Entry) -> int:
    return max(entry.trained_data_end, entry.rejected.trained_data_end if entry.rejected else 0)


def check(entries: Iterable[Entry], target: str) -> None:
    """Raise GenerationRejectedError if an entry could not be read back: nothing is stored that would be refused."""
    for entry in entries:
        try:
            back = _entry(json.loads(json.dumps(_entry_json(entry), allow_nan=False)), target)
        except (AnomalyModelsError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise GenerationRejectedError(f"the entry of {entry.entity} must not be stored: {error}") from error
        if back.key != entry.key:
            raise GenerationRejectedError(f"the entry of {entry.entity} is not of target {target!r}")


def check_shared(shared: Iterable[SharedEntry]) -> None:
    """Raise GenerationRejectedError if a shared entry could not be read back."""
    for entry in shared:
        try:
            back = SharedEntry.from_json(json.loads(json.dumps(entry.to_json(), allow_nan=False)))
        except (AnomalyModelsError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise GenerationRejectedError(f"the shared model {entry.model} must not be stored: {error}") from error
        if back != entry:
            raise GenerationRejectedError(f"the shared model {entry.model} would be read back as another: {back}")


def to_bytes(generation: Generation) -> bytes:
    """The document of ``generation``: canonical JSON, closed by a newline."""
    document = {
        "format": FORMAT,
        "number": generation.number,
        "target": generation.target,
        "created_at": generation.created_at,
        "round_began": generation.round_began,
        "previous": generation.previous,
        "entries": [_entry_json(e) for _, e in sorted(generation.entries.items(), key=lambda pair: pair[0])],
        "shared": [e.to_json() for _, e in sorted(generation.shared.items())],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def from_bytes(data: bytes, sha256: str, target: str) -> Generation:
    """The generation of ``target`` that ``data`` holds, whose SHA-256 must be ``sha256``.

    Raises:
        GenerationTruncatedError, GenerationRejectedError.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise GenerationRejectedError(f"a generation has at most {MAX_DOCUMENT_BYTES} bytes, received {len(data)}")
    if hashlib.sha256(data).hexdigest() != sha256:
        if not data.endswith(b"}\n"):
            raise GenerationTruncatedError(f"generation of {target} ends after {len(data)} bytes")
        raise GenerationRejectedError(f"generation of {target} does not have the SHA-256 {sha256[:12]} of its pointer")
    try:
        document = json.loads(data)
        if document["format"] != FORMAT or document["target"] != target:
            raise GenerationRejectedError(
                f"expected format {FORMAT} of target {target!r}, received format {document['format']!r} of "
                f"{document['target']!r}; train anew with this version"
            )
        entries = [_entry(e, target) for e in document["entries"]]
        return Generation(
            number=int(document["number"]),
            target=target,
            created_at=float(document["created_at"]),
            round_began=float(document["round_began"]),
            previous=None if document["previous"] is None else int(document["previous"]),
            entries={e.key: e for e in entries},
            shared={e.model: e for e in map(SharedEntry.from_json, document.get("shared", []))},
        )
    except (AnomalyModelsError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GenerationRejectedError(f"generation of {target} has another form than expected: {error!r}") from error


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "labels": dict(entry.entity.labels),
        "model": entry.model,
        "pack": entry.pack,
        "row": entry.row,
        "threshold": entry.threshold.to_json(),
        "data_digest": entry.data_digest,
        "trained_at": entry.trained_at,
        "trained_data_end": entry.trained_data_end,
        "evaluated_at": entry.evaluated_at,
        "verdict": entry.verdict,
        "figures": dict(entry.figures),
        "training": dict(entry.training),
        "gate": dict(entry.gate),
        "rejected": _entry_json(entry.rejected) if entry.rejected else None,
    }


def _entry(data: Mapping[str, Any], target: str) -> Entry:
    labels, pack, row = data["labels"], data["pack"], data["row"]
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in labels.items()):
        raise ValueError(f"labels must be strings, received {labels!r}")
    # The digest becomes part of a blob's name, the row an index.
    if not SHA256.match(pack) or type(row) is not int or not 0 <= row < MAX_MODELS:
        raise ValueError(f"expected a pack digest and a row below {MAX_MODELS}, received {pack!r}, {row!r}")
    return Entry(
        entity=EntityKey.of(target, labels),
        model=str(data["model"]),
        pack=pack,
        row=row,
        threshold=ThresholdInputs.from_json(data["threshold"]),
        data_digest=str(data["data_digest"]),
        trained_at=float(data["trained_at"]),
        trained_data_end=int(data["trained_data_end"]),
        evaluated_at=float(data["evaluated_at"]),
        verdict=str(data["verdict"]),
        figures=dict(data["figures"]),
        training=dict(data["training"]),
        gate=dict(data.get("gate", {})),
        rejected=_rejected(data.get("rejected"), target),
    )


def _rejected(data: Mapping[str, Any] | None, target: str) -> Entry | None:
    """A rejected model; what was rejected before it is no concern of anybody."""
    return None if data is None else _entry({**data, "rejected": None}, target)
