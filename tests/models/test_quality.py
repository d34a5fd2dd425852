"""Promises of the quality figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from anomaly_models import quality

NAN = np.nan
samples = hnp.arrays(np.float64, (12, 2), elements=st.floats(-1e3, 1e3))


def test_figures_of_a_small_example_by_hand() -> None:
    observed = np.array([[1.0], [2.0], [4.0], [7.0]])
    expected = np.array([[1.0], [3.0], [4.0], [5.0]])
    assert quality.mae(observed, expected) == pytest.approx(3 / 4)
    assert quality.rmse(observed, expected) == pytest.approx(np.sqrt(5 / 4))
    assert quality.mase(observed, expected, quality.naive_error(observed)) == pytest.approx((3 / 4) / 2)
    assert quality.r2(observed, expected) == pytest.approx(1 - 5 / 21)


def test_the_naive_error_bridges_no_gap() -> None:
    assert quality.naive_error(np.array([[1.0], [NAN], [9.0], [10.0]])).tolist() == [1.0]
    assert np.isnan(quality.naive_error(np.array([[1.0], [NAN], [9.0]]))).all()


@given(samples)
def test_a_perfect_model_has_no_error(values: np.ndarray) -> None:
    assert quality.mae(values, values) == 0
    assert quality.rmse(values, values) == 0
    assert quality.mase(values, values, np.ones(2)) == 0
    assert quality.r2(values, values) in (1, None)


@given(samples)
def test_predicting_the_mean_has_an_r2_of_zero(values: np.ndarray) -> None:
    values[0] += 2000
    mean = np.broadcast_to(values.mean(axis=0), values.shape)
    assert quality.r2(values, mean) == pytest.approx(0, abs=1e-9)


@given(samples, samples)
def test_rmse_is_never_below_mae(observed: np.ndarray, expected: np.ndarray) -> None:
    mae, rmse = quality.mae(observed, expected), quality.rmse(observed, expected)
    assert mae is not None
    assert rmse is not None
    assert rmse >= mae * (1 - 1e-12) - 1e-150  # squares of tinier errors vanish


@given(samples, samples, st.sets(st.integers(0, 11), max_size=8))
def test_missing_samples_count_for_nothing(observed: np.ndarray, expected: np.ndarray, missing: set[int]) -> None:
    kept = sorted(set(range(12)) - missing)
    holed = observed.copy()
    holed[list(missing)] = NAN
    assert quality.mae(holed, expected) == pytest.approx(quality.mae(observed[kept], expected[kept]))
    naive = np.array([1.0, 2.0])
    assert quality.mase(holed, expected, naive) == pytest.approx(quality.mase(observed[kept], expected[kept], naive))


def test_figures_without_meaning_are_none() -> None:
    nothing = np.full((3, 1), NAN)
    constant = np.ones((3, 1))
    assert quality.mae(nothing, nothing) is None
    assert quality.rmse(nothing, nothing) is None
    assert quality.r2(constant, constant) is None
    assert quality.mase(constant, constant, np.zeros(1)) is None
    assert quality.above_ratio(nothing, 1) is None
    assert quality.above_mean(np.array([0.5]), 1) is None


def test_share_and_mean_above_a_threshold() -> None:
    errors = np.array([0.5, 1.0, 2.0, 4.0, NAN], np.float32)
    assert quality.above_ratio(errors, 1.0) == 0.5
    assert quality.above_mean(errors, 1.0) == 3.0
