"""Self metrics are declared once, never stale, and safe to touch from any thread."""

from __future__ import annotations

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from anomaly_exporter.metrics import SELF
from anomaly_exporter.self_metrics import SelfMetrics, UndeclaredMetricError


def _samples(metrics: SelfMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def test_values_appear_in_the_text_under_their_full_name() -> None:
    metrics = SelfMetrics()
    metrics.set("data_lag_seconds", 61.5, target="cpu")
    metrics.inc("cycles_total", outcome="succeeded")
    metrics.inc("anomaly_exporter_cycles_total", 2, outcome="succeeded")
    samples = _samples(metrics)
    assert samples["anomaly_exporter_data_lag_seconds", (("target", "cpu"),)] == 61.5
    assert samples["anomaly_exporter_cycles_total", (("outcome", "succeeded"),)] == 3


def test_a_fresh_store_says_who_it_is_and_starts_its_plain_counters_at_zero() -> None:
    samples = {name for name, _ in _samples(SelfMetrics())}
    assert {"anomaly_exporter_up", "anomaly_exporter_build_info", "anomaly_exporter_start_timestamp_seconds"} <= samples
    assert "anomaly_exporter_cycles_skipped_total" in samples
    assert "anomaly_exporter_process_resident_memory_bytes" in samples
    assert not [name for name in samples if name.endswith("_created")]


def test_only_declared_names_labels_and_kinds_are_accepted() -> None:
    metrics = SelfMetrics()
    for wrong in (
        lambda: metrics.set("no_such_metric", 1),
        lambda: metrics.set("data_lag_seconds", 1),
        lambda: metrics.set("data_lag_seconds", 1, target="a", other="b"),
        lambda: metrics.set("cycles_skipped_total", 1),
        lambda: metrics.inc("ready"),
        lambda: metrics.inc("cycles_skipped_total", -1),
        lambda: metrics.inc("cycles_skipped_total", float("nan")),
        lambda: metrics.raise_to("ready", 1),
        lambda: metrics.replace("series_unscored", {("cpu",): 1}),
        lambda: metrics.replace("cycles_total", {("succeeded",): 1}),
    ):
        with pytest.raises(UndeclaredMetricError):
            wrong()


def test_replace_swaps_all_children_of_a_family() -> None:
    metrics = SelfMetrics()
    metrics.replace("series_unscored", {("cpu", "no_data"): 3, ("cpu", "warmup"): 1})
    metrics.replace("series_unscored", {("memory", "no_model"): 2})
    assert metrics.value("series_unscored", target="cpu", reason="no_data") is None
    assert metrics.value("series_unscored", target="memory", reason="no_model") == 2


def test_a_counter_kept_elsewhere_never_falls() -> None:
    metrics = SelfMetrics()
    metrics.raise_to("samples_read_total", 10)
    metrics.raise_to("samples_read_total", 4)
    assert metrics.value("samples_read_total") == 10


def test_increments_of_many_threads_are_all_counted() -> None:
    metrics = SelfMetrics()

    def work() -> None:
        for _ in range(500):
            metrics.inc("http_requests_total", code="200")
            metrics.render() if _ % 100 == 0 else None

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.value("http_requests_total", code="200") == 4000


def test_a_counter_may_begin_at_zero_so_that_its_first_rise_is_seen() -> None:
    metrics = SelfMetrics()
    metrics.inc("training_runs_total", outcome="failed")
    metrics.begin("training_runs_total", "outcome", ("succeeded", "failed"))
    assert metrics.value("training_runs_total", outcome="succeeded") == 0
    assert metrics.value("training_runs_total", outcome="failed") == 1


def test_hostile_label_values_survive_the_round_trip() -> None:
    metrics = SelfMetrics()
    hostile = 'a"b\\c\nd{}=,'
    metrics.set("series_expected", 7, target=hostile)
    assert _samples(metrics)["anomaly_exporter_series_expected", (("target", hostile),)] == 7


def test_every_declared_self_metric_can_be_set_and_rendered() -> None:
    metrics = SelfMetrics()
    for spec in SELF:
        labels = dict.fromkeys(spec.labels, "x")
        if spec.kind == "counter":
            metrics.inc(spec.name, **labels)
        else:
            metrics.set(spec.name, 1, **labels)
    rendered = {name for name, _ in _samples(metrics)}
    assert rendered == {spec.name for spec in SELF}
