"""Series that the demo pours into Prometheus, and their text form.

A *feed* gives raw series at instants of data time: the simulated cluster, or recorded series. Backfill and live page
read the same feed, so that a live value is the one a backfill would have put there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from anomaly_exporter.clock import Clock
from anomaly_exporter.workload import METRICS, Cluster

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RawSeries:
    """Name and labels of one series as Prometheus stores it."""

    metric: str
    labels: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, metric: str, labels: Mapping[str, str]) -> RawSeries:
        return cls(metric, tuple(sorted(labels.items())))

    def __str__(self) -> str:
        inside = ",".join(f'{name}="{_escape(value)}"' for name, value in self.labels)
        return f"{self.metric}{{{inside}}}"


@dataclass(frozen=True)
class RawBlock:
    """``values`` float64 [T, N] of ``series`` at ``times`` (data time, seconds); NaN = no sample."""

    times: I64
    series: tuple[RawSeries, ...]
    values: F64


class Feed(Protocol):
    """Raw series at any instants of data time (ascending, at least one)."""

    def read(self, times: I64) -> RawBlock: ...


@dataclass
class ClusterFeed:
    """The simulated cluster as kube-eagle shows it. Assign ``cluster`` to change what happens from now on."""

    cluster: Cluster

    def read(self, times: I64) -> RawBlock:
        return _cluster_block(self.cluster, tuple(times.tolist()))


@functools.lru_cache(maxsize=4)  # one instant is scraped several times
def _cluster_block(cluster: Cluster, times: tuple[int, ...]) -> RawBlock:
    samples = cluster.values(times)
    series = tuple(RawSeries.of(metric, pod.labels) for pod in samples.pods for metric in METRICS)
    return RawBlock(samples.times, series, samples.values.reshape(len(times), -1))


@dataclass(frozen=True)
class RecordedFeed:
    """Recorded series: ``block`` holds all there is; an instant outside it has no samples."""

    block: RawBlock

    def read(self, times: I64) -> RawBlock:
        rows = np.searchsorted(self.block.times, times)
        rows[rows == len(self.block.times)] = 0
        known = self.block.times[rows] == times
        values = np.where(known[:, None], self.block.values[rows], np.nan)
        return RawBlock(times, self.block.series, values)


def text_page(block: RawBlock, row: int = -1) -> str:
    """The instant ``row`` of ``block`` in Prometheus' text format; series without a sample are left out."""
    lines: list[str] = []
    metric = ""
    for i in sorted(range(len(block.series)), key=lambda i: block.series[i].metric):
        value = float(block.values[row, i])
        if np.isnan(value):
            continue
        if block.series[i].metric != metric:
            metric = block.series[i].metric
            lines.append(f"# TYPE {metric} gauge")
        lines.append(f"{block.series[i]} {value!r}")
    return "\n".join([*lines, ""])


def openmetrics(block: RawBlock, clock: Clock) -> Iterator[str]:
    """``block`` as OpenMetrics text in pieces, stamped with the wall time of its instants."""
    stamps = [f"{clock.to_wall(at):.3f}" for at in block.times.tolist()]
    metric = ""
    for i in sorted(range(len(block.series)), key=lambda i: block.series[i].metric):
        if block.series[i].metric != metric:
            metric = block.series[i].metric
            yield f"# TYPE {metric} gauge\n"
        head, column = str(block.series[i]), block.values[:, i]
        rows = np.flatnonzero(~np.isnan(column)).tolist()
        values = column.tolist()
        yield "".join(f"{head} {values[t]!r} {stamps[t]}\n" for t in rows)
    yield "# EOF\n"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
