"""Series that are computed once per evaluation, for the alerts, for dashboards and for people who explore.

``entity:anomaly_score:anomalous`` is the one that the alerts stand on: it has a sample only for what departs now, so
that everything computed from it costs what departs, not what is watched.
"""

from __future__ import annotations

from anomaly_exporter.config import Config

from . import entity
from .alert_rule import RecordingRule
from .durations import wall
from .promql import WATCHED, without_replicas

GAP = 180
"""Missing scrapes of up to this many seconds change nothing: the last value within them counts."""
RATE = 300
"""Window of the rate of anomalous points, in seconds."""

ANOMALOUS = "entity:anomaly_score:anomalous"
DETECTED = "namespace_tag:anomaly_detected:sum"
SCORED = "namespace_tag:anomaly_score:count"
RATIO = "namespace_tag:anomaly_detected:ratio"
POINTS = "namespace_tag:anomaly_points:rate5m"
TOP = "namespace_tag:anomaly_score:top5"
MAILS = "tag_model:anomaly_detected:mails1h"
HOUR = 3600
REPEAT = 4
"""Hours after which a standing alert is mailed again."""


def rules(config: Config) -> tuple[RecordingRule, ...]:
    """In the order in which they are evaluated, each from those before it; all before the alerts of their group."""
    gap = wall(GAP, config.timing.speed)
    rate = wall(RATE, config.timing.speed)
    by = ", ".join(entity.namespace_labels(config))
    score = without_replicas("max", f"last_over_time(anomaly_score{{{WATCHED}}}[{gap}])")
    detected = without_replicas("max", f"last_over_time(anomaly_detected{{{WATCHED}}}[{gap}])")
    hour = wall(HOUR, config.timing.speed)
    ended = f"resets(anomaly_detected{{{WATCHED}}}[{hour}])"
    stood = f"avg_over_time(anomaly_detected{{{WATCHED}}}[{hour}])"
    mails = without_replicas("max", f"{ended} + {stood} / {REPEAT}")
    of_model = ", ".join((*config.static_labels, "tag", "model"))
    points = without_replicas("max", f"rate(anomaly_points_total{{{WATCHED}}}[{rate}])")
    return (
        # last_over_time bridges missed scrapes but, unlike max_over_time, ends with the first 0.
        RecordingRule(ANOMALOUS, f"{score}\nand\n{detected} == 1"),
        # A series that two models watch is one series.
        RecordingRule(DETECTED, f"sum by ({by}) (max without (model) ({detected}))"),
        RecordingRule(SCORED, f"count by ({by}) (max without (model) ({score}))"),
        RecordingRule(RATIO, f"{DETECTED} / {SCORED}"),
        RecordingRule(POINTS, f"sum by ({by}) ({points})"),
        RecordingRule(TOP, f"topk by ({by}) (5, max without (model) ({ANOMALOUS}))"),
        # Alerts that ended in the last hour, and for those that stood the part of it that counts towards another mail.
        RecordingRule(MAILS, f"sum by ({of_model}) ({mails})"),
    )
