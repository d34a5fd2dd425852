"""Why a series that has a model waits for another one."""

from __future__ import annotations

from typing import Final

from anomaly_exporter.generations import SERVED_BY_ALL, Entry
from anomaly_exporter.snapshot import Scores

from .labels import Labels

STALE: Final = 3.0
"""Training intervals without a judgement on new data, as in the alert AnomalyModelsStale."""
DRIFTED: Final = 86_400
"""Data seconds after which an anomaly that still stands is rather a new normal that no model knows."""


def why_needed(target: str, wall: float, scores: Scores, row: int, labels: Labels) -> str:
    """``shared`` (no model of its own), ``rejected`` (by the gate, again and again), ``drifted`` (judged against a new
    level, or anomalous for a day), ``stale`` (three trainings left it out), or empty: it needs none."""
    entry: Entry = scores.entries[row]
    if entry.verdict == SERVED_BY_ALL:
        return "shared"
    if entry.gate.get("stuck") is True:
        return "rejected"
    # NaN where nothing stands: never above.
    stands = scores.since is not None and wall - scores.since[row] > labels.wall_duration(DRIFTED)
    if stands or (scores.provisional is not None and scores.provisional[row] > 1):
        return "drifted"
    return "stale" if wall - entry.evaluated_at > labels.longest(target, STALE) else ""
