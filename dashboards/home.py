"""Anomalies: what is anomalous now, what was, and whether detection itself is alive."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as sdk

from . import fields
from .board import Layout, alerts, chained, control_variable, own_alerts
from .board import dashboard as assemble
from .fields import ANOMALOUS, ANY_IS_BAD, ANY_IS_NOTABLE, BAD, GOOD, SCORE_LIMITS, between, like, named
from .panels import About, Query, stat, table, timeline, timeseries
from .promql import Labels, one, worst

VARIABLES: Final = ("env", "namespace", "container", "metric", "model")
NO_SCORES: Final = "no scores: is the exporter running, does it have models? See Exporter health and Training"


def dashboard(labels: Labels) -> sdk.Dashboard:
    where = labels.where(*VARIABLES)
    layout = Layout()
    layout.line(
        4,
        (4, anomalous(where)),
        (4, watched(where)),
        (4, unscored(where)),
        (4, rate(where)),
        (4, alive()),
        (4, next_training()),
    )
    layout.line(10, (24, most_anomalous(labels, where)))
    layout.line(8, (12, courses(labels, where)), (12, namespaces(labels, where)))
    layout.line(8, (12, points(labels, where)), (12, shares(labels, where)))
    return assemble(
        "anomaly-home",
        "Anomalies",
        "What is anomalous now, since when, and whether detection itself is alive. Start here.",
        layout,
        variables=[*chained(labels, VARIABLES, multi=True), control_variable()],
        annotations=[alerts(labels, VARIABLES), own_alerts()],
    )


def anomalous(where: str) -> sdk.Panel:
    about = About(
        "Anomalous now",
        "Series with an anomaly standing at the end of the time range, after persistence, direction, minimum deviation "
        "and hysteresis: what alerts. The curve shows how many there were.",
        "no scores",
    )
    return stat(about, Query(f"sum({one(f'anomaly_detected{where}')})"), unit="none", steps=ANY_IS_BAD, trend=True)


def watched(where: str) -> sdk.Panel:
    about = About(
        "Scored",
        "Series and models that got a score in the newest cycle. Read the other numbers against this one: what is not "
        "scored cannot be anomalous.",
        "no scores",
    )
    return stat(about, Query(f"count({one(f'anomaly_score{where}')})"), unit="none", trend=True)


def unscored(where: str) -> sdk.Panel:
    about = About(
        "Not scored",
        "Series and models that are known but have no score now: no data, no model yet, or warming up. Exporter health "
        "counts them by reason, Training lists those that wait for a model.",
        "nothing known",
    )
    known = f"count({one(f'anomaly_score{where}')} or {one(f'anomaly_training_needed{where}')})"
    expr = f"{known} - (count({one(f'anomaly_score{where}')}) or vector(0))"
    return stat(about, Query(expr), unit="none", steps=ANY_IS_NOTABLE, trend=True)


def rate(where: str) -> sdk.Panel:
    about = About(
        "Anomaly rate",
        "Share of the scored series that are anomalous. A few in a thousand is ordinary; a sudden rise over many "
        "series means a common cause, or a change that the models have to learn.",
        "no scores",
    )
    steps = ((None, GOOD), (0.02, fields.WARN), (0.1, BAD))
    return stat(about, Query(f"avg({one(f'anomaly_detected{where}')})"), unit="percentunit", steps=steps, trend=True)


def alive() -> sdk.Panel:
    about = About(
        "Detection",
        "Alive while every exporter has finished a cycle within three cycle intervals. Blind means: do not trust an "
        "absence of anomalies; see Exporter health.",
        "no exporter",
    )
    expr = "max((time() - anomaly_exporter_last_success_timestamp_seconds) / anomaly_exporter_cycle_interval_seconds)"
    mappings = [between(None, 3, "alive", GOOD), between(3, None, "blind", BAD, 1)]
    return stat(about, Query(expr, now=True), unit="none", steps=((None, BAD),), mappings=mappings, filled=True)


def next_training() -> sdk.Panel:
    about = About(
        "Next training",
        "When models are renewed next. A series without a model gets its first one then.",
        "running or unknown",
    )
    expr = "min(anomaly_exporter_training_next_timestamp_seconds > time()) * 1000"
    return stat(about, Query(expr, now=True), unit="dateTimeFromNow")


def most_anomalous(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Most anomalous series now",
        "The 20 series with the highest score. A score of 1 is the edge of what the model expects, 2 is twice as far "
        "away. State is what alerts: it waits until a score persists, and for the deviation to matter. Since is when "
        "the first of the scores came that led to it; points counts scores of 1 and above in the time range. Click a "
        "series to see it.",
        NO_SCORES,
    )
    top = f"topk(20, {one(f'anomaly_score{where}')})"
    here = f"and on ({labels.identity}) {top}"
    since = f"{one(f'anomaly_since_timestamp_seconds{where}')} * 1000"
    queries = [
        Query(labels.named(top), rows=True),
        Query(labels.named(f"{one(f'anomaly_detected{where}')} {here}"), rows=True),
        Query(labels.named(f"({since}) {here}"), rows=True),
        Query(labels.named(f"{one(f'increase(anomaly_points_total{where}[$__range])')} {here}"), rows=True),
    ]
    hidden = "|".join([labels.namespace, "workload", labels.container, "node", "env"])
    return table(
        about,
        queries,
        columns=["series", "metric", "Value #B", "Value #A", "Value #C", "Value #D", "model", "tag"],
        renamed={
            "series": "Series",
            "metric": "Metric",
            "model": "Model",
            "tag": "Tag",
            "Value #A": "Score",
            "Value #B": "State",
            "Value #C": "Since",
            "Value #D": "Points",
        },
        sort=("Score", True),
        overrides=[
            like(f"^({hidden})$", custom__hidden=True),
            named("Series", links=[*fields.to_series(labels), *fields.to_feedback(labels)], custom__minWidth=260),
            named(
                "Score",
                unit="none",
                decimals=2,
                min=0,
                max=3,
                thresholds=fields.steps(SCORE_LIMITS),
                custom__cellOptions={"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
                custom__minWidth=240,
            ),
            named(
                "State",
                mappings=fields.mapping({"0": ("normal", GOOD), "1": ("anomalous", BAD)}),
                custom__cellOptions={"type": "color-text"},
                custom__width=110,
            ),
            named("Since", unit="dateTimeFromNow", custom__width=150),
            named("Points", unit="none", decimals=0, custom__width=90),
        ],
    )


def courses(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "How scores went: the ten worst of this time range",
        "A row per series, coloured by its score: green is expected, yellow comes close, orange and red are anomalous "
        "(1 and above, 2 and above). One spot is noise, a long bar is an incident. White: no score.",
        NO_SCORES,
    )
    expr = f"{one(f'anomaly_score{where}')} and on ({labels.identity}) {worst(labels, where, 10)}"
    legend = "{{series}} {{metric}}"
    return timeline(
        about,
        [Query(labels.named(expr), legend)],
        steps=SCORE_LIMITS,
        decimals=2,
        overrides=[like(".*", links=fields.to_series(labels, "__field.labels"))],
    )


def namespaces(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Namespaces",
        "Red while at least one series of the namespace is anomalous. Several rows that turn red together point to "
        "something they share.",
        NO_SCORES,
    )
    expr = f"max by ({labels.namespace}) ({one(f'anomaly_detected{where}')})"
    return timeline(about, [Query(expr, f"{{{{{labels.namespace}}}}}")], mappings=[ANOMALOUS])


def points(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Anomalous points per minute",
        "How many grid points with a score of 1 or above came in, by namespace. Single points are ordinary; what "
        "persists becomes an anomaly.",
        NO_SCORES,
    )
    increase = one(f"rate(anomaly_points_total{where}[$__rate_interval])")
    query = Query(f"sum by ({labels.namespace}) ({increase}) * 60 > 0", f"{{{{{labels.namespace}}}}}")
    return timeseries(about, [query], unit="short", low=0, bars=True, stacked=True)


def shares(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Anomalous series over time",
        "How many series were anomalous at the same time, by metric. Compare with the incidents you know.",
        NO_SCORES,
    )
    query = Query(f"sum by (metric) ({one(f'anomaly_detected{where}')})", "{{metric}}")
    return timeseries(about, [query], unit="none", low=0, soft_high=1, stacked=True)
