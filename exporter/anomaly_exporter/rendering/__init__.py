"""Rules, routes and mails from the one configuration: what runs inside Prometheus and Alertmanager."""

from __future__ import annotations

from anomaly_exporter.config import Config

from .alertmanager import configuration
from .rules import all_alerts, groups, plain_rules, prometheus_rule
from .yaml_text import dump

__all__ = ["all_alerts", "configuration", "groups", "plain_rules", "prometheus_rule", "render_text"]

KINDS = ("rules", "alertmanager")
FORMATS = ("crd", "plain")


def render_text(
    kind: str,
    config: Config,
    output_format: str = "crd",
    *,
    namespace: str | None = None,
    labels: dict[str, str] | None = None,
) -> str:
    """YAML of ``kind`` ``rules`` or ``alertmanager``; ``output_format`` ``crd`` or ``plain`` concerns rules only.

    ``namespace`` and ``labels`` as in :func:`prometheus_rule`. Raises ValueError for another kind or format.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, received {kind!r}")
    if output_format not in FORMATS:
        raise ValueError(f"format must be one of {FORMATS}, received {output_format!r}")
    head = f"Generated from the configuration by `anomaly-exporter render {kind}`; change that, not this."
    if kind == "alertmanager":
        return dump(configuration(config), head)
    if output_format == "plain":
        return dump(plain_rules(config, namespace), head)
    return dump(prometheus_rule(config, namespace=namespace, labels=labels), head)
