"""The alert that is meant to fire, and the one that says it did not arrive.

Both are always rendered: without a canary there are no series, and neither can fire.
"""

from __future__ import annotations

from collections.abc import Mapping

from anomaly_exporter.config import CANARY_TAG, Config

from . import links
from .alert_rule import AlertRule
from .anomalies import AFTER
from .durations import wall
from .promql import selector, without_replicas
from .recording import GAP
from .self_alert import SERVICE, ask, self_alert
from .wording import DATE

CANARY, MISSED = "AnomalyExporterCanary", "AnomalyExporterCanaryMissed"
PERIODS = 2
"""Periods without a receipt after which the way is broken; one notification may be lost."""


def alerts(config: Config, namespace: str | None = None) -> tuple[AlertRule, ...]:
    """The alerts of the group ``anomaly-exporter.canary``; ``namespace`` as in :func:`.health.alerts`."""
    where = {"namespace": namespace} if namespace else {}
    return (fired(config, where), missed(config, where))


def fired(config: Config, where: Mapping[str, str]) -> AlertRule:
    """The scheduled spike was found. It goes the way of AnomalyDetected, but only to the exporter's own webhook."""
    detected = selector("anomaly_detected", {"tag": CANARY_TAG})
    newest = without_replicas("max", f"last_over_time({detected}[{wall(GAP, config.timing.speed)}])")
    return AlertRule(
        name=CANARY,
        expression=f"{newest} == 1",
        after=AFTER,
        severity="none",
        summary="All is well: the exporter has found the spike that it injected.",
        # No keep_firing_for: every spike must make an alert of its own.
        labels={**where, "service": SERVICE},
        annotations={
            "description": "Its receiver is the exporter's own webhook (canary.webhook_url), which notes the arrival.",
            "message": "The spike of canary {{ $labels.canary }} was found.",
            "date": DATE,
            "hostname": links.overview(config),
            "dashboard_url": links.overview(config),
            "runbook_url": links.runbook(config, CANARY),
        },
    )


def missed(config: Config, where: Mapping[str, str]) -> AlertRule:
    """Spikes were injected, and for two periods none came back.

    Between a spike and its alert the expression holds too, for minutes; any receipt ends it.
    """
    injected = without_replicas("max", selector("anomaly_exporter_canary_injected_timestamp_seconds", where))
    received = without_replicas("max", selector("anomaly_exporter_canary_received_timestamp_seconds", where))
    last = ask(received, "{{ . | first | value | humanizeTimestamp }}")
    return self_alert(
        config,
        where,
        name=MISSED,
        metric="canary_received_timestamp_seconds",
        expression=f"{injected}\nunless\n{received} >= {injected}",
        after=PERIODS * config.canary.every,
        summary="Alerts may not arrive: the canary's did not.",
        message="The alert of canary {{ $labels.canary }} has not arrived for two periods.",
        description="The way from the exporter's page over Prometheus, score, rule and Alertmanager to the webhook is"
        " broken somewhere; other alerts may be lost at the same place."
        f" Newest spike: {{{{ $value | humanizeTimestamp }}}}; last arrival: {last}.",
    )
