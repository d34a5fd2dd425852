"""Thousands of fuzzed requests against a running exporter: no 5xx, no change without the right, bounded memory.

    python -m bench.control_fuzz [--examples 300] [--raw 5000]

A real `serve` scores a simulated cluster meanwhile; scrapes go on beside the requests and their time is measured, as is
the memory of the process.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.fuzz import fuzz, raw_requests, send_raw  # noqa: E402 - the requests of the tests, many more of them

TOKENS = {role: f"{role}-of-the-bench-0123456789" for role in ("viewer", "operator", "admin")}
TARGETS = ["cpu", "memory"]
ORIGIN = 1_800_000_000 // 3600 * 3600


def configuration(folder: Path) -> dict[str, Any]:
    """Two targets of the simulator at a speed at which a cycle takes half a second."""
    tokens = [{"name": role, "role": role, "token": token} for role, token in TOKENS.items()]
    (folder / "tokens.yaml").write_text(yaml.safe_dump({"tokens": tokens}))
    query = "eagle_pod_container_resource_usage_{}"
    units = {"cpu": "cpu_cores", "memory": "memory_bytes"}
    return {
        "simulator": {"origin": ORIGIN - 30 * 86_400},
        "store": {"path": str(folder / "data")},
        "timing": {"speed": 120, "wall_origin": int(time.time()), "data_origin": ORIGIN},
        "targets": [
            {
                "name": name,
                "metric": name,
                "queries": [{"expr": query.format(units[name])}],
                "models": ["zscore"],
                # One training each, and then no change but those of requests.
                "training": {"history": "12h", "every": "30d"},
            }
            for name in TARGETS
        ],
        "control": {
            "enabled": True,
            "listen": "127.0.0.1:0",
            "tokens_file": str(folder / "tokens.yaml"),
            "rate_per_minute": 100_000,
            "burst": 10_000,
        },
    }


class Scrapes:
    """Scrapes /metrics every 50 ms from a thread and keeps how long each took."""

    def __init__(self, url: str) -> None:
        self._url, self._stop = url, threading.Event()
        self.seconds: list[float] = []
        self.text = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            began = time.perf_counter()
            with urllib.request.urlopen(self._url, timeout=20) as answer:  # noqa: S310 - our own address
                self.text = answer.read().decode()
            self.seconds.append(time.perf_counter() - began)

    def value(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=300, help="requests per operation and role")
    parser.add_argument("--raw", type=int, default=5000, help="requests as bytes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(yaml.safe_dump(configuration(folder)))
        log = folder / "log"
        serve = ["serve", "-c", str(folder / "config.yaml"), "--web.listen-address=127.0.0.1:0"]
        with log.open("wb") as stream:
            process = subprocess.Popen([sys.executable, "-m", "anomaly_exporter", *serve], stderr=stream)
        try:
            return measure(process, log, options.examples, options.raw)
        finally:
            process.terminate()
            process.wait()


def measure(process: subprocess.Popen[bytes], log: Path, examples: int, raw: int) -> int:
    """Send everything, print what came of it; 0 when all promises were kept."""
    while "control listens" not in log.read_text() and process.poll() is None:
        time.sleep(0.1)
    found = re.findall(r"http://(127\.0\.0\.1:\d+)", log.read_text())
    scrapes = Scrapes(f"http://{found[0]}/metrics")
    while scrapes.value('anomaly_exporter_training_runs_total{outcome="succeeded"}') < 2 and process.poll() is None:
        time.sleep(0.1)
    while scrapes.value('anomaly_exporter_cycles_total{outcome="succeeded"}') < 5 and process.poll() is None:
        time.sleep(0.1)
    quiet = list(scrapes.seconds)
    cycles = scrapes.value("anomaly_exporter_cycles_skipped_total")
    before = scrapes.value("anomaly_exporter_process_resident_memory_bytes")
    scrapes.seconds.clear()
    control = f"http://{found[-1]}"
    untouched, moment = state(control), int(time.time())
    answers: Counter[int] = Counter()
    for role, token in (("nobody", None), ("viewer", TOKENS["viewer"])):
        answers += fuzz(control, token, TARGETS, examples, seed=1, moment=moment)
        assert state(control) == untouched, f"{role} has changed something"
    answers += fuzz(control, TOKENS["admin"], TARGETS, examples, seed=2, moment=moment)
    where = (found[-1].split(":")[0], int(found[-1].split(":")[1]))
    secrets = {"Authorization": f"Bearer {TOKENS['operator']}", "X-Forwarded-User": "admin"}
    said: list[bytes] = []
    answers.update(send_raw(where, request, said.append) for request in raw_requests(raw, 3, secrets))
    scrapes.stop()
    after = scrapes.value("anomaly_exporter_process_resident_memory_bytes")
    everything = log.read_bytes() + scrapes.text.encode() + b"".join(said)
    leaks = [token for token in TOKENS.values() if token.encode() in everything]
    busy = sorted(scrapes.seconds)
    print(
        json.dumps(
            {
                "requests": sum(answers.values()),
                "answers": {str(status): count for status, count in sorted(answers.items())},
                "memory_before_mib": round(before / 2**20, 1),
                "memory_after_mib": round(after / 2**20, 1),
                "scrape_p99_ms": {"quiet": at(sorted(quiet), 0.99), "under load": at(busy, 0.99)},
                "scrape_longest_ms": at(busy, 1),
                "cycles_skipped": scrapes.value("anomaly_exporter_cycles_skipped_total") - cycles,
                "secrets_found": len(leaks),
            },
            indent=2,
        )
    )
    failures = [status for status in answers if status >= 500]
    return 1 if failures or leaks or process.poll() is not None else 0


def at(ordered: list[float], share: float) -> float:
    """A percentile in milliseconds."""
    return round(1000 * ordered[min(int(len(ordered) * share), len(ordered) - 1)], 1)


def state(url: str) -> tuple[str, str]:
    """What a change would change."""
    out = []
    for path in ("feedback", "generations"):
        headers = {"Authorization": f"Bearer {TOKENS['viewer']}"}
        request = urllib.request.Request(f"{url}/api/v1/{path}", headers=headers)  # noqa: S310 - our own address
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            out.append(answer.read().decode())
    feedback, generations = out
    return feedback, generations


if __name__ == "__main__":
    sys.exit(main())
