"""The gate at work: real training processes, a real serve, a real store; rejected, promoted by hand, rolled back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.waiting import wait_for

pytestmark = pytest.mark.e2e

NOW, DAY, STEP = 20_000 * 86_400, 86_400, 300
SPEED = 300
"""A cycle per second."""
CONFIG = """
files: {{path: {root}/series}}
store: {{path: {root}/store}}
timing: {{speed: {speed}, wall_origin: {wall}, data_origin: {now}}}
launcher: {{kind: none}}
targets:
  - name: cpu
    metric: cpu
    labels: [entity]
    tag: team
    step: 5m
    delay: 0
    queries: [{{name: cpu, expr: cpu}}]
    models: [zscore]
    threshold: {{base: mean_std, k: {k}}}
    training: {{history: 4d, min_history: 6h, scope: own, every: 30d}}
"""


def write_series(root: Path) -> None:
    """Three calm series, from two days ago until far in the future."""
    (root / "series").mkdir()
    lines = ["timestamp,entity,metric,value"]
    for i, name in enumerate(("a", "b", "c")):
        rng = np.random.default_rng(i)
        lines += [f"{t},{name},cpu,{5 + 0.1 * rng.normal():.5f}" for t in range(NOW - 2 * DAY, NOW + 2 * DAY, STEP)]
    (root / "series" / "all.csv").write_text("\n".join(lines) + "\n")


def run(*arguments: str) -> str:
    """A command of its own process; its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "anomaly_exporter", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def trained(config: Path) -> dict[str, Any]:
    """What a training says when it is done."""
    events = [json.loads(line) for line in run("train", "-c", str(config), "--output", "json").splitlines()]
    return next(e for e in events if e["event"] == "trained")


@contextmanager
def served(root: Path, config: Path) -> Iterator[Callable[[str], dict[tuple[str, ...], float]]]:
    """A running `serve`; a function that reads a metric off its pages: values by the labels that matter here."""
    log = root / "log"
    with log.open("wb") as stream:
        arguments = ["serve", "-c", str(config), "--web.listen-address=127.0.0.1:0"]
        process = subprocess.Popen([sys.executable, "-m", "anomaly_exporter", *arguments], stderr=stream)
    url = wait_for(lambda: re.search(r"addresses=(http://[^/]+)", log.read_text()), 30, "the listening line").group(1)

    def read(name: str) -> dict[tuple[str, ...], float]:
        out = {}
        for page in ("metrics", "metrics/detail"):
            with urllib.request.urlopen(f"{url}/{page}", timeout=10) as answer:
                for family in text_string_to_metric_families(answer.read().decode()):
                    for s in family.samples:
                        if s.name == name:
                            labels = [s.labels.get(k, "") for k in ("entity", "reason", "shape") if s.labels.get(k)]
                            out[tuple(labels)] = s.value
        return out

    try:
        yield read
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_a_blind_generation_is_rejected_seen_promoted_by_hand_and_rolled_back(tmp_path: Path) -> None:
    write_series(tmp_path)
    config, wall = tmp_path / "config.yaml", time.time()

    def configure(k: float) -> None:
        config.write_text(CONFIG.format(root=tmp_path, speed=SPEED, wall=wall, now=NOW, k=k))

    configure(5)
    told = trained(config)
    assert (told["entities"], told["rejected"]) == (3, 0)
    with served(tmp_path, config) as read:
        wait_for(lambda: len(read("anomaly_score")) == 3, 30, "scores of all series")
        before = read("anomaly_threshold")
        recall = read("anomaly_exporter_injected_recall_ratio")
        assert set(recall) == {
            (shape,)
            for shape in ("spike", "dip", "level_shift", "slow_leak", "variance_change", "flat_line", "drop_to_zero")
        }
        assert recall["drop_to_zero",] == 1

        configure(60)
        told = trained(config)
        assert (told["entities"], told["rejected"]) == (0, 3)
        wait_for(lambda: set(read("anomaly_model_rejections").values()) == {1}, 30, "rejections on the page")
        assert read("anomaly_threshold") == pytest.approx(before, rel=0.5)
        assert set(read("anomaly_training_needed").values()) == {0}

        run("models", "promote", "-c", str(config), "--target", "cpu", "--entity", "entity=a")
        wait_for(lambda: read("anomaly_threshold")["a",] > 3 * before["a",], 30, "the promoted model in force")
        assert read("anomaly_threshold")["b",] < 2 * before["b",]

        run("models", "rollback", "-c", str(config), "--target", "cpu", "--entity", "entity=a")
        wait_for(lambda: read("anomaly_threshold")["a",] < 2 * before["a",], 30, "the model before in force")
        listed = json.loads(run("models", "list", "-c", str(config), "--target", "cpu", "--output", "json"))
        assert {row["labels"]["entity"]: row["verdict"] for row in listed} == {
            "a": "rolled_back",
            "b": "promoted",
            "c": "promoted",
        }
