"""Prometheus rules from the configuration: a plain rule file, or the PrometheusRule object of the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anomaly_exporter.config import Config

from . import anomalies, canary, health, recording
from .alert_rule import AlertRule, Rule
from .durations import wall

EVALUATION = 30
"""Seconds between two evaluations."""
SHORTEST_EVALUATION = 0.1
"""A compressed clock must not make Prometheus evaluate more often than this, in wall seconds."""


def groups(config: Config, namespace: str | None = None) -> dict[str, tuple[Rule, ...]]:
    """The rules by the name of their group, each below those it reads; ``namespace`` as in :func:`health.alerts`."""
    return {
        "anomaly-exporter.anomalies": (*recording.rules(config), *anomalies.alerts(config)),
        "anomaly-exporter.health": (*health.recording_rules(config, namespace), *health.alerts(config, namespace)),
        "anomaly-exporter.canary": canary.alerts(config, namespace),
    }


def all_alerts(config: Config) -> tuple[AlertRule, ...]:
    """Every alert, in the order of the file."""
    return tuple(rule for rules in groups(config).values() for rule in rules if isinstance(rule, AlertRule))


def plain_rules(config: Config, namespace: str | None = None) -> dict[str, Any]:
    """The document of a rule file, for ``rule_files`` of prometheus.yml and for promtool."""
    speed = config.timing.speed
    interval = wall(max(EVALUATION / speed, SHORTEST_EVALUATION))
    return {
        "groups": [
            {"name": name, "interval": interval, "rules": [rule.document(speed) for rule in rules]}
            for name, rules in groups(config, namespace).items()
        ]
    }


def prometheus_rule(
    config: Config,
    *,
    name: str = "anomaly-exporter",
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The PrometheusRule object.

    ``labels`` are added to its metadata: kube-prometheus-stack loads only objects that carry its ``release`` label.
    """
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    metadata["labels"] = {"app.kubernetes.io/name": "anomaly-exporter", **(labels or {})}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": plain_rules(config, namespace),
    }
