"""What one cycle found out: immutable, made by the cycle, read by the pages.

A snapshot holds only what may be said. Whatever is not in it is absent from ``/metrics`` and goes stale in Prometheus;
why it is not there is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from anomaly_exporter.generations import Entry
from anomaly_models.frame import F32, I64, Bool, EntityKey

F64 = npt.NDArray[np.float64]
LIFETIME = 3
"""Intervals of wall time after which a snapshot may not be served any more."""

TrainingState = Literal["waiting", "running", "succeeded", "failed", "stopped"]


@dataclass(frozen=True)
class Scores:
    """Newest verdict of S series of one target and model; arrays have S rows, those of features are [S, F].

    ``entries``: the models in force, row by row. ``owned``: this row may speak for its series (False for a duplicate,
    for a series beyond the limit, and where another pack is in force). ``shown``: owned, and scored at the newest
    instant. ``points``: anomalous grid points since the exporter started. ``parts``: what the threshold was made of.
    ``members`` [S, M]: the score that each of an ensemble's ``member_names`` alone would give; None for other models.
    ``shape``: index into shapes.NAMES of what departs, -1 for the rest. ``slope`` [S, F]: own units per second, NaN =
    unknown. ``seconds_to_limit`` [S, F]: NaN where nothing leaks or no limit is known. ``regime``: wall time of the
    newest change of regime, NaN where there was none; ``provisional``: above 1 while scores are judged against its
    level, since no model knows it yet.
    ``since``: wall time of the first anomalous point of the alert that is on, NaN where none is.
    ``confidence`` [S]: how far the threshold can be trusted for the history behind it, 0 to 1.
    """

    model: str
    features: tuple[str, ...]
    entries: tuple[Entry, ...]
    owned: Bool
    shown: Bool
    error: F32
    threshold: F64 | F32
    score: F32
    detected: Bool
    points: I64
    observed: F32
    expected: F32
    lower: F32
    upper: F32
    contribution: F32
    parts: Mapping[str, F64]
    members: F32 | None = None
    member_names: tuple[str, ...] = ()
    since: F64 | None = None
    shape: I64 | None = None
    slope: F64 | None = None
    seconds_to_limit: F64 | None = None
    regime: F64 | None = None
    provisional: F32 | None = None
    confidence: F64 | None = None


@dataclass(frozen=True)
class Unscored:
    """Series of ``model`` that could not be scored, for one of :data:`anomaly_exporter.metrics.UNSCORED_REASONS`."""

    model: str
    reason: str
    entities: tuple[EntityKey, ...]


@dataclass(frozen=True)
class TargetView:
    """One target at one instant.

    ``at``: data time of the newest instant, None before the first reading. ``wall``: when this view was made.
    ``expected``: entities in the newest answer that could be used. ``lag``: age of the newest raw sample in data
    seconds. ``models``: models by state. ``trained_at``: wall time of the newest training in force. ``untrained``: a
    configured model has nothing in force for the configured queries. ``error``: why nothing could be read or scored;
    then nothing is shown.
    """

    target: str
    at: int | None
    wall: float
    expected: int = 0
    scores: tuple[Scores, ...] = ()
    unscored: tuple[Unscored, ...] = ()
    lag: float | None = None
    generation: int | None = None
    models: Mapping[str, int] = field(default_factory=dict)
    trained_at: float | None = None
    untrained: bool = False
    error: str | None = None

    @property
    def scored(self) -> int:
        """Series that are shown."""
        return int(sum(np.count_nonzero(s.shown) for s in self.scores))

    def counts(self) -> dict[str, int]:
        """Unscored series by reason."""
        out: dict[str, int] = {}
        for item in self.unscored:
            out[item.reason] = out.get(item.reason, 0) + len(item.entities)
        return out


@dataclass(frozen=True)
class Snapshot:
    """Views of all targets, in the order of the configuration, published at wall time ``wall``."""

    wall: float
    views: tuple[TargetView, ...] = ()


@dataclass(frozen=True)
class TrainingStatus:
    """Training of one target, as its process reports it. Times are wall time, ``progress`` runs from 0 to 1.

    ``requested``: somebody asked for a training that has not begun yet.
    ``epochs`` by model and ``losses`` by model and split are those of the batch in training, empty when none is.
    """

    state: TrainingState = "waiting"
    started_at: float | None = None
    seconds: float | None = None
    progress: float = 0.0
    epochs: Mapping[str, int] = field(default_factory=dict)
    losses: Mapping[tuple[str, str], float] = field(default_factory=dict)
    next_at: float | None = None
    succeeded_at: float | None = None
    samples_read: int | None = None
    failed: Mapping[str, int] = field(default_factory=dict)
    stage_memory: Mapping[str, int] = field(default_factory=dict)
    message: str = ""
    requested: bool = False
