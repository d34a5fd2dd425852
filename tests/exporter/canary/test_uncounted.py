"""What the exporter says about its work is about what it was asked to watch: the canary is in no number."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import CANARY_TARGET, Config
from anomaly_exporter.launch import LocalLauncher
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TargetView
from anomaly_exporter.sources import SourceUnavailableError
from support.rule_configs import config
from support.waiting import wait_for
from support.watched import World, view_of


@pytest.fixture
def of() -> Config:
    return config(canary={"enabled": True})


def test_cycles_score_the_canary_and_count_only_the_others(of: Config, tmp_path: Path) -> None:
    world = World(tmp_path, of, {"cpu": ["a", "b"], CANARY_TARGET: ["canary"]})
    snapshot = world.at(0)
    assert view_of(snapshot, CANARY_TARGET).expected == 1
    text = world.metrics.render().decode()
    assert 'anomaly_exporter_series_expected{target="cpu"} 2.0' in text
    assert 'target="canary"' not in text


def test_a_canary_that_cannot_be_read_spoils_no_cycle(of: Config, tmp_path: Path) -> None:
    world = World(tmp_path, of, {"cpu": ["a"], CANARY_TARGET: ["canary"]})
    world.source.failing[CANARY_TARGET] = SourceUnavailableError("down")
    assert view_of(world.at(0), CANARY_TARGET).error
    assert world.metrics.value("cycles_total", outcome="succeeded") == 1
    assert world.metrics.value("cycles_total", outcome="partial") == 0
    world.source.failing = {"cpu": SourceUnavailableError("down")}
    world.at(1)
    assert world.metrics.value("cycles_total", outcome="failed") == 1, "a canary alone is no success"


def test_its_trainings_run_and_are_not_counted(of: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{LocalLauncher.__module__}.POLL", 0.02)
    done = {"event": "trained", "target": "x", "model": "zscore", "entities": 2, "failed": {}, "generation": 1}
    program = tmp_path / "train.py"
    program.write_text(f"print({json.dumps(json.dumps(done))}, flush=True)\n")
    metrics = SelfMetrics()
    running = LocalLauncher(tmp_path / "config.yaml", of, Clock(), metrics, (sys.executable, str(program)))
    views = tuple(TargetView(target.name, 0, time.time(), untrained=True) for target in of.targets)
    running.observe(Snapshot(time.time(), views))
    running.start()
    try:
        wait_for(lambda: {s.state for s in running.status().values()} == {"succeeded"}, 20, "both trainings")
    finally:
        running.stop()
    assert metrics.value("training_runs_total", outcome="succeeded") == 1
    assert metrics.value("promotions_total", verdict="promoted") == 2
    text = metrics.render().decode()
    assert 'target="cpu"' in text
    assert 'target="canary"' not in text
