"""The sidecar as it is deployed: an application's page, `serve` beside it, nothing else; no Prometheus anywhere.

Two hundred entities in compressed time: history is gathered, models are trained on it, an anomaly crosses 1, a restart
goes on where it was, and the process stays small.
"""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import load
from anomaly_exporter.history import History
from anomaly_models.frame import Span
from support.app import Application
from support.waiting import wait_for

pytestmark = pytest.mark.e2e

ORIGIN = 1_800_000_000 // 3600 * 3600
SPEED = 300.0
ENTITIES = 200
LARGEST_MIB = 100


class Shop:
    """An application with a request counter per path, whose paths can be stormed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = [0.0] * ENTITIES
        self._at = clock.now()
        self.stormed: set[int] = set()

    def restart(self) -> None:
        with self._lock:
            self._counts = [0.0] * ENTITIES

    def page(self) -> str:
        with self._lock:
            now = self._clock.now()
            for i in range(ENTITIES):
                rate = (10 + i % 7) * (20 if i in self.stormed else 1) * (1 + 0.05 * math.sin(now / 700 + i))
                self._counts[i] += rate * (now - self._at)
            self._at = now
            lines = [f'shop_requests_total{{path="/{i}"}} {count}\n' for i, count in enumerate(self._counts)]
        return "# TYPE shop_requests_total counter\n" + "".join(lines)


class Sidecar:
    """A running `serve`."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}"
        arguments = ["serve", "-c", str(config), "--web.listen-address=127.0.0.1:0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "anomaly_exporter", *arguments], stderr=log, stdin=subprocess.DEVNULL
            )
        found = wait_for(lambda: re.search(r"addresses=(http://[^/]+)", self.log.read_text()), 30, "the listening line")
        self.url = found.group(1)

    def samples(self, name: str) -> dict[str, float]:
        """Values of a metric by path."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {s.labels.get("path", ""): s.value for f in families for s in f.samples if s.name == name}

    def scored(self) -> dict[str, float]:
        return self.samples("anomaly_score")

    def memory(self) -> float:
        """Highest resident memory so far, MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@contextmanager
def sidecar(folder: Path, config: Path) -> Iterator[Sidecar]:
    running = Sidecar(folder, config)
    try:
        yield running
    finally:
        running.process.send_signal(signal.SIGTERM)
        try:
            assert running.process.wait(20) == 0
        finally:
            running.process.kill()


def configuration(folder: Path, url: str, clock: Clock) -> Path:
    document = {
        "scrape": {"url": url, "interval": "30s", "save_every": "10m", "labels": {"namespace": "shop"}},
        "store": {"path": str(folder / "data")},
        "timing": {"speed": SPEED, "wall_origin": clock.wall_origin, "data_origin": ORIGIN},
        "training": {"min_history": "1h", "history": "1d", "contamination": 0},
        "targets": [
            {
                "name": "requests",
                "metric": "requests",
                "unit": "per_second",
                "labels": ["namespace", "path"],
                "delay": "0s",
                "models": ["zscore"],
                "queries": [{"name": "requests", "expr": "rate(shop_requests_total[5m])"}],
            }
        ],
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_sidecar_learns_from_its_own_history_and_finds_a_storm(tmp_path: Path) -> None:
    clock = Clock(SPEED, int(time.time()), ORIGIN)
    shop = Shop(clock)
    with Application(shop.page) as app:
        config = configuration(tmp_path, app.url, clock)
        with sidecar(tmp_path, config) as first:
            wait_for(lambda: len(first.scored()) == ENTITIES, 90, "scores of all entities", every=0.5)
            assert first.samples("anomaly_exporter_series_expected") == {"": ENTITIES}
            shop.stormed.add(7)
            wait_for(lambda: first.scored().get("/7", 0) >= 1, 20, "the stormed path to be anomalous")
            assert sum(score >= 1 for score in first.scored().values()) < ENTITIES / 4
            shop.stormed.clear()
            largest = first.memory()
        shop.restart()
        target = load(config).config.target("requests")
        history = History(DirectoryBlobs(tmp_path / "data"))
        end = int(clock.now())
        kept = history.read(target, Span(ORIGIN, end))
        assert len(kept.entities) == ENTITIES
        before = len(history.holes(target, Span(ORIGIN, end)))
        with sidecar(tmp_path, config) as second:
            wait_for(lambda: len(second.scored()) == ENTITIES, 30, "scores after a restart, without a new training")
            shop.stormed.add(11)
            wait_for(lambda: second.scored().get("/11", 0) >= 1, 20, "the other stormed path to be anomalous")
            largest = max(largest, second.memory())
        assert len(history.holes(target, Span(ORIGIN, int(clock.now())))) <= before + 1
        print(f"highest resident memory of serve with {ENTITIES} entities: {largest:.0f} MiB")
        assert largest < LARGEST_MIB
