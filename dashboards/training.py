"""Training: what runs, what failed, what waits, what was decided."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as sdk

from . import fields
from .board import Layout, chained, control_variable, own_alerts, page_link
from .board import dashboard as assemble
from .fields import (
    ANY_IS_BAD,
    ANY_IS_NOTABLE,
    BAD,
    GOOD,
    NEUTRAL,
    TRAINING_STATES,
    WARN,
    like,
    named,
    states,
)
from .panels import About, Query, stat, table, timeline, timeseries
from .promql import Labels, also, fleet, one
from .series import hidden

VARIABLES: Final = ("env", "namespace", "container", "metric", "model")
NO_DETAIL: Final = "no training yet, or /metrics/detail is not scraped"
NO_MODEL: Final = "no model yet"
STATE_NUMBERS: Final = {"waiting": 0, "succeeded": 1, "stopped": 2, "failed": 3, "running": 4}
"""State -> number in the state timeline; of several states at the same time the highest is shown."""


def dashboard(labels: Labels) -> sdk.Dashboard:
    where = labels.where(*VARIABLES)
    layout = Layout()
    layout.line(
        4,
        (4, running()),
        (4, needed(where)),
        (4, failed(where)),
        (4, in_force(where)),
        (4, oldest(where)),
        (4, next_run()),
    )
    layout.line(7, (12, states_over_time(where)), (12, processes()))
    layout.line(11, (24, runs(labels, where)))
    layout.line(6, (8, progress()), (8, reasons()), (8, decisions()))
    layout.line(6, (16, waiting(labels, where)), (8, runs_by_outcome()))
    layout.line(6, (8, scopes(where)), (16, confidence(labels, where)))
    layout.line(7, (9, failures()), (15, learning()))
    layout.row("What training costs and how it converges")
    layout.line(8, (8, memory()), (8, losses(where)), (8, durations(where)))
    layout.line(8, (8, epochs(where)), (8, masked(where)), (8, samples_read()))
    return assemble(
        "anomaly-training",
        "Anomalies / Training",
        "What is being trained, what failed, which series wait for a model, and what training costs.",
        layout,
        variables=[*chained(labels, VARIABLES, multi=True), control_variable()],
        pages=[
            page_link("Train", "${control:raw}/train", "Train a target now, this once with other parameters."),
            page_link("Stop", "${control:raw}/stop", "Stop a training; the models in force stay."),
        ],
        annotations=[own_alerts()],
        since="now-24h",
    )


def running() -> sdk.Panel:
    about = About("Training now", "Targets whose models are being trained at this moment.", "no exporter")
    return stat(about, Query(f"sum({one('anomaly_exporter_training_running')})", now=True), unit="none")


def needed(where: str) -> sdk.Panel:
    about = About(
        "Need training",
        "Series that wait for a model: new ones (for up to two hours, or until they have enough history), and those "
        "whose model is stale, drifted or rejected. The table below says which and why.",
        NO_MODEL,
    )
    query = Query(f"sum({one(f'anomaly_training_needed{where}')})")
    return stat(about, query, unit="none", steps=ANY_IS_NOTABLE, trend=True)


def failed(where: str) -> sdk.Panel:
    about = About(
        "Failed",
        "Series whose newest training failed. The models before it stay in force, so detection goes on.",
        NO_MODEL,
    )
    expr = f"count({_in_state(where, 'failed')}) or 0 * count({one(f'anomaly_training_needed{where}')})"
    return stat(about, Query(expr), unit="none", steps=ANY_IS_BAD, trend=True)


def _in_state(where: str, state: str) -> str:
    return one(f"anomaly_training_state{also(where, state=state)}")


def in_force(where: str) -> sdk.Panel:
    about = About("Models in force", "Series and models that have a model of the newest generations.", NO_MODEL)
    query = Query(f"count({one(f'anomaly_model_generation{where}')})")
    return stat(about, query, unit="none", trend=True)


def oldest(where: str) -> sdk.Panel:
    about = About(
        "Oldest model",
        "When the oldest model in force was trained. Older than two training intervals means that its training fails, "
        "or that the promotion gate keeps it because newer ones are worse.",
        NO_MODEL,
    )
    query = Query(f"min({one(f'anomaly_model_trained_timestamp_seconds{where}')}) * 1000", now=True)
    return stat(about, query, unit="dateTimeFromNow")


def next_run() -> sdk.Panel:
    about = About("Next training", "When the next training of any target begins.", "running or unknown")
    query = Query("min(anomaly_exporter_training_next_timestamp_seconds > time()) * 1000", now=True)
    return stat(about, query, unit="dateTimeFromNow")


def states_over_time(where: str) -> sdk.Panel:
    about = About(
        "Training of every metric over time",
        "A row per metric and model. Blue is a running training, green a succeeded one, red at least one failed "
        "series, yellow only series that wait for their first model. Regular short blue bars on green are health.",
        NO_DETAIL,
    )
    parts = [
        f"max by (metric, model) ({_in_state(where, state)}) * {number}"
        for state, number in sorted(STATE_NUMBERS.items(), key=lambda item: -item[1])
    ]
    names = {str(number): (state, TRAINING_STATES[state]) for state, number in STATE_NUMBERS.items()}
    query = Query(" or ".join(parts), "{{metric}} ({{model}})")
    return timeline(about, [query], mappings=[states(names)], written=True)


def processes() -> sdk.Panel:
    about = About(
        "Training processes",
        "A row per target, blue while its training process runs. Bars that grow longer from run to run, or that touch "
        "each other, mean that training no longer fits into its interval.",
        "no exporter",
    )
    names = {"0": ("idle", "transparent"), "1": ("training", NEUTRAL)}
    query = Query(one("anomaly_exporter_training_running"), "{{target}}")
    return timeline(about, [query], mappings=[states(names)], written=True)


def runs(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Newest training of every series",
        "When it began, how it ended, how long it took, how many passes over the data it made, the loss on data held "
        "back from it. Waiting: no model yet. Click a series to see what the model makes of it.",
        NO_DETAIL,
    )
    identity = labels.identity
    values = {
        "Status": f"max by ({identity}, state) (anomaly_training_state{where})",
        "Started": f"max by ({identity}) (anomaly_training_start_timestamp_seconds{where}) * 1000",
        "Duration": f"max by ({identity}) (anomaly_training_duration_seconds{where})",
        "Epochs": f"max by ({identity}) (anomaly_training_epochs{where})",
        "Loss": f"max by ({identity}) (anomaly_training_loss{also(where, split='validation')})",
    }
    letters = {f"Value #{chr(ord('A') + index)}": name for index, name in enumerate(values)}
    names = {
        "series": "Series",
        "env": "Env",
        "model": "Model",
        labels.namespace: "Namespace",
        labels.container: "Container",
        "metric": "Metric",
        "Value #B": "Started",
        "state": "Status",
    }
    colors = {state: (state, color) for state, color in TRAINING_STATES.items()}
    absent = fields.mapping({"$__all": ("–", "text")})
    return table(
        about,
        [Query(labels.named(expr), rows=True) for expr in values.values()],
        columns=[*names, *(letter for letter in letters if letter not in ("Value #A", "Value #B"))],
        left_out=["Value #A"],
        renamed={**letters, **names},
        paged=True,
        sort=("Started", True),
        unit="none",
        overrides=[
            named("Series", links=[*fields.to_series(labels), *fields.to_training()], custom__minWidth=200),
            like("^(Namespace|Container)$", mappings=absent, custom__minWidth=105),
            like("^(workload|node)$", custom__hidden=True),
            named("Started", unit="dateTimeAsIso", custom__width=170),
            named(
                "Status",
                mappings=fields.mapping(colors),
                custom__cellOptions={"type": "color-text"},
                custom__width=110,
            ),
            named("Duration", unit="s"),
            named("Loss", decimals=4),
        ],
    )


def progress() -> sdk.Panel:
    about = About(
        "Progress of running trainings",
        "Share of the models of a target that are done. Empty while nothing is being trained.",
        "nothing is being trained now; see Next training",
    )
    expr = f"{one('anomaly_exporter_training_progress_ratio')} and {one('anomaly_exporter_training_running')} == 1"
    gauge = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
    return table(
        about,
        [Query(expr, rows=True)],
        columns=["target", "Value"],
        renamed={"target": "Target", "Value": "Done"},
        sort=("Target", False),
        overrides=[named("Done", unit="percentunit", min=0, max=1, custom__cellOptions=gauge)],
    )


def reasons() -> sdk.Panel:
    about = About(
        "Why series are not scored",
        "no_model: no training has succeeded yet. model_failed: its training fails. config_changed: the queries "
        "changed, the next training makes a new one. warmup, gap, no_data: a matter of the data, not of training.",
        "no series is known to be without a score",
    )
    return table(
        about,
        [Query(f"{fleet('anomaly_exporter_series_unscored', 'reason')} > 0", rows=True)],
        columns=["target", "reason", "Value"],
        renamed={"target": "Target", "reason": "Reason", "Value": "Series"},
        sort=("Series", True),
        unit="none",
        overrides=[
            named("Series", thresholds=fields.steps(((None, WARN),)), custom__cellOptions={"type": "color-text"})
        ],
    )


def decisions() -> sdk.Panel:
    about = About(
        "Decisions of the promotion gate",
        "How many new models were put in force or turned down. A rejected model leaves the one before it in force; "
        "many rejections in a row mean that the data has changed.",
        "none so far",
    )
    query = Query(
        "sum by (verdict) (increase(anomaly_exporter_promotions_total[$__range])) > 0", "{{verdict}}", now=True
    )
    overrides = [
        like("^(promoted|accepted|first)", thresholds=fields.steps(((None, GOOD),))),
        like("^(rejected|refused)", thresholds=fields.steps(((None, WARN),))),
    ]
    return stat(about, query, unit="none", decimals=0, show="value_and_name", overrides=overrides)


def failures() -> sdk.Panel:
    about = About(
        "Why trainings failed",
        "Targets whose newest training process failed, and why. The models before it stay in force; the next attempt "
        "comes after a pause that doubles each time.",
        "no training has failed",
    )
    return table(
        about,
        [Query(one("anomaly_exporter_training_failure_info"), rows=True)],
        columns=["target", "reason"],
        renamed={"target": "Target", "reason": "Reason"},
        sort=("Target", False),
    )


def learning() -> sdk.Panel:
    about = About(
        "Loss curves of running trainings",
        "Loss after every pass over the data, mean of the models being fitted; each fall is one batch of models. "
        "Validation that rises while train falls means learning by heart: early stopping keeps the weights before it.",
        "nothing is being fitted now; see Next training",
    )
    query = Query(one("anomaly_exporter_training_loss"), "{{target}} {{model}} {{split}}")
    return timeseries(about, [query], unit="none", low=0)


def waiting(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Series that need training",
        "And why: no_model (new, or too little history yet), config_changed (other queries), model_failed (it cannot "
        "be loaded), shared (served by the model of all), rejected (by the gate, again and again), drifted (a new "
        "level that no model knows, or anomalous for a day), stale (three trainings left it out).",
        "no series is known to wait for a model",
    )
    expr = f"{one(f'anomaly_training_needed{where}')} == 1"
    return table(
        about,
        [Query(labels.named(expr), rows=True)],
        columns=["series", "metric", "model", "reason", "tag"],
        renamed={"series": "Series", "metric": "Metric", "model": "Model", "reason": "Why", "tag": "Tag"},
        sort=("Series", False),
        overrides=[
            hidden(labels, "Value", "Value #A"),
            named("Series", links=[*fields.to_series(labels), *fields.to_training()]),
        ],
    )


def scopes(where: str) -> sdk.Panel:
    about = About(
        "Whose weights score",
        "own: the series' own model. shared: the model of all series, because the series is new, or because its own is "
        "not better. New series stand under shared within minutes of their first samples.",
        NO_DETAIL,
    )
    query = Query(f"count by (scope) ({one(f'anomaly_model_info{where}')})", "{{scope}}")
    overrides = [named("own", thresholds=fields.steps(((None, GOOD),)))]
    return timeseries(about, [query], unit="none", low=0, stacked=True, fill=30, overrides=overrides)


def confidence(labels: Labels, where: str) -> sdk.Panel:
    about = About(
        "Series with little history",
        "The ten that are trusted least. Confidence is sqrt(history / a week): 13 % after three hours, 38 % after a "
        "day. Until it is high, thresholds are wide and a false alert is more likely.",
        NO_DETAIL,
    )
    expr = f"bottomk(10, {one(f'anomaly_confidence_ratio{where}')} < 1)"
    return table(
        about,
        [Query(labels.named(expr), rows=True)],
        columns=["series", "metric", "model", "Value"],
        renamed={"series": "Series", "metric": "Metric", "model": "Model", "Value": "Confidence"},
        sort=("Confidence", False),
        unit="percentunit",
        overrides=[hidden(labels, "tag"), named("Series", links=[*fields.to_series(labels), *fields.to_training()])],
    )


def runs_by_outcome() -> sdk.Panel:
    about = About(
        "Training runs by outcome",
        "Runs of the training process within the time range.",
        "none so far",
    )
    query = Query(
        "sum by (outcome) (increase(anomaly_exporter_training_runs_total[$__range])) > 0", "{{outcome}}", now=True
    )
    overrides = [
        named("succeeded", thresholds=fields.steps(((None, GOOD),))),
        named("failed", thresholds=fields.steps(((None, BAD),))),
        named("stopped", thresholds=fields.steps(((None, WARN),))),
    ]
    return stat(about, query, unit="none", decimals=0, show="value_and_name", overrides=overrides)


def memory() -> sdk.Panel:
    about = About(
        "Memory of training by stage",
        "Largest resident memory of the training process in each stage of its newest run. Freed is what is left after "
        "the garbage collection at the end: if it grows from run to run, something is kept.",
        "no training yet",
    )
    query = Query(f"max by (stage) ({one('anomaly_exporter_training_stage_memory_bytes')})", "{{stage}}")
    return timeseries(about, [query], unit="bytes", low=0)


def losses(where: str) -> sdk.Panel:
    about = About(
        "Loss of each training",
        "Best loss of the newest training, median over the chosen series. Validation far above train means learning by "
        "heart; a step upwards means that the data has changed.",
        NO_DETAIL,
    )
    query = Query(f"quantile by (split) (0.5, {one(f'anomaly_training_loss{where}')})", "{{split}}")
    return timeseries(about, [query], unit="none", low=0)


def durations(where: str) -> sdk.Panel:
    about = About(
        "Training time of a series",
        "Wall time of the newest training, by model: the median series and the slowest one.",
        NO_DETAIL,
    )
    seconds = one(f"anomaly_training_duration_seconds{where}")
    queries = [
        Query(f"quantile by (model) (0.5, {seconds})", "{{model}} median"),
        Query(f"max by (model) ({seconds})", "{{model}} slowest"),
    ]
    return timeseries(about, queries, unit="s", low=0)


def epochs(where: str) -> sdk.Panel:
    about = About(
        "Epochs",
        "Passes over the data until training stopped by itself, and the pass whose weights were kept; median over the "
        "chosen series. Both equal to the configured maximum means that it was cut off.",
        NO_DETAIL,
    )
    queries = [
        Query(f"quantile by (model) (0.5, {one(f'anomaly_training_epochs{where}')})", "{{model}} epochs"),
        Query(f"quantile by (model) (0.5, {one(f'anomaly_training_best_epoch{where}')})", "{{model}} best epoch"),
    ]
    return timeseries(about, queries, unit="none", low=0)


def masked(where: str) -> sdk.Panel:
    about = About(
        "Masked as outliers",
        "Share of the training samples that were set aside as outliers, so that past incidents are not learned as "
        "normal: the median series and the one with most.",
        NO_DETAIL,
    )
    ratio = one(f"anomaly_training_masked_ratio{where}")
    queries = [
        Query(f"quantile by (metric) (0.5, {ratio})", "{{metric}} median"),
        Query(f"max by (metric) ({ratio})", "{{metric}} most"),
    ]
    return timeseries(about, queries, unit="percentunit", low=0)


def samples_read() -> sdk.Panel:
    about = About(
        "Samples read for training",
        "How much the newest training asked the source for. The first one reads the whole history, the ones after it "
        "only what is new: a return to the first level means that the store was lost.",
        "no training yet",
    )
    query = Query(one("anomaly_exporter_training_samples_read"), "{{target}}")
    return timeseries(about, [query], unit="short", low=0)
