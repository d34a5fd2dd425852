"""The thread that listens: counts, gauges, patience with sources that fail, and no harm to the exporter."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from anomaly_exporter.blobs import DirectoryBlobs, StoreUnusableError
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config
from anomaly_exporter.feedback import Feedback
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.serve.listening import Ears, confusion
from anomaly_exporter.snapshot import Snapshot, TargetView
from anomaly_models.frame import Span
from support.fake_grafana import FakeGrafana, fake_grafana
from support.feedback_configs import config_of
from support.snapshots import entry_of, scores_of
from support.waiting import wait_for


def ears(folder: Path, config: Config) -> tuple[Ears, Feedback, SelfMetrics]:
    feedback, metrics = Feedback(DirectoryBlobs(folder)), SelfMetrics()
    return Ears(config, Clock(), feedback, metrics), feedback, metrics


def listening_to(grafana: FakeGrafana, folder: Path, **more: object) -> Config:
    (folder / "token").write_text(grafana.token)
    return config_of(feedback={"grafana": {"url": grafana.url, "token_file": str(folder / "token")}, **more})


def test_annotations_arrive_while_the_thread_runs_and_it_ends_when_told(tmp_path: Path):
    with fake_grafana() as grafana:
        one, feedback, metrics = ears(tmp_path / "store", listening_to(grafana, tmp_path, every=1))
        grafana.post(time.time() - 600, time.time(), ["anomaly:expected", "namespace:dmwm"])
        one.start()
        try:
            wait_for(lambda: metrics.value("anomaly_feedback_total", tag="dmwm", verdict="expected"), 10, "the count")
            assert metrics.value("feedback_syncs_total", source="annotation", outcome="ok")
            assert metrics.value("feedback_last_success_timestamp_seconds", source="annotation")
            assert metrics.value("feedback_statements", verdict="expected") == 1
        finally:
            one.stop()
            one.stop()
    assert len(feedback.current().statements) == 1


def test_a_source_that_fails_is_counted_and_asked_less_often(tmp_path: Path):
    with fake_grafana() as grafana:
        one, _, metrics = ears(tmp_path / "store", listening_to(grafana, tmp_path))
        grafana.trouble.append(503)
        one.look()
        one.look()
        assert metrics.value("feedback_syncs_total", source="annotation", outcome="unavailable") == 1
        assert grafana.asked == []
        assert metrics.value("feedback_last_success_timestamp_seconds", source="annotation") is None


def test_without_a_source_nothing_is_asked_and_verdicts_still_count(tmp_path: Path):
    one, feedback, metrics = ears(tmp_path, config_of())
    now = int(time.time())
    for verdict in ("incident", "incident", "incident", "expected", "ignore"):
        feedback.say(verdict, Span(now - 60, now), author="ada", source="page", labels={"tag": "ops"})
    feedback.say("ignore", Span(now - 60, now), author="ada", source="page", labels={"tag": "dev"})
    one.look()
    assert metrics.value("anomaly_feedback_total", tag="ops", verdict="incident") == 3
    assert metrics.value("anomaly_alert_precision_ratio", tag="ops") == 0.75
    assert metrics.value("anomaly_alert_precision_ratio", tag="dev") is None
    assert metrics.value("feedback_conflicts") == 7


def test_old_verdicts_make_no_precision(tmp_path: Path):
    one, feedback, metrics = ears(tmp_path, config_of(feedback={"precision_window": "7d"}))
    old = int(time.time()) - 8 * 86_400
    feedback.say("incident", Span(old - 60, old), author="ada", source="page", labels={"tag": "ops"})
    one.look()
    assert metrics.value("anomaly_alert_precision_ratio", tag="ops") is None
    assert metrics.value("anomaly_feedback_total", tag="ops", verdict="incident") == 1


def test_what_the_models_in_force_say_of_labelled_stretches_is_a_confusion_matrix_per_tag_and_model(tmp_path: Path):
    config = config_of()
    figures = [
        {"labelled": {"tp": 2, "fp": 1, "fn": 0, "tn": 3}},
        {"labelled": {"tp": 0, "fp": 0, "fn": 1, "tn": 0}},
        {},
    ]
    figures.append({"labelled": {"tp": "many"}})
    entries = tuple(
        entry_of("cpu", {"namespace": "dmwm", "container": str(i)}, figures=f) for i, f in enumerate(figures)
    )
    snapshot = Snapshot(1.0, (TargetView("cpu", 1, 1.0, scores=(scores_of(entries),)),))
    (key,) = confusion(config, snapshot)
    assert key == ("dmwm", "zscore")
    one, _, metrics = ears(tmp_path, config)
    one.observe(snapshot)
    one.look()
    labels = {"tag": "dmwm", "model": "zscore"}
    counts = {o: metrics.value("anomaly_labelled_events", **labels, outcome=o) for o in ("tp", "fp", "fn", "tn")}
    assert counts == {"tp": 2, "fp": 1, "fn": 1, "tn": 3}
    for name in ("precision", "recall", "f1"):
        assert metrics.value(f"anomaly_labelled_{name}_ratio", **labels) == pytest.approx(2 / 3)


def test_a_store_that_fails_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with fake_grafana() as grafana:
        one, feedback, metrics = ears(tmp_path / "store", listening_to(grafana, tmp_path))

        def broken() -> None:
            raise StoreUnusableError("no disk")

        monkeypatch.setattr(feedback, "records", broken)
        one.look()
        assert metrics.value("feedback_syncs_total", source="annotation", outcome="store") == 1


def test_a_new_configuration_is_listened_to(tmp_path: Path):
    with fake_grafana() as grafana:
        one, feedback, _ = ears(tmp_path / "store", config_of())
        grafana.post(time.time() - 600, time.time(), ["anomaly:ignore", "namespace:dmwm"])
        one.look()
        assert feedback.records() == ()
        one.reconfigure(listening_to(grafana, tmp_path))
        one.look()
        assert len(feedback.records()) == 1
