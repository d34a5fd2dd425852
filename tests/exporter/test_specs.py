"""Promises of the way from configuration to science."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from anomaly_exporter import specs
from anomaly_exporter.config import Alerting, Config, Model, Threshold, parse
from anomaly_models.alerting import AlertSpec
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.model_spec import ModelSpec
from anomaly_models.thresholds import ThresholdSpec

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
    assert asdict(specs.threshold_spec(target)) == target.threshold.model_dump()
    assert asdict(specs.alert_spec(target, config.model("small"))) == target.alerting.model_dump()
    assert specs.threshold_spec(target).half_life == 6 * 3600
    assert specs.alert_spec(target, config.model("small")).direction == "up"


def test_no_field_of_a_section_is_forgotten() -> None:
    assert {f.name for f in fields(ModelSpec)} == {*Model.model_fields, "min_features"}
    assert {f.name for f in fields(ThresholdSpec)} == set(Threshold.model_fields)
    assert {f.name for f in fields(AlertSpec)} == set(Alerting.model_fields)


def test_the_defaults_of_thresholds_and_alerts_are_those_of_the_configuration() -> None:
    assert specs.threshold(Threshold()) == ThresholdSpec()
    assert specs.alert(Alerting(), specs.UNCALIBRATED_PERSISTENCE) == AlertSpec()


def test_a_setting_left_out_means_the_same_to_the_exporter_and_to_a_notebook() -> None:
    config = parse("files: {path: series}\ntargets: [{name: t, metric: cpu, queries: [{expr: up}]}]")
    target = config.target("t")
    assert specs.model_spec(config.model("fc"), target) == ModelSpec("fc")
    assert specs.threshold_spec(target) == ThresholdSpec()
    assert specs.alert_spec(target, config.model("fc")) == AlertSpec()
    assert specs.cleaning_spec(target, config.model("fc")) == CleaningSpec()
