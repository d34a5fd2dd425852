"""The alert budget on its way through training and walks: out-of-fold errors, figures, renewed thresholds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomaly_models import following
from anomaly_models.alerting import AlertSpec
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.estimator import AnomalyDetector
from anomaly_models.evaluation import walk
from anomaly_models.frame import Block, EntityKey, Span
from anomaly_models.model_spec import ModelSpec
from anomaly_models.thresholds import Recent, ThresholdInputs, ThresholdSpec, ThresholdStack, adaptive
from anomaly_models.training import Plan, Previous, TrainedBatch, train
from anomaly_models.training.out_of_fold import FOLDS

STEP = 300
DAY = 86_400
PER_DAY = DAY // STEP
PLAN = Plan(ModelSpec("zscore", window=2), CleaningSpec(contamination=0), persistence=1)
NAMES = "ab"


def a_block(days: float = 10, features: int = 1, seed: int = 0) -> Block:
    rows = round(days * PER_DAY)
    noise = np.random.default_rng(seed).normal(size=(rows, 2, features))
    wave = np.sin(2 * np.pi * np.arange(rows) / PER_DAY)[:, None, None]
    entities = tuple(EntityKey.of("t", {"c": name}) for name in NAMES)
    names = tuple(f"f{i}" for i in range(features))
    return Block(0, STEP, entities, names, (10 + wave + 0.3 * noise).astype(np.float32))


def trained(block: Block, plan: Plan = PLAN, previous: Previous | None = None) -> TrainedBatch:
    batch = train(block, plan, previous)
    assert batch.failed == {}
    return batch


@pytest.mark.parametrize("recipe", ["zscore", "seasonal", "pca"])
def test_a_cheap_model_is_measured_on_its_training_part_too_without_having_learned_it(recipe: str) -> None:
    block = a_block()
    batch = trained(block, replace(PLAN, model=ModelSpec(recipe, window=6)))
    for row in batch.rows:
        assert np.unique(row.sample.end).size == row.sample.end.size
        assert (np.diff(row.sample.end) > 0).all()
        assert row.sample.end[0] < 0.1 * block.end
        assert row.sample.errors.size > 0.97 * block.values.shape[0]


def test_a_part_that_only_occurs_once_is_as_strange_to_its_fold_as_it_will_be_next_time() -> None:
    """A plateau in one block of the training part: the model that learned from it knows it, its fold does not."""
    block = a_block(14)
    plateau = slice(2 * PER_DAY, 3 * PER_DAY)
    block.values[plateau, :, 0] = np.random.default_rng(5).normal(18, 0.3, (PER_DAY, 2))
    plan = replace(PLAN, model=ModelSpec("pca", window=12))
    batch = trained(block, plan)
    assert batch.scorer is not None
    times = np.arange(plateau.start + 20, plateau.stop) * STEP
    for i, row in enumerate(batch.rows):
        out_of_fold = row.sample.errors[np.isin(row.sample.end, times)]
        said = walk(batch.scorer, [r.threshold for r in batch.rows], block, plan, AlertSpec(persistence=1))
        learned = said.error[i, np.isin(said.end, times)]
        assert np.median(out_of_fold) > np.median(learned)


def test_errors_of_the_folds_are_in_units_of_the_final_model() -> None:
    block = a_block(12)
    block.values[: 3 * PER_DAY] = 10 + 20 * (block.values[: 3 * PER_DAY] - 10)  # one fold is much noisier
    row = trained(block).rows[0]
    center, scale = (t[0, 0] for t in (trained(block).pack.tensors[n] for n in ("center", "scale")))  # type: ignore[union-attr]
    late = np.abs(block.values[-PER_DAY:, 0, 0] - center) / scale
    assert row.sample.errors[-PER_DAY:] == pytest.approx(late, rel=1e-4)
    quiet = row.sample.errors[(row.sample.end >= 5 * DAY) & (row.sample.end < 8 * DAY)]
    assert np.median(quiet) == pytest.approx(np.median(late), rel=0.5)


def test_several_features_fold_by_fold_make_one_error_each() -> None:
    block = a_block(8, features=3)
    block.values[100:400, 0, 1] = np.nan
    row = trained(block, replace(PLAN, model=ModelSpec("pca", window=6, min_features=2))).rows[0]
    assert np.isfinite(row.sample.errors).all()
    assert row.sample.errors.size > 0.9 * block.values.shape[0]


def test_a_short_history_is_not_cut_into_folds() -> None:
    block = a_block(0.2)
    row = trained(block, replace(PLAN, model=ModelSpec("pca", window=6))).rows[0]
    assert row.sample.errors.size <= 0.35 * block.values.shape[0]
    assert FOLDS * 6 > 0.7 * 0.2 * PER_DAY / 4


def test_figures_say_what_was_asked_for_and_what_the_history_can_promise() -> None:
    batch = trained(a_block(7), replace(PLAN, budget=0.5, budgets={EntityKey.of("t", {"c": "b"}): 20.0}))
    first, second = (row.figures["budget"] for row in batch.rows)
    assert (first["asked"], second["asked"]) == (0.5, 20.0)
    assert first["attainable"] == pytest.approx(1, rel=0.05)
    assert first["widened"] == pytest.approx(np.sqrt(1 + 1 / 7), rel=0.01)
    assert first["expected"] <= 3
    assert batch.rows[0].figures["base"]["budget"] > batch.rows[1].figures["base"]["budget"]


@pytest.mark.parametrize("base", ["budget", "mean_std"])
def test_the_budget_is_the_threshold_only_where_it_was_chosen(base: str) -> None:
    row = trained(a_block(), replace(PLAN, threshold=ThresholdSpec(base=base))).rows[0]  # type: ignore[arg-type]
    assert (row.threshold.recent.value == row.figures["base"]["budget"]) is (base == "budget")


def test_the_next_generation_remembers_and_may_not_leap() -> None:
    """The newest day is ten times as noisy: the generation after it knows, and rises by half at most."""
    block = a_block(11)
    before = trained(block.slice(Span(0, 10 * DAY)))
    assert before.scorer is not None
    block.values[10 * PER_DAY :] = 10 + 10 * (block.values[10 * PER_DAY :] - 10)
    previous = Previous(
        {r.entity: before.scorer.take([i]) for i, r in enumerate(before.rows)},
        {r.entity: r.threshold for r in before.rows},
        {r.entity: r.test_start for r in before.rows},
    )
    free, bound = trained(block), trained(block, previous=previous)
    for i, row in enumerate(bound.rows):
        assert len(row.threshold.earlier) == 1
        last = row.threshold.earlier[0].value
        assert last < row.threshold.recent.value <= 1.5 * last * (1 + 1e-6)
        assert row.threshold.recent.value < free.rows[i].threshold.recent.value


def test_the_threshold_of_a_budget_passes_through_the_adaptive_threshold() -> None:
    recent, earlier = Recent(DAY, 4.0, 1.0), (Recent(0, 2.0, 1.0),)
    parts = adaptive(ThresholdStack.of([ThresholdInputs(recent, earlier)]), ThresholdSpec(), DAY)
    assert 2.0 < parts.threshold[0, 0] < 4.0


def test_a_walk_renews_thresholds_as_trainers_would() -> None:
    """Errors grow threefold after training: with renewed thresholds the flood ends, without it goes on."""
    block = a_block(20)
    block.values[10 * PER_DAY :] = 10 + 3 * (block.values[10 * PER_DAY :] - 10)
    batch = trained(block.slice(Span(0, 10 * DAY)))
    assert batch.scorer is not None
    inputs, samples = [r.threshold for r in batch.rows], [r.sample for r in batch.rows]
    alert = AlertSpec(persistence=1)
    fixed = walk(batch.scorer, inputs, block, PLAN, alert, since=10 * DAY)
    renewed = walk(batch.scorer, inputs, block, PLAN, alert, since=10 * DAY, renew=True, samples=samples)
    np.testing.assert_array_equal(fixed.error, renewed.error)
    late = fixed.end >= 17 * DAY
    assert (fixed.score[:, late] >= 1).sum() > 5 * max((renewed.score[:, late] >= 1).sum(), 1)
    np.testing.assert_allclose(renewed.threshold[:, 0], fixed.threshold[:, 0], rtol=1e-5)
    assert [r.sample for r in batch.rows] == samples, "what was learned is not changed by a walk"


def test_a_walk_in_periods_uses_only_what_was_known_when_each_began() -> None:
    block = a_block(14)
    batch = trained(block.slice(Span(0, 10 * DAY)))
    assert batch.scorer is not None
    inputs, samples = [r.threshold for r in batch.rows], [r.sample for r in batch.rows]
    alert = AlertSpec(persistence=1)

    def walked(of: Block) -> np.ndarray:
        assert batch.scorer is not None
        return walk(batch.scorer, inputs, of, PLAN, alert, since=10 * DAY, renew=True, samples=samples).threshold

    whole = walked(block)
    changed = replace(block, values=block.values.copy())
    changed.values[12 * PER_DAY :] += 50
    other = walked(changed)
    np.testing.assert_array_equal(whole[:, : 2 * PER_DAY], other[:, : 2 * PER_DAY])


def test_walks_and_trainers_allow_an_entity_the_same() -> None:
    plan = replace(PLAN, budget=2.0, budgets={EntityKey.of("t", {"c": "b"}): 0.25}, persistence=4)
    spec = plan.threshold_of(EntityKey.of("t", {"c": "b"}), STEP)
    assert spec == following.allowed(PLAN.threshold, 0.25, STEP, 4)
    assert plan.threshold_of(EntityKey.of("t", {"c": "a"}), STEP).budget.per_week == 2.0


def test_a_notebook_asks_for_a_budget_by_name_and_gets_it_back(tmp_path: Path) -> None:
    series = a_block(10).values[:, 0, 0]
    detector = AnomalyDetector("zscore", threshold="budget", window=2).fit(series, step=STEP)
    assert (detector.predict(series) == -1).sum() <= 3 * 10 / 7
    detector.save(tmp_path / "saved")
    again = AnomalyDetector.load(tmp_path / "saved")
    assert again.threshold_ == detector.threshold_
    assert again.plan.threshold == detector.plan.threshold
