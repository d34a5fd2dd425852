"""Promises of the way from configuration to science."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest

from anomaly_exporter import specs
from anomaly_exporter.config import Alerting, Config, Model, Threshold, parse
from anomaly_models.alerting import AlertSpec
from anomaly_models.budget import BudgetSpec
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.model_spec import ModelSpec
from anomaly_models.thresholds import ThresholdSpec
from anomaly_models.time_of_day import Calendar

CONFIG = """
files: {path: series}
models:
  small: {recipe: fc, window: 12, tail: 2, scaler: standard, seed: 7, epochs: 9, learning_rate: 0.01}
targets:
  - name: pods
    metric: resources
    models: [small]
    zero_gap: 2
    queries: [{name: cpu, expr: cpu}, {name: memory, expr: memory}, {name: disk, expr: disk}]
    labels: [namespace]
    training: {contamination: 0.02, max_gap: 5}
    threshold: {base: p99, half_life: 6h, ceiling: 4}
    alerting: {persistence: 2, direction: up, minimum_deviation: 0.5}
"""


@pytest.fixture(name="config")
def _config() -> Config:
    return parse(CONFIG)


def test_a_model_keeps_every_field_and_gains_the_targets_fewest_features(config: Config) -> None:
    model = config.model("small")
    spec = specs.model_spec(model, config.target("pods"))
    assert asdict(spec) == {**model.model_dump(), "min_features": 2}
    assert (spec.recipe, spec.window, spec.tail, spec.scaler, spec.seed) == ("fc", 12, 2, "standard", 7)


def test_cleaning_takes_the_targets_gaps_and_the_models_seed(config: Config) -> None:
    assert specs.cleaning_spec(config.target("pods"), config.model("small")) == CleaningSpec(0.02, 5, 2, 7)


def test_thresholds_and_alerts_keep_every_field(config: Config) -> None:
    target = config.target("pods")
    threshold = asdict(specs.threshold_spec(target))
    assert threshold.pop("budget") == asdict(BudgetSpec())  # may differ between entities, see specs.budgets
    assert threshold == target.threshold.model_dump()
    alert = asdict(specs.alert_spec(target, config.model("small")))
    written = target.alerting.model_dump(exclude={"budget"})
    assert {name: alert[name] for name in written} == written
    assert specs.threshold_spec(target).half_life == 6 * 3600
    assert specs.alert_spec(target, config.model("small")).direction == "up"


def test_no_field_of_a_section_is_forgotten() -> None:
    assert {f.name for f in fields(ModelSpec)} == {*Model.model_fields, "min_features"}
    assert {f.name for f in fields(ThresholdSpec)} - {"budget"} == set(Threshold.model_fields)
    # The budget belongs to the score, the other two have sections of their own.
    assert {f.name for f in fields(AlertSpec)} - {"hold_after_restart", "regime"} == {*Alerting.model_fields} - {
        "budget"
    }


def test_the_defaults_of_thresholds_and_alerts_are_those_of_the_configuration() -> None:
    assert specs.threshold(Threshold()) == ThresholdSpec()
    assert specs.alert(Alerting(), specs.UNCALIBRATED_PERSISTENCE) == AlertSpec()


def test_a_setting_left_out_means_the_same_to_the_exporter_and_to_a_notebook() -> None:
    config = parse("files: {path: series}\ntargets: [{name: t, metric: cpu, queries: [{expr: up}]}]")
    target = config.target("t")
    assert specs.model_spec(config.model("fc"), target) == ModelSpec("fc")
    assert specs.threshold_spec(target) == ThresholdSpec()
    # Calibrated to a budget, one score is enough for an alert.
    assert replace(specs.alert_spec(target, config.model("fc")), regime=None) == AlertSpec(persistence=1)
    assert specs.cleaning_spec(target, config.model("fc")) == CleaningSpec()


@pytest.mark.parametrize(
    ("section", "recipe", "steps"),
    [
        ("", "auto", 1),
        ("", "fc", 1),
        ("threshold: {base: mad}", "auto", 1),
        ("threshold: {base: mad}", "zscore", 3),
        ("alerting: {persistence: 4}", "auto", 4),
        ("alerting: {persistence: 4}", "fc", 4),
    ],
)
def test_persistence_follows_from_the_calibration_where_nobody_set_it(section: str, recipe: str, steps: int) -> None:
    config = parse(
        f"files: {{path: series}}\ntargets: [{{name: t, metric: cpu, queries: [{{expr: up}}]}}]\n{section}\n"
    )
    target = config.target("t")
    assert specs.alert_spec(target, config.model(recipe)).persistence == steps


def test_the_season_reaches_the_ensemble_and_a_targets_own_wins() -> None:
    config = parse(
        "files: {path: series}\nseason: {timezone: Europe/Berlin, excluded_days: [2026-12-25]}\ntargets:\n"
        "  - {name: a, metric: a, queries: [{expr: up}]}\n"
        "  - {name: b, metric: b, queries: [{expr: up}], season: {timezone: Asia/Tokyo}}\n"
    )
    first, second = (specs.ensemble_spec(t).usual.calendar for t in config.targets)
    assert first == Calendar("Europe/Berlin", ("2026-12-25",))
    assert second == Calendar("Asia/Tokyo", ("2026-12-25",))


def test_an_ensemble_needs_the_samples_of_its_slowest_member() -> None:
    config = parse("files: {path: series}\ntargets: [{name: t, metric: cpu, queries: [{expr: up}], step: 60s}]")
    target = config.target("t")
    assert specs.window(config.model("fc"), target) == 24
    assert specs.window(config.model("auto"), target) >= 120
