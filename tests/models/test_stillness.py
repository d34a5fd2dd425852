"""Promises of stillness: what never stood still is found when it does, what often does is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import stillness
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import F32
from anomaly_models.stillness import LEAST_FLAT, LEAST_ZERO, MOST, Limits, learn, runs, still

NAN = np.nan
STEP = 60
DAY = 1440
RNG = np.random.default_rng(0)


def columns(*series: list[float] | np.ndarray) -> F32:
    """Samples [T, N, 1] of several entities."""
    return np.stack([np.asarray(s, np.float32) for s in series], axis=1)[:, :, None]


def found(history: F32, after: F32) -> tuple[list[bool], list[bool]]:
    """Whether each entity stands still, or at zero, at the end of ``after``, by what ``history`` says is usual."""
    limits = learn(history, np.isfinite(history), 0, STEP)
    said = still(after, np.isfinite(after), limits, 1)
    return said.flat[:, 0].tolist(), said.zero[:, 0].tolist()


def weekly() -> np.ndarray:
    """A week of load, weekend included, with noise."""
    t = np.arange(7 * DAY)
    return 10 + 3 * np.sin(t / DAY * 2 * np.pi) * (t // DAY < 5) + RNG.normal(size=t.size) * 0.2


def test_a_weekly_varying_series_that_goes_flat_is_found_and_one_step_before_it_is_not() -> None:
    x = weekly()
    flat = np.concatenate([x[-MOST:], np.full(LEAST_FLAT - 1, x[-1])])
    assert found(columns(x), columns(flat)) == ([True], [False])
    assert found(columns(x), columns(flat[:-1])) == ([False], [False])


def test_a_constant_that_stays_constant_is_no_flat_line() -> None:
    constant = np.full(3 * DAY, 5.0)
    assert found(columns(constant), columns(constant[-MOST:])) == ([False], [False])


def test_a_series_that_often_stands_still_is_never_judged() -> None:
    idle = np.where(np.arange(7 * DAY) % DAY < DAY // 3, 2.0, weekly())
    assert found(columns(idle), columns(np.full(MOST, 2.0)))[0] == [False]
    assert learn(columns(idle), np.ones((7 * DAY, 1, 1), np.bool_), 0, STEP).flat.tolist() == [[0]]


def test_what_falls_to_zero_is_found_after_a_few_steps_and_what_is_often_zero_is_not() -> None:
    x, often = weekly(), np.maximum(weekly() - 10, 0)
    down = np.concatenate([x[-MOST:], np.zeros(LEAST_ZERO)])
    assert found(columns(x), columns(down)) == ([False], [True])
    assert found(columns(x), columns(down[:-1])) == ([False], [False])
    assert found(columns(often), columns(down))[1] == [False]


def test_one_incident_in_the_history_hides_no_other() -> None:
    x = weekly()
    x[3 * DAY : 3 * DAY + 600] = x[3 * DAY]
    flat = np.concatenate([x[-MOST:], np.full(LEAST_FLAT, x[-1])])
    assert found(columns(x), columns(flat))[0] == [True]


def test_a_short_history_says_nothing_of_what_is_usual() -> None:
    x = weekly()[: stillness.LEARNED - 1]
    assert learn(columns(x), np.ones((x.size, 1, 1), np.bool_), 0, STEP).flat.tolist() == [[0]]


def test_slow_gauges_that_repeat_a_sample_now_and_then_have_a_longer_limit() -> None:
    x = np.repeat(weekly(), 10)[: 7 * DAY]  # a new value every ten minutes
    limit = int(learn(columns(x), np.ones((x.size, 1, 1), np.bool_), 0, STEP).flat[0, 0])
    assert limit == 30
    assert found(columns(x), columns(np.full(29, 3.0)))[0] == [False]
    assert found(columns(x), columns(np.full(30, 3.0)))[0] == [True]


def test_of_several_features_half_must_stand_still() -> None:
    x = np.stack([weekly() for _ in range(4)], axis=1)[:, None, :].astype(np.float32)
    limits = learn(x, np.isfinite(x), 0, STEP)
    after = x[-MOST:].copy()
    after[-30:, 0, :1] = 7
    assert not still(after, np.isfinite(after), limits, 1).flat.any()
    after[-30:, 0, :2] = 7
    assert still(after, np.isfinite(after), limits, 1).flat.all()


def test_bridged_samples_neither_lengthen_nor_break_a_run_and_a_gap_breaks_it() -> None:
    x = columns([1, 1, 1, 1, NAN, 1, 1])
    valid = columns([1, 1, 0, 1, 0, 1, 1]).astype(np.bool_)
    assert runs(x, valid).ravel().tolist() == [1, 2, 2, 3, 0, 1, 2]
    assert runs(columns([2, 0, 0, 3, 0]), np.ones((5, 1, 1), np.bool_), zeros=True).ravel().tolist() == [0, 1, 2, 0, 1]


samples = st.lists(st.sampled_from([NAN, 0.0, 0.0, 1.0, 2.0]), min_size=1, max_size=40)


@settings(deadline=None, max_examples=200)
@given(samples)
def test_runs_are_what_counting_says(drawn: list[float]) -> None:
    x = columns(drawn)
    valid = np.isfinite(x)
    same = zero = 0
    said, zeros = runs(x, valid).ravel().tolist(), runs(x, valid, zeros=True).ravel().tolist()
    for i, value in enumerate(drawn):
        same = 0 if np.isnan(value) else same + 1 if i and drawn[i - 1] == value else 1
        zero = zero + 1 if value == 0 else 0
        assert (said[i], zeros[i]) == (same, zero)


@settings(deadline=None, max_examples=100)
@given(samples, st.integers(1, 6), st.integers(1, 6))
def test_one_instant_at_a_time_equals_all_at_once(drawn: list[float], flat: int, zero: int) -> None:
    x = columns(drawn)
    valid, limits = np.isfinite(x), Limits(np.array([[flat]]), np.array([[zero]]))
    whole = still(x, valid, limits, len(drawn))
    for b in range(len(drawn)):
        one = still(x[: b + 1], valid[: b + 1], limits, 1)
        assert (one.flat[0, 0], one.zero[0, 0]) == (whole.flat[0, b], whole.zero[0, b])


@settings(deadline=None, max_examples=50)
@given(st.integers(-10, 10).map(lambda k: 2.0**k), st.integers(0, 5))
def test_limits_do_not_depend_on_scale_and_neighbours(scale: float, seed: int) -> None:
    x = np.random.default_rng(seed).integers(0, 4, (500, 2, 1)).astype(np.float32)
    valid = np.ones(x.shape, np.bool_)
    whole, scaled = learn(x, valid, 0, STEP), learn(x * np.float32(scale), valid, 0, STEP)
    np.testing.assert_array_equal(whole.flat, scaled.flat)
    np.testing.assert_array_equal(learn(x[:, :1], valid[:, :1], 0, STEP).flat, whole.flat[:1])


def test_no_samples_and_limits_that_do_not_fit_are_told() -> None:
    empty = np.empty((0, 2, 1), np.float32)
    assert learn(empty, empty.astype(np.bool_), 0, STEP).flat.shape == (2, 1)
    assert still(empty, empty.astype(np.bool_), Limits.none(2, 1), 0).flat.shape == (2, 0)
    with pytest.raises(InvalidShapeError, match="flat and zero"):
        Limits(np.zeros((1, 2), np.int64), np.zeros((2, 1), np.int64))
