"""Promises of windows: views over the grid, honest about gaps, one definition of the error."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_models import cleaning, windows
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Windows
from anomaly_models.scaling import UNSEEN


def over(*samples: float, window: int = 3, stride: int = 1, max_gap: int = 0) -> Windows:
    """Windows over one series of one feature, on a grid of 60 s that starts at 600."""
    x, valid = cleaning.bridge(np.array(samples, np.float32).reshape(-1, 1, 1), max_gap)
    return windows.make(x, valid, 600, 60, window, stride)


def test_windows_end_at_their_newest_sample() -> None:
    w = over(1, 2, 3, 4, 5)
    assert w.x[0, :, :, 0].tolist() == [[1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert w.end.tolist() == [[720, 780, 840]]


def test_windows_are_views_not_copies() -> None:
    x = np.zeros((100, 4, 2), np.float32)
    assert np.shares_memory(windows.make(x, np.isfinite(x), 0, 60, 24).x, x)


def test_stride_keeps_every_nth_window() -> None:
    w = over(*range(10), stride=4)
    assert w.x[0, :, -1, 0].tolist() == [2, 6]
    assert w.end.tolist() == [[720, 960]]


@pytest.mark.parametrize(("samples", "expected"), [(0, 0), (2, 0), (3, 1), (4, 2)])
def test_data_shorter_than_a_window_gives_no_window(samples: int, expected: int) -> None:
    assert over(*range(samples)).x.shape == (1, expected, 3, 1)


def test_no_series_give_no_rows() -> None:
    empty = np.empty((10, 0, 1), np.float32)
    w = windows.make(empty, np.isfinite(empty), 0, 60, 3)
    assert w.x.shape == (0, 8, 3, 1)
    assert windows.usable(w).shape == (0, 8)


def test_a_bridged_sample_inside_is_usable_but_at_the_end_is_not() -> None:
    assert windows.usable(over(1, 2, np.nan, 4, 5, max_gap=1)).tolist() == [[False, True, True]]


def test_windows_over_a_gap_of_max_gap_are_usable_and_over_one_more_are_not() -> None:
    gap = [np.nan] * 2
    assert windows.usable(over(1, *gap, 2, 3, window=4, max_gap=2)).tolist() == [[True, True]]
    gap = [np.nan] * 3
    assert windows.usable(over(1, *gap, 2, 3, 4, window=4, max_gap=2)).tolist() == [[False, False, False, False]]


def test_a_window_that_touches_a_masked_sample_is_not_usable() -> None:
    x, valid = cleaning.bridge(np.ones((9, 1, 1), np.float32), 3)
    masked = x.copy()
    masked[4] = np.nan
    usable = windows.usable(windows.make(masked, valid, 0, 60, 3))
    assert usable.tolist() == [[True, True, False, False, False, True, True]]


def test_min_features_holds_from_both_sides() -> None:
    x = np.ones((5, 1, 3), np.float32)
    x[3, 0, 2] = np.nan
    w = windows.make(x, np.isfinite(x), 0, 60, 3)
    assert windows.counted(w).sum(axis=2).tolist() == [[3, 2, 2]]
    assert windows.usable(w, min_features=2).tolist() == [[True, True, True]]
    assert windows.usable(w, min_features=3).tolist() == [[True, False, False]]


def test_with_a_longer_tail_a_feature_counts_when_any_tail_sample_is_observed_but_one_newest_is_needed() -> None:
    x = np.ones((4, 1, 2), np.float32)
    valid = np.ones((4, 1, 2), np.bool_)
    valid[3, 0, 1] = False
    w = windows.make(x, valid, 0, 60, 4)
    assert windows.counted(w, tail=2).tolist() == [[[True, True]]]
    assert windows.usable(w, min_features=2, tail=2).tolist() == [[True]]
    valid[3, 0, 0] = False
    assert windows.usable(w, tail=2).tolist() == [[False]]


def errors(w: Windows, tail: int = 1, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Errors against an expectation of 0."""
    S, B, _, F = w.x.shape
    return windows.tail_errors(w, np.zeros((S, B, tail, F), np.float32), np.full((S, F), scale, np.float32))


def test_the_error_is_the_distance_of_the_newest_sample_in_scales() -> None:
    assert errors(over(1, 2, -6), scale=2.0)[0].tolist() == [[3.0]]


def test_a_longer_tail_averages_its_observed_samples_only() -> None:
    assert errors(over(9, 2, 4), tail=2)[0].tolist() == [[3.0]]
    assert errors(over(9, 2, np.nan, 4, window=4, max_gap=1), tail=3)[0].tolist() == [[3.0]]


def test_the_error_is_the_mean_over_the_features_that_count() -> None:
    x = np.array([[[1, 2, 3]], [[1, 2, np.nan]]], np.float32)
    w = windows.make(x, np.isfinite(x), 0, 60, 1)
    error, feature_error = errors(w)
    assert error.tolist() == [[2.0, 1.5]]
    np.testing.assert_array_equal(feature_error, [[[1, 2, 3], [1, 2, np.nan]]])


def test_a_feature_unseen_in_training_never_counts() -> None:
    x = np.array([[[1.0, 1e9]]], np.float32)
    w = windows.make(x, np.isfinite(x), 0, 60, 1)
    scale = np.array([[1, UNSEEN]], np.float32)
    error, feature_error = windows.tail_errors(w, np.zeros((1, 1, 1, 2), np.float32), scale)
    assert error.tolist() == [[1.0]]
    assert np.isnan(feature_error[0, 0, 1])


def test_nothing_observed_gives_no_error_at_all() -> None:
    error, feature_error = errors(over(np.nan, np.nan, np.nan))
    assert np.isnan(error).all()
    assert np.isnan(feature_error).all()


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_no_series_and_no_windows_give_empty_errors(shape: tuple[int, int]) -> None:
    w = Windows(np.zeros((*shape, 4, 1), np.float32), np.ones((*shape, 4, 1), np.bool_), np.zeros(shape, np.int64))
    assert errors(w)[0].shape == shape


def test_thirty_eight_features_work_like_one() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2, 38)).astype(np.float32)
    w = windows.make(x, np.isfinite(x), 0, 60, 24)
    np.testing.assert_allclose(errors(w)[0], np.abs(x[23:]).mean(axis=2).T, rtol=1e-5)


def test_samples_are_the_newest_observed_ones_of_every_window() -> None:
    values, times = windows.samples(over(1, 2, 3, np.nan, 5, max_gap=1))
    np.testing.assert_array_equal(values[0, :, 0], [3, np.nan, 5])
    assert times.tolist() == [720, 780, 840]


def test_series_on_different_grids_have_no_common_samples() -> None:
    w = Windows(np.zeros((2, 1, 1, 1), np.float32), np.ones((2, 1, 1, 1), np.bool_), np.array([[0], [60]]))
    with pytest.raises(InvalidShapeError, match="one grid"):
        windows.samples(w)


@pytest.mark.parametrize("rows", [0, 1, 7, 100])
def test_a_split_keeps_time_order_and_loses_no_row(rows: int) -> None:
    train, val, test = windows.split(rows, (0.7, 0.15, 0.15))
    assert [*range(rows)[train], *range(rows)[val], *range(rows)[test]] == list(range(rows))


def test_a_split_of_a_hundred_rows_is_70_15_15() -> None:
    assert windows.split(100, (0.7, 0.15, 0.15)) == (slice(0, 70), slice(70, 85), slice(85, 100))


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(InvalidShapeError, match="sum to 1"):
        windows.split(10, (0.7, 0.2, 0.2))


def test_windows_refuse_arrays_that_do_not_fit() -> None:
    with pytest.raises(InvalidShapeError, match=r"\[T, N, F\]"):
        windows.make(np.zeros((3, 1), np.float32), np.ones((3, 1), np.bool_), 0, 60, 2)
