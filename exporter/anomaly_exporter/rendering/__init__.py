"""Rules, routes and mails from the one configuration: what runs inside Prometheus and Alertmanager."""

from __future__ import annotations

from anomaly_exporter.config import Config

from .alertmanager import configuration
from .alertmanagerconfig import objects
from .anomalies import alerts as _anomalies
from .rules import all_alerts, groups, plain_rules, prometheus_rule
from .yaml_text import dump, dump_all

__all__ = [
    "all_alerts",
    "configuration",
    "entity_alerts",
    "groups",
    "objects",
    "plain_rules",
    "prometheus_rule",
    "render_text",
]

KINDS = ("rules", "alertmanager", "alertmanagerconfig")
FORMATS = ("crd", "plain")


def entity_alerts(config: Config) -> frozenset[str]:
    """Names of the alerts about entities, unlike those about the exporter itself."""
    return frozenset(alert.name for alert in _anomalies(config))


def render_text(
    kind: str,
    config: Config,
    output_format: str = "crd",
    *,
    namespace: str | None = None,
    labels: dict[str, str] | None = None,
) -> str:
    """YAML of a kind of :data:`KINDS`; ``output_format`` ``crd`` or ``plain`` concerns rules only.

    ``namespace`` is that of the exporter, ``labels`` go to the metadata of objects.

    Raises:
        ValueError: another kind or format.
        ConfigError: the configuration cannot be rendered in this way; see :func:`objects`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, received {kind!r}")
    if output_format not in FORMATS:
        raise ValueError(f"format must be one of {FORMATS}, received {output_format!r}")
    head = f"Generated from the configuration by `anomaly-exporter render {kind}`; change that, not this."
    if kind == "alertmanager":
        return dump(configuration(config), head)
    if kind == "alertmanagerconfig":
        return dump_all(objects(config, namespace=namespace, labels=labels), head)
    if output_format == "plain":
        return dump(plain_rules(config, namespace), head)
    return dump(prometheus_rule(config, namespace=namespace, labels=labels), head)
