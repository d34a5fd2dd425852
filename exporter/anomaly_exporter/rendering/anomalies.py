"""Alerts about the series that are watched."""

from __future__ import annotations

from anomaly_exporter.config import Config

from . import entity, links
from .alert_rule import AlertRule
from .durations import wall
from .promql import without_replicas

GAP = 180
"""Missing scrapes of up to this many seconds change nothing: the last value within them counts."""
AFTER = 60
"""Persistence is already in anomaly_detected; this asks only for a second evaluation."""
KEEP = 600
"""An entity that is no longer reported keeps its alert this long, so that an outage does not look like a recovery; the
blind alert fires well before."""

DATE = '{{ query "time()" | first | value | humanizeTimestamp }}'


def alerts(config: Config) -> tuple[AlertRule, ...]:
    """The alerts of the group ``anomaly-exporter.anomalies``."""
    return (detected(config),)


def detected(config: Config) -> AlertRule:
    """An anomaly stands in one series. The value of the alert is the score.

    The gap guard is last_over_time, which bridges missed scrapes but, unlike max_over_time, ends with the first 0.
    """
    gap = wall(GAP, config.timing.speed)
    score = without_replicas("max", f"last_over_time(anomaly_score[{gap}])")
    stands = without_replicas("max", f"last_over_time(anomaly_detected[{gap}])")
    name = "AnomalyDetected"
    return AlertRule(
        name=name,
        expression=f"{score}\nand\n{stands} == 1",
        after=AFTER,
        keep=KEEP,
        summary="A series departs from what its model has learned.",
        labels={"service": entity.service(config)},
        annotations={
            "description": _description(config),
            "message": f"{{{{ $labels.metric }}}} of {entity.service(config)} departs from what the model "
            f"{{{{ $labels.model }}}} expects: score {{{{ $value | humanize }}}}, where 1 and above is anomalous.",
            "date": DATE,
            "hostname": links.service_page(config),
            "dashboard_url": links.dashboard(config),
            "runbook_url": links.runbook(config, name),
        },
    )


FEATURES = (
    "topk(3, max by (feature) (anomaly_contribution_ratio{%s})"
    " or max by (feature) (anomaly_observed_value{%s} * 0 + 1))"
)
"""The features that contribute most; entities of one feature have no contributions, there its share is 1."""


def _description(config: Config) -> str:
    """What was observed and what was expected, per feature; silent about numbers that are no longer reported."""
    error = entity.query("max(anomaly_reconstruction_error{%s})")
    threshold = entity.query("max(anomaly_threshold{%s})")
    text = f"{{{{ $labels.metric }}}} of {entity.service(config)} ({entity.identity(config)}): "
    text += "score {{ $value | humanize }}, anomalous from 1"
    text += f"{{{{ with {error} }}}}; error {{{{ . | first | value | humanize }}}}{{{{ end }}}}"
    text += f"{{{{ with {threshold} }}}}; threshold {{{{ . | first | value | humanize }}}}{{{{ end }}}}"
    out = entity.define_quantity(config) + entity.define_selector(config) + text
    if not config.exposition.values:
        return out
    return f"{out}\n{_features()}"


def _features() -> str:
    """A line for each of the features that matter most."""
    one = '{{- $one := printf "%s,feature=%q" $entity .Labels.feature }}'
    line = "{{ .Labels.feature }}:"
    line += _value(" observed ", "anomaly_observed_value") + _value(", expected ", "anomaly_expected_value")
    line += _value(" (", "anomaly_expected_lower") + _value(" to ", "anomaly_expected_upper", ")")
    return f"{{{{- range {entity.query(FEATURES)} }}}}\n{one}\n{line}\n{{{{- end }}}}"


def _value(before: str, metric: str, after: str = "") -> str:
    """The newest value of ``metric`` of the feature ``$one`` between two texts, nothing when it is not reported."""
    found = f'query (printf "max({metric}{{%s}})" $one)'
    quantity = '{{ template "quantity" (args $labels.metric (. | first | value)) }}'
    return f"{{{{ with {found} }}}}{before}{quantity}{after}{{{{ end }}}}"
