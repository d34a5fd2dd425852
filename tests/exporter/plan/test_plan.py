"""`plan` against a real Prometheus: what it prints is what is there, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, parse
from anomaly_exporter.demo.stack import PrometheusServer
from anomaly_exporter.exposition import DetailCache, Labels, render_detail, render_metrics
from anomaly_exporter.plan import costs, run
from anomaly_exporter.plan.report import duration, size
from support.openmetrics import Raw, every
from support.prometheus import prometheus
from support.watched import World

pytestmark = pytest.mark.e2e

T0 = 1_700_006_400
HOURS = 30
NOW = T0 + HOURS * 3600
GOLDEN = Path(__file__).with_name("golden.txt")
JSON_GOLDEN = Path(__file__).with_name("golden.json")


class At(Clock):
    """Data time stands still."""

    def now(self) -> float:
        return float(NOW + 90)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    rows = HOURS * 60 + 1
    past = [
        Raw(metric, {"namespace": "a", "container": f"c{i}", "pod": f"p{i}-{pod}"}, every(60, T0, [1.0 * i] * rows))
        for metric in ("cpu", "memory")
        for i in range(5)
        for pod in range(2)
    ]
    # Gone by now, and only in the past.
    past.append(Raw("cpu", {"namespace": "a", "container": "old", "pod": "o"}, every(60, T0, [1.0] * 60)))
    with prometheus(tmp_path_factory.mktemp("plan"), past) as running:
        yield running


def written(folder: Path, url: str, more: str = "") -> Path:
    path = folder / "config.yaml"
    path.write_text(
        f"""
prometheus: {{url: "{url}"}}
store: {{path: {folder / "data"}}}
training: {{min_history: 1d, history: 30d}}
targets:
  - {{name: cpu, metric: cpu, queries: [{{name: cpu, expr: cpu}}], models: [cnn_lstm, zscore]}}
  - name: both
    metric: resources
    models: [fc]
    training: {{history: 1d}}
    queries:
      - {{name: cpu, expr: no_such_rule, fallback: 'cpu{{container!="old"}}'}}
      - {{name: memory, expr: memory}}
  - {{name: young, metric: young, queries: [{{expr: cpu}}], models: [zscore], training: {{min_history: 2d}}}}
  - {{name: nothing, metric: nothing, queries: [{{expr: nothing}}], models: [zscore]}}
{more}"""
    )
    return path


def test_the_table_is_as_it_was(server: PrometheusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(written(tmp_path, server.url), clock=At()) == 0
    out = capsys.readouterr().out
    assert out == GOLDEN.read_text()
    assert not (tmp_path / "data").exists(), "a plan stores nothing"


def test_the_document_is_as_it_was(
    server: PrometheusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(written(tmp_path, server.url), "json", At()) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(JSON_GOLDEN.read_text())


def test_what_is_there_is_counted(server: PrometheusServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = '  - {name: broken, metric: broken, queries: [{expr: "sum by ("}], models: [zscore]}'
    assert run(written(tmp_path, server.url, broken), "json", At()) == 0
    found: dict[str, dict[str, Any]] = {one["target"]: one for one in json.loads(capsys.readouterr().out)["targets"]}
    cpu, both = found["cpu"], found["both"]
    assert cpu["entities"] == 5, "one that ended long ago is not there now"
    assert cpu["oldest_sample_timestamp_seconds"] - T0 <= cpu["history_resolution_seconds"]
    assert abs(cpu["history_found_seconds"] - HOURS * 3600) <= cpu["history_resolution_seconds"]
    assert (cpu["queries_per_cycle"], cpu["samples_per_cycle"]) == (2, 6), "one for the samples, one for their age"
    assert cpu["bootstrap_samples"] == cpu["history_found_seconds"] // 60 * 5
    assert both["history_found_seconds"] <= 86_400
    assert both["queries_per_cycle"] == 4
    assert not found["young"]["trainable"]
    assert found["nothing"]["entities"] == 0
    assert "parse error" in found["broken"]["error"]


def test_a_server_that_is_not_there_is_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "http://127.0.0.1:1")
    path.write_text(path.read_text().split("  - name: both")[0].replace("prometheus: {", "prometheus: {timeout: 1s, "))
    assert run(path, clock=At()) == 3
    assert "127.0.0.1" in capsys.readouterr().out


def test_a_plan_needs_a_prometheus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("simulator: {}\ntargets: [{name: t, metric: m, queries: [{expr: a}], models: [zscore]}]\n")
    assert run(path) == 2
    assert "expected the section prometheus" in capsys.readouterr().err


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("values", [True, False])
def test_added_series_are_those_that_are_rendered(tmp_path: Path, features: int, values: bool) -> None:
    """Against the pages of a trained world; a first generation has no earlier threshold, so details may be fewer."""
    queries = ", ".join(f"{{name: f{i}, expr: q{i}}}" for i in range(features))
    config = parse(
        f"""
prometheus: {{url: "http://localhost:9090"}}
exposition: {{values: {str(values).lower()}}}
targets: [{{name: t, metric: m, queries: [{queries}], models: [zscore]}}]
"""
    )
    world = World(tmp_path, config, {"t": ["one", "two"]})
    world.train("t")
    snapshot = world.until(3)
    labels = Labels(config)
    target = config.targets[0]
    calm = costs.page_samples(config, target) - 1  # only what departs has a shape
    assert render_metrics(snapshot, config, labels).samples == 2 * calm
    detail = render_detail(snapshot, {}, labels, DetailCache()).samples
    assert detail <= 2 * costs.detail_samples(config, target) <= detail + 2 * 30


def config_of(recipe: str, **model: Any) -> Config:
    fields = "".join(f", {k}: {v}" for k, v in model.items())
    return parse(
        f"""
prometheus: {{url: "http://localhost:9090"}}
models: {{m: {{recipe: {recipe}{fields}}}}}
targets: [{{name: t, metric: m, queries: [{{expr: a}}], models: [m]}}]
"""
    )


def test_costs_grow_with_entities_window_and_epochs() -> None:
    small, large = config_of("fc"), config_of("fc", window=96, epochs=60)
    for cost in (costs.serve_bytes, costs.cycle_seconds):
        assert cost(small, small.targets[0], 10) * 5 < cost(small, small.targets[0], 100)
        assert cost(small, small.targets[0], 10) < cost(large, large.targets[0], 10)
    month = 30 * 86_400
    assert costs.training_seconds(small, small.targets[0], 100, month) * 2 < costs.training_seconds(
        large, large.targets[0], 100, month
    )
    assert costs.training_windows(small, small.targets[0], "m", month) == 2048
    assert costs.training_windows(small, small.targets[0], "m", 600) == 0


@pytest.mark.parametrize("recipe", ["auto", "fc", "lstm", "cnn_lstm", "zscore", "seasonal", "pca"])
def test_every_recipe_has_a_price(recipe: str) -> None:
    config = config_of(recipe)
    assert costs.weight_bytes(config.models["m"], config.targets[0]) >= 8
    assert costs.training_seconds(config, config.targets[0], 1, 86_400) > 0


def test_an_ensemble_costs_more_than_its_autoencoder_in_every_way() -> None:
    alone, auto = config_of("cnn", window=12), config_of("auto", window=12, autoencoder="cnn")
    month = 30 * 86_400
    for one in (costs.serve_bytes, costs.cycle_seconds):
        assert one(auto, auto.targets[0], 100) > one(alone, alone.targets[0], 100)
    assert costs.weight_bytes(auto.models["m"], auto.targets[0]) > costs.weight_bytes(
        alone.models["m"], alone.targets[0]
    )
    training = [costs.training_seconds(c, c.targets[0], 100, month) for c in (alone, auto)]
    assert training[0] < training[1] < 3 * training[0]
    assert costs.detail_samples(auto, auto.targets[0]) > costs.detail_samples(alone, alone.targets[0])


def test_figures_are_written_for_people() -> None:
    assert [duration(x) for x in (0, 0.0301, 59.6, 3600, 90_000)] == ["0s", "31ms", "1m", "1h", "1d1h"]
    assert [size(x) for x in (2**20, 64 * 2**20)] == ["1.0 MiB", "64 MiB"]
