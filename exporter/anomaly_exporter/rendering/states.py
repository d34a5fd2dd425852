"""Alerts about what stands beside the score: a flat line, growth towards a limit, a new regime."""

from __future__ import annotations

from anomaly_exporter.config import Config

from . import entity, links, wording
from .alert_rule import AlertRule
from .durations import number, wall
from .promql import WATCHED, selector, without_replicas
from .recording import GAP
from .wording import DATE

FLAT_LINE, LEAK, REGIME = "AnomalyFlatLine", "AnomalyLeak", "AnomalyRegimeChanged"

DETAIL_GAP = 300
"""Seconds within which the last value of the detail page counts; it is scraped every two minutes."""
AFTER_LEAK = 1800
"""A slope is as old as the last training; half an hour shows that the way to the limit really gets shorter."""
KEEP = 600
NEWS = 3600
"""Seconds for which a change of regime is news."""


def alerts(config: Config) -> tuple[AlertRule, ...]:
    """The part of the group ``anomaly-exporter.anomalies`` about states."""
    leak = (leaking(config),) if config.rules.leak_within else ()
    return (flat_line(config), *leak, regime_changed(config))


def flat_line(config: Config) -> AlertRule:
    """What used to vary stands still. Persistence is in the metric: far longer than ever usual."""
    gap = wall(GAP, config.timing.speed)
    shape = selector("anomaly_shape", {"shape": "flat_line"}, WATCHED)
    names = _without(config, "model")
    return AlertRule(
        name=FLAT_LINE,
        expression=f"{without_replicas('max', f'last_over_time({shape}[{gap}])', 'model', 'shape')} == 1",
        after=60,
        keep=KEEP,
        summary="A series that used to vary stands still.",
        labels={"service": entity.service(config)},
        annotations={
            "description": f"{{{{ $labels.metric }}}} of {entity.service(config)} has not changed for several times its"
            f" longest usual standstill:{entity.identity(config)}.",
            **_about(config, FLAT_LINE, names),
            "message": f"{{{{ $labels.metric }}}} of {entity.service(config)} stands still.",
        },
    )


def leaking(config: Config) -> AlertRule:
    """A feature grows steadily and will reach its limit soon. The value of the alert is the time left."""
    gap = wall(DETAIL_GAP, config.timing.speed)
    left = f"last_over_time({selector('anomaly_seconds_to_limit', {}, WATCHED)}[{gap}])"
    names = _without(config, "model")
    return AlertRule(
        name=LEAK,
        # Data seconds, as the gauge: both run with the clock's speed.
        expression=f"{without_replicas('min', left, 'model')} < {number(config.rules.leak_within, 1)}",
        after=AFTER_LEAK,
        keep=KEEP,
        summary="A resource grows steadily and will reach its limit soon.",
        labels={"service": entity.service(config)},
        annotations={
            "description": f"{{{{ $labels.feature }}}} of {entity.service(config)} grows steadily and reaches its limit"
            f" in about {{{{ $value | humanizeDuration }}}}:{entity.identity(config)}.",
            **_about(config, LEAK, names),
            "message": f"{{{{ $labels.metric }}}} of {entity.service(config)} reaches its limit in"
            " {{ $value | humanizeDuration }} if it goes on growing like this.",
        },
    )


def regime_changed(config: Config) -> AlertRule:
    """A series has moved to a new normal: what alerted about it is over, and this says why."""
    gap, speed = wall(DETAIL_GAP, config.timing.speed), config.timing.speed
    changed = f"last_over_time({selector('anomaly_regime_changed_timestamp_seconds', {}, WATCHED)}[{gap}])"
    names = _without(config, "model")
    return AlertRule(
        name=REGIME,
        expression=f"time() - {without_replicas('max', changed, 'model')} < {number(NEWS, speed)}",
        after=0,
        severity="info",
        summary="A series has moved to a new level that is now taken for normal.",
        labels={"service": entity.service(config)},
        annotations={
            "description": f"{{{{ $labels.metric }}}} of {entity.service(config)} has stood steady on a new level for"
            f" {{{{ $value | humanizeDuration }}}} and is judged by it:{entity.identity(config)}. If this level is"
            " wrong, it is an incident that detection no longer tells of.",
            **_about(config, REGIME, names),
            "message": f"{{{{ $labels.metric }}}} of {entity.service(config)} has moved to a new normal.",
        },
    )


def _about(config: Config, name: str, names: tuple[str, ...]) -> dict[str, str]:
    """Annotations that these alerts share."""
    values = {"values": wording.values(config, names)} if config.exposition.values else {}
    return {
        **values,
        "date": DATE,
        "hostname": links.service_page(config),
        "dashboard_url": links.dashboard(config),
        "graph": wording.graph(names, "anomaly_observed_value" if values else "anomaly_score"),
        "runbook_url": links.runbook(config, name),
    }


def _without(config: Config, *left_out: str) -> tuple[str, ...]:
    return tuple(name for name in entity.labels(config) if name not in left_out)
