"""Texts that rules and routes are made of: durations, quoting, labels, links, units."""

from __future__ import annotations

import json
import re

import promql_parser
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.config import parse_duration
from anomaly_exporter.rendering import all_alerts, plain_rules, render_text
from anomaly_exporter.rendering.durations import number, wall
from anomaly_exporter.rendering.entity import define_quantity, labels, literal, service
from anomaly_exporter.rendering.health import blind
from anomaly_exporter.rendering.links import dashboard, runbook
from anomaly_exporter.rendering.promql import selector, string, without_replicas
from anomaly_exporter.rendering.yaml_text import dump
from support.rule_configs import HOSTILE, config, default_config


@pytest.mark.parametrize(
    ("seconds", "speed", "text"),
    [
        (0, 1, "0s"),
        (1, 1, "1s"),
        (59, 1, "59s"),
        (60, 1, "1m"),
        (90, 1, "1m30s"),
        (7200, 1, "2h"),
        (86400, 1, "1d"),
        (600, 60, "10s"),
        (30, 60, "500ms"),
        (30, 240, "125ms"),
        (1, 1e9, "1ms"),
        (100, 0.5, "3m20s"),
    ],
)
def test_a_duration_is_written_as_prometheus_reads_it(seconds: float, speed: float, text: str) -> None:
    assert wall(seconds, speed) == text


@given(st.integers(1, 10**8))
def test_a_written_duration_is_read_back_as_the_same_seconds(seconds: int) -> None:
    assert parse_duration(wall(seconds)) == seconds


@given(st.floats(0.001, 1e12), st.floats(0.001, 1e6))
def test_a_number_of_seconds_is_never_in_scientific_notation(seconds: float, speed: float) -> None:
    text = number(seconds, speed)
    assert re.fullmatch(r"\d+(\.\d*[1-9])?", text)
    assert float(text) == pytest.approx(seconds / speed, abs=0.0006)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_a_quoted_string_is_one_promql_string_with_the_same_value(value: str) -> None:
    parsed = promql_parser.parse(f"x{{a={string(value)}}}")
    assert isinstance(parsed, promql_parser.VectorSelector)
    (matcher,) = parsed.matchers.matchers
    assert (matcher.name, matcher.value) == ("a", value)


def test_a_selector_without_labels_is_the_bare_name() -> None:
    assert selector("x", {}) == "x"
    assert selector("x", {"a": "1", "b": '"'}) == 'x{a="1",b="\\""}'


def test_replica_labels_are_aggregated_away() -> None:
    assert without_replicas("max", "x") == "max without (pod, instance, endpoint, job, service) (x)"


@pytest.mark.parametrize("value", HOSTILE)
def test_yaml_gives_every_text_back(value: str) -> None:
    assert yaml.safe_load(dump({"a": [value, f"{value}\nsecond line"]})) == {"a": [value, f"{value}\nsecond line"]}


def test_texts_of_several_lines_are_blocks_below_a_comment() -> None:
    assert dump({"a": ["x\ny"]}, "head\n\nmore") == "# head\n#\n# more\na:\n  - |-\n    x\n    y\n"


def test_a_text_from_the_configuration_is_never_read_as_a_template() -> None:
    assert literal("plain") == "plain"
    assert literal("a {{ b }}") == 'a {{ "{{" }} b }}'


def test_the_labels_of_an_entity_are_those_of_the_page_in_both_profiles() -> None:
    assert labels(config()) == ("env", "namespace", "container", "metric", "model", "tag")
    openshift = config(exposition={"profile": "openshift"})
    assert labels(openshift) == ("env", "target_namespace", "target_container", "metric", "model", "tag")


def test_the_service_is_the_container_or_else_the_last_label_of_a_target() -> None:
    assert service(config()) == "{{ $labels.container }}"
    assert service(default_config()) == "{{ or $labels.container $labels.node }}"
    assert service(config(exposition={"profile": "openshift"})) == "{{ $labels.target_container }}"


def test_of_two_targets_of_one_metric_the_first_gives_the_unit() -> None:
    queries = [{"name": "x", "expr": "x"}]
    targets = [
        {"name": "a", "metric": "cpu", "queries": queries},
        {"name": "b", "metric": "cpu", "unit": "cores", "queries": queries, "labels": ["namespace"]},
    ]
    assert "cores" not in define_quantity(config(targets=targets))
    assert "cores" in define_quantity(config(targets=targets[::-1]))


def test_links_follow_the_configured_addresses_with_or_without_a_slash_at_the_end() -> None:
    of = config(links={"grafana_url": "https://g.example.org/", "runbook_url": "https://docs.example.org/rb/"})
    assert dashboard(of).startswith("https://g.example.org/d/anomaly-monitoring?from=")
    assert runbook(of, "AnomalyDetected") == "https://docs.example.org/rb/anomalydetected.md"


def test_variables_of_the_dashboard_keep_their_names_under_openshift() -> None:
    link = dashboard(config(exposition={"profile": "openshift"}))
    assert "{{ with $labels.target_namespace }}&var-namespace={{ . | urlquery }}{{ end }}" in link


def test_a_link_covers_the_same_data_when_time_is_compressed() -> None:
    assert "(time() - 21600) * 1000" in dashboard(config())
    assert "(time() - 216) * 1000" in dashboard(config(timing={"speed": 100}))


def test_the_namespace_of_the_installation_stands_on_alerts_about_the_exporter() -> None:
    alert = blind(config(), {"namespace": "monitoring"})
    assert alert.labels["namespace"] == "monitoring"
    assert 'absent(anomaly_exporter_last_success_timestamp_seconds{namespace="monitoring"})' in alert.expression


def test_without_exposed_values_a_description_asks_for_none() -> None:
    for alert in all_alerts(config(exposition={"values": False}))[:3]:
        assert "values" not in alert.annotations


@pytest.mark.parametrize(("speed", "interval"), [(1, "30s"), (60, "500ms"), (300, "100ms"), (10_000, "100ms")])
def test_rules_are_evaluated_at_most_ten_times_a_second(speed: float, interval: str) -> None:
    assert {g["interval"] for g in plain_rules(config(timing={"speed": speed}))["groups"]} == {interval}


def test_rendered_texts_hold_the_documents() -> None:
    of = config()
    assert yaml.safe_load(render_text("rules", of, "plain")) == plain_rules(of)
    assert yaml.safe_load(render_text("rules", of))["spec"] == plain_rules(of)
    assert yaml.safe_load(render_text("rules", of, namespace="m", labels={"a": "b"}))["metadata"] == {
        "name": "anomaly-exporter",
        "namespace": "m",
        "labels": {"app.kubernetes.io/name": "anomaly-exporter", "a": "b"},
    }
    json.dumps(plain_rules(of))


@pytest.mark.parametrize("arguments", [("dashboards", "crd"), ("rules", "json")])
def test_another_kind_or_format_is_refused_with_what_is_expected(arguments: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must be one of .*received"):
        render_text(arguments[0], config(), arguments[1])
