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
from anomaly_exporter.rendering import all_alerts, plain_rules, prometheus_rule, render_text
from support.checkers import promtool
from support.rule_configs import HOSTILE, ROOT, config, default_config

RULES = ROOT / "rules" / "anomaly-exporter.rules.yaml"
TESTS = sorted((ROOT / "rules" / "tests").glob("*.yaml"))
CONFIGS = {
    "default": default_config(),
    "openshift": config(exposition={"profile": "openshift"}),
    "compressed": config(timing={"speed": 240}),
    "no values": config(exposition={"values": False}),
    "hostile": config(static_labels={"env": HOSTILE[1]}, links={"grafana_url": "http://g/{{ x }}"}),
}
QUERY = re.compile(r'query (?:\(printf )?("(?:[^"\\]|\\.)*")')


def expressions(of: Config) -> Iterator[str]:
    """Every PromQL text of the rules: the expressions, and those that the annotations query."""
    for alert in all_alerts(of):
        yield alert.expression
        for annotation in alert.annotations.values():
            for quoted in QUERY.findall(annotation):
                yield yaml.safe_load(quoted).replace("%s", 'env="x"').replace("%q", '"x"')


def test_promtool_accepts_the_committed_rules() -> None:
    assert "5 rules found" in promtool("check", "rules", str(RULES))


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
    used = {word for text in expressions(CONFIGS[name]) for word in re.findall(r"\banomaly_[a-z_]+", text)}
    assert used
    assert used <= set(metrics.BY_NAME)


def test_a_query_in_an_annotation_is_found_by_these_tests() -> None:
    """The pattern above must not overlook queries: each use of the function has one that was parsed."""
    for alert in all_alerts(default_config()):
        for annotation in alert.annotations.values():
            assert len(re.findall(r"\bquery\b", annotation)) == len(QUERY.findall(annotation))


def test_every_alert_keeps_the_conventions() -> None:
    for alert in all_alerts(default_config()):
        assert re.fullmatch(r"Anomaly([A-Z][a-z]+)+", alert.name)
        assert alert.severity in {"warning", "critical"}
        rule = alert.document(1)
        assert {"alert", "severity", "service"} <= rule["labels"].keys()
        wanted = {"summary", "description", "message", "date", "hostname", "dashboard_url", "runbook_url"}
        assert set(rule["annotations"]) == wanted
        assert "{{" not in rule["annotations"]["summary"], "a summary is a static sentence"


def test_every_runbook_exists_and_says_what_to_look_at_do_and_silence() -> None:
    for alert in all_alerts(default_config()):
        page = ROOT / "docs" / "runbooks" / alert.annotations["runbook_url"].rsplit("/", 1)[1]
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {alert.name}\n")
        for heading in ("## What it means", "## How to look", "## What to do", "## How to silence"):
            assert heading in text
        assert f"alertname={alert.name}" in text


def test_runbooks_have_no_orphans_and_name_only_metrics_that_exist() -> None:
    alerts = {alert.name.lower() for alert in all_alerts(default_config())}
    pages = list((ROOT / "docs" / "runbooks").glob("*.md"))
    assert {page.stem for page in pages} == alerts
    for page in pages:
        used = set(re.findall(r"\banomaly_[a-z_]+", page.read_text(encoding="utf-8")))
        assert used <= set(metrics.BY_NAME), page


def test_the_object_of_the_operator_holds_the_same_groups_and_the_labels_it_is_selected_by() -> None:
    of = default_config()
    document = prometheus_rule(of, name="detector", labels={"release": "kps"})
    assert document["apiVersion"] == "monitoring.coreos.com/v1"
    assert document["kind"] == "PrometheusRule"
    assert document["metadata"]["name"] == "detector"
    assert document["metadata"]["labels"]["release"] == "kps"
    assert document["spec"] == plain_rules(of)
