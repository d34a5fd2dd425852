"""The canary's alert comes home and reaches nobody else; no other rule ever sees its series."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from anomaly_exporter import metrics
from anomaly_exporter.canary.station import ALERT
from anomaly_exporter.config import CANARY_TAG, Config
from anomaly_exporter.rendering import configuration, groups, objects, plain_rules, render_text
from anomaly_exporter.rendering.canary import CANARY, MISSED
from support.checkers import amtool
from support.operator import STRATEGIES, alertmanager_configuration
from support.rule_configs import config

HOME = "http://exporter:8345/-/canary"
TEAMS = {"default_emails": ["all@example.org"], "routes": [{"tag": "crab", "emails": ["crab@example.org"]}]}
LABELS = (f"alertname={CANARY}", f"tag={CANARY_TAG}", "canary=canary", "env=k8s-prod")


def of(**canary: Any) -> Config:
    return config(routing=TEAMS, canary={"enabled": True, **canary})


def test_the_webhook_looks_for_the_alert_that_the_rule_makes() -> None:
    assert ALERT == CANARY


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("url", [None, HOME])
def test_the_alert_reaches_the_exporter_and_without_an_address_nobody(
    enabled: bool, url: str | None, tmp_path: Path
) -> None:
    configured = of(webhook_url=url, enabled=enabled)
    path = tmp_path / "alertmanager.yaml"
    path.write_text(render_text("alertmanager", configured))
    amtool("check-config", str(path))
    assert amtool("config", "routes", "test", f"--config.file={path}", *LABELS) == "canary\n"
    receiver = configuration(configured)["receivers"][-1]
    hook = {"webhook_configs": [{"url": HOME, "send_resolved": False}]} if url and enabled else {}
    assert receiver == {"name": "canary", **hook}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("profile", ["kps", "openshift"])
def test_it_reaches_the_exporter_through_the_operators_objects_too(strategy: str, profile: str, tmp_path: Path) -> None:
    """Its rule carries the namespace of the exporter, to which the operator may have tied the object."""
    configured = config(
        routing={**TEAMS, "matcher_strategy": strategy},
        exposition={"profile": profile},
        canary={"enabled": True, "webhook_url": HOME},
    )
    (rule,) = [rule for rule in groups(configured, "monitoring")["anomaly-exporter.canary"] if rule.name == CANARY]
    labels = rule.document(1)["labels"]
    assert labels["namespace"] == "monitoring"
    path = tmp_path / "alertmanager.yaml"
    made = alertmanager_configuration(objects(configured, namespace="monitoring"), strategy, "monitoring")
    path.write_text(yaml.safe_dump(made))
    found = amtool("config", "routes", "test", f"--config.file={path}", *LABELS, f"namespace={labels['namespace']}")
    assert found == "monitoring/anomaly-exporter/canary\n"


@pytest.mark.parametrize(("every", "waits"), [("1h", "2h"), ("2h", "4h")])
def test_it_is_missed_after_two_periods(every: str, waits: str) -> None:
    rules = plain_rules(of(every=every))["groups"][-1]["rules"]
    assert {rule["alert"]: rule["for"] for rule in rules} == {CANARY: "1m", MISSED: waits}


def test_its_group_ends_between_two_spikes() -> None:
    """An alert that joins a group which still holds the one before is no news to Alertmanager."""
    configured = of(every="1h", length=6)
    route = configuration(configured)["route"]["routes"][-1]
    assert (route["group_wait"], route["group_interval"], route["repeat_interval"]) == ("0s", "7m30s", "15m")


def test_with_a_canary_all_other_rules_stay_what_they_are() -> None:
    with_canary, without = plain_rules(of())["groups"], plain_rules(config(routing=TEAMS))["groups"]
    assert with_canary == without


ENTITY_METRICS = {spec.name for spec in (*metrics.ENTITY, *metrics.DETAIL)}


@pytest.mark.parametrize("profile", ["kps", "openshift"])
def test_every_rule_that_aggregates_series_leaves_the_canary_out(profile: str) -> None:
    """Also severity steps: their other operand is the recorded series, which has it not."""
    configured = config(exposition={"profile": profile}, rules={"severity_steps": [{"score": 3, "after": "15m"}]})
    for name, rules in groups(configured).items():
        for rule in rules:
            promql_parser.parse(rule.expression)
            read = re.findall(r"(?<![:a-z_])(anomaly_[a-z_]+)(?![:a-z_])(\{[^}]*\})?", rule.expression)
            chosen = {matchers for metric, matchers in read if metric in ENTITY_METRICS}
            if name == "anomaly-exporter.canary":
                assert all(f'tag="{CANARY_TAG}"' in matchers for matchers in chosen)
            elif "entity:anomaly_score:anomalous" not in rule.expression:
                assert all(f'tag!="{CANARY_TAG}"' in matchers for matchers in chosen), rule.name
