"""The canary goes the whole way: page, Prometheus, score, rule, Alertmanager, webhook; when that breaks, it is missed.

Everything is the real thing, in compressed time: an hour of the clock is twelve seconds, a spike comes every eight.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from anomaly_exporter.canary import value_at
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, load
from anomaly_exporter.config.canary import HISTORY
from anomaly_exporter.demo.processes import Child, free_port, http_ok
from anomaly_exporter.demo.stack import AlertmanagerServer, PrometheusServer, Scrape
from anomaly_exporter.rendering import render_text
from support.openmetrics import Raw
from support.prometheus import need_programs, prometheus
from support.waiting import wait_for

pytestmark = pytest.mark.e2e

SPEED = 300
SCRAPE = 0.1
"""Wall seconds; a step of the canary is twice as long."""
PATIENCE = 45
DATA_ORIGIN = 1_800_000_000
VALUE = "anomaly_exporter_canary_value"
INJECTED = "anomaly_exporter_canary_injected_timestamp_seconds"
RECEIVED = "anomaly_exporter_canary_received_timestamp_seconds"


@dataclass
class Stack:
    serve: Child
    prometheus: PrometheusServer
    alertmanager: AlertmanagerServer

    def value(self, expr: str) -> float | None:
        found = self.prometheus.query(expr)
        return float(found[0]["value"][1]) if found else None

    def wait(self, expr: str, what: str) -> None:
        """Return when ``expr`` has a sample."""
        try:
            wait_for(lambda: self.prometheus.query(expr), PATIENCE, what)
        except AssertionError as error:
            now = self.prometheus.query('{__name__=~"anomaly_.*canary.*|anomaly_score|anomaly_detected|ALERTS"}')
            raise AssertionError(f"{error}\n{self.serve.log_tail(30)}\n{now}") from error


def written(folder: Path, port: int, server: int) -> Config:
    """The configuration of an exporter on ``port`` that reads the Prometheus on ``server``."""
    path = folder / "config.yaml"
    document = {
        "prometheus": {"url": f"http://127.0.0.1:{server}"},
        "store": {"path": str(folder / "store")},
        "timing": {"speed": SPEED, "wall_origin": int(time.time()), "data_origin": DATA_ORIGIN},
        "targets": [
            {"name": "up", "metric": "up", "queries": [{"expr": "up"}], "models": ["zscore"], "labels": ["team"]}
            | {"tag": "team"}
        ],
        "canary": {
            "enabled": True,
            "every": "40m",
            "length": 5,
            "delay": "2m",
            "webhook_url": f"http://127.0.0.1:{port}/-/canary",
        },
    }
    path.write_text(yaml.safe_dump(document))
    return load(path).config


def past(config: Config) -> Raw:
    """The canary's series until now, as if it had been scraped for as long as its training looks back."""
    clock, now = Clock.of(config.timing), time.time()
    first = now - HISTORY * config.canary.every / SPEED
    times = [first + i * SCRAPE for i in range(int((now - first) / SCRAPE))]
    return Raw(VALUE, {"canary": "canary"}, [(at, value_at(config.canary, clock.to_data(at))) for at in times])


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    need_programs()
    port, server = free_port(), free_port()
    config = written(tmp_path, port, server)
    with ExitStack() as on:
        alertmanager = AlertmanagerServer(tmp_path / "alertmanager", render_text("alertmanager", config))
        on.enter_context(alertmanager)
        running = prometheus(
            tmp_path,
            [past(config)],
            port=server,
            scrapes=[Scrape("anomaly-exporter", f"127.0.0.1:{port}", SCRAPE, honor_labels=True)],
            rules={"anomaly-exporter.rules.yml": render_text("rules", config, "plain")},
            alertmanagers=[alertmanager.address],
            lookback=300 / SPEED,
        )
        found = on.enter_context(running)
        command = [sys.executable, "-m", "anomaly_exporter", "serve", "-c", str(tmp_path / "config.yaml")]
        serve = Child("serve", [*command, f"--web.listen-address=127.0.0.1:{port}"], tmp_path / "serve.log")
        on.enter_context(serve)
        wait_for(lambda: http_ok(f"http://127.0.0.1:{port}/metrics"), PATIENCE, "the exporter")
        yield Stack(serve, found, alertmanager)


def test_the_spike_comes_home_as_an_alert_and_is_missed_when_alertmanager_stops(stack: Stack) -> None:
    stack.wait(f"{INJECTED} and {RECEIVED} > {INJECTED}", "the alert of an injected spike to come home")
    late = stack.value(f"{RECEIVED} - {INJECTED}")
    assert late is not None
    assert 0 < late < 2400 / SPEED
    assert stack.value('max_over_time(ALERTS{alertname="AnomalyExporterCanary",alertstate="firing"}[30s])') == 1

    stack.alertmanager.stop()
    missed = 'ALERTS{alertname="AnomalyExporterCanaryMissed",alertstate="%s"}'
    stack.wait(f"{missed % 'pending'} and on () {INJECTED} > {time.time():.3f}", "a spike that does not come home")
    stack.wait(missed % "firing", "the alert that says so")

    stack.alertmanager.start()
    wait_for(lambda: not stack.prometheus.query(missed % "firing"), PATIENCE, "the next one to come home")

    own, all_time = 'tag="anomaly-exporter-canary"', "[5m]"
    assert stack.prometheus.query(f'max_over_time(ALERTS{{{own},alertname!="AnomalyExporterCanary"}}{all_time})') == []
    assert stack.prometheus.query(f'max_over_time({{{own},__name__=~"entity:.*|namespace_tag:.*"}}{all_time})') == []
    assert stack.prometheus.query(f'max_over_time(anomaly_exporter_series_expected{{target="up"}}{all_time})')
    assert stack.prometheus.query(f'max_over_time({{target="canary"}}{all_time})') == [], "no count knows it"
    assert stack.value('max_over_time(anomaly_exporter_training_runs_total{outcome="succeeded"}[5m])') == 0
