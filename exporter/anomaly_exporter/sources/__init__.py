"""Where series come from: the Prometheus HTTP API, tables, an application's own page, or the simulator of the demo."""

from __future__ import annotations

from anomaly_exporter.blobs import Blobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config

from .base import (
    Source,
    SourceAnswerError,
    SourceCounters,
    SourceError,
    SourceLimitError,
    SourceRejectedError,
    SourceUnavailableError,
)
from .files import FilesSource
from .prometheus import PrometheusSource
from .scrape import ScrapeSource
from .simulator import SimulatorSource

__all__ = [
    "FilesSource",
    "PrometheusSource",
    "ScrapeSource",
    "SimulatorSource",
    "Source",
    "SourceAnswerError",
    "SourceCounters",
    "SourceError",
    "SourceLimitError",
    "SourceRejectedError",
    "SourceUnavailableError",
    "open_source",
]


def open_source(config: Config, clock: Clock, counters: SourceCounters, blobs: Blobs | None = None) -> Source:
    """The source that ``config`` names; ``blobs`` keeps the choice between a query and its fallback."""
    if config.prometheus:
        return PrometheusSource(config.prometheus, clock, counters, blobs)
    if config.files:
        return FilesSource(config.files, counters)
    if config.scrape:
        return ScrapeSource(config.scrape, config.targets, clock, counters)
    if config.simulator:
        return SimulatorSource(config.simulator, counters)
    raise SourceRejectedError("exactly one of prometheus, files, scrape, simulator must be configured, received none")
