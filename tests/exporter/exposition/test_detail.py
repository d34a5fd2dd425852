"""The detail page shows what a generation says, who waits for training, and nothing that is not a number."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from anomaly_exporter.exposition import DetailCache, Labels, Page, render_detail
from anomaly_exporter.exposition.detail import PARTS, STATIC
from anomaly_exporter.exposition.state import PER_FEATURE, PER_SERIES
from anomaly_exporter.metrics import DETAIL
from anomaly_exporter.snapshot import Snapshot, TargetView, TrainingStatus, Unscored
from anomaly_models.frame import EntityKey
from support.snapshots import NOW, config_of, entry_of, scores_of

FIGURES = {
    "quality": {"test": {"mae": 0.5, "rmse": 0.75, "mase": 0.9, "r2": 0.8}, "train": {"mae": 0.25}},
    "base": {"mean_std": 2.5, "p99": 3.5},
    "budget": {"asked": 0.5, "attainable": 0.25, "expected": 0.75, "widened": 1.1},
    "above": {"mean_std": {"ratio": 0.01, "mean_error": 4.5}},
    "injected": {
        "recall": 0.75,
        "delay": 120,
        "recall_beside_baseline": 0.8,
        "baseline": "seasonal",
        "baseline_recall": 0.9,
        "beats_baseline": False,
    },
}
GATE = {"rejections": 12, "stuck": True, "shift": {"current": 1.5}}
TRAINING = {
    "state": "succeeded",
    "recipe": "zscore",
    "architecture": "zscore",
    "samples": {"train": 700, "validation": 150, "test": 150},
    "epochs": 12,
    "best_epoch": 9,
    "loss": {"train": 0.1, "validation": 0.2},
    "masked_ratio": 0.01,
    "seconds": 3.5,
    "inference_seconds": 1e-05,
    "started_at": NOW - 700.0,
}


def _view(**fields: Any) -> TargetView:
    entries = [
        entry_of("cpu", {"namespace": "dbs", "container": "web"}, figures=FIGURES, training=TRAINING, gate=GATE),
        entry_of("cpu", {"namespace": "das", "container": "web"}, figures={"base": 7}, training={"epochs": "many"}),
    ]
    members = np.array([[1.5, np.nan], [0.5, 0.25]], np.float32)
    scores = scores_of(entries, shown=np.array([True, False]), members=members, member_names=("season", "level"))
    waiting = Unscored("zscore", "no_model", (EntityKey.of("cpu", {"namespace": "new", "container": "web"}),))
    late = Unscored("zscore", "no_data", (entries[1].entity,))
    values = {"scores": (scores,), "unscored": (waiting, late), "generation": 4, **fields}
    return TargetView("cpu", NOW, NOW, **values)


def _render(view: TargetView, status: TrainingStatus | None = None) -> Page:
    training = {"cpu": status} if status else {}
    return render_detail(Snapshot(NOW, (view,)), training, Labels(config_of()), DetailCache())


def _values(page: Page, namespace: str) -> dict[tuple[str, ...], float]:
    fixed = {"env", "namespace", "container", "metric", "model", "tag"}
    return {
        (s.name, *(v for k, v in s.labels.items() if k not in fixed)): s.value
        for family in text_string_to_metric_families(page.text.decode())
        for s in family.samples
        if s.labels["namespace"] == namespace
    }


def test_every_figure_of_a_generation_is_on_the_page() -> None:
    values = _values(_render(_view()), "dbs")
    assert values == {
        ("anomaly_base_threshold", "mean_std"): 2.5,
        ("anomaly_base_threshold", "p99"): 3.5,
        ("anomaly_alert_budget",): 0.5,
        ("anomaly_confidence_ratio",): 0.5,
        ("anomaly_alert_budget_attainable",): 0.25,
        ("anomaly_member_score", "season"): 1.5,
        **{(name,): 0.25 for name in PARTS},
        ("anomaly_above_threshold_ratio", "mean_std"): 0.01,
        ("anomaly_above_threshold_mean_error", "mean_std"): 4.5,
        ("anomaly_model_quality", "mae", "test"): 0.5,
        ("anomaly_model_quality", "rmse", "test"): 0.75,
        ("anomaly_model_quality", "mase", "test"): 0.9,
        ("anomaly_model_quality", "r2", "test"): 0.8,
        ("anomaly_model_quality", "mae", "train"): 0.25,
        ("anomaly_model_generation",): 4,
        ("anomaly_model_trained_timestamp_seconds",): NOW - 600,
        ("anomaly_model_evaluated_timestamp_seconds",): NOW - 500,
        ("anomaly_model_quality", "recall", "injected"): 0.75,
        ("anomaly_model_quality", "level_recall", "injected"): 0.8,
        ("anomaly_model_quality", "baseline_recall", "injected"): 0.9,
        ("anomaly_model_injected_delay_seconds",): 120,
        ("anomaly_model_rejections",): 12,
        ("anomaly_threshold_shift_ratio", "current"): 1.5,
        ("anomaly_model_info", "zscore", "own", "zscore", "seasonal"): 1,
        ("anomaly_model_inference_seconds",): 1e-05,
        ("anomaly_training_state", "succeeded"): 1,
        ("anomaly_training_start_timestamp_seconds",): NOW - 700,
        ("anomaly_training_duration_seconds",): 3.5,
        ("anomaly_training_epochs",): 12,
        ("anomaly_training_best_epoch",): 9,
        ("anomaly_training_loss", "train"): 0.1,
        ("anomaly_training_loss", "validation"): 0.2,
        ("anomaly_training_masked_ratio",): 0.01,
        ("anomaly_training_samples", "train"): 700,
        ("anomaly_training_samples", "validation"): 150,
        ("anomaly_training_samples", "test"): 150,
        ("anomaly_training_needed", "rejected"): 1,
    }
    elsewhere = {*PER_SERIES, *PER_FEATURE}
    assert {name for name, *_ in values} == {spec.name for spec in DETAIL} - elsewhere


def test_a_model_that_waits_for_nothing_and_beats_its_baseline_says_so() -> None:
    values = _values(_render(_view()), "das")
    assert values["anomaly_training_needed", ""] == 0
    assert values["anomaly_model_info", "zscore", "own", "zscore", ""] == 1


def test_figures_that_do_not_exist_or_are_no_numbers_are_absent() -> None:
    values = _values(_render(_view()), "das")
    assert ("anomaly_training_epochs",) not in values
    assert not [name for name, *_ in values if name in ("anomaly_base_threshold", *PARTS)]
    assert values["anomaly_model_generation",] == 4, "a model in force without data is still a model in force"


def test_a_series_without_a_model_waits_for_training() -> None:
    assert _values(_render(_view()), "new") == {
        ("anomaly_training_needed", "no_model"): 1,
        ("anomaly_training_state", "waiting"): 1,
    }


def test_a_running_or_failed_training_shows_for_all_series_of_its_target() -> None:
    for state in ("running", "failed", "stopped"):
        page = _render(_view(), TrainingStatus(state=state))
        for namespace in ("dbs", "das", "new"):
            assert _values(page, namespace)["anomaly_training_state", state] == 1


def test_a_row_that_does_not_speak_for_its_series_is_absent_altogether() -> None:
    view = _view()
    scores = scores_of(view.scores[0].entries, owned=np.array([False, True]), shown=np.array([False, True]))
    page = _render(_view(scores=(scores,)))
    assert _values(page, "dbs") == {}
    assert _values(page, "das")


def test_lines_of_a_generation_are_kept_until_its_rows_change() -> None:
    cache, labels, scores = DetailCache(), Labels(config_of()), _view().scores[0]
    first = cache.of("cpu", scores, labels)
    assert cache.of("cpu", scores, labels) is first
    changed = scores_of(scores.entries, owned=np.array([True, False]))
    assert cache.of("cpu", changed, labels) != first
    cache.sweep()
    cache.sweep()
    assert cache.of("cpu", scores, labels) is not first


def test_promtool_has_nothing_to_complain_about() -> None:
    out = subprocess.run(
        ["promtool", "check", "metrics"], input=_render(_view()).text, capture_output=True, check=False, timeout=30
    )
    assert (out.stdout + out.stderr).decode() == ""


def test_every_detail_metric_has_a_place_it_comes_from() -> None:
    live = {
        "anomaly_confidence_ratio",
        "anomaly_member_score",
        "anomaly_model_generation",
        "anomaly_training_state",
        "anomaly_training_needed",
    }
    assert {*STATIC, *PARTS, *PER_SERIES, *PER_FEATURE, *live} == {spec.name for spec in DETAIL}
