"""Every path answers what it should, and nothing that is out of date."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping

import pytest

from anomaly_exporter.canary import Station
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Canary
from anomaly_exporter.exposition import Page
from anomaly_exporter.http_server import Request, Response
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.serve import Site
from anomaly_exporter.snapshot import Snapshot
from support.notifications import notification
from support.snapshots import NOW, config_of


class Bench:
    """A site with a clock that tests turn, a published page, and a reload that says ``problem``."""

    def __init__(self, interval: float = 60.0, path: str = "/metrics") -> None:
        self.time = 1000.0
        self.problem: str | None = None
        self.metrics = SelfMetrics()
        self.station = Station(Clock(), self.metrics)
        self.site = Site(self.metrics, lambda: self.problem, dict, self.station, path, clock=lambda: self.time)
        self.site.configure(config_of(), interval)

    def publish(self) -> None:
        self.site.publish(Snapshot(NOW), Page.of(b"anomaly_score 1\n", 1), Page.of(b"detail 1\n", 1))

    def ask(self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Response:
        return self.site.handle(Request(method, path, headers or {}, keep_alive=True))

    def text(self, path: str) -> str:
        return b"".join(self.ask(path).body).decode()


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.publish()
    return made


def test_metrics_are_the_entity_part_and_the_live_self_part(bench: Bench) -> None:
    text = bench.text("/metrics")
    assert text.startswith("anomaly_score 1\n")
    assert "anomaly_exporter_up 1.0\n" in text
    assert bench.ask("/metrics").content_type.startswith("text/plain; version=0.0.4")
    assert bench.text("/metrics/detail") == "detail 1\n"


@pytest.mark.parametrize("path", ["/metrics", "/metrics/detail"])
def test_gzip_is_negotiated_and_says_the_same(bench: Bench, path: str) -> None:
    plain = bench.ask(path)
    packed = bench.ask(path, headers={"accept-encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(b"".join(packed.body)).splitlines()[0] == b"".join(plain.body).splitlines()[0]


def test_the_self_part_is_live(bench: Bench) -> None:
    bench.metrics.set("data_lag_seconds", 42, target="cpu")
    assert 'anomaly_exporter_data_lag_seconds{target="cpu"} 42.0' in bench.text("/metrics")


@pytest.mark.parametrize("interval", [60.0, 0.5])
def test_a_snapshot_expires_after_three_intervals_and_only_self_metrics_stay(interval: float) -> None:
    bench = Bench(interval)
    bench.publish()
    lifetime = max(3 * interval, 5.0)
    bench.time += lifetime
    assert "anomaly_score" in bench.text("/metrics")
    bench.time += 0.1
    text = bench.text("/metrics")
    assert "anomaly_score" not in text
    assert "anomaly_exporter_up 1.0\n" in text
    assert bench.text("/metrics/detail") == ""
    assert "No current cycle" in bench.text("/")
    bench.publish()
    assert "anomaly_score" in bench.text("/metrics")


def test_before_the_first_cycle_only_self_metrics_are_served() -> None:
    assert "anomaly_exporter_up" in Bench().text("/metrics")


def test_health_is_the_age_of_the_last_cycle(bench: Bench) -> None:
    bench.time += 120
    assert bench.ask("/-/healthy").status == 200
    bench.time += 1
    assert bench.ask("/-/healthy").status == 503
    assert "121 s ago" in bench.text("/-/healthy")
    bench.site.beat()
    assert bench.ask("/-/healthy").status == 200


def test_ready_means_that_a_cycle_has_succeeded(bench: Bench) -> None:
    assert bench.ask("/-/ready").status == 503
    bench.metrics.set("ready", 1)
    assert bench.ask("/-/ready").status == 200


def test_reload_is_a_post_and_says_what_is_wrong(bench: Bench) -> None:
    assert bench.ask("/-/reload", "POST").status == 200
    bench.problem = "targets.0.step: expected a duration"
    answer = bench.ask("/-/reload", "POST")
    assert answer.status == 500
    assert b"targets.0.step" in answer.body[0]


@pytest.mark.parametrize(
    ("path", "method", "status", "allow"),
    [
        ("/nowhere", "GET", 404, None),
        ("/metrics/", "GET", 404, None),
        ("/metrics", "POST", 405, "GET, HEAD"),
        ("/-/reload", "GET", 405, "POST"),
        ("/-/reload", "HEAD", 405, "POST"),
        ("/-/canary", "GET", 405, "POST"),
        ("/-/canary", "HEAD", 405, "POST"),
        ("/-/canary", "PUT", 405, "POST"),
        ("/", "DELETE", 405, "GET, HEAD"),
        ("/metrics", "HEAD", 200, None),
    ],
)
def test_other_paths_and_methods_are_refused(
    bench: Bench, path: str, method: str, status: int, allow: str | None
) -> None:
    answer = bench.ask(path, method)
    assert answer.status == status
    assert answer.headers.get("Allow") == allow


def test_the_landing_page_links_every_path_and_runs_nothing(bench: Bench) -> None:
    answer = bench.ask("/")
    assert answer.content_type.startswith("text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for path in bench.site.paths:
        assert f'href="{path}"' in bench.text("/")


def test_the_telemetry_path_is_chosen_by_the_user() -> None:
    bench = Bench(path="/probe/metrics")
    bench.publish()
    assert "anomaly_score" in bench.text("/probe/metrics")
    assert bench.text("/probe/metrics/detail") == "detail 1\n"
    assert bench.ask("/metrics").status == 404


def test_sizes_of_the_pages_are_self_metrics(bench: Bench) -> None:
    assert bench.metrics.value("exposition_samples", page="metrics") == 1
    assert bench.metrics.value("exposition_bytes", page="detail") == len("detail 1\n")


JSON = {"content-type": "application/json; charset=utf-8"}


def post(bench: Bench, body: bytes, headers: Mapping[str, str] = JSON) -> Response:
    return bench.site.handle(Request("POST", "/-/canary", headers, keep_alive=True, body_length=len(body), body=body))


def test_the_canarys_alert_is_received_by_post_and_shown_at_once() -> None:
    bench = Bench()
    bench.station.configure(Canary(enabled=True))
    now = Clock().wall()
    before = now - now % 3600
    answer = post(bench, json.dumps(notification(max(before, now - 30))).encode())
    assert (answer.status, answer.body) == (200, (b"received\n",))
    text = bench.text("/metrics")
    assert "anomaly_exporter_canary_received_timestamp_seconds" in text
    assert 'anomaly_exporter_canary_value{canary="canary"}' in text
    assert post(bench, json.dumps(notification(before - 600)).encode()).body == (b"nothing new\n",)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", JSON, 400),
        (b"{}", JSON, 400),
        (b"[" * 60_000, JSON, 400),
        (json.dumps(notification(0)).encode(), {}, 415),
        (json.dumps(notification(0)).encode(), {"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_what_is_no_notification_is_refused(body: bytes, headers: Mapping[str, str], status: int) -> None:
    bench = Bench()
    bench.station.configure(Canary(enabled=True))
    assert post(bench, body, headers).status == status
    assert "canary_received" not in bench.text("/metrics")


def test_without_a_canary_there_is_nothing_to_post_to(bench: Bench) -> None:
    assert post(bench, json.dumps(notification(0)).encode()).status == 404
    assert "anomaly_exporter_canary" not in bench.text("/metrics")
