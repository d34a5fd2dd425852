"""Promises of the calibrated ensemble: causal, the same live as in a walk, and quiet where nothing is new."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anomaly_models import cleaning, detector, layers, pack, scaling, scorers, windows
from anomaly_models.alerting import AlertSpec
from anomaly_models.autoencoder import Autoencoder, recipe
from anomaly_models.ensemble import Ensemble
from anomaly_models.ensemble_spec import MEMBERS, EnsembleSpec
from anomaly_models.evaluation import Walk, walk
from anomaly_models.exceptions import InvalidShapeError, PackRejectedError
from anomaly_models.frame import F32, Block, Bool, EntityKey, Opinion, Windows
from anomaly_models.model_spec import ModelSpec
from anomaly_models.pack import Pack
from anomaly_models.renewal import contexts
from anomaly_models.thresholds import Recent, ThresholdInputs, ThresholdSpec, ThresholdStack
from anomaly_models.training import Plan

STEP = 300
DAY = 86400 // STEP
START = 1_700_006_400  # a midnight
SPEC = EnsembleSpec()
LOOK = 8
PLAN = Plan(ModelSpec(recipe="auto", window=LOOK))
ALERT = AlertSpec(persistence=1)


def wave(days: float, series: int = 1, features: int = 1, seed: int = 0) -> F32:
    """A daily wave with noise, [T, S, F]."""
    rows = int(days * DAY)
    rng = np.random.default_rng(seed)
    daily = 10 + 3 * np.sin(2 * np.pi * np.arange(rows) / DAY)
    return (daily[:, None, None] + 0.2 * rng.normal(size=(rows, series, features))).astype(np.float32)


def weights(series: int, features: int, seed: int = 1) -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    shapes = layers.weight_shapes(recipe("fc", LOOK, features), LOOK, features)
    return {n: (0.05 * rng.normal(size=(series, *s))).astype(np.float32) for n, s in shapes.items()}


def fitted(values: F32) -> Autoencoder:
    """Autoencoders with the scale of ``values`` and weights of nothing in particular: the context is what is tested."""
    _, S, F = values.shape
    scaler = scaling.fit(values.transpose(1, 0, 2), "robust", 1e-6, 0.01)
    one = {n: np.repeat(t, S, axis=0) for n, t in weights(1, F).items()}
    return Autoencoder(recipe("fc", LOOK, F), LOOK, 1, scaler, one)


def bridged(values: F32) -> tuple[F32, Bool]:
    return cleaning.bridge(values, PLAN.cleaning.max_gap)


def ensemble_at(values: F32, autoencoder: Autoencoder, spec: EnsembleSpec = SPEC) -> Ensemble:
    """The ensemble whose context is drawn from all of ``values``."""
    x, valid = bridged(values)
    return Ensemble(autoencoder, contexts(autoencoder, x, valid, START, STEP, spec), STEP, spec)


def newest(values: F32, scorer: Ensemble, count: int, until: int | None = None) -> Windows:
    """The last ``count`` windows before the row ``until`` of ``values``."""
    x, valid = bridged(values)
    until = len(x) if until is None else until
    first = until - count - scorer.window + 1
    return windows.make(x[first:until], valid[first:until], START + first * STEP, STEP, scorer.window)


def walked(values: F32, since: int, spec: EnsembleSpec = SPEC) -> Walk:
    """A walk from the row ``since`` on with a context per period."""
    S, F = values.shape[1:]
    scorer = ensemble_at(values[:since], fitted(values[:since]), spec)
    block = Block(
        START,
        STEP,
        tuple(EntityKey.of("t", {"i": f"{i:03}"}) for i in range(S)),
        tuple(f"f{i:02}" for i in range(F)),
        values,
    )
    inputs = [ThresholdInputs(Recent(0, 1.0, 1.0))] * S
    return walk(scorer, inputs, block, PLAN, ALERT, since=START + since * STEP, renew=True)


def opinion(scorer: Ensemble, w: Windows) -> Opinion:
    said = scorer.infer(w).opinion
    assert said is not None
    return said


def gappy(days: float = 5.5, series: int = 3, features: int = 2) -> F32:
    """Gaps short and long, a late birth, a feature that is never there."""
    values = wave(days, series, features)
    values[np.random.default_rng(5).random(values.shape) < 0.01] = np.nan
    values[700:760, 0] = np.nan
    values[: 2 * DAY, 1] = np.nan
    values[:, 2, 1] = np.nan
    return values


def test_a_walk_says_what_a_context_drawn_from_scratch_says_in_every_period() -> None:
    values, since = gappy(), 2 * DAY + 3
    said = walked(values, since)
    autoencoder = fitted(values[:since])
    per = SPEC.period // STEP
    for begin in (since, since + 20 * per, since + 41 * per):
        scorer = ensemble_at(values[:begin], autoencoder)
        count = min(per, len(values) - begin)
        expected = opinion(scorer, newest(values, scorer, count, begin + count))
        at = slice(begin - since, begin - since + count)
        np.testing.assert_allclose(
            said.score[:, at], detector.rarity_score(expected.rarity, 1.0), rtol=1e-4, err_msg=str(begin)
        )
    assert np.isfinite(said.score[0, -DAY:]).mean() > 0.9
    assert said.member_names == MEMBERS


def test_live_windows_one_at_a_time_say_what_the_history_said_of_them() -> None:
    values = gappy(6)
    scorer = ensemble_at(values[: 5 * DAY], fitted(values))
    w = newest(values, scorer, 30, 5 * DAY + 30)
    together = opinion(scorer, w)
    for b in range(w.end.shape[1]):
        alone = opinion(scorer, Windows(w.x[:, b : b + 1], w.valid[:, b : b + 1], w.end[:, b : b + 1]))
        np.testing.assert_allclose(alone.rarity[:, 0], together.rarity[:, b], atol=1e-4)
        np.testing.assert_allclose(alone.members[:, 0], together.members[:, b], atol=2e-3)
        np.testing.assert_allclose(alone.feature_rarity[:, 0], together.feature_rarity[:, b], atol=1e-4)
    apart = opinion(scorer, Windows(w.x[:, ::3], w.valid[:, ::3], w.end[:, ::3]))
    np.testing.assert_allclose(apart.rarity, together.rarity[:, ::3], atol=1e-4)


def test_later_samples_never_change_a_score() -> None:
    values, since = wave(6, 2), 5 * DAY
    before = walked(values[: since + 60], since)
    values[since + 60 :] += 50
    after = walked(values, since)
    np.testing.assert_allclose(after.score[:, :60], before.score, rtol=1e-5)
    assert (after.score[:, 60] > 2).all()


def test_rows_do_not_depend_on_their_neighbours() -> None:
    values = gappy()
    together = ensemble_at(values, fitted(values))
    all_said = opinion(together, newest(values, together, 5))
    for row in range(3):
        own = ensemble_at(values[:, row : row + 1], fitted(values[:, row : row + 1]))
        said = opinion(own, newest(values[:, row : row + 1], own, 5))
        np.testing.assert_allclose(said.rarity[0], all_said.rarity[row], atol=1e-4)
        taken = together.take([row])
        np.testing.assert_allclose(
            opinion(taken, newest(values[:, row : row + 1], taken, 5)).rarity[0], all_said.rarity[row], atol=1e-4
        )


def test_entities_whose_contexts_are_of_different_times_can_be_scored_together() -> None:
    values = wave(6, 2)
    autoencoder = fitted(values)
    old, new = (ensemble_at(values[:rows], autoencoder) for rows in (5 * DAY, 5 * DAY + 50))
    mixed = replace(old, context=type(old.context).joined([old.context.take([0]), new.context.take([1])]))
    w = newest(values, old, 4, 5 * DAY + 60)
    said = opinion(mixed, w).rarity
    np.testing.assert_allclose(said[0], opinion(old, w).rarity[0], atol=1e-5)
    np.testing.assert_allclose(said[1], opinion(new, w).rarity[1], atol=1e-5)


@pytest.mark.parametrize("features", [1, 38])
def test_a_pack_gives_back_the_same_ensemble(features: int) -> None:
    values = wave(2, 2, features)
    scorer = ensemble_at(values, fitted(values))
    encoded = pack.encode(Pack(scorer.kind, scorer.spec(), scorer.tensors(), ({}, {})))
    stored = pack.decode(encoded.digest, encoded.files[pack.MANIFEST], lambda file, _: encoded.files[file])
    again = scorers.restore(stored.kind, stored.spec, stored.tensors)
    assert isinstance(again, Ensemble)
    assert again.window == scorer.window
    assert again.settings == SPEC
    w = newest(values, scorer, 3)
    np.testing.assert_array_equal(opinion(again, w).rarity, opinion(scorer, w).rarity)
    np.testing.assert_array_equal(again.infer(w).error, scorer.infer(w).error)


def test_a_pack_with_a_tensor_of_the_wrong_shape_or_without_one_is_refused() -> None:
    values = wave(3)
    scorer = ensemble_at(values, fitted(values))
    tensors = scorer.tensors()
    with pytest.raises(PackRejectedError, match="tables"):
        scorers.restore("auto", scorer.spec(), {**tensors, "tables": tensors["tables"][..., 1:]})
    with pytest.raises(PackRejectedError, match="guard"):
        scorers.restore("auto", scorer.spec(), {n: t for n, t in tensors.items() if n != "guard"})
    with pytest.raises(PackRejectedError, match="step"):
        scorers.restore("auto", {**scorer.spec(), "step": 0}, tensors)


def test_windows_of_another_length_are_refused() -> None:
    values = wave(3)
    scorer = ensemble_at(values, fitted(values))
    w = newest(values, scorer, 1)
    with pytest.raises(InvalidShapeError, match="scores windows"):
        scorer.infer(Windows(w.x[:, :, 1:], w.valid[:, :, 1:], w.end))


def test_error_and_expectation_are_those_of_the_autoencoder() -> None:
    values = wave(3, 2)
    scorer = ensemble_at(values, fitted(values))
    w = newest(values, scorer, 4)
    own = Windows(w.x[:, :, -LOOK:], w.valid[:, :, -LOOK:], w.end)
    alone, said = scorer.autoencoder.infer(own), scorer.infer(w)
    np.testing.assert_array_equal(said.error, alone.error)
    np.testing.assert_array_equal(said.expected, alone.expected)


def notifications(score: F32) -> int:
    """Runs of alerting samples in all rows, gaps of up to three samples closed."""
    alerts = [np.flatnonzero(row >= 1) for row in score]
    return sum(1 + int((np.diff(a) > 3).sum()) for a in alerts if a.size)


def test_a_daily_wave_is_quiet_and_a_spike_on_it_is_not() -> None:
    values, since = wave(11, 8), 10 * DAY
    values[10 * DAY + 100, 0] += 4
    said = walked(values, since)
    assert said.score[0, 100] > 1.2
    # Seven days of pure noise: a few per week is what the budget of one may become, not dozens.
    assert notifications(said.score[1:]) <= 8


def test_a_constant_series_then_a_step_is_detected_at_once() -> None:
    values = np.full((8 * DAY, 1, 1), 5.0, np.float32)
    values[7 * DAY + 20 :] = 5.5
    said = walked(values, 6 * DAY)
    assert (said.score[0, : DAY + 20] < 1).all()
    assert said.score[0, DAY + 20] >= 1


def test_only_the_feature_that_moved_is_blamed() -> None:
    values = wave(10, 1, 5)
    values[-3:, 0, 3] += 5
    scorer = ensemble_at(values[:-5], fitted(values))
    verdict = detector.detect(
        scorer,
        newest(values, scorer, 1),
        ThresholdStack.of([ThresholdInputs(Recent(0, 1.0, 1.0))]),
        ThresholdSpec(),
        ALERT,
    )
    assert verdict.score[0, 0] > 1
    assert verdict.contribution[0, 0].argmax() == 3
    assert verdict.contribution[0, 0, 3] > 0.6
    np.testing.assert_allclose(verdict.contribution.sum(axis=2), 1, atol=1e-5)


def test_a_nightly_job_is_discounted_but_another_anomaly_at_that_hour_is_not() -> None:
    values = wave(12, 2)
    for day in range(12):
        values[day * DAY + 30 : day * DAY + 33] += 6
    values[11 * DAY + 30 : 11 * DAY + 33, 1] += 40
    without = replace(SPEC, recurrence=replace(SPEC.recurrence, share=0.0))
    habit, plain = (walked(values[: 11 * DAY + 40], 11 * DAY, spec).score for spec in (SPEC, without))
    nights = slice(30, 33)
    assert habit[0, nights].max() < 0.9 * plain[0, nights].max()
    assert habit[1, nights].max() > 0.8 * plain[1, nights].max()
    assert habit[1, nights].max() > 3


def test_a_new_entity_is_judged_cautiously_and_without_a_word_before_its_first_sample() -> None:
    values = wave(6, 2)
    values[: 4 * DAY, 1] = np.nan
    said = walked(values, 4 * DAY - 20)
    assert np.isnan(said.score[1, :20]).all()
    first_day = said.score[1, 20 : DAY + 20]
    assert np.isnan(first_day[:36]).all()  # three hours
    assert np.isfinite(first_day[80:]).all()
    assert np.nanmean(first_day >= 1) < 0.02


def test_the_budget_moves_the_score_and_nothing_else() -> None:
    values = wave(5)
    scorer = ensemble_at(values, fitted(values))
    w, stack = newest(values, scorer, 3), ThresholdStack.of([ThresholdInputs(Recent(0, 1.0, 1.0))])
    strict, lax = (detector.detect(scorer, w, stack, ThresholdSpec(), ALERT, budget=b) for b in (1.0, 10.0))
    np.testing.assert_allclose(lax.score, strict.score * 10 ** (1 / 3), rtol=1e-5)
    np.testing.assert_array_equal(lax.error, strict.error)
    np.testing.assert_array_equal(lax.members, strict.members)


def test_a_context_takes_little_memory() -> None:
    values = wave(3, 2)
    context = ensemble_at(values, fitted(values)).context
    assert sum(t.nbytes for t in context.tensors().values()) / 2 < 12_000
