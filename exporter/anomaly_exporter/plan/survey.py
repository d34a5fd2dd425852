"""What a source says of a target before anything runs: who is there, since when, in how many requests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Target
from anomaly_exporter.sources import Source, SourceCounters, SourceError
from anomaly_models.frame import Span, newest_instant

POINTS = 720
"""Instants at which the past is looked at: an hour apart for 30 days."""


@dataclass(frozen=True)
class Survey:
    """``entities`` at the newest instant; ``oldest`` data time of the first sample found, None without any;
    ``resolution`` of that in seconds; ``queries`` and ``samples`` of one cycle; ``error`` when nothing could be read.
    """

    entities: int = 0
    oldest: int | None = None
    resolution: int = 0
    at: int = 0
    queries: int = 0
    samples: int = 0
    error: str | None = None

    @property
    def history(self) -> int:
        """Data seconds of samples."""
        return 0 if self.oldest is None else self.at - self.oldest


def survey(source: Source, counters: SourceCounters, target: Target, clock: Clock) -> Survey:
    """Ask ``source``; few and cheap questions, whatever the number of entities."""
    now = clock.now()
    at = newest_instant(now, target.step, target.delay)
    try:
        # The past first: it probes fallbacks, which a cycle does not.
        oldest, resolution = _oldest(source, target, at)
        before = counters.snapshot()
        block = source.read(target, Span(at, at + target.step))
        source.lag(target, int(now))
        after = counters.snapshot()
    except SourceError as error:
        return Survey(at=at, error=str(error))
    return Survey(
        entities=int(np.isfinite(block.values).any(axis=(0, 2)).sum()),
        oldest=oldest,
        resolution=resolution,
        at=at,
        queries=sum(after.queries.values()) - sum(before.queries.values()) + (target.hold_on is not None),
        samples=after.samples - before.samples,
    )


def _oldest(source: Source, target: Target, at: int) -> tuple[int | None, int]:
    """Data time of the oldest instant with a sample within ``training.history``, and how exactly that is known.

    All entities as one series and a wide step: the answer is a handful of numbers.
    """
    step = max(target.training.history // POINTS // target.step, 1) * target.step
    whole = target.model_copy(update={"labels": (), "step": step})
    start = max(at - target.training.history, 0)
    block = source.read(whole, Span(start, at + 1))
    there = np.flatnonzero(np.isfinite(block.values).any(axis=(1, 2)))
    return (int(block.times[there[0]]) if there.size else None), step
