"""Feedback as append-only blobs: nothing is ever overwritten or deleted, an edit or a withdrawal is appended.

A blob is ``feedback/<month>/<milliseconds>-<random>.json``: a few records that were kept together. What cannot be read
is counted and skipped, so one damaged blob costs its own records and nothing else.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from anomaly_exporter.blobs import BlobError, Blobs
from anomaly_exporter.config import Config, Target
from anomaly_models.frame import Bool, EntityKey, Span, grid

from .matchers import Matcher, MatcherError
from .record import Origin, Record, RecordError, Verdict, from_json, to_json
from .subjects import subject
from .timeline import Conflict, Stretch, conflicts, in_force, stretches

log = logging.getLogger(__name__)

FOLDER: Final = "feedback"
FORMAT: Final = 1
BATCH: Final = 200
"""Records per blob."""
MAX_BLOB_BYTES: Final = 8 * 2**20
MAX_RECORDS: Final = 100_000
"""Most records that are held; beyond it the newest blobs are, and what is left out is counted."""
MISSING: Final[frozenset[Verdict]] = frozenset({"incident", "ignore"})
"""Verdicts whose samples nothing is learned from."""


@dataclass(frozen=True)
class View:
    """What is in force: ``statements`` by start, and those pairs of them that disagree."""

    statements: tuple[Record, ...]
    conflicts: tuple[Conflict, ...]


class Feedback:
    """Feedback of a store; every method may be called from any thread. ``failures`` counts skipped blobs by reason.

    Every reading method first takes in what others appended and may raise BlobError when the store cannot be listed.
    """

    def __init__(self, blobs: Blobs, wall: Callable[[], float] = time.time) -> None:
        self.failures: Counter[str] = Counter()
        self._blobs = blobs
        self._wall = wall
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Record, ...]] = {}

    def add(self, records: Iterable[Record]) -> int:
        """Append ``records`` durably; how many those are.

        Raises:
            BlobError: the store cannot be written; the blobs before the one that failed stay.
        """
        wanted = list(records)
        for first in range(0, len(wanted), BATCH):
            part = wanted[first : first + BATCH]
            data = json.dumps(
                {"format": FORMAT, "records": [to_json(r) for r in part]}, sort_keys=True, allow_nan=False
            ).encode()
            now = self._wall()
            month = datetime.fromtimestamp(now, UTC).strftime("%Y-%m")
            self._blobs.put(f"{FOLDER}/{month}/{int(now * 1000):013d}-{secrets.token_hex(8)}.json", data + b"\n")
        return len(wanted)

    def say(
        self,
        verdict: Verdict,
        span: Span,
        *,
        author: str,
        source: Origin,
        target: str | None = None,
        labels: Mapping[str, str] | None = None,
        matchers: Sequence[Matcher] = (),
        comment: str = "",
        fixed_by: str = "",
        identity: str | None = None,
    ) -> Record:
        """Make, append and return one statement; ``identity`` edits an earlier one.

        It is about the entities of ``target`` whose labels equal ``labels`` and match ``matchers``.

        Raises:
            RecordError: a field is beyond its cap.
            BlobError: the store cannot be written.
        """
        try:
            equal = tuple(Matcher(name, "=", value) for name, value in sorted((labels or {}).items()))
        except MatcherError as error:
            raise RecordError(str(error)) from error
        now = self._wall()
        record = Record(
            id=identity or f"{source}:{secrets.token_hex(8)}",
            verdict=verdict,
            start=span.start,
            end=span.end,
            author=author,
            source=source,
            stated_at=now,
            recorded_at=now,
            target=target,
            matchers=(*equal, *matchers),
            comment=comment,
            fixed_by=fixed_by,
        )
        self.add([record])
        return record

    def withdraw(self, identity: str, *, author: str, source: Origin) -> Record | None:
        """Take the statement ``identity`` back; None where none of that id is in force. Raises BlobError."""
        found = next((r for r in in_force(self.records()) if r.id == identity), None)
        if found is None:
            return None
        now = self._wall()
        back = replace(found, author=author, source=source, stated_at=now, recorded_at=now, withdrawn=True)
        self.add([back])
        return back

    def records(self) -> tuple[Record, ...]:
        """Every version of every statement, in the order in which they were kept."""
        with self._lock:
            self._refresh()
            return tuple(r for name in sorted(self._known) for r in self._known[name])

    def current(self, target: str | None = None, span: Span | None = None) -> View:
        """What is in force: all of it, or what can concern ``target`` and touches ``span``."""
        found = tuple(
            r
            for r in in_force(self.records())
            if (target is None or r.target in (None, target))
            and (span is None or (r.start < span.end and r.end > span.start))
        )
        return View(found, conflicts(found))

    def _refresh(self) -> None:
        """Take in blobs that were not seen yet."""
        names = self._blobs.list(f"{FOLDER}/")
        held = sum(len(records) for records in self._known.values())
        for name in reversed(names):
            if name in self._known:
                continue
            if held >= MAX_RECORDS:
                self.failures["too_many"] += 1
                self._known[name] = ()
                continue
            records = self._read(name)
            if records is not None:
                self._known[name] = records
                held += len(records)

    def _read(self, name: str) -> tuple[Record, ...] | None:
        """Records of a blob; None where it could not be fetched now, empty where it can never be used."""
        try:
            with self._blobs.fetch(name).open("rb") as file:
                data = file.read(MAX_BLOB_BYTES + 1)
        except (BlobError, OSError) as error:
            self._skip(name, getattr(error, "reason", "unreadable"), error)
            return None
        try:
            return _decoded(data)
        except (RecordError, ValueError, RecursionError) as error:
            self._skip(name, "rejected", error)
            return ()

    def _skip(self, name: str, reason: str, error: Exception) -> None:
        self.failures[reason] += 1
        log.error("feedback is skipped", extra={"blob": name, "reason": reason, "error": str(error)})


def _decoded(data: bytes) -> tuple[Record, ...]:
    if len(data) > MAX_BLOB_BYTES:
        raise RecordError(f"a blob of feedback has at most {MAX_BLOB_BYTES} bytes")
    document: Any = json.loads(data)
    records = document.get("records") if isinstance(document, dict) else None
    if not isinstance(records, list) or document.get("format") != FORMAT:
        raise RecordError(f"expected feedback of format {FORMAT}, received {data[:80]!r}")
    if len(records) > BATCH:
        raise RecordError(f"a blob holds at most {BATCH} records, received {len(records)}")
    return tuple(from_json(item) for item in records)


def timelines(
    statements: Sequence[Record], config: Config, target: Target, entities: Sequence[EntityKey], span: Span
) -> list[tuple[Stretch, ...]]:
    """What is said of every one of ``entities`` in ``span``."""
    near = [r for r in statements if r.start < span.end and r.end > span.start and r.target in (None, target.name)]
    if not near:
        return [()] * len(entities)
    return [stretches(near, target.name, subject(config, target, entity), span) for entity in entities]


def masks(
    statements: Sequence[Record], config: Config, target: Target, entities: Sequence[EntityKey], span: Span
) -> Bool:
    """Instants of the grid of ``span`` that nothing may be learned from, [T, N]: incidents and what to ignore."""
    times = grid(span, target.step)
    out = np.zeros((times.size, len(entities)), np.bool_)
    for i, found in enumerate(timelines(statements, config, target, entities, span)):
        for one in found:
            if one.verdict in MISSING:
                out[:, i] |= (times >= one.start) & (times < one.end)
    return out
