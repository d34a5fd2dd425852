"""Both launchers behind one bench, so that one suite can say what a launcher promises."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from kubernetes.client import ApiClient, Configuration

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config
from anomaly_exporter.launch import JobApi, KubernetesLauncher, Launcher, LocalLauncher
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TargetView
from support.fake_kubernetes import FakeKubernetes, served
from support.snapshots import config_of

CRON_JOB = "anomaly-exporter-train"
TARGETS = ({"name": "cpu"}, {"name": "memory_of_all", "metric": "memory"})

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app.kubernetes.io/component": "train"}, "annotations": {"checksum/config": "abc"}},
    "spec": {
        "completionMode": "Indexed",
        "completions": 4,
        "parallelism": 2,
        "backoffLimitPerIndex": 2,
        "maxFailedIndexes": 4,
        "ttlSecondsAfterFinished": 3600,
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"containerName": "train", "operator": "In", "values": [2]}},
                {"action": "FailIndex", "onExitCodes": {"containerName": "train", "operator": "In", "values": [4]}},
            ]
        },
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/component": "train"}},
            "spec": {
                "restartPolicy": "Never",
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": "train",
                        "image": "ghcr.io/example/anomaly-exporter:train",
                        "args": ["train", "--config", "/etc/anomaly-exporter/config.yaml", "--shard", "auto/4"],
                        "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
                        "resources": {"limits": {"memory": "2Gi"}},
                    }
                ],
            },
        },
    },
}
"""A jobTemplate as the chart writes it."""

STUB = """\
import json, os, signal, sys, time
target = sys.argv[sys.argv.index("--target") + 1]
folder = os.path.dirname(os.path.abspath(__file__))
signal.signal(signal.SIGTERM, lambda *_: os._exit(130))
with open(os.path.join(folder, "arguments.new"), "w") as arguments:
    json.dump(sys.argv, arguments)
os.rename(os.path.join(folder, "arguments.new"), os.path.join(folder, "arguments"))
with open(os.path.join(folder, "begun"), "a") as begun:
    begun.write(target + "\\n")
while not os.path.exists(os.path.join(folder, "end-" + target)):
    time.sleep(0.01)
with open(os.path.join(folder, "end-" + target)) as end:
    code = int(end.read())
os.unlink(os.path.join(folder, "end-" + target))
sys.exit(code)
"""
"""Trains until it is told how to end."""


class Bench(Protocol):
    """A launcher, and the hand of whoever runs its trainings."""

    launcher: Launcher
    metrics: SelfMetrics
    config: Config

    def begun(self, target: str) -> int:
        """How many trainings of ``target`` were begun."""
        ...

    def finish(self, target: str, code: int) -> None:
        """Let the training of ``target`` end with exit ``code``."""
        ...


class LocalBench:
    """Children that wait until a file tells them how to end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "stub.py").write_text(STUB)
        self.metrics = SelfMetrics()
        self.config = config_of(*TARGETS)
        command = (sys.executable, str(folder / "stub.py"))
        self.launcher: Launcher = LocalLauncher(folder / "c.yaml", self.config, Clock(), self.metrics, command)
        self.launcher.observe(Snapshot(time.time(), tuple(_trained(t["name"]) for t in TARGETS)))

    def begun(self, target: str) -> int:
        path = self._folder / "begun"
        return path.read_text().split().count(target) if path.exists() else 0

    def finish(self, target: str, code: int) -> None:
        temporary = self._folder / "code"
        temporary.write_text(str(code))
        temporary.rename(self._folder / f"end-{target}")


class KubernetesBench:
    """Jobs of a fake cluster, in which pods end when the test says so."""

    def __init__(self, url: str, cluster: FakeKubernetes) -> None:
        self.cluster = cluster
        self.config = config_of(
            *TARGETS, launcher={"kind": "kubernetes", "cron_job": CRON_JOB, "namespace": cluster.namespace}
        )
        self.metrics = SelfMetrics()
        api = JobApi(cluster.namespace, ApiClient(Configuration(host=url)))
        self.launcher: Launcher = KubernetesLauncher(self.config, self.metrics, api)

    def begun(self, target: str) -> int:
        return sum(self._of(name) == target for name in self.cluster.jobs())

    def finish(self, target: str, code: int) -> None:
        for name in self.cluster.jobs():
            job = self.cluster.job(name)
            done = any(c["type"] in ("Complete", "Failed") for c in job["status"].get("conditions", []))
            if self._of(name) == target and not done:
                self.cluster.finish(name, code)

    def _of(self, name: str) -> str | None:
        labels = self.cluster.job(name)["metadata"].get("labels", {})
        found = labels.get("anomaly-exporter/target")
        return str(found) if found else None


@contextmanager
def cluster_bench() -> Iterator[KubernetesBench]:
    """A started launcher over a fake cluster with the CronJob of the chart."""
    cluster = FakeKubernetes()
    cluster.add_cron_job(CRON_JOB, TEMPLATE)
    with served(cluster) as url:
        bench = KubernetesBench(url, cluster)
        bench.launcher.start()
        try:
            yield bench
        finally:
            bench.launcher.stop()


@contextmanager
def local_bench(folder: Path) -> Iterator[LocalBench]:
    """A started launcher of children that do as they are told."""
    bench = LocalBench(folder)
    bench.launcher.start()
    try:
        yield bench
    finally:
        bench.launcher.stop()


def _trained(name: str) -> TargetView:
    """A target whose models are new: nothing is due by itself."""
    return TargetView(name, 0, time.time(), trained_at=time.time())
