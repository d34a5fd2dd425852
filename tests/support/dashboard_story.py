"""Half an hour of a small cluster with an incident, as two replicas of the exporter would have shown it.

The pages are made by the real exposition code, instant by instant, and poured into a real Prometheus, so that a query
of a dashboard meets exactly the names and labels that it will meet in earnest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from anomaly_exporter.config import Config
from anomaly_exporter.demo.stack import backfill
from anomaly_exporter.exposition import DetailCache, Labels, render_detail, render_metrics
from anomaly_exporter.metrics import SELF
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Scores, Snapshot, TargetView, TrainingStatus, Unscored
from anomaly_models import shapes
from anomaly_models.frame import EntityKey
from support.snapshots import NOW, config_of, entry_of, scores_of

STEP: Final = 60
STEPS: Final = 31
START: Final = NOW - (STEPS - 1) * STEP
INCIDENT: Final = STEPS - 6
"""Step at which crab/crabserver becomes anomalous."""
SERVICES: Final = (("crab", "crabserver"), ("das", "das-server"), ("dmwm", "reqmgr2"), ("dmwm", "workqueue"))
NEW: Final = ("dqm", "autodqm")
"""A service without a model."""
FEATURES: Final = ("load", "memory")
FIGURES: Final = {
    "quality": {split: {"mae": 0.2, "rmse": 0.3, "mase": 0.8, "r2": 0.9} for split in ("train", "validation", "test")},
    "base": {"budget": 2.8, "mean_std": 2.5, "mad": 2.2, "p95": 1.9, "p99": 2.4},
    "budget": {"asked": 1.0, "attainable": 0.5, "expected": 0.5, "widened": 1.1},
    "injected": {
        "recall": 0.75,
        "delay": 120.0,
        "recall_beside_baseline": 0.8,
        "baseline": "seasonal",
        "baseline_recall": 0.9,
        "beats_baseline": False,
    },
    "above": {"mean_std": {"ratio": 0.01, "mean_error": 4.5}, "p95": {"ratio": 0.05, "mean_error": 3.5}},
}
GATE: Final = {"rejections": 2, "shift": {"current": 1.1, "week": 1.2, "month": 1.4}}
TRAINING: Final = {
    "state": "succeeded",
    "recipe": "auto",
    "architecture": "auto(cnn_lstm)",
    "samples": {"train": 7000, "validation": 1500, "test": 1500},
    "epochs": 12,
    "best_epoch": 9,
    "loss": {"train": 0.1, "validation": 0.2},
    "masked_ratio": 0.01,
    "seconds": 3.5,
    "inference_seconds": 1e-05,
    "started_at": float(NOW - 7000),
}
REPLICAS: Final = ("anomaly-exporter-a", "anomaly-exporter-b")


def config(profile: str = "kps") -> Config:
    """Two targets of one feature and one of several, under a label profile."""
    model = {"models": ["auto"]}
    return config_of(
        {"name": "cpu", "metric": "cpu", **model},
        {"name": "memory", "metric": "memory", **model},
        {
            "name": "node",
            "metric": "resources",
            "labels": ["node"],
            "tag": "nodes",
            "queries": [{"name": name, "expr": "x"} for name in FEATURES],
            **model,
        },
        models={"auto": {"recipe": "auto", "autoencoder": "cnn_lstm"}},
        exposition={"profile": profile},
    )


def fill(folder: Path, profile: str = "kps") -> None:
    """Write the whole story into the storage ``folder`` of a Prometheus that is not running yet."""
    lines: dict[str, list[str]] = {}
    for line in [*_pages(config(profile)), *_neighbours(config(profile))]:
        lines.setdefault(line.partition("{")[0], []).append(line)
    text = "".join(f"# TYPE {name} gauge\n" + "".join(of_name) for name, of_name in sorted(lines.items()))
    path = folder.with_suffix(".om")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "# EOF\n", encoding="utf-8")
    backfill(path, folder)


def _pages(of: Config) -> Iterator[str]:
    """Samples of both pages of both replicas at every instant."""
    labels, cache = Labels(of), DetailCache()
    entries = _entries()
    for step in range(STEPS):
        at = START + step * STEP
        snapshot = Snapshot(at, tuple(_view(name, entries[name], step) for name in entries))
        status = {name: _status(name, step) for name in entries}
        texts = [
            render_metrics(snapshot, of, labels).text,
            render_detail(snapshot, status, labels, cache).text,
            _self_metrics(snapshot, step).render(),
        ]
        for line in b"".join(texts).decode().splitlines():
            if not line.startswith("#"):
                yield from _replicated(line, at)


def _replicated(line: str, at: int) -> Iterator[str]:
    """The line once per replica, with the labels that a scrape adds."""
    series, value = line.rsplit(" ", 1)
    name, _, own = series.partition("{")
    own = own.removesuffix("}")
    for pod in REPLICAS:
        target = f'job="anomaly-exporter",instance="{pod}:8345",pod="{pod}",endpoint="http",service="anomaly-exporter"'
        yield f"{name}{{{target}{',' if own else ''}{own}}} {value} {at}\n"


def _entries() -> dict[str, tuple[Any, ...]]:
    more = {"figures": FIGURES, "training": TRAINING, "gate": GATE}
    containers = [{"namespace": namespace, "container": container} for namespace, container in SERVICES]
    labels = {"cpu": containers, "memory": containers, "node": [{"node": "node-1"}, {"node": "node-2"}]}
    return {name: tuple(entry_of(name, own, "auto", **more) for own in of) for name, of in labels.items()}


def _view(name: str, entries: tuple[Any, ...], step: int) -> TargetView:
    at = START + step * STEP
    waiting = ()
    if name != "node":
        key = EntityKey.of(name, dict(zip(("namespace", "container"), NEW, strict=True)))
        waiting = (Unscored("auto", "no_model", (key,)),)
    return TargetView(
        name,
        at,
        at,
        expected=len(entries) + len(waiting),
        scores=(_scores(name, entries, step),),
        unscored=waiting,
        lag=45.0,
        generation=2 if step < STEPS // 2 else 3,
        models={"loaded": len(entries), "failed": 0, "stale": 0, "untrained": len(waiting)},
        trained_at=float(NOW - 7000),
    )


def _scores(name: str, entries: tuple[Any, ...], step: int) -> Scores:
    """Quiet series; the first one of every target departs from its expectation at the end."""
    features = FEATURES if name == "node" else ("value",)
    rows, width = len(entries), len(features)
    struck = np.zeros(rows, np.bool_)
    struck[0] = step >= INCIDENT
    error = (0.4 + 0.1 * np.arange(rows) + 0.05 * np.sin(step + np.arange(rows))).astype(np.float32)
    error[struck] = 3.0
    flat = np.ones((rows, width), np.float32)
    observed = flat * (2 + 0.1 * np.sin(step / 5))
    observed[struck] += 2
    contribution = flat / width
    if width > 1:
        contribution[:, 0], contribution[:, 1] = 0.7, 0.3
    return scores_of(
        entries,
        features,
        members=np.stack([error / 2, error / 4], axis=1),
        member_names=("autoencoder", "level"),
        shape=np.where(struck, shapes.LEVEL_SHIFT, shapes.NONE),
        slope=np.full((rows, width), 0.01),
        seconds_to_limit=np.full((rows, width), 7200.0 - 60 * step),
        regime=np.full(rows, float(START + INCIDENT * STEP)),
        provisional=np.where(struck, 1.5, 1).astype(np.float32),
        error=error,
        threshold=np.full(rows, 2.0),
        score=error / 2,
        detected=struck,
        since=np.where(struck, float(START + INCIDENT * STEP), np.nan),
        points=np.where(struck, step - INCIDENT + 1, 0),
        observed=observed,
        expected=2 * flat,
        lower=flat,
        upper=3 * flat,
        contribution=contribution,
        parts={
            "previous": np.full(rows, 2.2),
            "recent": np.full(rows, 1.9),
            "previous_sigma": np.full(rows, 0.1),
            "recent_sigma": np.full(rows, 0.1),
            "weight": np.full(rows, 0.5),
            "decay": np.full(rows, 1 - step / 100),
        },
    )


def _status(name: str, step: int) -> TrainingStatus:
    """A training of cpu in the middle and at the end, one of memory that fails."""
    if name == "cpu" and (10 <= step < 13 or step == STEPS - 1):
        return TrainingStatus(state="running", progress=0.5)
    if name == "memory" and 13 <= step < 16:
        return TrainingStatus(state="failed")
    return TrainingStatus(state="succeeded", succeeded_at=float(NOW - 7000))


def _self_metrics(snapshot: Snapshot, step: int) -> SelfMetrics:
    """Every declared self metric with plausible values."""
    words = {
        "outcome": ("succeeded", "failed"),
        "reason": ("missing",),
        "verdict": ("promoted", "rejected"),
        "stage": ("read", "fit", "freed"),
        "state": ("loaded", "untrained"),
        "page": ("metrics", "detail"),
        "code": ("200", "404"),
    }
    made = SelfMetrics()
    at = START + step * STEP
    for spec in SELF:
        if spec.name == "anomaly_exporter_process_resident_memory_bytes" or "version" in spec.labels:
            continue
        keys: list[dict[str, str]] = [{}]
        for label in spec.labels:
            if spec.name == "anomaly_labelled_events" and label == "outcome":
                values: Sequence[str] = ("tp", "fp", "fn", "tn")
            else:
                values = [view.target for view in snapshot.views] if label == "target" else words.get(label, ("some",))
            keys = [{**key, label: value} for key in keys for value in values]
        for key in keys:
            if spec.kind == "counter":
                made.raise_to(spec.name, step, **key)
            else:
                made.set(spec.name, at - 30 if spec.unit == "seconds" else 1, **key)
    for view in snapshot.views:
        made.set("series_expected", view.expected, target=view.target)
        made.set("series_scored", view.scored, target=view.target)
        running = _status(view.target, step).state == "running"
        made.set("training_running", float(running), target=view.target)
        made.set("training_progress_ratio", 0.5 if running else 1.0, target=view.target)
        made.set("training_next_timestamp_seconds", NOW + 3600, target=view.target)
        made.set("data_lag_seconds", 45, target=view.target)
    made.replace("series_unscored", {(v.target, r): float(n) for v in snapshot.views for r, n in v.counts().items()})
    made.set("cycle_interval_seconds", STEP)
    made.set("cycle_duration_seconds", 0.5)
    return made


def _neighbours(of: Config) -> Iterator[str]:
    """What others expose: alerts of Prometheus itself, and kube-state-metrics."""
    namespace, container = of.exposition.emitted("namespace"), of.exposition.emitted("container")
    series = f'env="k8s-prod",{namespace}="crab",{container}="crabserver",metric="cpu",model="auto",tag="crab"'
    anomaly = f'alertname="AnomalyDetected",alert="AnomalyDetected",severity="warning",service="crabserver",{series}'
    own = 'alertname="AnomalyDataLag",severity="warning",tag="anomaly-exporter"'
    for step in range(STEPS):
        at = START + step * STEP
        if step > INCIDENT:
            yield f'ALERTS{{alertstate="firing",{anomaly}}} 1 {at}\n'
            yield f"ALERTS_FOR_STATE{{{anomaly}}} {START + INCIDENT * STEP} {at}\n"
            yield f'ALERTS{{alertstate="firing",{own}}} 1 {at}\n'
        pod = 'namespace="crab",pod="crabserver-1",container="crabserver"'
        yield f"kube_pod_container_status_restarts_total{{{pod}}} {int(step > INCIDENT)} {at}\n"
        for kind in ("deployment", "statefulset"):
            labels = f'namespace="crab",{kind}="crabserver"'
            yield f"kube_{kind}_status_observed_generation{{{labels}}} {1 + (step > 20)} {at}\n"
