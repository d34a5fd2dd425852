"""What stands beside the score of a series: its shape, the way to its limit, a new normal."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as sdk

from .fields import BAD, WARN, fixed, named
from .panels import About, Query, timeline, timeseries
from .promql import Labels, one, worst

LEFT, FACTOR = "to its limit", "factor on the threshold"
DAY: Final = 86_400


def shape(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "What it looks like",
        "The shape of the anomaly while it stands: spike, dip, level shift, leak, flat line, zero or variance. A level "
        "shift begins as a spike and is called so until enough samples have stayed.",
        "nothing departed in this time range",
    )
    expr = f"max by (shape) ({one(f'anomaly_shape{where}')} and on ({labels.identity}) {worst(labels, where, 1)})"
    return timeline(about, [Query(expr, "{{shape}}")], steps=((None, BAD),))


def limit(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Time to the limit",
        "How long until a feature that grows steadily reaches its limit, at the slope of the last training. Red below "
        "a day. Nothing is drawn while nothing grows, or where no limit is known.",
        "nothing grows steadily towards a known limit",
    )
    expr = f"{one(f'anomaly_seconds_to_limit{where}')} and on ({labels.identity}) {worst(labels, where, 1)}"
    steps = ((None, BAD), (DAY, WARN), (7 * DAY, "transparent"))
    return timeseries(
        about, [Query(f"min by (feature) ({expr})", f"{{{{feature}}}} {LEFT}")], unit="s", low=0, steps=steps
    )


def regime(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "New normal",
        "By how much the threshold is raised while a steady new level is not learned yet; the next training does that. "
        "Nothing is drawn while the models know the level.",
        "no new level in this time range",
    )
    expr = f"{one(f'anomaly_regime_threshold_ratio{where}')} and on ({labels.identity}) {worst(labels, where, 1)}"
    factor = Query(f"max({expr})", FACTOR)
    return timeseries(about, [factor], unit="none", low=1, overrides=[named(FACTOR, color=fixed(WARN))])
