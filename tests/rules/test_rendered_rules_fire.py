"""Rules of other configurations than the committed one, run by promtool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
import yaml

from anomaly_exporter.config import Config
from anomaly_exporter.rendering import render_text
from support.checkers import promtool
from support.rule_configs import HOSTILE, config


def quoted(value: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(c, c) for c in value) + '"'


def series(metric: str, values: str, /, **labels: str) -> dict[str, str]:
    return {"series": f"{metric}{{{','.join(f'{k}={quoted(v)}' for k, v in labels.items())}}}", "values": values}


def firing(name: str, at: str, count: int) -> dict[str, Any]:
    expression = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    return {"expr": expression, "eval_time": at, "exp_samples": [{"labels": "{}", "value": count}] if count else []}


def check(
    of: Config,
    folder: Path,
    data: list[dict[str, str]],
    expressions: Sequence[dict[str, Any]] = (),
    *,
    interval: str = "30s",
    namespace: str | None = None,
    **more: Any,
) -> None:
    """Render the rules of ``of`` and let promtool run them over ``data``."""
    (folder / "rules.yaml").write_text(render_text("rules", of, "plain", namespace=namespace))
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": interval,
        "tests": [{"interval": interval, "input_series": data, "promql_expr_test": list(expressions), **more}],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(test, allow_unicode=True))
    promtool("test", "rules", str(folder / "test.yaml"))


def test_openshift_names_the_service_by_target_container(tmp_path: Path) -> None:
    own = {"env": "k8s-prod", "metric": "cpu", "model": "fc", "tag": "crab"}
    labels = {**own, "target_namespace": "crab", "target_container": "crabserver", "namespace": "monitoring"}
    data = [series("anomaly_detected", "1x9", **labels), series("anomaly_score", "2x9", **labels)]
    expression = 'ALERTS{alertname="AnomalyDetected",alertstate="firing",service="crabserver"}'
    expected = "ALERTS" + series("", "", **labels)["series"].removesuffix("}")
    expected += ',alert="AnomalyDetected",alertname="AnomalyDetected",alertstate="firing",service="crabserver"'
    wanted = [{"labels": expected + ',severity="warning"}', "value": 1}]
    tests = [{"expr": expression, "eval_time": "2m", "exp_samples": wanted}]
    check(config(exposition={"profile": "openshift"}), tmp_path, data, tests)


def test_compressed_time_divides_every_duration_by_one_number(tmp_path: Path) -> None:
    """At speed 60 the minute of `for` is a second and the ten minutes of keep_firing_for are ten seconds."""
    labels = {"env": "k8s-prod", "namespace": "a", "container": "b", "metric": "cpu", "model": "fc", "tag": "a"}
    data = [series("anomaly_detected", "1x4 0x40", **labels), series("anomaly_score", "2x4 0x40", **labels)]
    tests = [
        firing("AnomalyDetected", "500ms", 0),
        firing("AnomalyDetected", "1s", 1),
        firing("AnomalyDetected", "12s", 1),
        firing("AnomalyDetected", "12500ms", 0),
    ]
    check(config(timing={"speed": 60}), tmp_path, data, tests, interval="500ms")


@pytest.mark.parametrize("value", HOSTILE)
def test_the_numbers_of_the_description_are_found_for_any_label_value(value: str, tmp_path: Path) -> None:
    labels = {"env": "k8s-prod", "namespace": value, "container": "b", "metric": "cpu", "model": "fc", "tag": value}
    data = [
        series("anomaly_detected", "1x9", **labels),
        series("anomaly_score", "2x9", **labels),
        series("anomaly_threshold", "4x9", **labels),
        series("anomaly_threshold", "5x9", **{**labels, "namespace": "other"}),
        series("anomaly_observed_value", "0.5x9", **labels, feature=value),
    ]
    description = f"cpu of b (model=fc env=k8s-prod namespace={value} container=b): score 2, anomalous from 1;"
    description += " threshold 4; worst score 2"
    check(config(), tmp_path, data, alert_rule_test=[detected(labels, description, "cpu: observed 0.5 cores")])


NEXT = "What changed just before it began? Look for a deployment, a changed configuration or a restart."


def go_quoted(value: str) -> str:
    """As Go's %q writes it: what does not print as an escape."""
    return quoted(value).replace("\u202e", "\\u202e")


def detected(labels: dict[str, str], description: str, values: str) -> dict[str, Any]:
    """The one AnomalyDetected at two minutes, score 2, that promtool is to find, with everything on it."""
    page = "http://localhost:3000/d/anomaly-monitoring"
    who = f"&var-env=k8s-prod&var-namespace={quote_plus(labels['namespace'])}&var-container=b"
    metric, model = labels["metric"], labels["model"]
    graph = "anomaly_score{" + ",".join(f"{name}={go_quoted(value)}" for name, value in labels.items()) + "}"
    annotations = {
        "summary": "A series departs from what its model has learned.",
        "description": description,
        "values": values,
        "neighbours": "",
        "next_steps": f"{NEXT}\n",
        "graph": f"/graph?g0.expr={quote_plus(graph)}&g0.tab=0",
        "message": f"{metric} of b departs from what the model {model} expects: score 2, where 1 and above is "
        "anomalous.",
        "date": "1970-01-01 00:02:00 +0000 UTC",
        "hostname": f"{page}?from=-86280000&to=120000{who}&var-metric=$__all&var-model=$__all",
        "dashboard_url": f"{page}?from=-21480000&to=120000{who}&var-metric={metric}&var-model={model}",
        "runbook_url": f"{config().links.runbook_url}/anomalydetected.md",
    }
    expected = {**labels, "alert": "AnomalyDetected", "severity": "warning", "service": "b"}
    alerts = [{"exp_labels": expected, "exp_annotations": annotations}]
    return {"eval_time": "2m", "alertname": "AnomalyDetected", "exp_alerts": alerts}


def test_of_an_ensemble_the_error_is_its_autoencoders_and_the_loudest_member_is_named(tmp_path: Path) -> None:
    labels = {"env": "k8s-prod", "namespace": "a", "container": "b", "metric": "cpu", "model": "auto", "tag": "a"}
    data = [
        series("anomaly_detected", "1x9", **labels),
        series("anomaly_score", "2x9", **labels),
        series("anomaly_reconstruction_error", "3x9", **labels),
        series("anomaly_threshold", "4x9", **labels),
        series("anomaly_member_score", "0.5x9", **labels, member="autoencoder"),
        series("anomaly_member_score", "5x9", **labels, member="level"),
        series("anomaly_observed_value", "0.5x9", **labels, feature="value"),
    ]
    description = "cpu of b (model=auto env=k8s-prod namespace=a container=b): score 2, anomalous from 1;"
    description += " autoencoder's error 3; autoencoder's threshold 4; member level alone 5; worst score 2"
    check(config(), tmp_path, data, alert_rule_test=[detected(labels, description, "cpu: observed 0.5 cores")])


UNITS = {
    "cores": (0.25, "0.25 cores"),
    "bytes": (1536, "1.5 kiB"),
    "bytes_per_second": (1536, "1.5 kiB/s"),
    "per_second": (1536, "1.536k/s"),
    "seconds": (1536, "25m 36s"),
    "ratio": (0.425, "42.5%"),
    "count": (1536, "1.536k"),
    "": (1536, "1.536k"),
}


@pytest.mark.parametrize("unit", UNITS)
def test_observed_values_are_written_in_the_unit_of_their_target(unit: str, tmp_path: Path) -> None:
    targets = [
        {"name": name.replace("_", "-") or "none", "metric": f"m_{name}", "unit": name, "queries": [{"expr": "x"}]}
        for name in UNITS
    ]
    labels = {"env": "k8s-prod", "namespace": "a", "container": "b", "metric": f"m_{unit}", "model": "fc", "tag": "a"}
    data = [
        series("anomaly_detected", "1x9", **labels),
        series("anomaly_score", "2x9", **labels),
        series("anomaly_observed_value", f"{UNITS[unit][0]}x9", **labels, feature="value"),
    ]
    description = f"m_{unit} of b (model=fc env=k8s-prod namespace=a container=b): score 2, anomalous from 1"
    expected = detected(labels, f"{description}; worst score 2", f"m_{unit}: observed {UNITS[unit][1]}")
    check(config(targets=targets), tmp_path, data, alert_rule_test=[expected])


def test_with_a_namespace_only_that_installation_is_watched(tmp_path: Path) -> None:
    well = {"namespace": "one", "pod": "a"}
    data = [
        series("anomaly_exporter_last_success_timestamp_seconds", "0+30x60", **well),
        series("anomaly_exporter_cycle_interval_seconds", "60x60", **well),
        series("anomaly_exporter_total_shards", "1x60", **well),
    ]
    check(config(), tmp_path, data, [firing("AnomalyExporterBlind", "20m", 0)], namespace="one")
    check(config(), tmp_path, data, [firing("AnomalyExporterBlind", "20m", 1)], namespace="two")


def test_targets_of_different_training_intervals_are_late_at_different_times(tmp_path: Path) -> None:
    queries = [{"name": "x", "expr": "x"}]
    targets = [
        {"name": "often", "metric": "a", "queries": queries, "training": {"every": "1h"}},
        {"name": "seldom", "metric": "b", "queries": queries, "training": {"every": "3h"}},
    ]
    metric = "anomaly_exporter_training_last_success_timestamp_seconds"
    data = [series(metric, "0x1000", target="often"), series(metric, "0x1000", target="seldom")]
    tests = [
        firing("AnomalyTrainingFailing", "2h15m", 0),
        firing("AnomalyTrainingFailing", "2h15m30s", 1),
        firing("AnomalyTrainingFailing", "6h15m", 1),
        firing("AnomalyTrainingFailing", "6h15m30s", 2),
    ]
    check(config(targets=targets), tmp_path, data, tests)


def test_a_severity_step_fires_for_most_of_its_duration_and_ends_with_its_last_fifth(tmp_path: Path) -> None:
    """Score 3 for fifteen minutes: four fifths of the window are 3 or more from 12 minutes on, one dip is forgiven."""
    labels = {"env": "k8s-prod", "namespace": "a", "container": "b", "metric": "cpu", "model": "fc", "tag": "a"}
    data = [series("anomaly_detected", "1x200", **labels), series("anomaly_score", "1x40 3x10 2 3x30 2x100", **labels)]
    steps = [{"score": 3, "after": "15m"}, {"score": 9, "after": "1m", "severity": "warning"}]
    expression = 'ALERTS{alertname="AnomalySevere",alertstate="firing"}'
    found = "ALERTS" + series("", "", **labels)["series"].removesuffix("}")
    found += ',alert="AnomalySevere",alertname="AnomalySevere",alertstate="firing",service="b",severity="critical"}'
    tests = [
        {"expr": expression, "eval_time": "32m", "exp_samples": []},
        {"expr": expression, "eval_time": "33m", "exp_samples": [{"labels": found, "value": 1}]},
    ]
    check(config(rules={"severity_steps": steps}), tmp_path, data, tests)


def test_a_target_that_asks_for_alerts_upwards_only_gets_none_about_zero(tmp_path: Path) -> None:
    queries = [{"name": "x", "expr": "x"}]
    targets = [
        {"name": "up", "metric": "a", "queries": queries, "alerting": {"direction": "up"}},
        {"name": "both", "metric": "b", "queries": queries},
    ]
    data = []
    for metric in ("a", "b"):
        labels = {"env": "k8s-prod", "namespace": "n", "container": "c", "metric": metric, "model": "fc", "tag": "n"}
        data.append(series("anomaly_observed_value", "0x20", **labels, feature="x"))
        data += [series(f"anomaly_expected_{part}", "1x20", **labels, feature="x") for part in ("value", "lower")]
    expression = 'count by (metric) (ALERTS{alertname="AnomalyDroppedToZero",alertstate="firing"})'
    tests = [{"expr": expression, "eval_time": "5m", "exp_samples": [{"labels": '{metric="b"}', "value": 1}]}]
    check(config(targets=targets), tmp_path, data, tests)


REMEDIES = [
    {"metric": "mem.*", "text": "never: it is cpu"},
    {"metric": "pu|cp", "text": "never: the whole value must match"},
    {"target": "cpu", "direction": "down", "text": "never: it is above"},
    {"labels": {"namespace": "x"}, "text": "never: another namespace"},
    {"target": "cpu", "direction": "up", "text": "first {{ .Labels }}", "runbook": "https://docs/one"},
    {"labels": {"namespace": "a|b", "container": "b"}, "text": "second"},
    {"metric": "cpu", "text": "third"},
    {"text": "never: three are enough"},
]


def test_the_first_three_remedies_that_match_are_shown_in_the_order_of_the_configuration(tmp_path: Path) -> None:
    labels = {"env": "k8s-prod", "namespace": "a", "container": "b", "metric": "cpu", "model": "fc", "tag": "a"}
    data = [
        series("anomaly_detected", "1x9", **labels),
        series("anomaly_score", "2x9", **labels),
        series("anomaly_observed_value", "3x9", **labels, feature="cpu"),
        series("anomaly_expected_value", "1x9", **labels, feature="cpu"),
    ]
    description = "cpu of b (model=fc env=k8s-prod namespace=a container=b): score 2, anomalous from 1; worst score 2"
    expected = detected(labels, description, "cpu: observed 3 cores, expected 1 cores")
    steps = "first {{ .Labels }} https://docs/one\nsecond\nthird\n"
    expected["exp_alerts"][0]["exp_annotations"]["next_steps"] = steps
    check(config(remedies=REMEDIES), tmp_path, data, alert_rule_test=[expected])
