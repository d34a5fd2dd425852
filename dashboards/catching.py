"""What models catch of injected anomalies, what the gate rejects, and what tuning brought."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as sdk

from . import fields
from .fields import BAD, GOOD, NOTICE, WARN, named
from .panels import About, Query, bars, stat, table, timeseries
from .promql import Labels, also, one
from .series import hidden

NO_FIGURES: Final = "no model has been judged by the gate yet, or /metrics/detail is not scraped"
RECALL_LIMITS: Final = ((None, WARN), (0.5, NOTICE), (0.7, GOOD))


def recall_over_time(where: str) -> sdk.Panel:
    about = About(
        "Injected anomalies that are caught",
        "Median over the chosen models. Spikes, dips, level shifts, leaks, changed noise, flat lines and drops to zero "
        "of 4, 8 and 16 times a series' own variation are put into calm held-out data at every training. The baseline "
        "is the better of a daily profile and a plain distance from the mean, at as many alerts. Injected anomalies "
        "are not real ones: read this as a change over time, not as the recall of incidents.",
        NO_FIGURES,
    )
    words = {"recall": "caught", "level_recall": "caught at as many alerts", "baseline_recall": "baseline"}
    queries = [
        Query(
            f"quantile by (metric, model) (0.5, {one(f'anomaly_model_quality{_injected(where, measure)}')})",
            f"{{{{metric}}}} {{{{model}}}} {word}",
        )
        for measure, word in words.items()
    ]
    return timeseries(about, queries, unit="percentunit", low=0)


def by_shape() -> sdk.Panel:
    about = About(
        "Caught by shape",
        "Share of the injected anomalies of all targets that the models in force catch. Flat lines are caught by few "
        "models alone; the alert on flat lines looks at them apart.",
        NO_FIGURES,
    )
    query = Query("avg by (shape) (anomaly_exporter_injected_recall_ratio)", "{{shape}}", now=True)
    return bars(about, [query], unit="percentunit", high=1, decimals=0, steps=RECALL_LIMITS)


def delay_by_shape() -> sdk.Panel:
    about = About(
        "Time until caught",
        "Median delay of the injected anomalies that are caught, by shape, over all targets. A leak of two hours is "
        "small for most of them.",
        NO_FIGURES,
    )
    query = Query("quantile by (shape) (0.5, anomaly_exporter_injected_delay_seconds)", "{{shape}}", now=True)
    return bars(about, [query], unit="s", decimals=0)


def beaten(where: str) -> sdk.Panel:
    about = About(
        "Beaten by a simple model",
        "Share of the models that catch less than a daily profile or a plain distance from the mean would, at as many "
        "alerts. They work, but they cost more than they are worth: consider the recipe seasonal or auto for these.",
        "not judged yet",
    )
    all_models = f"count({one(f'anomaly_model_info{where}')})"
    some = where[:-1] + ',beaten_by!=""}'
    worse = f"count({one(f'anomaly_model_info{some}')})"
    query = Query(f"({worse} or 0 * {all_models}) / {all_models}", now=True)
    return stat(about, query, unit="percentunit", decimals=0, steps=((None, GOOD), (0.2, NOTICE), (0.5, WARN)))


def wider(where: str) -> sdk.Panel:
    about = About(
        "Thresholds against a month ago",
        "Highest ratio of a threshold in force to that of a week and of a month ago, in units of the series' own "
        "variation. A slow rise that no single training shows is how a detector is made blind; the gate rejects what "
        "is one and a half times wider and catches less.",
        NO_FIGURES,
    )
    shift = one(f"anomaly_threshold_shift_ratio{where}")
    query = Query(f"max by (since) ({shift})", "{{since}}", now=True)
    return bars(about, [query], unit="none", decimals=2, steps=((None, GOOD), (1.5, WARN), (3, BAD)))


def rejected(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Series whose new models are rejected",
        "The 15 series with the most rejections in a row. The model in force stays; anomaly-exporter models show says "
        "why, models promote overrules the gate.",
        "no new model was rejected",
    )
    expr = f"topk(15, max by ({labels.identity}) (anomaly_model_rejections{where}) > 0)"
    return table(
        about,
        [Query(labels.named(expr), rows=True)],
        columns=["series", "metric", "model", "Value"],
        renamed={"series": "Series", "metric": "Metric", "model": "Model", "Value": "In a row"},
        sort=("In a row", True),
        unit="none",
        overrides=[hidden(labels), named("Series", links=fields.to_series(labels), custom__minWidth=200)],
    )


def tuning() -> sdk.Panel:
    about = About(
        "Tuning comparison",
        "The newest anomaly-exporter tune of each target: recall of injected anomalies at the alert budget on data "
        "that no choice has seen, and the validation error in units of the series' usual spread, untuned and tuned.",
        "nothing was tuned yet: anomaly-exporter tune",
    )
    recall = "max by (target, model, variant) (anomaly_exporter_tuning_recall_ratio)"
    error = "max by (target, model, variant) (anomaly_exporter_tuning_error_ratio)"
    return table(
        about,
        [Query(recall, rows=True), Query(error, rows=True)],
        columns=["target", "model", "variant", "Value #A", "Value #B"],
        renamed={
            "target": "Target",
            "model": "Model",
            "variant": "Variant",
            "Value #A": "Recall",
            "Value #B": "Error",
        },
        sort=("Target", False),
        unit="none",
        decimals=2,
        overrides=[named("Recall", unit="percentunit", decimals=0)],
    )


def _injected(where: str, measure: str) -> str:
    return also(where, measure=measure, split="injected")
