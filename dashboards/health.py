"""Exporter health: does the exporter itself do its work, and what does it cost."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.models import dashboard as sdk

from .board import Layout, own_alerts
from .board import dashboard as assemble
from .fields import BAD, GOOD, NOTICE, WARN, between, fixed, like, named, states, steps
from .panels import About, Query, stat, table, timeseries
from .promql import Labels, fleet, one

NO_EXPORTER: Final = "no exporter: nothing with anomaly_exporter_* metrics is scraped"
PROCESS: Final = "by (instance)"


def dashboard(_labels: Labels) -> sdk.Dashboard:
    """The metrics here carry no labels of series, so the label profile changes nothing."""
    layout = Layout()
    layout.line(
        4,
        (4, detection()),
        (4, processes()),
        (4, coverage()),
        (4, reload()),
        (4, version()),
        (4, uptime()),
    )
    layout.line(8, (12, cycle_time()), (12, lag()))
    layout.line(8, (12, scored()), (12, unscored()))
    layout.line(8, (8, cycles()), (8, queries()), (8, samples()))
    layout.line(8, (8, models()), (8, failures()), (8, training_age()))
    layout.row("Resources and pages")
    layout.line(8, (8, memory()), (8, cardinality()), (8, page_size()))
    layout.line(8, (8, requests()), (8, connections()), (8, rejected()))
    layout.row("Control API", folded=True)
    layout.line(8, (8, control_requests()), (8, changes()), (8, refused()))
    return assemble(
        "anomaly-exporter-health",
        "Anomalies / Exporter health",
        "Whether the exporter does its work: cycles, data, coverage, models, memory, pages.",
        layout,
        variables=[],
        annotations=[own_alerts()],
    )


def detection() -> sdk.Panel:
    about = About(
        "Detection",
        "Alive while every exporter has finished a cycle within three cycle intervals. Blind means: missing anomaly "
        "alerts mean nothing.",
        "no exporter",
    )
    expr = "max((time() - anomaly_exporter_last_success_timestamp_seconds) / anomaly_exporter_cycle_interval_seconds)"
    mappings = [between(None, 3, "alive", GOOD), between(3, None, "blind", BAD, 1)]
    return stat(about, Query(expr, now=True), unit="none", steps=((None, BAD),), mappings=mappings, filled=True)


def processes() -> sdk.Panel:
    about = About(
        "Shards that answer",
        "Exporters that answer, as a share of the shards they should be. Below 100 % some series are watched by "
        "nobody; above it there are replicas, or a rollout is under way.",
        "no exporter",
    )
    expr = "sum(anomaly_exporter_up) / max(anomaly_exporter_total_shards)"
    return stat(about, Query(expr), unit="percentunit", decimals=0, steps=((None, BAD), (1, GOOD)), trend=True)


def coverage() -> sdk.Panel:
    about = About(
        "Coverage",
        "Share of the known series and models that got a score in the newest cycle. See below why the others got none.",
        "no exporter",
    )
    got = f"sum({fleet('anomaly_exporter_series_scored', '')})"
    missed = f"(sum({fleet('anomaly_exporter_series_unscored', '')}) or vector(0))"
    marks = ((None, BAD), (0.8, NOTICE), (0.95, GOOD))
    return stat(about, Query(f"{got} / ({got} + {missed})"), unit="percentunit", decimals=1, steps=marks, trend=True)


def reload() -> sdk.Panel:
    about = About(
        "Configuration",
        "Whether the last reload was accepted. Refused: the file on disk is wrong and the configuration before it "
        "stays in force; after a restart the exporter would not start. Its log names path and value.",
        "no exporter",
    )
    mappings = [states({"1": ("accepted", GOOD), "0": ("refused", BAD)})]
    query = Query("min(anomaly_exporter_config_last_reload_successful)", now=True)
    return stat(about, query, unit="none", mappings=mappings, steps=((None, BAD),), filled=True)


def version() -> sdk.Panel:
    about = About("Version", "Version of the exporter; several while a rollout is under way.", "no exporter")
    query = Query("count by (version) (anomaly_exporter_build_info)", "{{version}}", now=True)
    return stat(about, query, unit="none", show="name")


def uptime() -> sdk.Panel:
    about = About(
        "Started",
        "When the youngest exporter process began. More often than you deploy means that it crashes.",
        "no exporter",
    )
    query = Query("max(anomaly_exporter_start_timestamp_seconds) * 1000", now=True)
    return stat(about, query, unit="dateTimeFromNow")


def cycle_time() -> sdk.Panel:
    about = About(
        "Time of a cycle",
        "How long reading, scoring and publishing took, against the interval in which it has to be done. A cycle above "
        "the dashed line makes the next one late.",
        NO_EXPORTER,
    )
    lines = [
        Query(f"max {PROCESS} (anomaly_exporter_cycle_duration_seconds)", "{{instance}}"),
        Query("min(anomaly_exporter_cycle_interval_seconds)", "interval"),
    ]
    overrides = [
        named("interval", color=fixed(BAD), custom__lineStyle={"fill": "dash", "dash": [8, 6]}, custom__fillOpacity=0)
    ]
    return timeseries(about, lines, unit="s", low=0, fill=10, overrides=overrides)


def lag() -> sdk.Panel:
    about = About(
        "Age of the newest sample",
        "How old the newest sample of each target is. A line that climbs steadily is a source that delivers nothing "
        "new: its series are not scored, rather than scored wrongly.",
        NO_EXPORTER,
    )
    return timeseries(about, [Query(one("anomaly_exporter_data_lag_seconds"), "{{target}}")], unit="s", low=0)


def scored() -> sdk.Panel:
    about = About(
        "Scored series by target",
        "Series and models that got a score in the newest cycle. A step downwards is series that vanished, or data "
        "that stopped.",
        NO_EXPORTER,
    )
    query = Query(fleet("anomaly_exporter_series_scored", ""), "{{target}}")
    return timeseries(about, [query], unit="none", low=0, stacked=True)


def unscored() -> sdk.Panel:
    about = About(
        "Series without a score, by reason",
        "no_data: the source has nothing now. no_model: waits for training. warmup: not enough history in memory yet. "
        "gap: too many samples missing in the window. config_changed: the queries changed since the training. limit: "
        "above exposition.max_series. duplicate: another target has the same labels.",
        NO_EXPORTER,
    )
    query = Query(f"sum by (reason) ({fleet('anomaly_exporter_series_unscored', 'reason')}) > 0", "{{reason}}")
    return timeseries(about, [query], unit="none", low=0, stacked=True)


def cycles() -> sdk.Panel:
    about = About(
        "Cycles per minute",
        "By outcome; skipped ones were left out because the one before was late.",
        NO_EXPORTER,
    )
    lines = [
        Query("sum by (outcome) (rate(anomaly_exporter_cycles_total[$__rate_interval])) * 60", "{{outcome}}"),
        Query("sum(rate(anomaly_exporter_cycles_skipped_total[$__rate_interval])) * 60", "skipped"),
    ]
    overrides = [
        like("^succe", color=fixed(GOOD)),
        like("^partial", color=fixed(NOTICE)),
        like("^fail", color=fixed(BAD)),
        named("skipped", color=fixed(WARN)),
    ]
    return timeseries(about, lines, unit="short", low=0, fill=10, overrides=overrides)


def queries() -> sdk.Panel:
    about = About(
        "Requests to the source",
        "Requests per second by outcome. unavailable: no answer or overload, tried again. rejected: the query is "
        "wrong. limit: too much asked at once, asked again in smaller parts.",
        NO_EXPORTER,
    )
    query = Query("sum by (outcome) (rate(anomaly_exporter_queries_total[$__rate_interval])) > 0", "{{outcome}}")
    return timeseries(about, [query], unit="reqps", low=0, stacked=True)


def samples() -> sdk.Panel:
    about = About(
        "Samples read, partial answers refused",
        "Samples received per second; a partial answer is refused, because what it lacks would look like a gap.",
        NO_EXPORTER,
    )
    lines = [
        Query("sum(rate(anomaly_exporter_samples_read_total[$__rate_interval]))", "samples"),
        Query("sum(rate(anomaly_exporter_partial_responses_total[$__rate_interval]))", "partial answers"),
    ]
    overrides = [named("partial answers", color=fixed(BAD), custom__axisPlacement="right", unit="reqps")]
    return timeseries(about, lines, unit="cps", low=0, overrides=overrides)


def models() -> sdk.Panel:
    about = About("Models by state", "Models that the exporter holds, over all targets.", NO_EXPORTER)
    query = Query(f"sum by (state) ({fleet('anomaly_exporter_models', 'state')})", "{{state}}")
    colors = {"loaded": GOOD, "untrained": NOTICE, "stale": WARN, "failed": BAD}
    overrides = [named(state, color=fixed(color)) for state, color in colors.items()]
    return timeseries(about, [query], unit="none", low=0, stacked=True, overrides=overrides)


def failures() -> sdk.Panel:
    about = About(
        "Failures in this time range",
        "Models or generations that could not be loaded, and writes to the store that failed, by reason. The models "
        "before them stay in force.",
        "no failure was reported in this time range",
    )
    increase = "sum by (reason) (increase(anomaly_exporter_{}_total[$__range])) > 0"
    counts = [
        f'label_replace({increase.format(name)}, "of", "{words}", "", "")'
        for name, words in (("model_load_failures", "loading models"), ("store_failures", "writing to the store"))
    ]
    return table(
        about,
        [Query(" or ".join(counts), rows=True)],
        columns=["of", "reason", "Value"],
        renamed={"of": "Failed", "reason": "Reason", "Value": "Times"},
        sort=("Times", True),
        unit="none",
        decimals=0,
        overrides=[named("Times", thresholds=steps(((None, BAD),)), custom__cellOptions={"type": "color-text"})],
    )


def training_age() -> sdk.Panel:
    about = About(
        "Since the last successful training",
        "A saw tooth: it falls to zero with every successful training. A tooth of twice the usual height is a failed "
        "one, and the alert AnomalyTrainingFailing comes soon.",
        "no training has succeeded yet",
    )
    expr = f"time() - {one('anomaly_exporter_training_last_success_timestamp_seconds')}"
    return timeseries(about, [Query(expr, "{{target}}")], unit="s", low=0)


def memory() -> sdk.Panel:
    about = About(
        "Memory",
        "Resident memory of each exporter process, and of the training process at its largest. Serving memory that "
        "only ever rises is a leak.",
        NO_EXPORTER,
    )
    lines = [
        Query(f"max {PROCESS} (anomaly_exporter_process_resident_memory_bytes)", "serve {{instance}}"),
        Query("max(anomaly_exporter_training_stage_memory_bytes)", "training, largest stage"),
    ]
    return timeseries(about, lines, unit="bytes", low=0)


def cardinality() -> sdk.Panel:
    about = About(
        "Samples on the pages",
        "How many series a scrape of each page adds to Prometheus, per exporter. Compare with sampleLimit of the "
        "ServiceMonitor: beyond it the whole scrape is dropped.",
        NO_EXPORTER,
    )
    return timeseries(
        about, [Query("max by (page) (anomaly_exporter_exposition_samples)", "{{page}}")], unit="short", low=0
    )


def page_size() -> sdk.Panel:
    about = About(
        "Size of the pages",
        "Bytes of each rendered page before compression, per exporter.",
        NO_EXPORTER,
    )
    query = Query("max by (page) (anomaly_exporter_exposition_bytes)", "{{page}}")
    return timeseries(about, [query], unit="bytes", low=0)


def requests() -> sdk.Panel:
    about = About(
        "HTTP requests",
        "Requests per second by status code. Every scrape is one; 503 means too many connections, 404 a wrong path.",
        NO_EXPORTER,
    )
    query = Query("sum by (code) (rate(anomaly_exporter_http_requests_total[$__rate_interval]))", "{{code}}")
    return timeseries(about, [query], unit="reqps", low=0, stacked=True)


def connections() -> sdk.Panel:
    about = About("Open connections", "HTTP connections that are open at the same time, per process.", NO_EXPORTER)
    query = Query(f"max {PROCESS} (anomaly_exporter_http_inflight)", "{{instance}}")
    return timeseries(about, [query], unit="none", low=0)


def rejected() -> sdk.Panel:
    about = About(
        "Connections turned away",
        "By reason, within the time range. Some are ordinary on an open network; many mean a scraper that is too slow, "
        "or an attack.",
        "none was reported in this time range",
    )
    return table(
        about,
        [Query("sum by (reason) (increase(anomaly_exporter_http_rejected_total[$__range])) > 0", rows=True)],
        columns=["reason", "Value"],
        renamed={"reason": "Reason", "Value": "Times"},
        sort=("Times", True),
        unit="none",
        decimals=0,
        overrides=[named("Times", thresholds=steps(((None, WARN),)), custom__cellOptions={"type": "color-text"})],
    )


NO_CONTROL: Final = "the control API is off, see docs/control.md"


def control_requests() -> sdk.Panel:
    about = About(
        "Control requests",
        "Requests per second to the control API and its pages, by status code. 401 and 403: not let in, 409: something "
        "else is under way, 422: not valid, 429: more often than allowed.",
        NO_CONTROL,
    )
    query = Query("sum by (code) (rate(anomaly_exporter_control_requests_total[$__rate_interval]))", "{{code}}")
    return timeseries(about, [query], unit="reqps", low=0, stacked=True)


def changes() -> sdk.Panel:
    about = About(
        "Changes",
        "What people and programs did by the control API in each interval: trainings started and stopped, models "
        "promoted and rolled back, feedback. The log has a line for each with who and what (msg=audit).",
        NO_CONTROL,
    )
    expr = "sum by (action, outcome) (increase(anomaly_exporter_control_changes_total[$__rate_interval])) > 0"
    return timeseries(about, [Query(expr, "{{action}} {{outcome}}")], unit="none", low=0, bars=True, stacked=True)


def refused() -> sdk.Panel:
    about = About(
        "Not let in",
        "Requests per second that were refused, by reason: token and login (not known), header (identity from "
        "elsewhere than the proxy), form and origin (not sent by our page), role (may not), missing (no credentials).",
        NO_CONTROL,
    )
    reasons = "sum by (reason) (rate(anomaly_exporter_control_auth_failures_total[$__rate_interval]))"
    return timeseries(about, [Query(reasons, "{{reason}}")], unit="reqps", low=0, stacked=True)
