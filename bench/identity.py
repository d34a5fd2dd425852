"""Pods come and go, workloads stay: 10,000 pods replaced 100 times, as the exporter sees it.

    python -m bench.identity [--workloads 500] [--replicas 20] [--replacements 100]

A simulated cluster rolls all of its pods again and again, in waves; a new pod is missing for one step, because its
owner is not known yet, and works half as much again in its first minute. The real cycle reads the series with the
names and owners of their pods, keyed by workload, scores them once a step, and trains on the history every few hours.
Counted two cycles after every replacement: entities and models that belong to no workload; and alerts, of which every
one is false.

The full run, 1,010,000 pods in 805 cycles and 5 trainings: no orphan, no workload without a score, no alert; 287 s on
one core of an AMD EPYC that had other work, at most 0.7 GB.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Target, parse
from anomaly_exporter.cycle import Cycle, Resources
from anomaly_exporter.generations import Generations
from anomaly_exporter.history import History
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.sources.selection import F64, RawSeries, assemble
from anomaly_exporter.train.fitting import Run
from anomaly_models.frame import I64, Block, Span, grid

STEP = 60
BORN = 1_800_000_000 // 86_400 * 86_400
LEARNED = 600
"""Steps of history before the first replacement."""
WAVES = 5
PERIOD = 8
"""Steps from one replacement to the next: WAVES to roll, then quiet."""
RETRAIN = 25
"""Replacements between two trainings."""
CONFIG = """
prometheus: {url: "http://localhost:9090"}
exposition: {max_series: 100000}
targets:
  - name: cpu
    metric: cpu
    labels: [namespace, workload, container]
    models: [zscore]
    queries: [{name: cpu, expr: 'cpu{workload!=""}'}]
"""


@dataclass(frozen=True)
class Cluster:
    """A source: ``workloads`` of ``replicas`` pods each, replaced ``replacements`` times from LEARNED steps on."""

    workloads: int
    replicas: int
    replacements: int

    def read(self, target: Target, span: Span) -> Block:
        times = grid(span, target.step)
        values, generation = self._values(times)
        series = [
            RawSeries("cpu", self._labels(w, p, g), np.where(generation[:, p] == g, values[:, w, p], np.nan))
            for p in range(self.replicas)
            for g in np.unique(generation[:, p]).tolist()
            for w in range(self.workloads)
        ]
        return assemble(target, times, series)

    def lag(self, target: Target, at: int) -> float | None:
        return 0.0

    def _values(self, times: I64) -> tuple[F64, I64]:
        """Cores [T, workload, pod], NaN while a pod's owner is unknown, and the generation of the pods [T, pod]."""
        since = (times[:, None] - BORN) // STEP - LEARNED - np.arange(self.replicas) % WAVES
        generation = np.clip(since // PERIOD + 1, 0, self.replacements)
        age = since - (generation - 1) * PERIOD
        w = np.arange(self.workloads)
        load = (1 + w % 5)[None, :] * (1 + 0.3 * np.sin(2 * np.pi * times[:, None] / 7200 + w[None, :]))
        shape = (self.workloads, self.replicas)
        noise = np.stack([np.random.default_rng(int(t)).normal(0, 0.1, shape) for t in times])
        young = ((generation > 0) & (age == 1))[:, None, :]
        values = load[:, :, None] * (1 + noise) * np.where(young, 1.5, 1.0)
        values[np.broadcast_to(((generation > 0) & (age == 0))[:, None, :], values.shape)] = np.nan
        return values, generation

    @staticmethod
    def _labels(w: int, p: int, g: int) -> dict[str, str]:
        pod = f"w{w}-{g:03}-{p}"
        return {"namespace": f"n{w % 20}", "workload": f"w{w}", "container": "app", "pod": pod, "uid": f"{pod}-uid"}


@dataclass(frozen=True)
class Outcome:
    """``orphans``: most entities, models or stored series beyond the workloads, at any look; ``unscored``: most
    workloads without a score; ``alerts``: all false.
    """

    cycles: int
    pods: int
    orphans: int
    unscored: int
    alerts: int
    trainings: int


def replace_all(cluster: Cluster, root: Path, configuration: str = CONFIG) -> Outcome:
    """Run the exporter over all replacements of ``cluster``."""
    config = parse(configuration)
    target = config.targets[0]
    blobs = DirectoryBlobs(root)
    history, generations, clock = History(blobs), Generations(blobs), Clock()
    cycle = Cycle(config, Resources(cluster, history, generations, clock, SelfMetrics()))

    def train(end: int) -> None:
        span = Span(BORN, end)
        for hole in history.holes(target, span):
            history.append(target, cluster.read(target, hole))
        Run(config, target, clock, history, generations, span, float(end), lambda _: None).fit(
            target.models, history.entities(target, span)
        )

    first = BORN + LEARNED * STEP
    train(first)
    alerts = orphans = unscored = 0
    trainings = 1
    before: set[str] = set()
    steps = PERIOD * cluster.replacements + WAVES
    for step in range(steps):
        at = first + step * STEP
        snapshot = cycle.run(at + target.delay)
        view = snapshot.views[0]
        now = {str(s.entries[i].entity) for s in view.scores for i in np.flatnonzero(s.detected & s.shown)}
        alerts += len(now - before)
        before = now
        if step % PERIOD == WAVES + 1:
            # Two cycles after the last wave.
            models = generations.current(target.name)
            stored = history.entities(target, Span(BORN, at))
            watched = {e.entity for s in view.scores for e in s.entries}.union(*(u.entities for u in view.unscored))
            seen = (view.expected, len(watched), len(models.entries) if models else 0, len(stored))
            orphans = max(orphans, *(number - cluster.workloads for number in seen))
            unscored = max(unscored, cluster.workloads - view.scored)
            if (step // PERIOD + 1) % RETRAIN == 0:
                train(at)
                trainings += 1
    cycle.close()
    pods = cluster.workloads * cluster.replicas
    return Outcome(steps, pods * (cluster.replacements + 1), orphans, unscored, alerts, trainings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", type=int, default=500)
    parser.add_argument("--replicas", type=int, default=20)
    parser.add_argument("--replacements", type=int, default=100)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = replace_all(Cluster(given.workloads, given.replicas, given.replacements), Path(folder))
    print(
        f"{given.workloads * given.replicas:,} pods of {given.workloads:,} workloads replaced {given.replacements} "
        f"times ({found.pods:,} pods in all), {found.cycles} cycles, {found.trainings} trainings, "
        f"{time.monotonic() - began:.0f} s\n"
        f"orphan entities or models after 2 cycles: {found.orphans}\n"
        f"workloads without a score then: {found.unscored}\n"
        f"false alerts: {found.alerts}"
    )


if __name__ == "__main__":
    main()
