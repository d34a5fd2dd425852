"""Identity is the workload's: pods are replaced, entities and models stay, and nobody is told of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench.identity import CONFIG, Cluster, replace_all

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import PrometheusConnection, parse
from anomaly_exporter.sources import PrometheusSource
from anomaly_models.frame import Span
from support.openmetrics import Raw, every
from support.prometheus import prometheus

pytestmark = pytest.mark.e2e

T0 = 1_700_006_400
LIFE = 10
"""Steps that a pod of the real Prometheus lives."""
CPU = "node_namespace_pod_container:container_cpu_usage_seconds_total:sum_rate5m"
OWNER = "namespace_workload_pod:kube_pod_owner:relabel"


def test_replaced_pods_leave_neither_orphans_nor_alerts(tmp_path: Path) -> None:
    """The short version of ``python -m bench.identity``: 160 pods, replaced 6 times."""
    found = replace_all(Cluster(workloads=20, replicas=8, replacements=6), tmp_path)
    assert found.pods == 20 * 8 * 7
    assert found.orphans == 0
    assert found.unscored == 0
    assert found.alerts <= 1


def test_the_count_would_notice_pods_as_entities(tmp_path: Path) -> None:
    """The same world keyed by the pods' identifiers is full of orphans."""
    by_pod = CONFIG.replace("[namespace, workload, container]", "[namespace, uid]")
    assert replace_all(Cluster(workloads=3, replicas=2, replacements=2), tmp_path, by_pod).orphans > 3 * 2


def test_the_preset_keys_a_real_prometheus_by_owner(tmp_path: Path) -> None:
    """Three workloads whose pods get new names every ten minutes: three entities, and the mean over the pods there."""
    series = []
    for workload in range(3):
        for life in range(6):
            for replica in range(2):
                pod = {"cluster": "", "namespace": "a", "pod": f"w{workload}-{life}{replica}"}
                begin, cores = T0 + life * LIFE * 60, [1.0 + workload + replica] * LIFE
                owner = {**pod, "workload": f"w{workload}", "workload_type": "deployment"}
                series.append(Raw(CPU, {**pod, "container": "app"}, every(60, begin, cores)))
                series.append(Raw(OWNER, owner, every(60, begin, [1.0] * LIFE)))
    target = parse('prometheus: {url: "http://localhost:9090"}\npresets: [kubernetes]\n').target("kubernetes-cpu")
    with prometheus(tmp_path, series) as server:
        source = PrometheusSource(PrometheusConnection(url=server.url), At())
        block = source.read(target, Span(T0 + 60, T0 + 6 * LIFE * 60))
        source.close()
    assert [e.get("workload") for e in block.entities] == ["w0", "w1", "w2"]
    assert np.isfinite(block.values).all(), "a workload has no gap while its pods are replaced"
    # For five minutes after its end a pod's owner is still looked back to, its cores are not.
    np.testing.assert_allclose(block.values[:, :, 0], np.broadcast_to([1.5, 2.5, 3.5], block.values.shape[:2]))


class At(Clock):
    """Just after the newest sample: the preset's choice between rule and fallback looks at the last hour."""

    def now(self) -> float:
        return float(T0 + 6 * LIFE * 60)
