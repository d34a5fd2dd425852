"""Alerts about the exporter's work: silence must be trustworthy."""

from __future__ import annotations

from collections.abc import Mapping

from anomaly_exporter.config import Config

from . import control_health, feedback_health, model_health
from .alert_rule import AlertRule, RecordingRule
from .durations import wall
from .promql import selector, string, without, without_replicas
from .self_alert import SERVICE, ask, by_shard, self_alert, shard_rule

__all__ = ["SERVICE", "alerts", "recording_rules"]

BLIND, WATCHDOG = "AnomalyExporterBlind", "AnomalyWatchdog"
SYMPTOMS = ("AnomalyCoverageLow", "AnomalyDataLag", "AnomalyQueryErrors")
"""What a blind shard also shows; muted while the blind alert of the same shard stands."""

LATE = 3
"""Cycle intervals without a success after which nobody watches."""
COVERAGE = 0.95
"""Least share of scorable series that are scored."""
REMAINS = 0.5
"""Least share of the series that were scored within the hour before."""
EXCUSED = "warmup|no_model|config_changed|duplicate|no_data"
"""Reasons that are no fault: not trained yet, not long enough here, gone, or another target's."""
LAG = 300
"""Data seconds that the newest sample may be old, beyond the delay of the target."""
FAILURES = 0.05
"""Share of failed requests to the source."""


SCORED = "shard:anomaly_exporter_series_scored:max"
UNSCORED = "shard:anomaly_exporter_series_unscored:max"
DATA_LAG = "shard:anomaly_exporter_data_lag_seconds:min"
QUERIES_SHORT, QUERIES_LONG = "shard:anomaly_exporter_queries:rate5m", "shard:anomaly_exporter_queries:rate30m"


def recording_rules(config: Config, namespace: str | None = None) -> tuple[RecordingRule, ...]:
    """Evaluated before the alerts of the group ``anomaly-exporter.health``: replicas are one, shards have a label."""
    where, speed = _where(namespace), config.timing.speed
    queries = selector("anomaly_exporter_queries_total", where)
    series = (
        (SCORED, "max", selector("anomaly_exporter_series_scored", where)),
        (UNSCORED, "max", selector("anomaly_exporter_series_unscored", where)),
        (DATA_LAG, "min", selector("anomaly_exporter_data_lag_seconds", where)),
        (QUERIES_SHORT, "sum", f"rate({queries}[{wall(300, speed)}])"),
        (QUERIES_LONG, "sum", f"rate({queries}[{wall(1800, speed)}])"),
    )
    return (
        shard_rule(where),
        *(RecordingRule(name, by_shard(without(operator), of)) for name, operator, of in series),
    )


def alerts(config: Config, namespace: str | None = None) -> tuple[AlertRule, ...]:
    """The alerts of the group ``anomaly-exporter.health``.

    ``namespace`` is where the exporter is installed: the rules then look at that installation alone and their alerts
    carry it, which OpenShift's user workload monitoring and AlertmanagerConfig objects ask for.
    """
    where = _where(namespace)
    return (
        blind(config, where),
        coverage_low(config, where),
        data_lag(config, where),
        query_errors(config, where),
        *model_health.alerts(config, where),
        *control_health.alerts(config, where),
        *feedback_health.alerts(config, where),
        config_reload_failed(config, where),
        watchdog(config, where),
    )


def _where(namespace: str | None) -> dict[str, str]:
    return {"namespace": namespace} if namespace else {}


def blind(config: Config, where: Mapping[str, str]) -> AlertRule:
    """Nothing is scored: a cycle is overdue, a shard is missing, or no exporter is there at all."""
    success = selector("anomaly_exporter_last_success_timestamp_seconds", where)
    interval = selector("anomaly_exporter_cycle_interval_seconds", where)
    shards = selector("anomaly_exporter_total_shards", where)
    overdue = by_shard("max by (shard)", f"time() - {success} > {LATE} * {interval}")
    return self_alert(
        config,
        where,
        name=BLIND,
        metric="last_success_timestamp_seconds",
        expression=f"{overdue}\nor\ncount({success}) < max({shards})\nor\nabsent({success})",
        after=180,
        summary="Anomalies may go unseen: the exporter, or one of its shards, scores nothing.",
        message="No cycle has succeeded for more than three cycle intervals, a shard is missing,"
        " or Prometheus sees no exporter.",
        description="Until this alert ends, missing anomaly alerts mean nothing."
        f" Reporting now: {ask(f'count({success})', '{{ . | first | value }}')} of"
        f" {ask(f'max({shards})', '{{ . | first | value }}')} shards; last success of the oldest:"
        f" {ask(f'min({success})', '{{ . | first | value | humanizeTimestamp }}')}.",
    )


def coverage_low(config: Config, where: Mapping[str, str]) -> AlertRule:
    """Series are there and have a model, yet are not scored; or half of what was scored an hour ago is gone.

    What still warms up or waits for its training is excused. Per target and shard.
    """
    scored = selector(SCORED, where)
    faults = f"sum without (reason) ({selector(UNSCORED, where, f'reason!~{string(EXCUSED)}')})"
    before = f"max_over_time({scored}[{wall(3600, config.timing.speed)}])"
    return self_alert(
        config,
        where,
        name="AnomalyCoverageLow",
        metric="series_scored",
        expression=f"{scored} / ({scored} + {faults}) < {COVERAGE}\nor\n{scored} / {before} < {REMAINS}",
        after=600,
        summary="A part of the series is not scored.",
        message="Only {{ $value | humanizePercentage }} of the series of target {{ $labels.target }} are scored.",
        description="Anomalies of the rest go unseen. Either series with a model cannot be scored (gaps, missing"
        " features, limit, broken model), or most of those that were scored within the last hour are no longer there.",
    )


def data_lag(config: Config, where: Mapping[str, str]) -> AlertRule:
    """The newest sample of a target is too old. Lag is data time, which no clock compresses."""
    by_limit: dict[int, list[str]] = {}
    for target in config.watched:
        by_limit.setdefault(LAG + target.delay + 2 * target.step, []).append(target.name)
    clauses = []
    for limit, targets in by_limit.items():
        chosen = [f"target=~{string('|'.join(targets))}"] if len(by_limit) > 1 else []
        clauses.append(f"{selector(DATA_LAG, where, *chosen)} > {limit}")
    return self_alert(
        config,
        where,
        name="AnomalyDataLag",
        metric="data_lag_seconds",
        expression="\nor\n".join(clauses),
        after=300,
        summary="The samples that are scored are old.",
        message="The newest sample of target {{ $labels.target }} is {{ $value | humanizeDuration }} old.",
        description="What departs is noticed late or not at all. The source answers, but what it scrapes, records or"
        " receives has fallen behind.",
    )


def query_errors(config: Config, where: Mapping[str, str]) -> AlertRule:
    """Requests to the source fail, in two windows: the long one forgives single ones, the short one ends it soon."""

    def share(queries: str) -> str:
        failed = selector(queries, where, 'outcome!="ok"')
        return f"sum without (outcome) ({failed}) / sum without (outcome) ({selector(queries, where)}) > {FAILURES}"

    return self_alert(
        config,
        where,
        name="AnomalyQueryErrors",
        metric="queries_total",
        expression=f"{share(QUERIES_SHORT)}\nand\n{share(QUERIES_LONG)}",
        after=300,
        summary="Requests to the source of samples fail.",
        message="{{ $value | humanizePercentage }} of the requests to the source fail.",
        description="Series whose requests fail are not scored in that cycle. Outcomes: unavailable (down, slow,"
        " overloaded), rejected (the query is wrong), limit (too many samples), partial or invalid (answer refused).",
    )


def config_reload_failed(config: Config, where: Mapping[str, str]) -> AlertRule:
    """The file on disk is not what is in force."""
    series = selector("anomaly_exporter_config_last_reload_successful", where)
    return self_alert(
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


def watchdog(config: Config, where: Mapping[str, str]) -> AlertRule:
    """Fires while everything works, and stops when Prometheus, the scrape or the exporter does.

    It stands on the exporter's own data: ``vector(1)`` would fire even when nothing is ingested any more.
    """
    success = selector("anomaly_exporter_last_success_timestamp_seconds", where)
    interval = selector("anomaly_exporter_cycle_interval_seconds", where)
    shards = selector("anomaly_exporter_total_shards", where)
    well = f"count(time() - {success} <= {LATE} * {interval})"
    return self_alert(
        config,
        where,
        name=WATCHDOG,
        metric="last_success_timestamp_seconds",
        expression=f"{well} >= max({shards})\nor\n{well} unless max({shards})",
        after=0,
        severity="none",
        summary="All is well: this alert fires as long as the exporter scores and Prometheus evaluates.",
        message="Detection works; an alert that stops coming is the alarm.",
        description="Send it to something outside that raises an alarm when it stops coming (routing.watchdog_url).",
    )
