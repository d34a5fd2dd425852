"""Where the canary starts and where its alert comes home, as self metrics."""

from __future__ import annotations

import logging
import threading
from typing import Final

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Canary
from anomaly_exporter.config.canary import CANARY_TAG, FIRST
from anomaly_exporter.self_metrics import SelfMetrics

from .series import injected_at, value_at
from .webhook import Notification

log = logging.getLogger(__name__)

ALERT: Final = "AnomalyExporterCanary"
PATIENCE: Final = 2 * FIRST
"""Periods that a process without a model waits until it expects alerts all the same: by then it should have one."""
METRICS: Final = ("canary_value", "canary_injected_timestamp_seconds", "canary_received_timestamp_seconds")


class Station:
    """One process' view of the canary; every method may be called from any thread.

    A spike counts as injected when its alert can be expected: it began while this process ran and had a model for it,
    or after :data:`PATIENCE` periods without one.
    """

    def __init__(self, clock: Clock, metrics: SelfMetrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._lock = threading.Lock()
        self._canary: Canary | None = None
        self._expected_from = 0.0

    def configure(self, canary: Canary) -> None:
        """Take over the section; what was seen is forgotten when it changed."""
        with self._lock:
            if canary == self._canary:
                return
            self._canary = canary
            self._expected_from = self._clock.now() + PATIENCE * canary.every
            for name in METRICS:
                self._metrics.replace(name, {})

    def scored(self) -> None:
        """The canary's series has a score: from now on spikes are expected to be found."""
        with self._lock:
            self._expected_from = min(self._expected_from, self._clock.now())

    def refresh(self) -> None:
        """Bring value and newest injection up to date: once per scrape."""
        with self._lock:
            if self._canary is not None and self._canary.enabled:
                self._refresh(self._canary, self._clock.now())

    def receive(self, notification: Notification) -> bool | None:
        """Whether ``notification`` reports the newest spike; None while there is no canary.

        An alert that stands since before it reports nothing new: it is an old one that never ended.
        """
        with self._lock:
            canary, now = self._canary, self._clock.now()
            if canary is None or not canary.enabled:
                return None
            self._refresh(canary, now)
            # Prometheus' clock may be a little behind ours.
            began = self._clock.to_wall(injected_at(canary, now) - canary.step)
            ours = {"alertname": ALERT, "tag": CANARY_TAG, "canary": canary.name}
            arrived = any(
                alert.status == "firing"
                and ours.items() <= alert.labels.items()
                and began <= alert.starts_at.timestamp() <= self._clock.wall() + self._clock.wall_duration(canary.step)
                for alert in notification.alerts
            )
            if arrived:
                self._metrics.set("canary_received_timestamp_seconds", self._clock.wall(), canary=canary.name)
            log.debug("the canary's webhook was called", extra={"arrived": arrived, "receiver": notification.receiver})
            return arrived

    def _refresh(self, canary: Canary, now: float) -> None:
        self._metrics.set("canary_value", value_at(canary, now), canary=canary.name)
        injected = injected_at(canary, now)
        if injected >= self._expected_from:
            wall = self._clock.to_wall(injected)
            self._metrics.set("canary_injected_timestamp_seconds", wall, canary=canary.name)
