"""What people say about alerts, and what that says of models and tags."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as sdk

from .fields import GOOD, NOTICE, WARN, named
from .panels import About, Query, bars, table, timeseries
from .promql import one

NOTHING_SAID: Final = "nobody has said anything about alerts yet: expected, incident or ignore"
PRECISION_LIMITS: Final = ((None, WARN), (0.5, NOTICE), (0.8, GOOD))


def precision() -> sdk.Panel:
    about = About(
        "Were the alerts right?",
        "By tag, the share of incidents among the alerts that people called an incident or expected within the last "
        "weeks (feedback.precision_window). A tag that nobody judged is not here.",
        NOTHING_SAID,
    )
    query = Query(f"sort(min by (tag) ({one('anomaly_alert_precision_ratio')}))", "{{tag}}", now=True)
    return bars(about, [query], unit="percentunit", high=1, decimals=0, steps=PRECISION_LIMITS)


def verdicts() -> sdk.Panel:
    about = About(
        "Verdicts",
        "How many came in per step of the graph: expected, incident or ignore, over all tags, in silences, on "
        "annotations, on the page or by the command line.",
        NOTHING_SAID,
    )
    given = "max by (tag, verdict) (increase(anomaly_feedback_total[$__rate_interval]))"
    query = Query(f"sum by (verdict) ({given})", "{{verdict}}")
    return timeseries(about, [query], unit="short", low=0, bars=True, stacked=True)


def confusion() -> sdk.Panel:
    about = About(
        "Models against what people said",
        "The newest models, by tag: incidents that they catch or miss, expected stretches that they leave alone or "
        "alert on. Incidents are kept out of training, and an expected stretch is judged without its own exemplar.",
        "no incident or expected stretch lies in the history of a model",
    )

    def events(outcome: str) -> Query:
        return Query(f'max by (tag, model) (anomaly_labelled_events{{outcome="{outcome}"}})', rows=True)

    def ratio(name: str) -> Query:
        return Query(f"max by (tag, model) (anomaly_labelled_{name}_ratio)", rows=True)

    values = [f"Value #{letter}" for letter in "ABCDEFG"]
    shown = ["Caught", "Missed", "Wrong alerts", "Left alone", "Precision", "Recall", "F1"]
    return table(
        about,
        [*map(events, ("tp", "fn", "fp", "tn")), *map(ratio, ("precision", "recall", "f1"))],
        columns=["tag", "model", *values],
        renamed={"tag": "Tag", "model": "Model", **dict(zip(values, shown, strict=True))},
        sort=("Tag", False),
        unit="none",
        decimals=0,
        overrides=[named(name, unit="percentunit", decimals=0) for name in shown[4:]],
    )


def in_force() -> sdk.Panel:
    about = About(
        "Statements in force",
        "What trainings use now, and pairs that disagree about the same time (the later one wins; anomaly-exporter "
        "feedback list names them).",
        NOTHING_SAID,
    )
    queries = [
        Query("max by (verdict) (anomaly_exporter_feedback_statements)", "{{verdict}}", now=True),
        Query("max(anomaly_exporter_feedback_conflicts)", "conflicts", now=True),
    ]
    return bars(about, queries, unit="none", decimals=0)
