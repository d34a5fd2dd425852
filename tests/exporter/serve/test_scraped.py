"""A real Prometheus reads our pages: joined gzip, hostile labels, and staleness when a cycle gets stuck."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from anomaly_exporter.canary import Station
from anomaly_exporter.clock import Clock
from anomaly_exporter.demo.stack import Scrape
from anomaly_exporter.exposition import DetailCache, Labels, render_detail, render_metrics
from anomaly_exporter.http_server import Address, Limits, Server
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.serve import Site
from anomaly_exporter.snapshot import Snapshot, TargetView
from support.prometheus import prometheus
from support.snapshots import NOW, config_of, entry_of, scores_of
from support.waiting import wait_for

HOSTILE = ['quote"', "back\\slash", "new\nline", "<script>alert(1)</script>", "}{,=", "ü\u2028\U0001f600"]


def _query(url: str, expr: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}", timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


def test_prometheus_stores_every_label_exactly_and_lets_go_of_what_expires(tmp_path: Path) -> None:
    now = 1000.0
    config = config_of()
    entries = [entry_of("cpu", {"namespace": name, "container": "web"}) for name in HOSTILE]
    snapshot = Snapshot(NOW, (TargetView("cpu", NOW, NOW, scores=(scores_of(entries),), generation=1),))
    labels, metrics = Labels(config), SelfMetrics()
    site = Site(metrics, lambda: None, dict, Station(Clock(), metrics), clock=lambda: now)
    site.configure(config, 60.0)
    site.publish(snapshot, render_metrics(snapshot, config, labels), render_detail(snapshot, {}, labels, DetailCache()))
    server = Server([Address("127.0.0.1", 0)], site.handle, Limits(), metrics)
    server.start()
    try:
        address = str(server.addresses[0])
        jobs = [
            Scrape("metrics", address, 0.25, honor_labels=True),
            Scrape("detail", address, 0.25, "/metrics/detail", honor_labels=True),
        ]
        with prometheus(tmp_path, scrapes=jobs) as prom:
            wait_for(lambda: len(_query(prom.url, "up == 1")) == 2, 20, "both pages to be accepted")
            scores = wait_for(lambda: _query(prom.url, "anomaly_score"), 10, "the scores")
            assert {s["metric"]["namespace"] for s in scores} == set(HOSTILE)
            assert len(_query(prom.url, "anomaly_model_generation")) == len(HOSTILE)
            now += 200  # three intervals without a cycle
            wait_for(lambda: not _query(prom.url, "anomaly_score"), 10, "the gauges to go stale")
            assert _query(prom.url, "anomaly_exporter_up")
    finally:
        server.stop()
