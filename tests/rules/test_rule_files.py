"""The committed rule files, judged by promtool, by a PromQL parser and by the list of metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml

from anomaly_exporter import metrics
from anomaly_exporter.config import Config
from anomaly_exporter.rendering import all_alerts, groups, plain_rules, prometheus_rule, render_text
from anomaly_exporter.rendering.alert_rule import RecordingRule
from support.checkers import promtool
from support.rule_configs import HOSTILE, ROOT, config, default_config

RULES = ROOT / "rules" / "anomaly-exporter.rules.yaml"
TESTS = sorted((ROOT / "rules" / "tests").glob("*.yaml"))
CONFIGS = {
    "default": default_config(),
    "openshift": config(exposition={"profile": "openshift"}),
    "compressed": config(timing={"speed": 240}),
    "no values": config(exposition={"values": False}),
    "steps": config(rules={"severity_steps": [{"score": 3, "after": "15m"}], "drop_to_zero": False}),
    "own remedies": config(
        shipped_remedies=False,
        remedies=[
            {"target": "cpu", "direction": "up", "text": "say {{ hi }}", "runbook": "https://x/y"},
            {"metric": 'a\\d|"b"', "labels": {"namespace": "das.*"}, "text": "look"},
        ],
    ),
    "canary": config(canary={"enabled": True, "every": "2h"}),
    "hostile": config(static_labels={"env": HOSTILE[1]}, links={"grafana_url": "http://g/{{ x }}"}),
}
WELL = ("AnomalyWatchdog", "AnomalyExporterCanary")
"""Alerts that say that all is well."""
NEWS = ("AnomalyRegimeChanged", "AnomalyExporterControlAuthFailures")
"""Alerts that nobody must act on."""
QUERY = re.compile(r'query (?:\(printf )?("(?:[^"\\]|\\.)*")')


def expressions(of: Config) -> Iterator[str]:
    """Every PromQL text of the rules: recorded, alerting, and those that the annotations query."""
    for rules in groups(of).values():
        yield from (rule.expression for rule in rules)
    for alert in all_alerts(of):
        for annotation in alert.annotations.values():
            for quoted in QUERY.findall(annotation):
                yield yaml.safe_load(quoted).replace("%s", 'env="x"').replace("%q", '"x"')


def test_promtool_accepts_the_committed_rules() -> None:
    assert "37 rules found" in promtool("check", "rules", str(RULES))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_fire_when_they_should_and_not_before(path: Path) -> None:
    promtool("test", "rules", str(path))


def test_every_alert_is_shown_quiet_and_firing() -> None:
    tested = "\n".join(path.read_text() for path in TESTS)
    for alert in all_alerts(default_config()):
        assert f"alertname: {alert.name}, exp_alerts: []" in tested, f"{alert.name} is never shown quiet"
        assert f"alert: {alert.name}\n" in tested, f"{alert.name} is never shown firing with all its labels"


@pytest.mark.parametrize("name", CONFIGS)
def test_every_configuration_renders_rules_that_promtool_accepts(name: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(render_text("rules", CONFIGS[name], "plain"))
    promtool("check", "rules", str(path))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_expression_parses(name: str) -> None:
    found = list(expressions(CONFIGS[name]))
    assert len(found) > 15
    for expression in found:
        promql_parser.parse(expression)


@pytest.mark.parametrize("name", CONFIGS)
def test_rules_read_only_metrics_that_we_expose(name: str) -> None:
    recorded = {
        rule.name for rules in groups(CONFIGS[name]).values() for rule in rules if isinstance(rule, RecordingRule)
    }
    used = {
        word for text in expressions(CONFIGS[name]) for word in re.findall(r"[a-z_:0-9]*\banomaly_[a-z_:0-9]+", text)
    }
    assert used & recorded
    assert used - recorded <= set(metrics.BY_NAME)


def test_a_query_in_an_annotation_is_found_by_these_tests() -> None:
    """The pattern above must not overlook queries: each use of the function has one that was parsed."""
    for alert in all_alerts(default_config()):
        for annotation in alert.annotations.values():
            assert len(re.findall(r"\bquery [(\"]", annotation)) == len(QUERY.findall(annotation))


def test_every_alert_keeps_the_conventions() -> None:
    for alert in all_alerts(default_config()):
        assert re.fullmatch(r"Anomaly([A-Z][a-z]+)+", alert.name)
        quiet = {"none"} if alert.name in WELL else {"info"} if alert.name in NEWS else None
        assert alert.severity in (quiet or {"warning", "critical"})
        rule = alert.document(1)
        assert {"alert", "severity", "service"} <= rule["labels"].keys()
        wanted = {"summary", "description", "message", "date", "hostname", "dashboard_url", "runbook_url"}
        optional = {"values", "neighbours", "next_steps", "graph"}
        assert wanted <= set(rule["annotations"]) <= wanted | optional
        assert "{{" not in rule["annotations"]["summary"], "a summary is a static sentence"


def test_every_runbook_exists_and_says_what_to_look_at_do_and_silence() -> None:
    for alert in (*all_alerts(default_config()), *all_alerts(CONFIGS["steps"])):
        page = ROOT / "docs" / "runbooks" / alert.annotations["runbook_url"].rsplit("/", 1)[1]
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {alert.name}\n")
        for heading in ("## What it means", "## How to look", "## What to do", "## How to silence"):
            assert heading in text
        assert f"alertname={alert.name}" in text


def test_runbooks_have_no_orphans_and_name_only_metrics_that_exist() -> None:
    alerts = {alert.name.lower() for of in (default_config(), CONFIGS["steps"]) for alert in all_alerts(of)}
    pages = list((ROOT / "docs" / "runbooks").glob("*.md"))
    assert {page.stem for page in pages} == alerts
    for page in pages:
        used = set(re.findall(r"(?<![:a-z_])anomaly_[a-z_]+", page.read_text(encoding="utf-8")))
        assert used <= set(metrics.BY_NAME), page


def test_the_object_of_the_operator_holds_the_same_groups_and_the_labels_it_is_selected_by() -> None:
    of = default_config()
    document = prometheus_rule(of, name="detector", labels={"release": "kps"})
    assert document["apiVersion"] == "monitoring.coreos.com/v1"
    assert document["kind"] == "PrometheusRule"
    assert document["metadata"]["name"] == "detector"
    assert document["metadata"]["labels"]["release"] == "kps"
    assert document["spec"] == plain_rules(of)


def test_an_annotation_costs_few_queries() -> None:
    """They run at every evaluation for every alert that stands; ``time()`` reads no series."""
    for of in CONFIGS.values():
        for alert in all_alerts(of):
            asked = [text for annotation in alert.annotations.values() for text in QUERY.findall(annotation)]
            assert len([text for text in asked if "time()" not in text]) <= 7, alert.name


def test_recorded_series_are_named_level_metric_operations() -> None:
    for rules in groups(default_config()).values():
        for rule in rules:
            if isinstance(rule, RecordingRule):
                assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", rule.name)
