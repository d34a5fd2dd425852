"""Alerts about models and trainings."""

from __future__ import annotations

from collections.abc import Mapping

from anomaly_exporter.config import Config

from .alert_rule import AlertRule
from .durations import number, wall
from .promql import WATCHED, selector, string, without_replicas
from .recording import HOUR, MAILS
from .self_alert import increase, self_alert

LOAD_FAILURE_WINDOW = 900
"""Seconds for which a failed load is reported."""
STALE = 3
"""Training intervals without a judgement on new data after which a model is stale."""
REJECTED = 0.1
"""Share of rejected models among those that the gate judged in two training intervals."""
WEEK = 7 * 86_400
OVERSPENT = 3
"""Times the budget that the alerts of a week may be: incidents alert too, so twice is no surprise."""
FEWEST_MAILS = 10
"""Alerts in a week below which nobody minds."""


def alerts(config: Config, where: Mapping[str, str]) -> tuple[AlertRule, ...]:
    """The part of the group ``anomaly-exporter.health`` about models."""
    return (
        models_stale(config, where),
        training_failing(config, where),
        model_load_failed(config, where),
        promotion_rejected(config, where),
        budget_exceeded(config),
    )


def models_stale(config: Config, where: Mapping[str, str]) -> AlertRule:
    """Models have not been judged on new data for long; a model that the gate keeps is judged, hence not stale.

    The series are on ``/metrics/detail``. Each metric has its own limit, the longest of its targets.
    """
    limits: dict[str, int] = {}
    for target in config.watched:
        limits[target.metric] = max(limits.get(target.metric, 0), STALE * target.training.every)
    by_limit: dict[int, list[str]] = {}
    for metric, limit in limits.items():
        by_limit.setdefault(limit, []).append(metric)
    stale = []
    for limit, metrics in by_limit.items():
        # Under kps the label namespace is that of the watched series, not of the exporter.
        here = where if config.exposition.profile == "openshift" else {}
        chosen = [f"metric=~{string('|'.join(metrics))}"] if len(by_limit) > 1 else []
        series = selector("anomaly_model_evaluated_timestamp_seconds", here, WATCHED, *chosen)
        stale.append(f"time() - {without_replicas('max', series)} > {number(limit, config.timing.speed)}")
    return self_alert(
        config,
        where,
        name="AnomalyModelsStale",
        metric="model_evaluated_timestamp_seconds",
        expression=f"count by (model) ({' or '.join(stale)})",
        after=900,
        summary="Models have not been judged on new data for three training intervals.",
        message="{{ $value }} series are scored by models {{ $labels.model }} that are stale.",
        description="Their trainings left these series out or failed, so thresholds and models know nothing of what is"
        " new; expect false alerts, and do not trust silence about slow changes.",
    )


def training_failing(config: Config, where: Mapping[str, str]) -> AlertRule:
    """No training of a target succeeded for two trainings in a row; every target has its own interval."""
    metric = "anomaly_exporter_training_last_success_timestamp_seconds"
    by_interval: dict[int, list[str]] = {}
    for target in config.watched:
        by_interval.setdefault(target.training.every, []).append(target.name)
    clauses = []
    for every, targets in by_interval.items():
        chosen = [f"target=~{string('|'.join(targets))}"] if len(by_interval) > 1 else []
        series = selector(metric, where, *chosen)
        overdue = f"time() - {series} > {number(2 * every, config.timing.speed)}"
        clauses.append(without_replicas("max", overdue))
    return self_alert(
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
    """A pack or generation could not be loaded."""
    series = selector("anomaly_exporter_model_load_failures_total", where)
    window = wall(LOAD_FAILURE_WINDOW, config.timing.speed)
    return self_alert(
        config,
        where,
        name="AnomalyModelLoadFailed",
        metric="model_load_failures_total",
        expression=f"{without_replicas('sum', increase(series, window))}\n> 0",
        after=0,
        summary="A trained model could not be loaded and was left out.",
        message="A pack or generation was refused: {{ $labels.reason }}.",
        description="Loads failed in the last 15 minutes ({{ $labels.reason }}): {{ $value | humanize }}."
        " The models loaded before stay in force; what has none is not scored.",
    )


def promotion_rejected(config: Config, where: Mapping[str, str]) -> AlertRule:
    """The promotion gate kept many older models. One now and then is the gate at work."""
    judged = selector("anomaly_exporter_promotions_total", where)
    rejected = selector("anomaly_exporter_promotions_total", {**where, "verdict": "rejected"})
    window = wall(2 * max(target.training.every for target in config.watched), config.timing.speed)
    part = without_replicas("sum", increase(rejected, window), "verdict")
    whole = without_replicas("sum", increase(judged, window), "verdict")
    return self_alert(
        config,
        where,
        name="AnomalyPromotionRejected",
        metric="promotions_total",
        expression=f"{part}\n/\n{whole}\n> {REJECTED}",
        after=0,
        summary="The promotion gate rejects many of the new models.",
        message="{{ $value | humanizePercentage }} of the newly trained models were rejected.",
        description="The models before them stay in force. New ones were worse on data that neither has seen: the data"
        " may hold an incident, or have changed its nature.",
    )


def budget_exceeded(config: Config) -> AlertRule:
    """The alerts of a tag were far more in the last week than its series together are allowed."""
    speed = config.timing.speed
    week = f"sum_over_time({MAILS}[{wall(WEEK, speed)}:{wall(HOUR, speed)}])"
    by = ", ".join((*config.static_labels, "tag", "model"))
    asked = f"sum by ({by}) ({without_replicas('max', selector('anomaly_alert_budget', {}, WATCHED))})"
    return self_alert(
        config,
        {},
        name="AnomalyBudgetExceeded",
        metric="alert_budget",
        # The alert itself goes to the keepers of the exporter, under their tag.
        expression=f'label_replace(\n{week} > {OVERSPENT} * {asked},\n"of_tag", "$1", "tag", "(.+)") > {FEWEST_MAILS}',
        after=HOUR,
        summary="A tag has had more than three times the alerts of its budget within a week.",
        message="{{ $labels.of_tag }} ({{ $labels.model }}): {{ $value | humanize }} alerts in a week.",
        description="That is more than three times what alerting.budget allows its series together. Either there were"
        " as many incidents, or thresholds are too low for what these series do: look at the busiest of them.",
    )
