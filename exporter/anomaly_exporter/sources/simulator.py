"""The simulated cluster of the demo as a source: the same series that it would pour into Prometheus, without one."""

from __future__ import annotations

import numpy as np

from anomaly_exporter.config import SimulatorConnection, Target
from anomaly_exporter.workload import METRICS, Cluster, Incident
from anomaly_models.frame import Block, Span, grid

from .base import SourceCounters, SourceRejectedError
from .selection import RawSeries, assemble


class SimulatorSource:
    """Answers plain selectors on the simulator's metrics and labels (namespace, pod, container, phase)."""

    def __init__(self, connection: SimulatorConnection, counters: SourceCounters | None = None) -> None:
        self.connection = connection
        self.counters = counters or SourceCounters()

    def read(self, target: Target, span: Span) -> Block:
        times = grid(span, target.step)
        if not times.size:
            return Block.empty(span, target.step, (), target.features)
        samples = self._cluster().values(times)
        unborn = times < self.connection.origin
        series = [
            RawSeries(metric, pod.labels, np.where(unborn, np.nan, samples.values[:, p, m]))
            for p, pod in enumerate(samples.pods)
            for m, metric in enumerate(METRICS)
        ]
        block = assemble(target, times, series)
        self.counters.query("ok")
        self.counters.add(samples=int(np.isfinite(block.values).sum()))
        return block

    def lag(self, target: Target, at: int) -> float | None:
        """Nothing is ever late here."""
        return 0.0 if at >= self.connection.origin else None

    def _cluster(self) -> Cluster:
        """The cluster with the incident that the file tells of now."""
        cluster = Cluster(self.connection.seed)
        file = self.connection.incident_file
        if file is None or not file.exists():
            return cluster
        try:
            return cluster.with_incidents([Incident.from_json(file.read_text(encoding="utf-8"))])
        except (OSError, ValueError) as error:
            self.counters.query(SourceRejectedError.outcome)
            raise SourceRejectedError(f"{file}: {error}") from error
