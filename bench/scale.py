"""A real `serve` over N series of a real Prometheus: cycle, scrape and memory.

    python -m bench.scale [--series 10000] [--model auto] [--cycles 6] [--scrapers 100]

Prometheus holds a few hours of N gauges; one batch of models is really trained and copied, slightly changed, for all
series, so that every pack is a file of its own. Data time runs four times as fast as wall time: a cycle every 15
seconds. Figures: `serve` ready, wall and CPU seconds of a cycle (query, parse, score, render), resident memory apart
by what is mapped from files, and 100 scrapers at once. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tests.support.waiting import wait_for

from anomaly_exporter import specs
from anomaly_exporter.blobs import open_blobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, load
from anomaly_exporter.demo.feeds import RawBlock, RawSeries, RecordedFeed
from anomaly_exporter.demo.stack import PrometheusServer
from anomaly_exporter.generations import Entry, Generations
from anomaly_exporter.history import data_digest
from anomaly_models import pack as codec
from anomaly_models.frame import Block, EntityKey
from anomaly_models.training import Plan, train

from .__main__ import machine

STEP = 60
SPEED = 4
PAST = 260
"""Steps in Prometheus before `serve` starts: two hours of window, and a warm-up."""
FUTURE = 60
LEARNED = 3 * 1440
"""Steps that the models were trained on."""
START = 1_790_000_000 // STEP * STEP
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--model", default="auto", help="a recipe")
    parser.add_argument("--cycles", type=int, default=6)
    parser.add_argument("--scrapers", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = {"machine": machine(), **measure(Path(folder), given)}
    print(text(figures))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"scale-{given.model}-{given.series}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """All figures of one run."""
    names = [f"workload-{i:05}" for i in range(given.series)]
    wall = int(time.time()) + 5
    config_path, prometheus = world(folder, names, given.model, wall)
    with prometheus:
        log = folder / "serve.log"
        began = time.monotonic()
        with log.open("wb") as err:
            command = [sys.executable, "-m", "anomaly_exporter", "serve", "-c", str(config_path)]
            serve = subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stderr=err)
        try:
            wait_for(lambda: address(log), 60, "an address")
            listening, url = time.monotonic() - began, address(log)
            wait_for(lambda: value(url, "anomaly_exporter_series_scored") >= given.series, 300, "all scored", every=0.2)
            scored = time.monotonic() - began
            cycles = [one_cycle(serve.pid, url) for _ in range(given.cycles)]
            memory = resident(serve.pid)
            page = fetch(url)
            scrapes = scrape_together(url, given.scrapers)
            after = resident(serve.pid)
            modules = {"tensorflow": "libtensorflow" in Path(f"/proc/{serve.pid}/maps").read_text()}
        finally:
            serve.send_signal(signal.SIGTERM)
            serve.wait(30)
    return {
        "series": given.series,
        "model": given.model,
        "listening_seconds": listening,
        "first_scores_seconds": scored,
        "cycles": cycles,
        "memory_mib": memory,
        "memory_after_scrapes_mib": after,
        "samples": sum(1 for line in page.splitlines() if line and not line.startswith(b"#")),
        "page_bytes": len(page),
        "scrapes": scrapes,
        "tensorflow_mapped": modules["tensorflow"],
    }


def world(folder: Path, names: list[str], model: str, wall: int) -> tuple[Path, PrometheusServer]:
    """Path of the configuration, with models of all series in its store, and a Prometheus that holds their samples."""
    prometheus = PrometheusServer(folder / "prometheus", lookback=300 / SPEED)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(configuration(folder, prometheus.url, model, wall)))
    config = load(path).config
    times = START + STEP * np.arange(-PAST, FUTURE, dtype=np.int64)
    series = tuple(RawSeries.of("load", {"namespace": f"n{i % 50}", "container": n}) for i, n in enumerate(names))
    feed = RecordedFeed(RawBlock(times, series, values(times, len(names)).astype(np.float64)))
    prometheus.backfill(feed, times, Clock.of(config.timing))
    put_models(config, names, model)
    return path, prometheus


def configuration(folder: Path, url: str, model: str, wall: int) -> dict[str, object]:
    query = {"name": "load", "expr": "load"}
    target = {"name": "load", "metric": "load", "step": STEP, "delay": 0, "models": [model], "queries": [query]}
    return {
        "prometheus": {"url": url},
        "store": {"path": str(folder / "data")},
        "launcher": {"kind": "none"},
        "timing": {"speed": SPEED, "wall_origin": wall, "data_origin": START},
        "targets": [target],
    }


def values(times: np.ndarray, series: int) -> np.ndarray:
    """[T, N]: a daily wave with noise, each at its own level."""
    rng = np.random.default_rng(0)
    level, phase = rng.uniform(1, 20, series), rng.random(series)
    wave = np.sin(2 * np.pi * (times[:, None] / 86_400 + phase))
    return (level * (1 + 0.2 * wave + 0.03 * rng.normal(size=(times.size, series)))).astype(np.float32)


def put_models(config: Config, names: list[str], model: str) -> None:
    """Train one batch and put slightly changed copies of it in force for everybody."""
    target = config.targets[0]
    keys = [EntityKey.of(target.name, {"namespace": f"n{i % 50}", "container": n}) for i, n in enumerate(names)]
    size = min(codec.MAX_MODELS, len(keys))
    times = START - LEARNED * STEP + STEP * np.arange(LEARNED, dtype=np.int64)
    block = Block(int(times[0]), STEP, tuple(keys[:size]), target.features, values(times, size)[:, :, None])
    spec = config.model(model)
    batch = train(
        block,
        Plan(
            specs.model_spec(spec, target),
            specs.cleaning_spec(target, spec),
            specs.threshold_spec(target),
            ensemble=specs.ensemble_spec(target),
        ),
    )
    assert batch.pack is not None, batch.failed
    generations = Generations(open_blobs(config.store))
    entries = []
    for number, first in enumerate(range(0, len(keys), size)):
        chunk = keys[first : first + size]
        tensors = {n: t[: len(chunk)] * np.float32(1 + 1e-4 * number) for n, t in batch.pack.tensors.items()}
        rows = tuple(
            {**row, "entity": {"target": key.target, "labels": dict(key.labels)}}
            for row, key in zip(batch.pack.rows, chunk, strict=False)
        )
        encoded = codec.encode(replace(batch.pack, tensors=tensors, rows=rows))
        generations.put_pack(encoded)
        entries += [
            Entry(
                entity=key,
                model=model,
                pack=encoded.digest,
                row=row.row,
                threshold=row.threshold,
                figures=row.figures,
                training={"state": "succeeded", "recipe": model},
                data_digest=data_digest(target),
                trained_at=float(START),
                trained_data_end=row.data_end,
                evaluated_at=float(START),
            )
            for row, key in zip(batch.rows, chunk, strict=False)
        ]
    generations.commit(target.name, entries)


def one_cycle(pid: int, url: str) -> dict[str, float]:
    """Wall and CPU seconds of the next cycle; the CPU seconds hold the few scrapes that looked for it."""
    before, cpu = value(url, "anomaly_exporter_cycles_total", 'outcome="succeeded"'), cpu_seconds(pid)
    done = lambda: value(url, "anomaly_exporter_cycles_total", 'outcome="succeeded"') > before  # noqa: E731
    wait_for(done, 60, "the next cycle", every=1.0)
    return {"wall": value(url, "anomaly_exporter_cycle_duration_seconds"), "cpu": cpu_seconds(pid) - cpu}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> dict[str, float]:
    """Resident memory in MiB: all, anonymous, mapped from files."""
    status = Path(f"/proc/{pid}/status").read_text()
    out = {}
    for name, field in (("all", "VmRSS"), ("anonymous", "RssAnon"), ("files", "RssFile"), ("peak", "VmHWM")):
        found = re.search(rf"{field}:\s+(\d+)", status)
        out[name] = int(found[1]) / 1024 if found else float("nan")
    return out


def scrape_together(url: str, scrapers: int) -> dict[str, float]:
    """Seconds of ``scrapers`` simultaneous gzip scrapes: median, 99 %, and how many failed."""
    took: list[float] = []
    errors: list[str] = []
    barrier = threading.Barrier(scrapers)

    def scrape() -> None:
        barrier.wait()
        began = time.monotonic()
        try:
            fetch(url, gzip=True)
            took.append(time.monotonic() - began)
        except OSError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=scrape) for _ in range(scrapers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"p50": float(np.percentile(took, 50)), "p99": float(np.percentile(took, 99)), "errors": len(errors)}


def fetch(url: str, *, gzip: bool = False) -> bytes:
    request = urllib.request.Request(f"{url}/metrics", headers={"Accept-Encoding": "gzip"} if gzip else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return bytes(answer.read())


def value(url: str, name: str, labels: str = "") -> float:
    """The largest value of a self metric; -1 while there is none."""
    found = re.findall(rf"^{name}(?:{{[^}}]*{labels}[^}}]*}})? (\S+)$", fetch(url).decode(), re.MULTILINE)
    return max((float(v) for v in found), default=-1.0)


def address(log: Path) -> str:
    found = re.search(r"addresses=(http://[^/]+)", log.read_text())
    return found[1] if found else ""


def text(figures: dict[str, Any]) -> str:
    """The figures for people."""
    memory, after, scrapes = figures["memory_mib"], figures["memory_after_scrapes_mib"], figures["scrapes"]
    wall = sorted(c["wall"] for c in figures["cycles"])
    cpu = sorted(c["cpu"] for c in figures["cycles"])
    middle = len(wall) // 2
    return (
        f"{figures['machine']['cpu']}, {figures['machine']['cores']} cores, load {figures['machine']['load'][0]}\n"
        f"serve, {figures['series']} series, model {figures['model']}, real Prometheus:\n"
        f"  listening after {figures['listening_seconds']:.1f} s, all scored after"
        f" {figures['first_scores_seconds']:.1f} s\n"
        f"  cycle: median {wall[middle]:.2f} s wall, {cpu[middle]:.2f} s CPU (worst {wall[-1]:.2f}, {cpu[-1]:.2f})\n"
        f"  memory: {memory['all']:.0f} MiB resident, {memory['anonymous']:.0f} anonymous, {memory['files']:.0f} mapped"
        f" files, peak {memory['peak']:.0f}; TensorFlow {'mapped' if figures['tensorflow_mapped'] else 'absent'}\n"
        f"  page: {figures['samples']} samples, {figures['page_bytes'] / 2**20:.1f} MiB; scraped by many at once:"
        f" median {1000 * scrapes['p50']:.0f} ms, 99 % {1000 * scrapes['p99']:.0f} ms, {scrapes['errors']} errors,"
        f" {after['all'] - memory['all']:+.0f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
