"""Every metric we expose, declared once: the renderer, the docs and the tests of rules and dashboards read this list.

Entity series carry the *entity labels*: static labels (``env``), the target's allow-listed labels, then ``metric``,
``model`` and ``tag``. A spec lists only what comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter"]
Place = Literal["metrics", "detail", "self"]
ENTITY_LABELS = ("metric", "model", "tag")


@dataclass(frozen=True)
class MetricSpec:
    """One metric. ``place``: ``metrics`` and ``detail`` are per entity, ``self`` is about the exporter.

    ``switch`` names the boolean of the section ``exposition`` that turns it off; ``multivariate`` metrics exist only
    for entities of several features.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    place: Place = "metrics"
    unit: str = ""
    switch: str = ""
    multivariate: bool = False


def _entity(name: str, help_: str, *labels: str, kind: Kind = "gauge", **more: object) -> MetricSpec:
    return MetricSpec(name, kind, help_, labels, **more)  # type: ignore[arg-type]


def _detail(name: str, help_: str, *labels: str, unit: str = "") -> MetricSpec:
    return MetricSpec(name, "gauge", help_, labels, "detail", unit)


def _self(name: str, help_: str, *labels: str, kind: Kind = "gauge", unit: str = "") -> MetricSpec:
    return MetricSpec(f"anomaly_exporter_{name}", kind, help_, labels, "self", unit)


ENTITY = (
    _entity(
        "anomaly_reconstruction_error",
        "Error of the model on the newest window, in units of the series' scale; of model auto, its autoencoder's.",
    ),
    _entity(
        "anomaly_threshold",
        "Adaptive threshold of the reconstruction error, in the same units; of model auto, its autoencoder's.",
    ),
    _entity(
        "anomaly_score",
        "1 and above is anomalous, for every model: reconstruction error / threshold, or for model auto how rare the "
        "newest samples are, 1 exactly at the alert budget.",
    ),
    _entity("anomaly_detected", "1 while an anomaly stands after persistence, direction, deviation and hysteresis."),
    _entity(
        "anomaly_shape",
        "1 while the series departs; what it looks like: spike, dip, level_shift, leak, flat_line, zero or variance.",
        "shape",
    ),
    _entity("anomaly_points_total", "Grid points with a score of 1 or above since the start.", kind="counter"),
    _entity("anomaly_observed_value", "Newest observed value, own unit.", "feature", switch="values"),
    _entity("anomaly_expected_value", "Value the model expected, own unit.", "feature", switch="values"),
    _entity(
        "anomaly_expected_lower",
        "Lower edge of the expected band, own unit; of model auto, its autoencoder's.",
        "feature",
        switch="values",
    ),
    _entity(
        "anomaly_expected_upper",
        "Upper edge of the expected band, own unit; of model auto, its autoencoder's.",
        "feature",
        switch="values",
    ),
    _entity(
        "anomaly_contribution_ratio",
        "Share of a feature in the error or, for model auto, in the score, 0 to 1.",
        "feature",
        multivariate=True,
    ),
)

DETAIL = (
    _detail(
        "anomaly_since_timestamp_seconds",
        "Wall time of the first anomalous point of the anomaly that stands; absent while none does.",
        unit="seconds",
    ),
    _detail("anomaly_base_threshold", "Base threshold on held-out errors of the newest training.", "method"),
    _detail("anomaly_alert_budget", "False alerts per week that this series was allowed at the newest training."),
    _detail(
        "anomaly_alert_budget_attainable",
        "Fewest false alerts per week that its history can promise: one in its length. Less is extrapolated.",
    ),
    _detail(
        "anomaly_member_score",
        "Score that one member of the ensemble auto would give alone; its verdict weighs them all.",
        "member",
    ),
    _detail(
        "anomaly_confidence_ratio",
        "How far the threshold can be trusted for the history behind it: sqrt(history / a week), at most 1.",
    ),
    _detail("anomaly_trend_per_second", "Robust slope over hours or days at the last training, own unit.", "feature"),
    _detail(
        "anomaly_seconds_to_limit",
        "Time until a feature that grows steadily reaches its limit; absent while it does not, or without a limit.",
        "feature",
        unit="seconds",
    ),
    _detail(
        "anomaly_regime_changed_timestamp_seconds",
        "Wall time when the series moved to the level that is normal now; absent where it never did.",
        unit="seconds",
    ),
    _detail(
        "anomaly_regime_threshold_ratio",
        "Factor on the threshold while a new regime is not learned yet; absent otherwise.",
    ),
    _detail("anomaly_threshold_previous", "Earlier thresholds, faded and on this model's scale (P)."),
    _detail("anomaly_threshold_recent", "Threshold of the newest held-out data (R)."),
    _detail("anomaly_threshold_previous_sigma", "Spread of the errors behind the earlier thresholds."),
    _detail("anomaly_threshold_recent_sigma", "Spread of the errors behind the recent threshold."),
    _detail("anomaly_threshold_weight", "Weight w of the earlier thresholds before decay."),
    _detail("anomaly_threshold_decay", "Decay factor E = exp(-lambda t) now."),
    _detail("anomaly_above_threshold_ratio", "Share of held-out errors above the base threshold.", "method"),
    _detail("anomaly_above_threshold_mean_error", "Mean of the held-out errors above the base threshold.", "method"),
    _detail(
        "anomaly_model_quality",
        "Figure of the model on a split: mae, rmse, mase, r2. Split injected: recall of injected anomalies, and at "
        "as many alerts the model's and a simple baseline's (level_recall, baseline_recall).",
        "measure",
        "split",
    ),
    _detail("anomaly_model_injected_delay_seconds", "Median time until an injected anomaly is caught.", unit="seconds"),
    _detail("anomaly_model_rejections", "Newer models that the promotion gate rejected in a row."),
    _detail(
        "anomaly_threshold_shift_ratio",
        "Width of the threshold of the model in force, own unit, over that of the model before or of a week ago.",
        "since",
    ),
    _detail("anomaly_model_generation", "Number of the generation in force."),
    _detail(
        "anomaly_model_trained_timestamp_seconds", "Wall time when the model in force was trained.", unit="seconds"
    ),
    _detail(
        "anomaly_model_evaluated_timestamp_seconds", "Wall time when it was last judged on new data.", unit="seconds"
    ),
    _detail(
        "anomaly_model_info",
        "1; says what is in force. Scope is own or shared; beaten_by names a simple member that catches more injected "
        "anomalies at as many alerts.",
        "architecture",
        "scope",
        "champion",
        "beaten_by",
    ),
    _detail("anomaly_model_inference_seconds", "Time to score one window, measured at training.", unit="seconds"),
    _detail("anomaly_training_state", "1 for the state of the newest training run of this series.", "state"),
    _detail("anomaly_training_start_timestamp_seconds", "Wall time when the newest training began.", unit="seconds"),
    _detail("anomaly_training_duration_seconds", "Wall time of the newest training run.", unit="seconds"),
    _detail("anomaly_training_epochs", "Epochs of the newest training run."),
    _detail("anomaly_training_best_epoch", "Epoch whose weights were kept."),
    _detail("anomaly_training_loss", "Best loss of the newest training run.", "split"),
    _detail("anomaly_training_masked_ratio", "Share of training samples masked as outliers."),
    _detail("anomaly_training_samples", "Observed samples of the newest training run.", "split"),
    _detail(
        "anomaly_training_needed",
        "1 when the series waits for a model; reasons are in docs/feedback.md.",
        "reason",
    ),
)

SELF: tuple[MetricSpec, ...] = (
    _self("build_info", "1; version of the exporter.", "version", "python"),
    _self("up", "1 while the exporter answers."),
    _self("start_timestamp_seconds", "Wall time when the process began.", unit="seconds"),
    _self("ready", "1 after the first complete cycle."),
    _self("cycle_interval_seconds", "Wall time between two cycles.", unit="seconds"),
    _self("last_success_timestamp_seconds", "Wall time when the last successful cycle ended.", unit="seconds"),
    _self("cycle_duration_seconds", "Wall time of the last cycle.", unit="seconds"),
    _self("cycles_total", "Cycles run.", "outcome", kind="counter"),
    _self("cycles_skipped_total", "Cycles left out because an earlier one was late.", kind="counter"),
    _self("data_lag_seconds", "Age of the newest sample of a target, data time.", "target", unit="seconds"),
    _self("series_expected", "Entities that the newest answer of a target held.", "target"),
    _self("series_scored", "Entity and model pairs scored in the last cycle.", "target"),
    _self("series_unscored", "Entity and model pairs not scored in the last cycle, by reason.", "target", "reason"),
    _self("queries_total", "Requests to the source, by outcome.", "outcome", kind="counter"),
    _self("partial_responses_total", "Answers refused because they were partial.", kind="counter"),
    _self("samples_read_total", "Samples received from the source.", kind="counter"),
    _self(
        "samples_invalid_total",
        "Newest samples outside of the valid range of their query: they count as missing.",
        "target",
        kind="counter",
    ),
    _self("models", "Models by state.", "target", "state"),
    _self("model_load_failures_total", "Packs or generations that could not be loaded.", "reason", kind="counter"),
    _self("promotions_total", "Models by verdict of the promotion gate.", "verdict", kind="counter"),
    _self(
        "injected_anomalies",
        "Anomalies injected into held-out data of the models in force, when they were judged.",
        "target",
        "model",
        "shape",
    ),
    _self("injected_recall_ratio", "Share of them that is caught.", "target", "model", "shape"),
    _self(
        "injected_delay_seconds",
        "Median over the models of their median time until one is caught.",
        "target",
        "model",
        "shape",
        unit="seconds",
    ),
    _self(
        "tuning_recall_ratio",
        "Recall of injected anomalies at the alert budget, test part, in the newest tuning; variant untuned or tuned.",
        "target",
        "model",
        "variant",
    ),
    _self(
        "tuning_error_ratio",
        "Validation error (MAE in scaler units) in the newest tuning; variant untuned or tuned.",
        "target",
        "model",
        "variant",
    ),
    _self("tuning_timestamp_seconds", "Wall time when the newest tuning finished.", "target", "model", unit="seconds"),
    _self("training_runs_total", "Training processes by outcome.", "outcome", kind="counter"),
    _self("training_running", "1 while a training process of the target runs.", "target"),
    _self(
        "training_last_success_timestamp_seconds",
        "Wall time of the last successful training.",
        "target",
        unit="seconds",
    ),
    _self("training_next_timestamp_seconds", "Wall time when the next training is due.", "target", unit="seconds"),
    _self("training_stage_memory_bytes", "Peak resident memory of a training stage.", "target", "stage", unit="bytes"),
    _self("training_samples_read", "Samples that the newest training read from the source.", "target"),
    _self("training_failure_info", "1; why the newest training failed, absent when it did not.", "target", "reason"),
    _self("training_epoch", "Epoch of the batch in training; absent when none is.", "target", "model"),
    _self("training_loss", "Mean loss of the batch in training, newest epoch.", "target", "model", "split"),
    _self("training_progress_ratio", "Share of the running training that is done.", "target"),
    _self("config_last_reload_successful", "1 when the last reload of the configuration succeeded."),
    _self("config_last_reload_success_timestamp_seconds", "Wall time of the last successful reload.", unit="seconds"),
    _self("http_inflight", "Open HTTP connections."),
    _self("http_requests_total", "HTTP requests by status.", "code", kind="counter"),
    _self("http_rejected_total", "Connections turned away, by reason.", "reason", kind="counter"),
    _self("control_info", "1; where the pages of the control API are or, without them, how to have them.", "url"),
    _self("control_inflight", "Open connections of the control API; absent where it is off."),
    _self("control_requests_total", "Requests to the control API and its pages, by status.", "code", kind="counter"),
    _self("control_rejected_total", "Connections of the control API turned away, by reason.", "reason", kind="counter"),
    _self("control_changes_total", "Changes asked for, by action and outcome.", "action", "outcome", kind="counter"),
    _self("control_auth_failures_total", "Requests without valid credentials, by reason.", "reason", kind="counter"),
    _self("control_tokens", "Tokens in force; 0 while the file of tokens cannot be used."),
    _self("store_failures_total", "Writes to the store that failed, by reason.", "reason", kind="counter"),
    _self("exposition_samples", "Samples on the page.", "page"),
    _self("exposition_bytes", "Size of the rendered page.", "page", unit="bytes"),
    _self("total_shards", "Number of shards."),
    _self("shard_ordinal", "Number of this shard, from 0."),
    _self("canary_value", "Series with a spike on a schedule, where a canary is enabled.", "canary"),
    _self(
        "canary_injected_timestamp_seconds",
        "Wall time when the newest spike began whose alert is expected.",
        "canary",
        unit="seconds",
    ),
    _self(
        "canary_received_timestamp_seconds",
        "Wall time when the newest alert of the canary came back by webhook.",
        "canary",
        unit="seconds",
    ),
    _self("feedback_syncs_total", "Looks at a source of feedback.", "source", "outcome", kind="counter"),
    _self(
        "feedback_last_success_timestamp_seconds",
        "Wall time when a source of feedback was last read.",
        "source",
        unit="seconds",
    ),
    _self("feedback_skipped_total", "Silences, annotations and blobs that were left out.", "reason", kind="counter"),
    _self("feedback_statements", "Statements in force.", "verdict"),
    _self("feedback_conflicts", "Pairs of statements in force that disagree."),
    _self("process_resident_memory_bytes", "Resident memory of this process.", unit="bytes"),
)

PEOPLE = (
    MetricSpec(
        "anomaly_feedback_total", "counter", "Verdicts that people gave on alerts.", ("tag", "verdict"), place="self"
    ),
    MetricSpec(
        "anomaly_alert_precision_ratio",
        "gauge",
        "Incidents among the verdicts of the last weeks; absent without verdicts.",
        ("tag",),
        place="self",
    ),
    MetricSpec(
        "anomaly_labelled_events",
        "gauge",
        "What the models in force say of the stretches that people spoke of: tp, fp, fn, tn.",
        ("tag", "model", "outcome"),
        place="self",
    ),
    MetricSpec(
        "anomaly_labelled_precision_ratio", "gauge", "Of those, tp / (tp + fp).", ("tag", "model"), place="self"
    ),
    MetricSpec("anomaly_labelled_recall_ratio", "gauge", "Of those, tp / (tp + fn).", ("tag", "model"), place="self"),
    MetricSpec(
        "anomaly_labelled_f1_ratio", "gauge", "Of those, 2 tp / (2 tp + fp + fn).", ("tag", "model"), place="self"
    ),
)
"""What people said, per tag; like the exporter's own metrics these never go stale."""

SELF = (*SELF, *PEOPLE)
ALL = (*ENTITY, *DETAIL, *SELF)
BY_NAME = {m.name: m for m in ALL}

UNSCORED_REASONS = (
    "no_data",
    "no_model",
    "warmup",
    "gap",
    "features",
    "config_changed",
    "duplicate",
    "limit",
    "model_failed",
)
