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

import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import load
from anomaly_exporter.generations import Generations, SharedEntry, seed_of
from anomaly_exporter.history import History, data_digest
from anomaly_models import sharing
from anomaly_models.autoencoder import Autoencoder, recipe
from anomaly_models.frame import Span
from anomaly_models.layers import weight_shapes
from anomaly_models.model_spec import ModelSpec
from anomaly_models.pack import Pack, encode
from anomaly_models.scaling import Scaler
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


def seed(folder: Path, config: Path) -> Path:
    """A shared autoencoder for the target, as `anomaly-exporter seed` writes it; any weights will do here."""
    target = load(config).config.target("requests")
    layers, rng = recipe("fc", 24, 1), np.random.default_rng(0)
    shapes = weight_shapes(layers, 24, 1)
    weights = {name: rng.normal(0, 0.05, (1, *shape)).astype(np.float32) for name, shape in shapes.items()}
    base = Autoencoder(layers, 24, 1, sharing.identity(1), weights)
    x = (20 + rng.normal(size=(2000, 6, 1))).astype(np.float32)
    walks = sharing.Walks.of(x, np.isfinite(x), np.zeros(6, np.int64), np.full(6, 2000))
    scales = Scaler(np.full((6, 1), 20, np.float32), np.ones((6, 1), np.float32))
    prior = sharing.measure(base, walks, scales, ModelSpec("fc"), 3)
    generations = Generations(DirectoryBlobs(folder / "elsewhere"))
    encoded = encode(Pack(base.kind, base.spec(), base.tensors(), ({},)))
    generations.put_pack(encoded)
    entry = SharedEntry("fc", encoded.digest, prior, data_digest(target), 0.0, ORIGIN)
    generations.commit(target.name, (), shared=[entry])
    path = folder / "seed.json"
    path.write_bytes(seed_of(generations, [target.name]))
    return path


def test_a_sidecar_with_a_seed_scores_at_once_and_loses_little_when_it_is_killed(tmp_path: Path) -> None:
    clock = Clock(SPEED, int(time.time()), ORIGIN)
    with Application(Shop(clock).page) as app:
        config = configuration(tmp_path, app.url, clock)
        document = yaml.safe_load(config.read_text())
        document["targets"][0]["models"] = ["fc"]
        document["training"]["min_history"] = "12h"
        config.write_text(yaml.safe_dump(document))
        document["store"]["seed"] = str(seed(tmp_path, config))
        config.write_text(yaml.safe_dump(document))
        began = clock.now()
        running = Sidecar(tmp_path, config)
        try:
            wait_for(lambda: len(running.scored()) == ENTITIES, 60, "scores of all entities", every=0.2)
            spent = clock.now() - began
            wait_for(lambda: clock.now() > began + 2400, 30, "some history")
            largest = running.memory()
        finally:
            killed = clock.now()
            running.process.kill()
            running.process.wait(20)
    assert spent < 3600, "minutes of data time, not the hours until a first training"
    assert largest < LARGEST_MIB
    target = load(config).config.target("requests")
    history = History(DirectoryBlobs(tmp_path / "data"))
    kept = history.read(target, Span(ORIGIN, int(killed) + 60))
    newest = kept.times[np.isfinite(kept.values).any(axis=(1, 2))].max()
    # What `save_every` allows, the step under way, and the seconds that this machine takes to save, in data time.
    assert killed - newest <= 600 + 60 + 3 * SPEED
    assert DirectoryBlobs(tmp_path / "data").sweep() in (0, 1)
    print(f"first scores {spent / 60:.0f} min after the first start; highest resident memory {largest:.0f} MiB")
