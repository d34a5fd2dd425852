"""Alerts about the series that are watched: one series, several of one workload, many of one namespace.

The wider an alert, the shorter its ``for`` and the longer its ``keep_firing_for``: Alertmanager mutes the parts of a
wider alert (see :mod:`.routes`), so the wider one must be there first and go last.
"""

from __future__ import annotations

from anomaly_exporter.config import Config
from anomaly_exporter.config.rules import SeverityStep

from . import entity, links, states, wording
from .alert_rule import AlertRule
from .durations import wall
from .promql import WATCHED, selector, string, without_replicas
from .recording import ANOMALOUS, GAP
from .wording import DATE, SCORE

AFTER = 60
"""Persistence is already in anomaly_detected; this asks only for a second evaluation."""
KEEP = 600
"""An entity that is no longer reported keeps its alert this long, so that an outage does not look like a recovery; the
blind alert fires well before."""
KEEP_WORKLOAD = 720
KEEP_NAMESPACE = 900
"""Wider alerts outlive their parts: ending first would let the parts be mailed on their way out."""
AFTER_ZERO = 120
"""Zero must last this long, data seconds: one missing sample that is reported as zero is no outage."""
CLEARLY = 0.1
"""The lower edge of the band must be above this share of the expected value."""
SUSTAINED = 0.2
"""A severity step lets this share of its long window be below the score."""
PARTS = 12
"""Most series that an alert about a namespace names."""
SEVERAL = "several"
"""Label ``metric`` of alerts about several metrics."""

DETECTED, SEVERE, ZERO = "AnomalyDetected", "AnomalySevere", "AnomalyDroppedToZero"
WORKLOAD, NAMESPACE = "AnomalyOfWorkload", "AnomalyOfNamespace"


def alerts(config: Config) -> tuple[AlertRule, ...]:
    """The alerts of the group ``anomaly-exporter.anomalies``."""
    zero = (dropped_to_zero(config),) if config.rules.drop_to_zero and config.exposition.values else ()
    steps = tuple(severe(config, step) for step in config.rules.severity_steps)
    return (detected(config), *steps, *zero, *states.alerts(config), of_workload(config), of_namespace(config))


def detected(config: Config) -> AlertRule:
    """An anomaly stands in one series. The value of the alert is the score."""
    return AlertRule(
        name=DETECTED,
        expression=ANOMALOUS,
        after=AFTER,
        keep=KEEP,
        summary="A series departs from what its model has learned.",
        labels={"service": entity.service(config)},
        annotations=_of_series(
            config,
            DETECTED,
            f"{{{{ $labels.metric }}}} of {entity.service(config)} departs from what the model "
            "{{ $labels.model }} expects: score {{ $value | humanize }}, where 1 and above is anomalous.",
        ),
    )


def severe(config: Config, step: SeverityStep) -> AlertRule:
    """One step of the severity ladder, in two windows: high for most of a long one, and without a break in a short one.

    A quantile lets single low scores pass, which would start a ``for`` again; the short window ends the alert soon.
    """
    speed = config.timing.speed
    long, short = wall(step.after, speed), wall(step.after / 5, speed)
    mostly = without_replicas("max", f"quantile_over_time({SUSTAINED}, anomaly_score[{long}])")
    now = without_replicas("max", f"min_over_time(anomaly_score[{short}])")
    at_least = f">= {step.score:g}"
    return AlertRule(
        name=SEVERE,
        expression=f"{ANOMALOUS} {at_least}\nand\n{mostly} {at_least}\nand\n{now} {at_least}",
        after=0,
        keep=KEEP,
        severity=step.severity,
        summary="A series departs far from what its model has learned, and stays there.",
        labels={"service": entity.service(config)},
        annotations=_of_series(
            config,
            SEVERE,
            f"{{{{ $labels.metric }}}} of {entity.service(config)} has scored {step.score:g} or more"
            f" for {wall(step.after)}: score {{{{ $value | humanize }}}}, where 1 and above is anomalous.",
        ),
    )


def dropped_to_zero(config: Config) -> AlertRule:
    """A feature is exactly zero although its whole band is clearly above: what should work does nothing.

    Targets that ask for alerts upwards only are left out, by their metric.
    """
    gap = wall(GAP, config.timing.speed)
    ways: dict[str, set[str]] = {}
    for target in config.watched:
        ways.setdefault(target.metric, set()).add(target.alerting.direction)
    upwards = [metric for metric, way in ways.items() if way == {"up"}]
    chosen = (WATCHED, f"metric!~{string('|'.join(upwards))}") if upwards else (WATCHED,)

    def newest(operator: str, metric: str) -> str:
        return without_replicas(operator, f"last_over_time({selector(metric, {}, *chosen)}[{gap}])", "model")

    names = _without(config, "model")
    return AlertRule(
        name=ZERO,
        expression=f"{newest('max', 'anomaly_observed_value')} == 0\nand\n"
        f"{newest('min', 'anomaly_expected_lower')} > {CLEARLY} * {newest('max', 'anomaly_expected_value')}",
        after=AFTER_ZERO,
        keep=KEEP,
        summary="A series is zero although its model expects it to be clearly above.",
        labels={"service": entity.service(config)},
        annotations={
            "description": f"{{{{ $labels.feature }}}} of {entity.service(config)} is zero:{entity.identity(config)}.",
            "values": wording.values(config, names),
            **_common(config, ZERO, names),
            "message": f"{{{{ $labels.metric }}}} of {entity.service(config)} has dropped to zero.",
            "dashboard_url": links.dashboard(config),
            "graph": wording.graph(names, "anomaly_observed_value"),
        },
    )


def of_workload(config: Config) -> AlertRule:
    """Several metrics of one workload depart at once. The value of the alert is their number."""
    names = _without(config, "metric", "model")
    values = {"values": wording.values(config, names)} if config.exposition.values else {}
    worst = entity.query(wording.WORST)
    return AlertRule(
        name=WORKLOAD,
        expression=f"count without (metric) (max without (model) ({ANOMALOUS})) >= {config.rules.workload_at}",
        after=0,
        keep=KEEP_WORKLOAD,
        summary="Several metrics of one workload depart at once.",
        labels={"metric": SEVERAL, "service": entity.service(config)},
        annotations={
            "description": f"{entity.define_selector(names)}{entity.service(config)}, by score:"
            f"{{{{ range {worst} }}}} {{{{ .Labels.metric }}}} {{{{ .Value | {SCORE} }}}}{{{{ end }}}};"
            f"{entity.identity(config)}.",
            **values,
            **_common(config, WORKLOAD, names),
            "message": f"{{{{ $value }}}} metrics of {entity.service(config)} depart at once.",
            "graph": wording.graph(names, "anomaly_score"),
        },
    )


def of_namespace(config: Config) -> AlertRule:
    """Many workloads of one namespace depart at once: one alert instead of one for each of their series."""
    names = entity.namespace_labels(config)
    return AlertRule(
        name=NAMESPACE,
        expression=f"count by ({', '.join(names)}) (max without (metric, model) ({ANOMALOUS}))"
        f" >= {config.rules.namespace_at}",
        after=0,
        keep=KEEP_NAMESPACE,
        summary="Many workloads of one namespace depart at once.",
        labels={"metric": SEVERAL, "service": entity.namespace(config)},
        annotations={
            "description": f"{{{{ $value }}}} workloads of {entity.namespace(config)} depart at once:"
            " look for what they share (node, network, storage, a service they all call) before you look at one.",
            "neighbours": wording.neighbours(config, (), PARTS - 1),
            "message": f"{{{{ $value }}}} workloads of {entity.namespace(config)} depart at once.",
            "date": DATE,
            "hostname": links.namespace_page(config),
            "dashboard_url": links.namespace_page(config),
            "graph": wording.graph(names, ANOMALOUS),
            "runbook_url": links.runbook(config, NAMESPACE),
        },
    )


def _of_series(config: Config, name: str, message: str) -> dict[str, str]:
    """Annotations of an alert about one series of one model."""
    names = entity.labels(config)
    values = {"values": wording.values(config, names)} if config.exposition.values else {}
    return {
        "description": f"{entity.define_selector(names)}{{{{ $labels.metric }}}} of {entity.service(config)}"
        f" (model={{{{ $labels.model }}}}{entity.identity(config)}):"
        f" score {{{{ $value | {SCORE} }}}}, anomalous from 1{wording.scores(config)}",
        **values,
        **_common(config, name, names),
        "message": message,
        "dashboard_url": links.dashboard(config),
        "graph": wording.graph(names, "anomaly_score"),
    }


def _common(config: Config, name: str, names: tuple[str, ...]) -> dict[str, str]:
    steps = {"next_steps": wording.next_steps(config, names)} if config.all_remedies else {}
    return {
        "neighbours": wording.neighbours(config, names),
        **steps,
        "date": DATE,
        "hostname": links.service_page(config),
        "dashboard_url": links.service_page(config),
        "runbook_url": links.runbook(config, name),
    }


def _without(config: Config, *left_out: str) -> tuple[str, ...]:
    return tuple(name for name in entity.labels(config) if name not in left_out)
