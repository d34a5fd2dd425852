"""A training fits the model that all series share, and says of every series whose weights it got."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import parse
from anomaly_exporter.generations import Generation, Generations
from anomaly_exporter.launch.reports import read
from anomaly_exporter.train import request, train_target
from anomaly_exporter.train.sharing import some
from anomaly_models.frame import EntityKey

DAY = 86_400
NOW = 20_000 * DAY
CONFIG = """
files: {{path: {root}/series}}
store: {{path: {root}/store}}
models: {{flat: {{recipe: pca, window: 12}}}}
launcher: {{kind: {launcher}}}
targets:
  - name: cpu
    metric: cpu
    labels: [entity]
    tag: team
    step: 5m
    delay: 0
    queries: [{{name: cpu, expr: cpu}}]
    models: [{model}]
    training: {{history: 4d, min_history: 6h, scope: {scope}, contamination: 0}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five series of three days, and one of an hour."""
    (tmp_path / "series").mkdir()
    lines = ["timestamp,entity,metric,value"]
    for i in range(6):
        rng, begin = np.random.default_rng(i), NOW - (3600 if i == 5 else 3 * DAY)
        times = range(begin, NOW + 1, 300)
        lines += [f"{t},e{i},cpu,{10.0**i * (2 + np.sin(t / 9000) + 0.1 * rng.normal()):.6g}" for t in times]
    (tmp_path / "series" / "all.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def trained(root: Path, scope: str = "both", model: str = "flat", launcher: str = "local", **more: Any) -> Generation:
    config = parse(CONFIG.format(root=root, scope=scope, model=model, launcher=launcher))
    clock = Clock(wall_origin=time.time(), data_origin=NOW + 1)
    assert train_target(request(config, "cpu", **more), lambda event: None, clock) == 0
    generation = Generations(DirectoryBlobs(root / "store")).current("cpu")
    assert generation is not None
    return generation


def scopes(generation: Generation) -> set[str]:
    return {str(entry.training["scope"]) for entry in generation.entries.values()}


def test_the_shared_model_is_in_force_beside_the_own_ones(root: Path) -> None:
    generation = trained(root)
    shared = generation.shared["flat"]
    assert shared.prior.series == 5
    assert shared.training["origin"] == "trained"
    assert shared.trained_data_end == NOW
    assert len(generation.entries) == 5
    assert scopes(generation) <= {"own", "shared"}
    assert shared.pack in generation.packs


def test_with_the_shared_scope_no_series_has_weights_of_its_own(root: Path) -> None:
    generation = trained(root, "shared")
    assert scopes(generation) == {"shared"}
    thresholds = {entry.threshold.recent.value for entry in generation.entries.values()}
    assert len(thresholds) == 5


def test_with_the_own_scope_nothing_is_shared(root: Path) -> None:
    generation = trained(root, "own")
    assert not generation.shared
    assert scopes(generation) == {"own"}


def test_a_time_of_day_table_is_not_shared(root: Path) -> None:
    assert not trained(root, model="seasonal").shared


def test_another_shard_of_the_same_round_takes_the_shared_model_as_it_is(root: Path) -> None:
    first = trained(root, shard="0/1").shared["flat"]
    assert trained(root, shard="0/1").shared["flat"] == first


def test_too_few_series_of_a_shard_leave_what_is_shared_as_it_was(root: Path) -> None:
    first = trained(root).shared["flat"]
    assert trained(root, shard="0/3").shared["flat"] == first


def test_a_report_is_left_for_whoever_follows_from_elsewhere_and_for_nobody_else(root: Path) -> None:
    store = DirectoryBlobs(root / "store")
    trained(root)
    assert read(store, ["cpu"]) == []
    trained(root, launcher="none")
    (report,) = read(store, ["cpu"])
    assert (report.target, report.shard, report.failed) == ("cpu", "0/1", {"too_short": 1})
    assert report.promoted + report.rejected == 5
    assert report.ended is not None
    assert "fit" in report.stage_memory


def test_some_of_many_are_evenly_spread_and_always_the_same() -> None:
    many = [EntityKey.of("cpu", {"e": f"{i:03}"}) for i in range(100)]
    assert some(many, 200) == tuple(many)
    chosen = some(many, 4)
    assert chosen == (many[0], many[33], many[66], many[99]) == some(many, 4)
