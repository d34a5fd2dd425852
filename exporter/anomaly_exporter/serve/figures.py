"""Figures of many models together: what they catch of injected anomalies, by shape, and what tuning found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final

from anomaly_exporter.blobs import Blobs
from anomaly_exporter.config import CANARY_TARGET
from anomaly_exporter.generations import Entry, tunings
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TargetView

EVERY: Final = 600.0
"""Seconds between two looks at the results of tuning."""
Found = Mapping[tuple[str, str], tuple[int, int, Sequence[float]]]
"""By model and shape: caught, injected, and median delays of the models that caught any, in seconds."""


class Figures:
    """Brings the self metrics of injected anomalies and of tuning up to date.

    One entity is injected with a few anomalies of every shape, too few to speak of its recall by shape; all entities of
    a target together are enough, and their number of series does not grow with that of the entities.
    """

    def __init__(self, blobs: Blobs, metrics: SelfMetrics, seconds: Callable[[], float] = time.monotonic) -> None:
        self._blobs, self._metrics, self._seconds = blobs, metrics, seconds
        self._known: dict[str, tuple[int | None, tuple[int, ...], Found]] = {}
        self._looked: float | None = None

    def publish(self, snapshot: Snapshot) -> None:
        """Take in a snapshot; cheap while no new generation came into force."""
        views = [view for view in snapshot.views if view.target != CANARY_TARGET]
        self._known = {view.target: self._of(view) for view in views}
        every = {(target, *key): found for target, (_, _, known) in self._known.items() for key, found in known.items()}
        self._metrics.replace("injected_anomalies", {key: float(n) for key, (_, n, _) in every.items()})
        self._metrics.replace("injected_recall_ratio", {key: caught / n for key, (caught, n, _) in every.items() if n})
        self._metrics.replace("injected_delay_seconds", {key: median(d) for key, (_, _, d) in every.items() if d})
        if self._looked is None or self._seconds() - self._looked >= EVERY:
            self._looked = self._seconds()
            self._tuned([view.target for view in views])

    def _of(self, view: TargetView) -> tuple[int | None, tuple[int, ...], Found]:
        """What the models in force of one target catch, kept until another generation is."""
        identity = tuple(id(scores.entries) for scores in view.scores)
        kept = self._known.get(view.target)
        if kept is not None and kept[:2] == (view.generation, identity):
            return kept
        entries = (scores.entries[i] for scores in view.scores for i in scores.owned.nonzero()[0])
        return view.generation, identity, together(entries)

    def _tuned(self, targets: Sequence[str]) -> None:
        recall: dict[tuple[str, ...], float] = {}
        error: dict[tuple[str, ...], float] = {}
        at: dict[tuple[str, ...], float] = {}
        for target in targets:
            for model, found in tunings.newest(self._blobs, target).items():
                for variant in ("untuned", "tuned"):
                    recall |= _figure((target, model, variant), found, "test_recall")
                    error |= _figure((target, model, variant), found, "mae")
                if isinstance(found.get("finished_at"), int | float):
                    at[target, model] = float(found["finished_at"])
        self._metrics.replace("tuning_recall_ratio", recall)
        self._metrics.replace("tuning_error_ratio", error)
        self._metrics.replace("tuning_timestamp_seconds", at)


def together(entries: Iterable[Entry]) -> Found:
    """What the models of ``entries`` catch by model and shape; what is no such figure is left out."""
    out: dict[tuple[str, str], tuple[int, int, list[float]]] = {}
    for entry in entries:
        injected = entry.figures.get("injected")
        shapes = injected.get("shapes") if isinstance(injected, Mapping) else None
        for shape, found in shapes.items() if isinstance(shapes, Mapping) else ():
            match found:
                case [int(caught), int(number), (int() | float() | None) as delay]:
                    before = out.get((entry.model, shape), (0, 0, []))
                    before[2].extend([] if delay is None else [float(delay)])
                    out[entry.model, shape] = (before[0] + caught, before[1] + number, before[2])
    return out


def _figure(key: tuple[str, str, str], found: Mapping[str, Any], name: str) -> dict[tuple[str, ...], float]:
    """The figure ``name`` of the variant that ``key`` ends with; nothing where it is no number."""
    trial = found.get(key[2])
    value = trial.get(name) if isinstance(trial, Mapping) else None
    return {key: float(value)} if isinstance(value, int | float) else {}
