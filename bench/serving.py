"""Memory of a real `serve` beside its entities: what `plan` counts with.

    python -m bench.serving

For a few numbers of entities: history, one training, `serve` reading a page with a gauge per entity, highest resident
memory after some cycles. The figure per entity is the slope without the entity's own ring and weights, which `plan`
adds from the configuration.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import yaml
from tests.support.app import Application
from tests.support.waiting import wait_for

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.config import load
from anomaly_exporter.history import History
from anomaly_exporter.plan.costs import ring_bytes, weight_bytes
from anomaly_models.frame import Block, EntityKey

STEP = 5
ROWS = 600
SETTLED = 30.0


def measure(entities: int, folder: Path) -> tuple[float, int]:
    """Highest resident memory of `serve` with ``entities``, and what ring and weights take of it, in bytes."""
    names = [f"e{i:05}" for i in range(entities)]
    page = "".join(f'load{{container="{name}"}} {10 + i % 7}\n' for i, name in enumerate(names))
    with Application(lambda: page) as app:
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(configuration(folder, app.url)))
        config = load(path).config
        target = config.targets[0]
        keys = [EntityKey.of(target.name, {"namespace": "a", "container": name}) for name in names]
        end = int(time.time()) // STEP * STEP
        level = np.array([10 + i % 7 for i in range(entities)])[None, :, None]
        noise = np.random.default_rng(0).normal(size=(ROWS, entities, 1))
        values = (level + noise).astype(np.float32)
        History(DirectoryBlobs(config.store.path)).append(
            target, Block(end - ROWS * STEP, STEP, tuple(keys), target.features, values)
        )
        command = [sys.executable, "-m", "anomaly_exporter"]
        subprocess.run([*command, "train", "-c", str(path), "--target", "load"], check=True, stdout=subprocess.DEVNULL)
        log = (folder / "log").open("wb")
        serve = subprocess.Popen([*command, "serve", "-c", str(path), "--web.listen-address=127.0.0.1:0"], stderr=log)
        try:
            wait_for(lambda: address(folder), 60, "an address")
            url = address(folder)
            wait_for(lambda: scored(url) == entities, 120, "scores of all entities", every=1.0)
            time.sleep(SETTLED)
            scored(url)
            status = Path(f"/proc/{serve.pid}/status").read_text()
        finally:
            serve.send_signal(signal.SIGTERM)
            serve.wait(30)
            log.close()
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    assert peak is not None
    counted = ring_bytes(config, target, entities) + entities * weight_bytes(config.model("zscore"), target)
    return int(peak[1]) * 1024.0, counted


def configuration(folder: Path, url: str) -> dict[str, object]:
    return {
        "scrape": {"url": url, "interval": STEP, "labels": {"namespace": "a"}},
        "store": {"path": str(folder / "data")},
        "training": {"min_history": "5m", "history": "1h"},
        "targets": [
            {
                "name": "load",
                "metric": "load",
                "step": STEP,
                "delay": 0,
                "models": ["zscore"],
                "queries": [{"name": "load", "expr": "load"}],
            }
        ],
    }


def address(folder: Path) -> str:
    """Where `serve` says that it listens; empty before."""
    found = re.search(r"addresses=(http://[^/]+)", (folder / "log").read_text())
    return found[1] if found else ""


def scored(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:  # noqa: S310
        return sum(line.startswith(b"anomaly_score{") for line in answer.read().splitlines())


def main() -> None:
    sizes, rests = (200, 1000, 4000), []
    for entities in sizes:
        with tempfile.TemporaryDirectory() as folder:
            peak, counted = measure(entities, Path(folder))
        rests.append(peak - counted)
        print(
            f"{entities:6} entities: peak {peak / 2**20:6.1f} MiB, ring and weights {counted / 2**20:5.1f} MiB",
            flush=True,
        )
    slope, base = np.polyfit(sizes, rests, 1)
    print(f"base {base / 2**20:.0f} MiB, {slope / 1024:.1f} KiB per entity and model beside ring and weights")


if __name__ == "__main__":
    main()
