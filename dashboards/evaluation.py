"""Model evaluation: how good the models are, what their thresholds mean, what they cost."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as sdk

from . import catching, fields, people
from .board import Layout, chained, own_alerts, query_variable
from .board import dashboard as assemble
from .fields import BAD, GOOD, NOTICE, WARN, named
from .panels import About, Query, bars, heatmap, stat, table, timeseries
from .promql import Labels, also, one
from .series import hidden

VARIABLES: Final = ("env", "namespace", "container", "metric", "model")
NO_DETAIL: Final = "no model yet, or /metrics/detail is not scraped"
NO_MODEL: Final = "no model yet"
MEASURES: Final = ("mae", "rmse", "mase", "r2")
MASE_LIMITS: Final = ((None, GOOD), (0.9, NOTICE), (1, WARN))
R2_LIMITS: Final = ((None, WARN), (0, NOTICE), (0.5, GOOD))


def dashboard(labels: Labels) -> sdk.Dashboard:
    where = labels.where(*VARIABLES)
    held_out = where[:-1] + ',split=~"$split"}'
    split = query_variable(
        "split",
        f"label_values(anomaly_model_quality{labels.where('env', 'model')}, split)",
        False,
        "Which part of the data: test is what the model never saw.",
    )
    split.current = sdk.VariableOption(selected=True, text="test", value="test")
    layout = Layout()
    layout.line(
        4,
        (4, models(where)),
        (5, median(held_out, "mase", "MASE", MASE_LIMITS)),
        (5, median(held_out, "r2", "R2", R2_LIMITS)),
        (5, better_than_naive(held_out)),
        (5, judged(where)),
    )
    layout.line(6, (16, by_metric(held_out)), (8, champions(where)))
    layout.line(9, (12, over_time(held_out, "mase")), (12, over_time(held_out, "r2")))
    layout.row("What models catch: injected anomalies")
    layout.line(8, (12, catching.recall_over_time(where)), (6, catching.by_shape()), (6, catching.delay_by_shape()))
    layout.line(
        8,
        (4, catching.beaten(where)),
        (5, catching.wider(where)),
        (8, catching.rejected(labels, where)),
        (7, catching.tuning()),
    )
    layout.row("Thresholds: what each rule would have called anomalous on held-out data")
    layout.line(8, (8, base(where)), (8, above(where)), (8, mean_above(where)))
    layout.line(7, (24, budget(where)))
    layout.row("What people say")
    layout.line(7, (5, people.precision()), (9, people.confusion()), (6, people.verdicts()), (4, people.in_force()))
    layout.row("Cost")
    layout.line(6, (8, training_time(where)), (8, inference_time(where)), (8, data(where)))
    layout.row("Series that the models know least")
    layout.line(10, (14, worst_models(labels, held_out)), (10, spread(held_out)))
    return assemble(
        "anomaly-evaluation",
        "Anomalies / Model evaluation",
        "How well models know their series, what the threshold rules mean on held-out data, and what models cost.",
        layout,
        variables=[*chained(labels, VARIABLES, multi=True), split],
        annotations=[own_alerts()],
        since="now-24h",
    )


def _figure(where: str, measure: str) -> str:
    return one(f"anomaly_model_quality{also(where, measure=measure)}")


def models(where: str) -> sdk.Panel:
    about = About("Models", "Models in force for the choice above: what the figures here are medians of.", NO_MODEL)
    return stat(about, Query(f"count({one(f'anomaly_model_generation{where}')})", now=True), unit="none")


def median(where: str, measure: str, title: str, steps: fields.Limits) -> sdk.Panel:
    words = {
        "mase": "Mean error against that of a naive forecast (the value before), median over the chosen models. Below "
        "1 the model beats it; 0.5 is half the error.",
        "r2": "Share of the variation that models explain, median over the chosen ones: 1 is all, 0 no better than the "
        "mean, below 0 worse.",
    }
    about = About(f"Median {title}", words[measure], NO_MODEL)
    query = Query(f"quantile(0.5, {_figure(where, measure)})")
    return stat(about, query, unit="none", decimals=2, steps=steps, trend=True)


def better_than_naive(where: str) -> sdk.Panel:
    about = About(
        "Better than a naive forecast",
        "Share of the models with a MASE below 1. A model that is worse may still detect well, since it judges whole "
        "windows, but it deserves a look.",
        NO_MODEL,
    )
    query = Query(f"avg({_figure(where, 'mase')} < bool 1)")
    steps = ((None, WARN), (0.5, NOTICE), (0.8, GOOD))
    return stat(about, query, unit="percentunit", steps=steps, trend=True)


def judged(where: str) -> sdk.Panel:
    about = About(
        "Oldest judgement",
        "When the model that was judged longest ago was last measured on new data.",
        NO_MODEL,
    )
    query = Query(f"min({one(f'anomaly_model_evaluated_timestamp_seconds{where}')}) * 1000", now=True)
    return stat(about, query, unit="dateTimeFromNow")


def by_metric(where: str) -> sdk.Panel:
    about = About(
        "Figures by metric, model and split",
        "Medians over the chosen series; the row all is every metric together. MAE and RMSE are in units of the "
        "series' usual spread, so that cores and bytes compare. MASE is the error against a naive forecast, R2 the "
        "share of the variation explained. Choose the split above: test is data the model never saw.",
        NO_DETAIL,
    )

    def rows(measure: str) -> Query:
        values = _figure(where, measure)
        each = f"quantile by (metric, model, split) (0.5, {values})"
        together = f"quantile by (model, split) (0.5, {values})"
        return Query(f'{each} or label_replace({together}, "metric", "all", "", "")', rows=True)

    letters = {f"Value #{chr(ord('A') + index)}": name.upper() for index, name in enumerate(MEASURES)}
    return table(
        about,
        [rows(measure) for measure in MEASURES],
        columns=["metric", "model", "split", *letters],
        renamed={"metric": "Metric", "model": "Model", "split": "Split", **letters},
        sort=("Metric", False),
        unit="none",
        decimals=3,
        overrides=[
            named(
                "MASE", unit="none", thresholds=fields.steps(MASE_LIMITS), custom__cellOptions={"type": "color-text"}
            ),
            named("R2", unit="none", thresholds=fields.steps(R2_LIMITS), custom__cellOptions={"type": "color-text"}),
        ],
    )


def champions(where: str) -> sdk.Panel:
    about = About(
        "What is in force",
        "How many series each architecture and member stands for. Where a model is chosen automatically, this is who "
        "won.",
        NO_DETAIL,
    )
    return table(
        about,
        [Query(f"count by (model, architecture, champion) ({one(f'anomaly_model_info{where}')})", rows=True)],
        columns=["model", "champion", "architecture", "Value"],
        renamed={"model": "Model", "champion": "Member", "architecture": "Architecture", "Value": "Series"},
        sort=("Series", True),
        unit="none",
    )


def over_time(where: str, measure: str) -> sdk.Panel:
    words = {
        "mase": "Error against a naive forecast, median by metric and model. It moves only when models are retrained; "
        "a step upwards after a retraining is a worse model or harder data.",
        "r2": "Share of the variation explained, median by metric and model. It moves only when models are retrained.",
    }
    about = About(f"{measure.upper()} over time", words[measure], NO_DETAIL)
    query = Query(
        f"quantile by (metric, model, split) (0.5, {_figure(where, measure)})", "{{metric}} {{model}} {{split}}"
    )
    steps = ((None, "transparent"), (1, BAD)) if measure == "mase" else fields.PLAIN
    return timeseries(about, [query], unit="none", steps=steps, marked=measure == "mase")


def base(where: str) -> sdk.Panel:
    about = About(
        "Base thresholds",
        "The threshold that each rule gives on held-out errors, median over the chosen models, in units of the series' "
        "usual spread: as high as the alert budget needs, mean + k std, median + k MAD, 95th and 99th percentile.",
        NO_DETAIL,
    )
    query = Query(f"quantile by (method) (0.5, {one(f'anomaly_base_threshold{where}')})", "{{method}}", now=True)
    return bars(about, [query], unit="none", decimals=2)


def above(where: str) -> sdk.Panel:
    about = About(
        "Above each threshold",
        "Share of held-out errors above the threshold of each rule, mean over the chosen models. Held-out data is "
        "mostly normal, so this is close to the rate of false points: 5 % for p95 by construction.",
        NO_DETAIL,
    )
    query = Query(f"avg by (method) ({one(f'anomaly_above_threshold_ratio{where}')})", "{{method}}", now=True)
    return bars(about, [query], unit="percentunit", decimals=2)


def mean_above(where: str) -> sdk.Panel:
    about = About(
        "Mean error above each threshold",
        "How large the errors above each threshold are, median over the chosen models. Far above the threshold: few, "
        "large departures. Just above it: the rule cuts into ordinary noise.",
        "no held-out error lies above a threshold",
    )
    mean = one(f"anomaly_above_threshold_mean_error{where}")
    return bars(about, [Query(f"quantile by (method) (0.5, {mean})", "{{method}}", now=True)], unit="none", decimals=2)


def budget(where: str) -> sdk.Panel:
    about = About(
        "Alerts against the budget",
        "Alerts per series and week. Asked: false alerts that alerting.budget allows. Attainable: the fewest that the "
        "history of half of the series can promise; above what was asked for, thresholds are widened and the number is "
        "extrapolated. Seen: alerts that ended in the last 24 hours, times seven; incidents are among them.",
        NO_DETAIL,
    )
    asked = f"avg by (tag, model) ({one(f'anomaly_alert_budget{where}')})"
    attainable = f"quantile by (tag, model) (0.5, {one(f'anomaly_alert_budget_attainable{where}')})"
    seen = f"7 * avg by (tag, model) ({one(f'resets(anomaly_detected{where}[1d])')})"
    letters = {"Value #A": "Asked", "Value #B": "Attainable", "Value #C": "Seen"}
    return table(
        about,
        [Query(query, rows=True) for query in (asked, attainable, seen)],
        columns=["tag", "model", *letters],
        renamed={"tag": "Tag", "model": "Model", **letters},
        sort=("Seen", True),
        unit="none",
        decimals=2,
    )


def training_time(where: str) -> sdk.Panel:
    about = About("Training time", "Wall time of the newest training by model: median and slowest series.", NO_DETAIL)
    seconds = one(f"anomaly_training_duration_seconds{where}")
    queries = [
        Query(f"quantile by (model) (0.5, {seconds})", "{{model}} median", now=True),
        Query(f"max by (model) ({seconds})", "{{model}} slowest", now=True),
    ]
    return bars(about, queries, unit="s")


def inference_time(where: str) -> sdk.Panel:
    about = About(
        "Inference time",
        "Time to score one window of one series, measured at training: median and slowest series. Times the number of "
        "series it has to stay far below the cycle interval.",
        NO_DETAIL,
    )
    seconds = one(f"anomaly_model_inference_seconds{where}")
    queries = [
        Query(f"quantile by (model) (0.5, {seconds})", "{{model}} median", now=True),
        Query(f"max by (model) ({seconds})", "{{model}} slowest", now=True),
    ]
    return bars(about, queries, unit="s")


def data(where: str) -> sdk.Panel:
    about = About(
        "Training data",
        "Observed samples behind a model by split, median over the chosen series. Few test samples make all figures "
        "here uncertain.",
        NO_DETAIL,
    )
    query = Query(f"quantile by (split) (0.5, {one(f'anomaly_training_samples{where}')})", "{{split}}", now=True)
    return bars(about, [query], unit="short", decimals=0)


def worst_models(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Highest MASE",
        "The 15 series whose models do worst against a naive forecast. Often series that hardly move, or jump at "
        "random: candidates for another model. Click a series to see what the model makes of it.",
        NO_DETAIL,
    )
    top = f"topk(15, {_figure(where, 'mase')})"
    r2 = f"{_figure(where, 'r2')} and on ({labels.identity}, split) {top}"
    return table(
        about,
        [
            Query(labels.named(f"max by ({labels.identity}, split) ({top})"), rows=True),
            Query(labels.named(f"max by ({labels.identity}, split) ({r2})"), rows=True),
        ],
        columns=["series", "metric", "model", "split", "Value #A", "Value #B"],
        renamed={
            "series": "Series",
            "metric": "Metric",
            "model": "Model",
            "split": "Split",
            "Value #A": "MASE",
            "Value #B": "R2",
        },
        sort=("MASE", True),
        unit="none",
        decimals=2,
        overrides=[
            hidden(labels),
            named("Series", links=fields.to_series(labels), custom__minWidth=220),
            named("MASE", thresholds=fields.steps(MASE_LIMITS), custom__cellOptions={"type": "color-text"}),
            named("R2", thresholds=fields.steps(R2_LIMITS), custom__cellOptions={"type": "color-text"}),
        ],
    )


def spread(where: str) -> sdk.Panel:
    about = About(
        "MASE of all models",
        "How many models had which MASE, over time; darker means more. A cloud below 1 is good, one that drifts "
        "upwards means that models no longer fit.",
        NO_DETAIL,
    )
    return heatmap(about, [Query(_figure(where, "mase"), "{{metric}}")], unit="none")
