"""Restarts and limits asked of a real Prometheus hold alerts and give a time to the limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import PrometheusConnection, parse
from anomaly_exporter.cycle import Cycle, Resources
from anomaly_exporter.exposition import DetailCache, Labels, render_detail, render_metrics
from anomaly_exporter.generations import Generations
from anomaly_exporter.history import History
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot
from anomaly_exporter.sources import PrometheusSource
from anomaly_exporter.train.fitting import Run
from anomaly_exporter.train.reading import update
from anomaly_models.frame import Span
from support.openmetrics import Raw, every
from support.prometheus import prometheus

pytestmark = pytest.mark.e2e

STEP = 60
T0 = 1_700_006_400
LEARNED, LATER = 600, 40
"""Steps of history, and steps that are watched; the jump is in the middle of those."""
JUMP = LEARNED + LATER // 2
GIB = 2**30
CONFIG = """
prometheus: {url: "http://localhost:9090"}
targets:
  - name: memory
    metric: memory
    labels: [namespace, container]
    models: [zscore]
    delay: 0
    queries:
      - name: memory
        expr: container_memory_working_set_bytes
        valid: {min: 0}
        limit: kube_pod_container_resource_limits{resource="memory"}
    hold_on: {expr: kube_pod_container_status_restarts_total, steps: 10}
    threshold: {base: mean_std}
    alerting: {persistence: 2}
    gate: {enabled: false}
    training: {min_history: 1h}
"""


class At(Clock):
    """A clock that stands at the end of history."""

    def now(self) -> float:
        return float(T0 + LEARNED * STEP)


def _series() -> list[Raw]:
    """``web`` jumps and is restarted then, ``db`` jumps and is not, ``leaky`` grows towards its limit, 20 GiB."""
    rng = np.random.default_rng(0)
    rows = LEARNED + LATER
    usual = GIB * (1 + 0.01 * rng.normal(size=(3, rows)))
    usual[:2, JUMP:] *= 1.5
    usual[2] = GIB * np.linspace(5, 10, rows) + 0.01 * GIB * rng.normal(size=rows)
    usual[1, LEARNED // 2] = -1
    out = []
    for name, values in zip(("web", "db", "leaky"), usual, strict=True):
        labels = {"namespace": "a", "container": name}
        restarts = [3.0 + (name == "web" and i >= JUMP) for i in range(rows)]
        limit = {**labels, "resource": "memory"}
        out.append(Raw("container_memory_working_set_bytes", labels, every(STEP, T0, values.tolist())))
        out.append(Raw("kube_pod_container_status_restarts_total", labels, every(STEP, T0, restarts)))
        out.append(Raw("kube_pod_container_resource_limits", limit, every(STEP, T0, [20.0 * GIB] * rows)))
    return out


def _lines(pages: list[str], name: str) -> dict[str, float]:
    """Values of a metric by container on the newest page."""
    found = [line for line in pages[-1].splitlines() if line.startswith(f"{name}{{")]
    return {line.partition('container="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in found}


def test_a_restart_holds_the_alert_of_one_series_and_a_leak_has_a_time_to_its_limit(tmp_path: Path) -> None:
    config = parse(CONFIG)
    target = config.target("memory")
    blobs = DirectoryBlobs(tmp_path / "store")
    history, generations = History(blobs), Generations(blobs)
    with prometheus(tmp_path, _series()) as server:
        source = PrometheusSource(PrometheusConnection(url=server.url), At())
        span = Span(T0, T0 + LEARNED * STEP)
        update(source, history, target, span)
        run = Run(config, target, At(), history, generations, span, 0.0, lambda event: None)
        run.fit(("zscore",), history.entities(target, span))
        cycle = Cycle(config, Resources(source, history, generations, At(), SelfMetrics()))
        pages, detected = [], []
        for i in range(LATER):
            snapshot: Snapshot = cycle.run(T0 + (LEARNED + i) * STEP)
            pages.append(render_metrics(snapshot, config, Labels(config)).text.decode())
            detected.append(_lines(pages, "anomaly_detected"))
        pages.append(render_detail(snapshot, {}, Labels(config), DetailCache()).text.decode())
        cycle.close()
        source.close()

    def began(container: str) -> int:
        """Steps after the jump until the alert of ``container``."""
        return next(i for i, found in enumerate(detected) if found[container] == 1) - LATER // 2

    assert began("db") == 1, "persistence alone"
    assert began("web") == 10, "the hold"
    left = _lines(pages, "anomaly_seconds_to_limit")
    assert left == {"leaky": pytest.approx(10 * GIB / (5 * GIB / (LEARNED + LATER) / STEP), rel=0.1)}
    assert all(not line.startswith("anomaly_seconds_to_limit") for line in pages[0].splitlines())
