"""Models beside each other: what they reproduce, what they find, what they cry about, what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anomaly_models import alerting, judging, quality
from anomaly_models.alerting import AlertSpec, AlertState
from anomaly_models.frame import F32
from anomaly_models.judging import Truth

from .fleets import Fitted, Scores
from .methods import Method

SHIPPED = 1.0
"""Score at which the product alerts."""
ENSEMBLE = "ensemble"
"""What stands for the threshold of a model whose score is not an error over a threshold."""

FIGURES = (
    "mae",
    "rmse",
    "mase",
    "r2",
    "above_ratio",
    "above_mean",
    "training_seconds",
    "inference_seconds",
    "true_positive",
    "false_positive",
    "false_negative",
    "true_negative",
    "precision",
    "recall",
    "f1",
    "event_recall",
    "false_per_week",
    "delay_minutes",
    "event_recall_at_budget",
    "vus_pr",
)
"""Everything that a row can tell."""

Value = float | None


@dataclass(frozen=True)
class Row:
    """One way of alerting on one data set: ``figures`` by name of :data:`FIGURES`, those without a meaning left out.

    ``threshold``: the base threshold, or ENSEMBLE. ``seed`` is None for what was not run here. ``shipped``: as
    configured, not a threshold for comparison.
    """

    dataset: str
    model: str
    threshold: str
    seed: int | None
    shipped: bool
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Extent:
    """How much was judged: entities, events, weeks of normal operation of all entities together."""

    entities: int
    events: int
    weeks: float

    @classmethod
    def of(cls, truths: Sequence[Truth]) -> Extent:
        return cls(len(truths), sum(len(t.events) for t in truths), sum(t.weeks for t in truths))


def compare(method: Method, scores: Sequence[Scores], truths: Sequence[Truth] | None, floor: float) -> list[Row]:
    """Rows of one method on one data set: as configured first, then its bare error over every base threshold.

    The bare error of an ensemble is its autoencoder's.
    ``truths``: the labels of every series, None without labels; then a row only tells of errors and costs. ``floor``:
    lowest threshold.
    """
    if not scores:
        return []
    fitted = [s.fitted for s in scores]
    ensemble = any(f is not None and f.members is not None for f in fitted)
    name = ENSEMBLE if ensemble else method.plan.threshold.base
    own = [f.threshold if f else None for f in fitted]
    common = {**_reproduction(scores), **_costs(fitted)}
    shipped = {
        **common,
        **_above(fitted, own),
        **_alerts(truths, [s.alerting for s in scores], method.budget, ranked=True),
    }
    dataset = scores[0].series.dataset
    rows = [Row(dataset, method.name, name, method.seed, True, _known(shipped))]
    bare = f"{method.name}'s {method.plan.model.autoencoder}" if ensemble else method.name
    for base in _bases(fitted):
        if base == name:
            continue
        thresholds = [np.full(f.error.shape, max(f.base[base], floor), np.float32) if f else None for f in fitted]
        alerts = [_alerting(s, t, method.bare_alert) for s, t in zip(scores, thresholds, strict=True)]
        figures = {**common, **_above(fitted, thresholds), **_alerts(truths, alerts, method.budget, ranked=ensemble)}
        rows.append(Row(dataset, bare, base, method.seed, False, _known(figures)))
    return rows


def mean(rows: Sequence[Row]) -> list[Row]:
    """Rows of several seeds as one each, in the order of first appearance; a figure that a seed lacks is left out."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.model, row.threshold), []).append(row)
    out = []
    for same in groups.values():
        names = [n for n in FIGURES if all(n in r.figures for r in same)]
        figures = {n: float(np.mean([r.figures[n] for r in same])) for n in names}
        first = same[0]
        out.append(
            Row(
                first.dataset,
                first.model,
                first.threshold,
                first.seed if len(same) == 1 else None,
                first.shipped,
                figures,
            )
        )
    return out


def _reproduction(scores: Sequence[Scores]) -> dict[str, Value]:
    """MAE, RMSE, MASE, R2 of the expectations of the test part in scaler units, mean over entities."""
    each: dict[str, list[float]] = {"mae": [], "rmse": [], "mase": [], "r2": []}
    for s in scores:
        if s.fitted is None:
            continue
        there = (s.series.test_rows >= 0) & (s.series.test_rows < len(s.series.values))
        observed = s.series.values[s.series.test_rows[there]] / s.fitted.scale
        expected = s.fitted.expected[there] / s.fitted.scale
        found = {
            "mae": quality.mae(observed, expected),
            "rmse": quality.rmse(observed, expected),
            "mase": quality.mase(observed, expected, s.fitted.naive),
            "r2": quality.r2(observed, expected),
        }
        for name, value in found.items():
            if value is not None:
                each[name].append(value)
    return {name: _mean(values) for name, values in each.items()}


def _costs(fitted: Iterable[Fitted | None]) -> dict[str, Value]:
    known = [f for f in fitted if f]
    return {
        "training_seconds": _mean([f.training_seconds for f in known]),
        "inference_seconds": _mean([f.inference_seconds for f in known]),
    }


def _above(fitted: Sequence[Fitted | None], thresholds: Sequence[F32 | None]) -> dict[str, Value]:
    """Share of the test errors above their thresholds, and the mean of those; over all entities."""
    pairs = [(f.error, t) for f, t in zip(fitted, thresholds, strict=True) if f and t is not None]
    if not pairs:
        return {}
    error, threshold = (np.concatenate(part) for part in zip(*pairs, strict=True))
    finite = np.isfinite(error) & np.isfinite(threshold)
    above = error[finite & (error > np.where(finite, threshold, np.inf))]
    ratio = above.size / int(finite.sum()) if finite.any() else None
    return {"above_ratio": ratio, "above_mean": float(above.mean(dtype=np.float64)) if above.size else None}


def _alerts(truths: Sequence[Truth] | None, alerts: Sequence[F32], budget: float, *, ranked: bool) -> dict[str, Value]:
    """What alerting at SHIPPED finds and cries about. ``ranked``: also what the score could find, see `vus_pr`."""
    if truths is None:
        return {}
    pairs = list(zip(truths, alerts, strict=True))
    each = [judging.confusion(t, a, SHIPPED) for t, a in pairs]
    total = judging.Confusion(*(sum(counts) for counts in zip(*each, strict=True)))
    found = np.concatenate([judging.peaks(t, a) for t, a in pairs])
    false, weeks = sum(judging.false_notifications(t, a, SHIPPED) for t, a in pairs), sum(t.weeks for t in truths)
    delays = [d for t, a in pairs for d in judging.delays(t, a, SHIPPED)]
    common = judging.common_threshold(truths, alerts, budget)
    volumes = [v for t, a in pairs if ranked and (v := judging.vus_pr(t, a)) is not None]
    return {
        **{name: float(count) for name, count in total._asdict().items()},
        "precision": total.precision,
        "recall": total.recall,
        "f1": total.f1,
        "event_recall": float((found >= SHIPPED).mean()) if found.size else None,
        "false_per_week": false / weeks if weeks else None,
        "delay_minutes": float(np.median(delays)) / 60 if delays else None,
        "event_recall_at_budget": float((found >= common).mean()) if found.size else None,
        "vus_pr": _mean(volumes),
    }


def _alerting(s: Scores, threshold: F32 | None, spec: AlertSpec) -> F32:
    """Alerting score of the bare error over a constant threshold, 0 where nothing is known."""
    if s.fitted is None or threshold is None:
        return np.zeros(s.alerting.shape, np.float32)
    score = (s.fitted.error / threshold)[None]
    observed = np.zeros((*score.shape, 1), np.float32)
    alerted, _, _ = alerting.fold(score, observed, None, AlertState.fresh(1, spec), spec)
    known: F32 = np.nan_to_num(alerted[0], nan=0.0)
    return known


def _bases(fitted: Iterable[Fitted | None]) -> list[str]:
    """Base thresholds that every fitted model has."""
    each = [f.base for f in fitted if f]
    return [b for b in each[0] if all(b in other for other in each)] if each else []


def _mean(values: Sequence[float]) -> Value:
    return float(np.mean(values)) if values else None


def _known(figures: Mapping[str, Value]) -> dict[str, float]:
    return {n: float(v) for n in FIGURES if (v := figures.get(n)) is not None and np.isfinite(v)}
