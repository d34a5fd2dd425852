"""Promises of training: nobody disturbs anybody, time order is kept, nothing that is not finite is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anomaly_models import scorers, windows
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Block, EntityKey, Scorer, Span, Windows
from anomaly_models.model_spec import ModelSpec
from anomaly_models.pack import decode, encode
from anomaly_models.thresholds import (
    Recent,
    ThresholdInputs,
    ThresholdSpec,
    ThresholdStack,
    adaptive,
    base_threshold,
)
from anomaly_models.training import Plan, Previous, Probe, prepare, survey, train
from anomaly_models.training.held_out import detected, in_runs, recent
from anomaly_models.zscore import ZScore

STEP = 300
DAY = 86_400
PLAN = Plan(ModelSpec("zscore", window=6), CleaningSpec(contamination=0))


def key(name: object) -> EntityKey:
    return EntityKey.of("t", {"container": str(name)})


def a_block(entities: int = 3, days: float = 4, features: int = 1, seed: int = 0, start: int = 0) -> Block:
    rows = int(days * DAY / STEP)
    t = start + np.arange(rows) * STEP
    noise = np.random.default_rng(seed).normal(size=(rows, entities, features))
    values = 10 + np.sin(2 * np.pi * t / DAY)[:, None, None] + 0.1 * noise
    names = tuple(f"f{i}" for i in range(features))
    return Block(start, STEP, tuple(key(i) for i in range(entities)), names, values.astype(np.float32))


def changed(block: Block, at: Any, value: float) -> Block:
    values = block.values.copy()
    values[at] = value
    return replace(block, values=values)


def test_every_entity_gets_a_row_with_threshold_and_figures() -> None:
    batch = train(a_block(), PLAN)
    assert [(r.entity, r.row) for r in batch.rows] == [(key(i), i) for i in range(3)]
    assert batch.failed == {}
    row = batch.rows[0]
    assert set(row.figures["quality"]) == {"train", "validation", "test"}
    assert set(row.figures["quality"]["test"]) == {"mae", "rmse", "mase", "r2"}
    assert set(row.figures["base"]) == {"budget", "mean_std", "mad", "p95", "p99"}
    assert row.figures["above"]["p95"]["ratio"] == pytest.approx(0.05, abs=0.01)
    assert row.threshold.recent.at == row.data_end == a_block().end - STEP


def test_the_pack_survives_the_way_to_bytes_and_back() -> None:
    batch = train(a_block(), PLAN, provenance={"versions": {"numpy": "x"}})
    assert batch.pack is not None
    encoded = encode(batch.pack)
    pack = decode(encoded.digest, encoded.files["pack.json"], lambda f, _: encoded.files[f])
    assert isinstance(scorers.restore(pack.kind, pack.spec, pack.tensors), ZScore)
    assert pack.rows[1]["entity"] == {"target": "t", "labels": {"container": "1"}}
    assert pack.rows[1]["provenance"] == {"versions": {"numpy": "x"}}


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("recipe", ["zscore", "seasonal"])
def test_an_entity_trains_alone_as_it_does_among_others_of_other_ages(recipe: str, stride: int) -> None:
    block = changed(a_block(days=9), np.s_[:101, 1], np.nan)
    block = changed(block, np.s_[-37:, 2], np.nan)
    plan = replace(PLAN, model=ModelSpec(recipe, window=6, stride=stride))
    together = train(block, plan)
    for i in range(3):
        rows = np.flatnonzero(np.isfinite(block.values[:, i, 0])) * STEP
        alone = train(block.take([i]).slice(Span(rows[0], rows[-1] + 1)), plan)
        assert together.rows[i].threshold == alone.rows[0].threshold
        assert together.rows[i].samples == alone.rows[0].samples
        assert together.rows[i].figures["base"] == alone.rows[0].figures["base"]


def test_what_cannot_be_trained_is_named_and_the_others_are_untouched() -> None:
    block = a_block(5)
    block = changed(block, np.s_[:, 1], np.nan)
    block = changed(block, np.s_[20:, 2], np.nan)
    block = changed(block, np.s_[::2, 3], np.nan)
    plan = replace(PLAN, min_samples=50, cleaning=CleaningSpec(contamination=0, max_gap=0))
    batch = train(block, plan)
    assert batch.failed == {key(1): "no_data", key(2): "too_short", key(3): "no_windows"}
    assert [r.entity for r in batch.rows] == [key(0), key(4)]
    alone = train(block.take([0]), plan)
    assert batch.rows[0].threshold == alone.rows[0].threshold


@pytest.mark.parametrize(("samples", "reason"), [(99, "too_short"), (100, None)])
def test_the_fewest_samples_are_enough_and_one_less_is_not(samples: int, reason: str | None) -> None:
    block = changed(a_block(1), np.s_[samples:], np.nan)
    assert train(block, replace(PLAN, min_samples=100)).failed.get(key(0)) == reason


def test_a_batch_of_nothing_is_no_pack() -> None:
    batch = train(changed(a_block(2), np.s_[:], np.nan), PLAN)
    assert batch.pack is None
    assert batch.scorer is None
    assert set(batch.failed.values()) == {"no_data"}


def test_three_hours_of_minutes_are_enough() -> None:
    values = a_block(1, days=1).values[:180]
    batch = train(Block(0, 60, (key(0),), ("f0",), values), replace(PLAN, model=ModelSpec("pca", window=24)))
    assert batch.failed == {}


def test_a_constant_series_gets_a_finite_threshold() -> None:
    batch = train(changed(a_block(2), np.s_[:, 0], 5.0), PLAN)
    assert batch.failed == {}
    assert np.isfinite(batch.rows[0].threshold.recent.value)


def test_more_than_64_entities_are_refused() -> None:
    with pytest.raises(InvalidShapeError, match="at most 64 entities, received 65"):
        train(a_block(65, days=0.1), PLAN)


class _Broken:
    """A learner whose model of one entity is not finite."""

    def __init__(self, row: int, value: float) -> None:
        self.row, self.value = row, value

    def fit(self, train: Windows, val: Windows, y: Any, warm: Scorer | None, seed: int) -> Scorer:
        good = scorers.simple_learner(PLAN.model).fit(train, val, y, warm, seed)
        assert isinstance(good, ZScore)
        good.scaler.center[self.row] = self.value
        return good


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_is_not_finite_is_left_out_and_the_others_are_kept(value: float) -> None:
    with mock.patch("anomaly_models.training.batch.make_learner", return_value=_Broken(1, value)):
        batch = train(a_block(), PLAN)
    assert batch.failed == {key(1): "diverged"}
    assert [(r.entity, r.row) for r in batch.rows] == [(key(0), 0), (key(2), 1)]
    assert batch.pack is not None
    assert all(np.isfinite(t).all() and t.shape[0] == 2 for t in batch.pack.tensors.values())


def test_parts_follow_each_other_in_time_for_every_entity() -> None:
    """Also for an entity that appears late and one with a hole: the shares are of observed samples."""
    block = changed(a_block(3), np.s_[:600, 1], np.nan)
    block = changed(block, np.s_[100:900, 2], np.nan)
    model = PLAN.model
    parts = prepare(survey(block, model, PLAN.cleaning, PLAN.split, 1), model, PLAN.cleaning)
    for i in range(3):
        observed = np.flatnonzero(np.isfinite(block.values[:, i, 0]))
        cuts = [observed[0], observed[round(observed.size * 0.7)], observed[round(observed.size * 0.85)], block.end]
        for name, first, last in zip(("train", "validation", "test"), cuts[:-1], cuts[1:], strict=True):
            w: Windows = getattr(parts, name)
            ends = w.end[i][windows.usable(w)[i]] // STEP
            assert ends.min() >= first
            assert ends.max() < last
        assert parts.samples[i].sum() == observed.size
        learned = parts.train.end[i][windows.usable(parts.train)[i]] // STEP
        assert learned.max() - (model.window - 1) + model.window <= cuts[1]
    assert parts.test_start[1] == STEP * (600 + round(552 * 0.85))


def test_masked_outliers_are_not_learned_but_stay_in_the_held_out_parts() -> None:
    block = a_block(1, days=6)
    wild = np.arange(50, 1000, 100)
    block = changed(block, (wild, 0, 0), 500.0)
    block = changed(block, (1600, 0, 0), 500.0)
    masked = replace(PLAN.cleaning, contamination=0.02)
    parts = prepare(survey(block, PLAN.model, masked, PLAN.split, 1), PLAN.model, masked)
    learned = parts.train.x[0][windows.usable(parts.train)[0]]
    assert learned.max() < 20
    assert parts.masked_ratio[0] >= wild.size / 1209
    assert np.nanmax(parts.test.x) == 500


def test_what_was_carried_forward_from_a_masked_sample_is_masked_too() -> None:
    block = changed(a_block(1, days=6), (500, 0, 0), 500.0)
    block = changed(block, np.s_[501:503], np.nan)
    masked = replace(PLAN.cleaning, contamination=0.02)
    parts = prepare(survey(block, PLAN.model, masked, PLAN.split, 1), PLAN.model, masked)
    assert np.nanmax(parts.train.x) < 20


def test_the_threshold_is_the_base_threshold_of_the_newest_day_held_out() -> None:
    block = a_block(1, days=14)
    plan = replace(PLAN, threshold=ThresholdSpec(base="p99"))
    batch = train(block, plan)
    assert batch.scorer is not None
    w = windows.make(block.values, np.isfinite(block.values), 0, STEP, 6)
    newest = batch.scorer.infer(w).error[0, -288:]
    assert batch.rows[0].threshold.recent.value == pytest.approx(base_threshold(newest, "p99", 5))


def test_a_lasting_anomaly_in_the_held_out_data_does_not_raise_the_threshold() -> None:
    calm = a_block(1, days=14)
    fault = changed(calm, np.s_[-30:-20], 100.0)
    with_fault, without = (train(b, PLAN).rows[0].threshold.recent.value for b in (fault, calm))
    assert with_fault == pytest.approx(without, rel=0.1)


def held_out_errors(n: int, level: float, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.full(n, level, np.float32), start + STEP * np.arange(n, dtype=np.int64)


def test_few_test_windows_are_joined_by_older_ones() -> None:
    """30 in the newest day are enough; else the whole test part; else validation too."""
    spec = ThresholdSpec(base="mad", recent=29 * STEP)
    validation = held_out_errors(50, 5.0)

    def value(test: int, spec: ThresholdSpec) -> tuple[float, int]:
        errors, end = held_out_errors(test, 1.0, start=50 * STEP)
        errors[:-29] = 3.0
        measured, looked_at, _ = recent(validation, (errors, end), spec, 3)
        return measured.value, looked_at.size

    assert value(100, replace(spec, recent=30 * STEP))[0] == 1.0
    assert value(100, spec) == (3.0, 100)
    assert value(29, spec) == (5.0, 79)


def test_earlier_thresholds_come_back_on_the_new_scale() -> None:
    """The unit of the errors halves when the scale of the model doubles; remembered thresholds follow."""
    block = a_block(2, days=10)
    first = train(block, PLAN)
    assert first.scorer is not None
    inputs = ThresholdInputs(Recent(DAY, 4.0, 1.0), (Recent(0, 2.0, 0.5),))
    old = first.scorer
    assert isinstance(old, ZScore)
    wide = ZScore(old.window, old.tail, replace(old.scaler, scale=old.scaler.scale * 2))
    previous = Previous(
        {key(0): wide.take([0]), key(1): old.take([1])}, {key(0): inputs, key(1): inputs}, {key(0): 0, key(1): 0}
    )
    rows = train(block, PLAN, previous).rows
    assert [r.value for r in rows[0].threshold.earlier] == pytest.approx([8.0, 4.0], rel=1e-5)
    assert [r.sigma for r in rows[0].threshold.earlier] == pytest.approx([2.0, 1.0], rel=1e-5)
    assert rows[1].threshold.earlier == (Recent(DAY, pytest.approx(4.0), pytest.approx(1.0)), *inputs.earlier)


@pytest.mark.parametrize("common", [19, 20])
def test_models_are_compared_only_on_what_neither_learned(common: int) -> None:
    block = a_block(1, days=10)
    first = train(block, PLAN)
    assert first.scorer is not None
    inputs = ThresholdInputs(Recent(0, 4.0, 1.0))
    start = block.end - common * STEP
    row = train(block, PLAN, Previous({key(0): first.scorer}, {key(0): inputs}, {key(0): start})).rows[0]
    assert len(row.threshold.earlier) == (1 if common == 20 else 0)


def test_another_architecture_starts_without_a_past() -> None:
    block = a_block(1, days=10)
    other = train(block, replace(PLAN, model=ModelSpec("zscore", window=7)))
    assert other.scorer is not None
    previous = Previous({key(0): other.scorer}, {key(0): ThresholdInputs(Recent(0, 4.0, 1.0))}, {key(0): 0})
    assert train(block, PLAN, previous).rows[0].threshold.earlier == ()


def test_training_again_without_new_data_remembers_nothing_twice() -> None:
    block = a_block(1, days=10)
    first = train(block, PLAN)
    assert first.scorer is not None
    row = first.rows[0]
    again = train(block, PLAN, Previous({key(0): first.scorer}, {key(0): row.threshold}, {key(0): row.test_start}))
    assert again.rows[0].threshold == row.threshold


def test_stages_are_measured_by_the_probe() -> None:
    memory, clock = count(100, 100), count()
    batch = train(a_block(2), PLAN, probe=Probe(lambda: next(memory), lambda: float(next(clock))))
    assert batch.stage_memory == {"clean": 100, "fit": 200, "score": 300}
    assert batch.rows[0].seconds == 0.5
    assert batch.rows[0].inference_seconds > 0


@given(hnp.arrays(np.bool_, st.integers(0, 40)), st.integers(1, 6))
def test_runs_are_found_as_counting_finds_them(above: np.ndarray, length: int) -> None:
    def counted() -> Iterator[bool]:
        for i, value in enumerate(above):
            first = i
            while first > 0 and above[first - 1]:
                first -= 1
            last = i
            while last + 1 < above.size and above[last + 1]:
                last += 1
            yield bool(value) and last - first + 1 >= length

    assert in_runs(above, length).tolist() == list(counted())


def test_errors_that_cannot_be_scored_are_not_detected() -> None:
    assert not detected(np.full(5, np.nan, np.float32), ThresholdSpec(), 3).any()


@pytest.mark.keras
def test_an_autoencoder_trains_beside_a_dead_neighbour_and_starts_warm_next_time() -> None:
    block = changed(a_block(3, days=3), np.s_[:, 1], np.nan)
    plan = replace(PLAN, model=ModelSpec("fc", window=6, epochs=4, stride=2))
    said: list[Any] = []
    first = train(block, plan, progress=said.append)
    assert first.failed == {key(1): "no_data"}
    assert first.scorer is not None
    assert first.pack is not None
    assert first.pack.kind == "autoencoder"
    assert (first.rows[0].epochs, first.rows[0].best_epoch) == (4, 4)
    assert set(first.rows[0].loss) == {"train", "validation"}
    assert [s.epoch for s in said] == [1, 2, 3, 4]
    # Only the first of the two has a model in force: it starts warm, the other cold.
    row = first.rows[0]
    previous = Previous({key(0): first.scorer.take([0])}, {key(0): row.threshold}, {key(0): row.test_start})
    again = train(block, plan, previous)
    assert again.rows[0].loss["validation"] < row.loss["validation"]
    assert again.rows[1].loss == pytest.approx(first.rows[1].loss)


@pytest.mark.keras
def test_an_autoencoder_of_a_constant_series_sees_the_first_step_away_from_it() -> None:
    block = changed(a_block(2, days=2), np.s_[:, 0], 5.0)
    plan = replace(PLAN, model=ModelSpec("fc", window=6, epochs=2, stride=2))
    batch = train(block, plan)
    assert batch.failed == {}
    assert batch.scorer is not None
    stepped = changed(block, np.s_[-1:, 0], 6.0)
    w = windows.make(stepped.values, np.isfinite(stepped.values), 0, STEP, 6)
    error = batch.scorer.infer(w).error[0]
    spec = plan.threshold
    threshold = adaptive(ThresholdStack.of([batch.rows[0].threshold]), spec, stepped.end).threshold[0, 0]
    assert error[-2] < threshold < error[-1]
