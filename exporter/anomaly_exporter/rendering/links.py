"""Links in alerts: the exact Grafana panel and time range, the page of the whole service, the runbook.

Grafana reads ``from`` and ``to`` in milliseconds. Go prints a number of that size as 1.7e+12, which Grafana cannot
read; hence ``printf "%.0f"``. Label values pass ``urlquery``.
"""

from __future__ import annotations

from anomaly_exporter.config import Config

from .durations import number
from .entity import literal, own_labels

DASHBOARD_UID = "anomaly-monitoring"
"""Fixed uid of the monitoring dashboard."""
PANEL_RANGE = 6 * 3600
"""Seconds of data before the alert that the dashboard link shows."""
SERVICE_RANGE = 24 * 3600
"""Seconds of data before the alert that the link to the whole service shows."""


def dashboard(config: Config) -> str:
    """Template of the link to the panel of one entity, metric and model."""
    names = (*config.static_labels, *own_labels(config), "metric", "model")
    variables = "".join(_variable(name, config.exposition.emitted(name)) for name in dict.fromkeys(names))
    return _base(config, PANEL_RANGE) + variables


def service_page(config: Config) -> str:
    """Template of the link to everything about the service: all its metrics and models, over a day."""
    names = dict.fromkeys((*config.static_labels, *own_labels(config)))
    variables = "".join(_variable(name, config.exposition.emitted(name)) for name in names)
    return _base(config, SERVICE_RANGE) + variables + "&var-metric=$__all&var-model=$__all"


def namespace_page(config: Config) -> str:
    """Template of the link to everything of a namespace, over a day."""
    names = dict.fromkeys((*config.static_labels, "namespace"))
    variables = "".join(_variable(name, config.exposition.emitted(name)) for name in names)
    return _base(config, SERVICE_RANGE) + variables + "&var-metric=$__all&var-model=$__all"


def overview(config: Config) -> str:
    """Template of the link to the dashboard without a choice of entity, for alerts about the exporter itself."""
    return _base(config, PANEL_RANGE)


def runbook(config: Config, alert: str) -> str:
    """URL of the runbook of ``alert``: the folder of ``links.runbook_url`` and the lower-case name."""
    return f"{literal(config.links.runbook_url.rstrip('/'))}/{runbook_file(alert)}"


def runbook_file(alert: str) -> str:
    """Name of the runbook of ``alert`` inside docs/runbooks."""
    return f"{alert.lower()}.md"


def _base(config: Config, seconds: float) -> str:
    start = _milliseconds(f"(time() - {number(seconds, config.timing.speed)}) * 1000")
    end = _milliseconds("time() * 1000")
    return f"{literal(config.links.grafana_url.rstrip('/'))}/d/{DASHBOARD_UID}?from={start}&to={end}"


def _milliseconds(expression: str) -> str:
    return f'{{{{ query "{expression}" | first | value | printf "%.0f" }}}}'


def _variable(name: str, label: str) -> str:
    """The dashboard variable ``name`` (its plain name under every profile), left out for entities without the label."""
    return f"{{{{ with $labels.{label} }}}}&var-{name}={{{{ . | urlquery }}}}{{{{ end }}}}"
