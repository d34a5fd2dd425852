"""What every source promises, and how it fails.

Errors, named by the reader's next move; nothing is ever returned in part:

* ``SourceError``
    * ``SourceUnavailableError``    no answer, 5xx or 429: try again later (``retry_after``)
    * ``SourceRejectedError``       4xx, a redirect, an unreadable secret: never retry, fix the configuration
    * ``SourceLimitError``          422, too many samples: ask for less
    * ``SourceAnswerError``         malformed, partial or too large an answer: do not use it
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

from anomaly_exporter.config import Target
from anomaly_models.frame import Block, Span


class SourceError(Exception):
    """Base of the sources' errors; ``outcome`` is the value of the label ``outcome`` of ``queries_total``."""

    outcome = "error"


class SourceUnavailableError(SourceError):
    """The source does not answer now; ``retry_after`` is what it asked for, in wall seconds, or None."""

    outcome = "unavailable"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SourceRejectedError(SourceError):
    """The source refuses this request and always will."""

    outcome = "rejected"


class SourceLimitError(SourceError):
    """The source refuses the size of this request; a smaller one may pass."""

    outcome = "limit"


class SourceAnswerError(SourceError):
    """The answer breaks the format, is partial or too large: nothing of it is used."""

    outcome = "invalid"


class Source(Protocol):
    """Where series come from."""

    def read(self, target: Target, span: Span) -> Block:
        """Samples of ``target`` on the grid of ``span`` (data time): all of them, or a SourceError."""
        ...

    def lag(self, target: Target, at: int) -> float | None:
        """Age at data time ``at`` of the newest raw sample, in data seconds; None when unknown."""
        ...


@dataclass
class SourceCounters:
    """What a source counts, thread-safe; ``snapshot()`` is a copy that can be read at leisure.

    ``queries`` by outcome (``ok`` or that of the error), ``partial`` answers refused, ``samples`` received,
    ``annotations``: remarks of the engine about a query (not partial), ``duplicates``: input series left out because
    another one has the same labels, ``retries``.
    """

    queries: Counter[str] = field(default_factory=Counter)
    partial: int = 0
    samples: int = 0
    annotations: int = 0
    duplicates: int = 0
    retries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def query(self, outcome: str) -> None:
        with self._lock:
            self.queries[outcome] += 1

    def add(
        self, *, partial: int = 0, samples: int = 0, annotations: int = 0, duplicates: int = 0, retries: int = 0
    ) -> None:
        with self._lock:
            self.partial += partial
            self.samples += samples
            self.annotations += annotations
            self.duplicates += duplicates
            self.retries += retries

    def snapshot(self) -> SourceCounters:
        with self._lock:
            return SourceCounters(
                Counter(self.queries), self.partial, self.samples, self.annotations, self.duplicates, self.retries
            )
