"""What alerts about the exporter itself have in common: labels, annotations, the label of the shard."""

from __future__ import annotations

from collections.abc import Mapping

from anomaly_exporter.config import Config

from . import links
from .alert_rule import AlertRule, RecordingRule, Severity
from .entity import literal
from .promql import selector, string
from .wording import DATE

SERVICE = "anomaly-exporter"
"""Labels ``service`` and ``tag`` of alerts about the exporter itself; a route for this tag mails its keepers."""

SHARD = "instance:anomaly_exporter_shard:info"
"""1 per process of a sharded installation, with its number in the label ``shard``; not there without shards."""
SAME_PROCESS = "pod, instance"


def shard_rule(where: Mapping[str, str]) -> RecordingRule:
    """The series :data:`SHARD`: the number of the shard is a value, an inhibition needs it as a label."""
    ordinal = selector("anomaly_exporter_shard_ordinal", where)
    shards = selector("anomaly_exporter_total_shards", where)
    return RecordingRule(SHARD, f'count_values by ({SAME_PROCESS}) ("shard", {ordinal} and {shards} > 1)')


def by_shard(aggregation: str, expression: str) -> str:
    """``aggregation`` of series of the exporter, with the label ``shard`` where there are shards."""
    return (
        f"{aggregation} (\n"
        f"  ({expression}) * on ({SAME_PROCESS}) group_left (shard) {SHARD}\n"
        "  or\n"
        f"  ({expression}) unless on ({SAME_PROCESS}) {SHARD}\n"
        ")"
    )


def self_alert(
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
    severity: Severity = "warning",
) -> AlertRule:
    """An alert with the labels and annotations of those about series: one mail template, one route tree for both."""
    static = {label: literal(value) for label, value in config.static_labels.items()}
    return AlertRule(
        name=name,
        expression=expression,
        after=after,
        severity=severity,
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


def ask(expression: str, answer: str) -> str:
    """Template: ``answer`` about the result of ``expression``, ``none`` when there is none."""
    return f"{{{{ with query {string(expression)} }}}}{answer}{{{{ else }}}}none{{{{ end }}}}"


def increase(series: str, window: str) -> str:
    """Growth of a counter in ``window``.

    A counter that is born with its first event has no earlier sample for increase(): such a series counts as it is.
    """
    return f"({series} unless {series} offset {window})\n  or increase({series}[{window}])"
