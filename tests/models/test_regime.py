"""Promises of regimes in serving: a steady step is absorbed, what is or may be an incident is not."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.regime import RegimeSpec, RegimeState, fold

NAN = np.nan
STEP = 60
SPEC = RegimeSpec(after=45, extreme=4.0, longest=240)
RNG = np.random.default_rng(0)
CALM = np.abs(RNG.normal(0.3, 0.1, 400))


def run(score: np.ndarray, spec: RegimeSpec = SPEC, barred: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Level and beginning at every instant of one series."""
    line = score.astype(np.float32)[None]
    end = STEP * np.arange(1, score.size + 1)[None]
    level, since, _ = fold(line, np.full(line.shape, barred), end, RegimeState.fresh(1, spec), spec)
    return level[0], since[0]


def step(size: float, length: int = 300, noise: float = 0.1) -> np.ndarray:
    """A hundred calm scores, then a level of ``size``."""
    return np.concatenate([CALM[:100], size + noise * np.random.default_rng(1).normal(size=length)])


def absorbed_after(score: np.ndarray, spec: RegimeSpec = SPEC, barred: bool = False) -> float:
    """Steps from the hundredth score until the score is judged below 1 for good, infinite if never."""
    level, _ = run(score, spec, barred)
    high = np.flatnonzero(score / level >= 1)
    last = int(high.max(initial=99))
    return np.inf if last == score.size - 1 else last - 99


@pytest.mark.parametrize("size", [1.5, 2, 3.5])
def test_a_mild_steady_step_is_absorbed_after_the_setting(size: float) -> None:
    assert absorbed_after(step(size)) == SPEC.after - 1
    level, since = run(step(size))
    assert (since[100 + SPEC.after :] == 101 * STEP).all()
    assert level[-1] == pytest.approx(1.3 * (size + 0.13), rel=0.1)
    assert (level[: 99 + SPEC.after] == 1).all()


def test_a_level_n_times_as_far_must_last_n_times_as_long() -> None:
    assert absorbed_after(step(8)) == pytest.approx(2 * SPEC.after, abs=3)
    assert absorbed_after(step(400)) == pytest.approx(SPEC.longest, abs=2)


def test_what_swings_grows_or_crept_up_is_no_regime() -> None:
    swinging = step(3) * np.tile([1.0, 1.0, 1.0, 3.0, 3.0, 3.0], 100)[:400]
    growing = step(2) * np.concatenate([np.ones(100), 1.01 ** np.arange(300)])
    creeping = np.concatenate([CALM[:100], np.minimum(np.linspace(0.3, 3, 900), 1.6)])
    for incident in (swinging, growing, creeping):
        assert absorbed_after(incident) == np.inf


def test_what_is_barred_is_no_regime() -> None:
    assert absorbed_after(step(2), barred=True) == np.inf


def test_a_regime_ends_when_the_scores_are_calm_again_and_the_next_step_alerts_again() -> None:
    score = np.concatenate([step(2, 100), CALM[:60], step(2, 30)[100:]])
    level, since = run(score)
    assert level[150] > 1
    assert level[230] == 1
    assert since[230] == 0
    assert score[-1] / level[-1] >= 1


def test_what_rises_above_the_new_level_alerts_again_and_has_to_last_as_long() -> None:
    score = np.concatenate([step(2, 100), 3.9 + 0.1 * RNG.normal(size=200)])
    level, _ = run(score)
    judged = score / level
    assert (judged[150:200] < 1).all()
    assert (judged[200:240] >= 1).all()
    assert (judged[200 + SPEC.after + 1 :] < 1).all()


def test_a_staircase_is_absorbed_only_so_often() -> None:
    score = np.concatenate([step(1.5, 60), *[1.5 * 1.6**k + 0.02 * RNG.normal(size=60) for k in range(1, 8)]])
    level, _ = run(score, RegimeSpec(45, 100, 240))
    assert score[-1] / level[-1] >= 1


def test_missing_scores_change_nothing_while_enough_are_there() -> None:
    score = step(2)
    score[RNG.random(score.size) < 0.15] = NAN
    level, _ = run(score)
    assert level[-1] > 1
    score[100::2] = NAN
    score[101::4] = NAN
    assert (run(score)[0] == 1).all()


def test_a_new_level_that_was_there_before_we_looked_is_absorbed_as_well() -> None:
    score = step(2)[100:]
    level, since = run(score)
    assert level[-1] > 1
    assert since[-1] == STEP


scores = st.lists(st.sampled_from([NAN, 0.3, 0.9, 1.5, 1.6, 2.0, 6.0]), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(scores, scores, st.integers(0, 3))
def test_one_by_one_equals_all_at_once_and_neighbours_do_not_matter(a: list[float], b: list[float], cut: int) -> None:
    spec = RegimeSpec(12, 1.5, 30)
    rows = min(len(a), len(b)) * 3
    line = np.stack([np.tile(a, 3)[:rows], np.tile(b, 3)[:rows]]).astype(np.float32)
    barred = line == np.float32(0.9)
    end = np.broadcast_to(STEP * np.arange(rows), line.shape)
    level, since, last = fold(line, barred, end, RegimeState.fresh(2, spec), spec)
    state = RegimeState.fresh(2, spec)
    for i in range(rows):
        at = slice(i, i + 1)
        one, begun, state = fold(line[:, at], barred[:, at], end[:, at], state, spec)
        np.testing.assert_array_equal(one[:, 0], level[:, i])
        np.testing.assert_array_equal(begun[:, 0], since[:, i])
    for field in fields(RegimeState):
        np.testing.assert_array_equal(getattr(state, field.name), getattr(last, field.name))
    alone = fold(line[1:], barred[1:], end[1:], RegimeState.fresh(1, spec), spec)
    np.testing.assert_array_equal(alone[0][0], level[1])


@settings(deadline=None, max_examples=60)
@given(scores)
def test_the_level_never_makes_a_score_larger_and_is_one_without_high_scores(drawn: list[float]) -> None:
    spec = RegimeSpec(12, 1.5, 30)
    score = np.repeat(drawn, 5)
    level, since = run(score, spec)
    assert (level >= 1).all()
    np.testing.assert_array_equal(level > 1, since > 0)
    assert (run(np.where(score >= 1, NAN, score), spec)[0] == 1).all()


def test_memory_is_enough_to_absorb_at_once_after_a_restart() -> None:
    score = step(2)
    state = RegimeState.fresh(1, SPEC)
    end = STEP * np.arange(score.size)[None]
    newest = slice(score.size - SPEC.memory, None)
    no = np.zeros((1, SPEC.memory), np.bool_)
    level, _, _ = fold(score[None, newest].astype(np.float32), no, end[:, newest], state, SPEC)
    assert level[0, -1] > 1


def test_specifications_and_states_that_make_no_sense_are_refused() -> None:
    for wrong in ({"after": 11}, {"extreme": 0.5}, {"after": 60, "longest": 59}):
        with pytest.raises(ValueError, match="received"):
            RegimeSpec(**wrong)  # type: ignore[arg-type]
    line = np.zeros((1, 2), np.float32)
    with pytest.raises(InvalidShapeError, match="state of 60 scores"):
        fold(line, line > 0, np.zeros((1, 2), np.int64), RegimeState.fresh(1, RegimeSpec(30)), SPEC)


def test_take_carries_rows_along_and_starts_new_ones_fresh() -> None:
    score = np.stack([step(2), CALM]).astype(np.float32)
    end = np.broadcast_to(STEP * np.arange(400), score.shape)
    _, _, state = fold(score, score < 0, end, RegimeState.fresh(2, SPEC), SPEC)
    taken, fresh = state.take([1, -1, 0], SPEC), RegimeState.fresh(1, SPEC)
    for field in fields(RegimeState):
        np.testing.assert_array_equal(getattr(taken, field.name)[1], getattr(fresh, field.name)[0])
        np.testing.assert_array_equal(getattr(taken, field.name)[2], getattr(state, field.name)[0])
    assert RegimeState.fresh(3, None).scores.shape == (3, 0)


def test_ten_thousand_series_cost_a_few_milliseconds_per_step() -> None:
    import time

    spec, series = RegimeSpec(), 10_000
    state = RegimeState.fresh(series, spec)
    score = np.abs(RNG.normal(0.4, 0.2, (series, 1))).astype(np.float32)
    score[:500] += 2
    no, spent = np.zeros(score.shape, np.bool_), []
    for i in range(60):
        began = time.perf_counter()
        _, _, state = fold(score, no, np.full(score.shape, STEP * i), state, spec)
        spent.append(time.perf_counter() - began)
    assert np.median(spent) < 0.05
