"""Alerts about the control API: somebody tries to come in, or nobody can."""

from __future__ import annotations

from collections.abc import Mapping

from anomaly_exporter.config import Config

from .alert_rule import AlertRule
from .durations import wall
from .promql import selector, without_replicas
from .self_alert import increase, self_alert

WINDOW = 900
"""Seconds in which failures are counted."""
FAILURES = 20
"""Failures in that time that no typing error explains."""
HARMLESS = "missing|session|role"
"""Requests without any credentials, sessions that ended, and people with too small a role: no attempts to come in."""


def alerts(config: Config, where: Mapping[str, str]) -> tuple[AlertRule, ...]:
    """The part of the group ``anomaly-exporter.health`` about the control API; nothing where it is off."""
    return auth_failures(config, where), tokens_unusable(config, where)


def auth_failures(config: Config, where: Mapping[str, str]) -> AlertRule:
    """Wrong tokens, identity headers from elsewhere, forms that were not ours: more than by mistake."""
    series = selector("anomaly_exporter_control_auth_failures_total", where, f'reason!~"{HARMLESS}"')
    grown = increase(series, wall(WINDOW, config.timing.speed))
    return self_alert(
        config,
        where,
        name="AnomalyExporterControlAuthFailures",
        metric="control_auth_failures_total",
        expression=f"{without_replicas('sum', grown)} > {FAILURES}",
        after=0,
        severity="info",
        summary="Somebody tries to come in to the control API.",
        message="In 15 minutes {{ $value | humanize }} requests to the control API were refused: {{ $labels.reason }}.",
        description="Nothing was changed by them. Reasons: token (not known), login (a wrong token on the page), header"
        " (an identity header that did not come from the proxy), form and origin (sent from a page that is not ours)."
        " The exporter's log names the addresses.",
    )


def tokens_unusable(config: Config, where: Mapping[str, str]) -> AlertRule:
    """The file of tokens is missing, refused or empty."""
    series = selector("anomaly_exporter_control_tokens", where)
    return self_alert(
        config,
        where,
        name="AnomalyExporterControlTokens",
        metric="control_tokens",
        expression=f"{without_replicas('min', series)} == 0",
        after=300,
        summary="The file of tokens of the control API cannot be used.",
        message="The control API has no usable file of tokens.",
        description="A file that is missing lets nobody in; one that is broken changes nothing, so that a token that"
        " was taken out of it still works. The exporter's log says what is wrong, without what stands in the file.",
    )
