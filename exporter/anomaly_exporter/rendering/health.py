"""Alerts about the exporter itself: silence must be trustworthy."""

from __future__ import annotations

from collections.abc import Mapping

from anomaly_exporter.config import Config

from . import links
from .alert_rule import AlertRule
from .anomalies import DATE
from .durations import number, wall
from .entity import literal
from .promql import selector, string, without_replicas

SERVICE = "anomaly-exporter"
"""Labels ``service`` and ``tag`` of alerts about the exporter itself; a route for this tag mails its keepers."""

LOAD_FAILURE_WINDOW = 900
"""Seconds for which a failed load is reported."""


def alerts(config: Config, namespace: str | None = None) -> tuple[AlertRule, ...]:
    """The alerts of the group ``anomaly-exporter.health``.

    ``namespace`` is where the exporter is installed: the rules then look at that installation alone and their alerts
    carry it, which OpenShift's user workload monitoring and AlertmanagerConfig objects ask for.
    """
    where = {"namespace": namespace} if namespace else {}
    return (
        blind(config, where),
        training_failing(config, where),
        model_load_failed(config, where),
        config_reload_failed(config, where),
    )


def blind(config: Config, where: Mapping[str, str]) -> AlertRule:
    """Nothing is scored: a cycle is overdue, a shard is missing, or no exporter is there at all."""
    success = selector("anomaly_exporter_last_success_timestamp_seconds", where)
    interval = selector("anomaly_exporter_cycle_interval_seconds", where)
    shards = selector("anomaly_exporter_total_shards", where)
    return _alert(
        config,
        where,
        name="AnomalyExporterBlind",
        metric="last_success_timestamp_seconds",
        expression=f"max(time() - {success} > 3 * {interval})\nor\n"
        f"count({success}) < max({shards})\nor\nabsent({success})",
        after=180,
        summary="Anomalies may go unseen: the exporter, or one of its shards, scores nothing.",
        message="No cycle has succeeded for more than three cycle intervals, a shard is missing,"
        " or Prometheus sees no exporter.",
        description="Until this alert ends, missing anomaly alerts mean nothing."
        f" Reporting now: {_ask(f'count({success})', '{{ . | first | value }}')} of"
        f" {_ask(f'max({shards})', '{{ . | first | value }}')} shards; last success of the oldest:"
        f" {_ask(f'min({success})', '{{ . | first | value | humanizeTimestamp }}')}.",
    )


def training_failing(config: Config, where: Mapping[str, str]) -> AlertRule:
    """No training of a target succeeded for two trainings in a row; every target has its own interval."""
    metric = "anomaly_exporter_training_last_success_timestamp_seconds"
    by_interval: dict[int, list[str]] = {}
    for target in config.targets:
        by_interval.setdefault(target.training.every, []).append(target.name)
    clauses = []
    for every, targets in by_interval.items():
        matchers = [f"{label}={string(value)}" for label, value in where.items()]
        if len(by_interval) > 1:
            matchers.append(f"target=~{string('|'.join(targets))}")
        series = f"{metric}{{{','.join(matchers)}}}" if matchers else metric
        overdue = f"time() - {series} > {number(2 * every, config.timing.speed)}"
        clauses.append(without_replicas("max", overdue))
    return _alert(
        config,
        where,
        name="AnomalyTrainingFailing",
        metric="training_last_success_timestamp_seconds",
        expression="\nor\n".join(clauses),
        after=900,
        summary="Models of a target are no longer renewed.",
        message="No training of target {{ $labels.target }} has succeeded for two training intervals.",
        description="The last successful training of target {{ $labels.target }} was"
        " {{ $value | humanizeDuration }} ago. Detection"
        " goes on with the models in force; they know nothing of what is new since then.",
    )


def model_load_failed(config: Config, where: Mapping[str, str]) -> AlertRule:
    """A pack or generation could not be loaded.

    A counter that is born with its first failure has no earlier sample for increase(): such a series counts as it is.
    """
    series = selector("anomaly_exporter_model_load_failures_total", where)
    window = wall(LOAD_FAILURE_WINDOW, config.timing.speed)
    return _alert(
        config,
        where,
        name="AnomalyModelLoadFailed",
        metric="model_load_failures_total",
        expression=without_replicas(
            "sum", f"({series} unless {series} offset {window})\n  or increase({series}[{window}])"
        )
        + "\n> 0",
        after=0,
        summary="A trained model could not be loaded and was left out.",
        message="A pack or generation was refused: {{ $labels.reason }}.",
        description="Loads failed in the last 15 minutes ({{ $labels.reason }}): {{ $value | humanize }}."
        " The models loaded before stay in force; what has none is not scored.",
    )


def config_reload_failed(config: Config, where: Mapping[str, str]) -> AlertRule:
    """The file on disk is not what is in force."""
    series = selector("anomaly_exporter_config_last_reload_successful", where)
    return _alert(
        config,
        where,
        name="AnomalyConfigReloadFailed",
        metric="config_last_reload_successful",
        expression=f"{without_replicas('min', series)} == 0",
        after=300,
        summary="The configuration on disk was refused; the one before stays in force.",
        message="The last reload of the configuration failed.",
        description="A changed configuration was refused. The exporter goes on with the one before;"
        " after a restart it would not start. Its log names path, value and what was expected.",
    )


def _alert(
    config: Config,
    where: Mapping[str, str],
    *,
    name: str,
    metric: str,
    expression: str,
    after: float,
    summary: str,
    message: str,
    description: str,
) -> AlertRule:
    """An alert with the labels and annotations of those about series: one mail template, one route tree for both."""
    static = {label: literal(value) for label, value in config.static_labels.items()}
    return AlertRule(
        name=name,
        expression=expression,
        after=after,
        summary=summary,
        labels={**static, **where, "metric": metric, "service": SERVICE, "tag": SERVICE},
        annotations={
            "description": description,
            "message": message,
            "date": DATE,
            "hostname": links.overview(config),
            "dashboard_url": links.overview(config),
            "runbook_url": links.runbook(config, name),
        },
    )


def _ask(expression: str, answer: str) -> str:
    """Template: ``answer`` about the result of ``expression``, ``none`` when there is none."""
    return f"{{{{ with query {string(expression)} }}}}{answer}{{{{ else }}}}none{{{{ end }}}}"
