"""Alerts about feedback: nobody is heard, or people say that the alerts are wrong."""

from __future__ import annotations

from collections.abc import Mapping

from anomaly_exporter.config import Config

from .alert_rule import AlertRule
from .durations import wall
from .promql import selector
from .self_alert import increase, self_alert

WINDOW = 1800
"""Seconds in which every look at a source must have failed."""
PRECISION = 0.5
"""Least share of incidents in the verdicts on alerts."""
VERDICTS = 5
"""Fewest verdicts of a tag that say something about its alerts."""


def alerts(config: Config, where: Mapping[str, str]) -> tuple[AlertRule, ...]:
    """The part of the group ``anomaly-exporter.health`` about feedback; silent while nobody says anything."""
    return feedback_unread(config, where), precision_low(config, where)


def feedback_unread(config: Config, where: Mapping[str, str]) -> AlertRule:
    """A source of feedback is asked, and never answers."""
    window = wall(WINDOW, config.timing.speed)
    syncs = "anomaly_exporter_feedback_syncs_total"
    failed = increase(selector(syncs, where, 'outcome!="ok"'), window)
    good = selector(syncs, where, 'outcome="ok"')
    heard = f"increase({good}[{window}])"
    return self_alert(
        config,
        where,
        name="AnomalyFeedbackUnread",
        metric="feedback_syncs_total",
        expression=f"sum by (source) ({failed}) > 0\nunless\nsum by (source) ({heard}) > 0",
        after=300,
        summary="What people say about alerts is not read.",
        message="For half an hour no {{ $labels.source }} could be read.",
        description="Silences or annotations that call something expected or an incident are not taken over; what was"
        " read before stays in force. anomaly_exporter_feedback_syncs_total says why: unavailable, rejected"
        " (credentials, url), invalid (answer), store.",
    )


def precision_low(config: Config, where: Mapping[str, str]) -> AlertRule:
    """People call more alerts of a tag expected than incidents."""
    series = selector("anomaly_alert_precision_ratio", where)
    ratio = f"min by (tag) ({series}) < {PRECISION}"
    verdict = selector("anomaly_feedback_total", where, 'verdict!="ignore"')
    enough = f"sum by (tag) (max by (tag, verdict) ({verdict})) >= {VERDICTS}"
    # The label tag is that of the exporter's keepers: it is they who are told.
    return self_alert(
        config,
        where,
        name="AnomalyPrecisionLow",
        metric="alert_precision_ratio",
        expression=f'label_replace(\n  {ratio}\n  and on (tag)\n  {enough},\n  "about", "$1", "tag", "(.*)"\n)',
        after=3600,
        summary="People say that most alerts of a tag are no incidents.",
        message="Only {{ $value | humanizePercentage }} of the alerts of {{ $labels.about }} that people judged were"
        " incidents.",
        description="Alerts that are mostly expected are soon not read any more. Mark what recurs as expected, lower"
        " the alert budget of the tag, or give its targets a minimum deviation.",
    )
