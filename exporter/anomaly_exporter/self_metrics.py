"""What the exporter says about itself: a thread-safe store of the declared metrics, rendered anew for every scrape.

Only names of :data:`anomaly_exporter.metrics.SELF` can be set, with exactly their labels, so that code, docs and rules
cannot drift apart. Unlike the gauges of entities these series never go stale.
"""

from __future__ import annotations

import platform
import resource
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from . import __version__
from .metrics import SELF, MetricSpec

PREFIX: Final = "anomaly_exporter_"
_PAGE: Final = resource.getpagesize()
_SPECS: Final[Mapping[str, MetricSpec]] = {spec.name: spec for spec in SELF}


class UndeclaredMetricError(Exception):
    """A metric was used in a way that :data:`anomaly_exporter.metrics.SELF` does not declare: fix the call."""


class SelfMetrics:
    """Values of the self metrics; every method may be called from any thread.

    Names that begin with ``anomaly_exporter_`` may be given without that. Counters only ever rise.

    Raises:
        UndeclaredMetricError: by every method, for an undeclared name, wrong labels, or ``set`` of a counter.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry(auto_describe=False)
        self._lock = threading.Lock()
        self._values: dict[str, dict[tuple[str, ...], float]] = {spec.name: {} for spec in SELF}
        self.set("build_info", 1, version=__version__, python=platform.python_version())
        self.set("up", 1)
        self.set("start_timestamp_seconds", time.time())
        self.set("ready", 0)
        for spec in SELF:
            if spec.kind == "counter" and not spec.labels:
                self._values[spec.name][()] = 0.0
        self._registry.register(self)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set the gauge ``name`` with ``labels`` to ``value``."""
        spec, key = _child(name, labels)
        if spec.kind == "counter":
            raise UndeclaredMetricError(f"{spec.name} is a counter: expected inc() or raise_to(), received set()")
        with self._lock:
            self._values[spec.name][key] = float(value)

    def inc(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add ``amount`` >= 0 to the counter ``name``."""
        spec, key = _counter(name, labels)
        if not amount >= 0:
            raise UndeclaredMetricError(f"{spec.name} is a counter: expected an amount >= 0, received {amount}")
        with self._lock:
            values = self._values[spec.name]
            values[key] = values.get(key, 0.0) + amount

    def begin(self, name: str, label: str, values: Iterable[str]) -> None:
        """Show a counter with one label from 0 on, so that ``increase()`` sees its first rise."""
        for value in values:
            self.inc(name, 0, **{label: value})

    def raise_to(self, name: str, total: float, **labels: str) -> None:
        """Bring a counter kept elsewhere up to its ``total`` there; a smaller total changes nothing."""
        spec, key = _counter(name, labels)
        with self._lock:
            values = self._values[spec.name]
            values[key] = max(values.get(key, 0.0), float(total))

    def replace(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """Set all children of the gauge ``name`` at once; children not named disappear.

        ``values`` maps label values, in the order of the declaration, to numbers.
        """
        spec = _spec(name)
        if spec.kind == "counter" or any(len(key) != len(spec.labels) for key in values):
            raise UndeclaredMetricError(f"{spec.name} ({spec.kind}) has the labels {spec.labels}, received {values}")
        with self._lock:
            self._values[spec.name] = {key: float(value) for key, value in values.items()}

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one child, None where it was never set."""
        spec, key = _child(name, labels)
        with self._lock:
            return self._values[spec.name].get(key)

    def collect(self) -> Iterable[Metric]:
        """Families for a registry (a prometheus_client collector), in the order of the declaration."""
        memory = resident_memory()
        with self._lock:
            values = {name: dict(children) for name, children in self._values.items()}
        if memory is not None:
            values[f"{PREFIX}process_resident_memory_bytes"] = {(): float(memory)}
        for spec in SELF:
            if children := values[spec.name]:
                family: CounterMetricFamily | GaugeMetricFamily
                if spec.kind == "counter":
                    family = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
                else:
                    family = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
                for key, value in sorted(children.items()):
                    family.add_metric(key, value)
                yield family

    def render(self) -> bytes:
        """The registry as Prometheus text."""
        return generate_latest(self._registry)


def resident_memory() -> int | None:
    """Resident memory of this process in bytes, None where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - read at every scrape
            pages = int(file.read().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * _PAGE


def _spec(name: str) -> MetricSpec:
    full = name if name in _SPECS else PREFIX + name
    if full not in _SPECS:
        raise UndeclaredMetricError(f"{full} is not declared: add a MetricSpec to metrics.SELF")
    return _SPECS[full]


def _child(name: str, labels: Mapping[str, str]) -> tuple[MetricSpec, tuple[str, ...]]:
    spec = _spec(name)
    if set(labels) != set(spec.labels):
        raise UndeclaredMetricError(f"{spec.name} has the labels {spec.labels}, received {tuple(sorted(labels))}")
    return spec, tuple(str(labels[label]) for label in spec.labels)


def _counter(name: str, labels: Mapping[str, str]) -> tuple[MetricSpec, tuple[str, ...]]:
    spec, key = _child(name, labels)
    if spec.kind != "counter":
        raise UndeclaredMetricError(f"{spec.name} is a gauge: expected set(), received inc() or raise_to()")
    return spec, key
