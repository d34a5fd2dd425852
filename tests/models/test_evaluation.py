"""Promises of the walk forward."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from anomaly_models import evaluation
from anomaly_models.alerting import AlertSpec
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.evaluation import walk
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Block, EntityKey, Span
from anomaly_models.model_spec import ModelSpec
from anomaly_models.training import Plan, TrainedBatch, train

STEP = 300
DAY = 86_400
PLAN = Plan(ModelSpec("pca", window=6, min_features=1), CleaningSpec(contamination=0))
ALERT = AlertSpec(persistence=3)
SPIKE = 1000


def a_block() -> Block:
    """Two entities of two features over five days; the first has a spike of five steps on the last day."""
    rows = 5 * DAY // STEP
    t = np.arange(rows) * STEP
    noise = np.random.default_rng(3).normal(size=(rows, 2, 2))
    values = (10 + np.sin(2 * np.pi * t / DAY)[:, None, None] + 0.1 * noise).astype(np.float32)
    values[SPIKE : SPIKE + 5, 0, 1] += 8
    entities = tuple(EntityKey.of("t", {"c": str(i)}) for i in range(2))
    return Block(0, STEP, entities, ("a", "b"), values)


@pytest.fixture(name="batch", scope="module")
def _batch() -> TrainedBatch:
    block = a_block()
    return train(block.slice(Span(0, 3 * DAY)), PLAN)


def walked(batch: TrainedBatch, block: Block) -> evaluation.Walk:
    assert batch.scorer is not None
    return walk(batch.scorer, [r.threshold for r in batch.rows], block, PLAN, ALERT)


def test_an_anomaly_alerts_at_its_third_step_and_only_for_its_entity(batch: TrainedBatch) -> None:
    said = walked(batch, a_block())
    alerts = np.argwhere(said.alerting >= 1)
    assert {int(s) for s, _ in alerts} == {0}
    rows = said.end[alerts[:, 1]] // STEP
    assert rows.min() == SPIKE + 2
    assert said.score[0, said.end == SPIKE * STEP] >= 1


def test_the_feature_at_fault_has_the_highest_feature_score_and_their_mean_is_the_score(batch: TrainedBatch) -> None:
    said = walked(batch, a_block())
    at = int(np.flatnonzero(said.end == SPIKE * STEP)[0])
    assert said.feature_score[0, at, 1] > 5 * said.feature_score[0, at, 0]
    np.testing.assert_allclose(said.feature_score.mean(axis=2), said.score, rtol=1e-4)


def test_no_score_depends_on_a_later_sample(batch: TrainedBatch) -> None:
    block = a_block()
    whole = walked(batch, block)
    values = block.values.copy()
    values[SPIKE + 3 :] = np.nan
    cut = walked(batch, replace(block, values=values))
    before = whole.end < (SPIKE + 3) * STEP
    np.testing.assert_array_equal(whole.alerting[:, before], cut.alerting[:, before])
    np.testing.assert_array_equal(whole.feature_score[:, before], cut.feature_score[:, before])


def test_walking_in_small_chunks_says_the_same(batch: TrainedBatch) -> None:
    whole = walked(batch, a_block())
    with mock.patch.object(evaluation, "CHUNK_FLOATS", 4 * 7):
        parts = walked(batch, a_block())
    np.testing.assert_allclose(whole.alerting, parts.alerting, rtol=1e-3)
    np.testing.assert_allclose(whole.score, parts.score, rtol=1e-3)


def test_gaps_are_nan_and_restart_persistence(batch: TrainedBatch) -> None:
    block = a_block()
    values = block.values.copy()
    values[SPIKE + 2, 0] = np.nan
    said = walked(batch, replace(block, values=values))
    at = int(np.flatnonzero(said.end == SPIKE * STEP)[0])
    assert np.isnan(said.score[0, at + 2])
    assert np.isnan(said.alerting[0, at + 2 : at + 5]).all()
    assert np.isfinite(said.score[1]).all()


def test_data_shorter_than_a_window_says_nothing(batch: TrainedBatch) -> None:
    said = walked(batch, a_block().slice(Span(0, 5 * STEP)))
    assert said.alerting.shape == (2, 0)


def test_thresholds_of_other_entities_are_refused(batch: TrainedBatch) -> None:
    assert batch.scorer is not None
    with pytest.raises(InvalidShapeError, match="2 entities, 2 models, 1 thresholds"):
        walk(batch.scorer, [batch.rows[0].threshold], a_block(), PLAN, ALERT)


def test_what_stands_still_is_found_where_history_says_that_it_never_did(batch: TrainedBatch) -> None:
    block = a_block()
    start = block.start + 3 * DAY
    row = 3 * DAY // block.step + 100
    flat = block.values.copy()
    flat[row : row + 60, 0] = flat[row - 1, 0]
    still = replace(block, values=flat)
    known = walk(batch.scorer, [r.threshold for r in batch.rows], still, PLAN, ALERT, since=start)
    at = np.searchsorted(known.end, block.start + row * block.step)
    assert (known.score[0, at + 30 : at + 60] >= 1).all()
    assert not (known.score[1] >= 1).all()
