"""Promises of cleaning: causal, never invents, never hides a daily peak."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models.cleaning import CleaningSpec, bridge, clean, impossible, mask_outliers, possible, zero_gaps
from anomaly_models.exceptions import InvalidShapeError

NAN = np.nan


def column(*samples: float) -> np.ndarray:
    return np.array(samples, np.float32).reshape(-1, 1, 1)


def zeros_gone(*samples: float, zero_gap: int = 2) -> list[float]:
    """Samples after zero_gaps, None where missing."""
    return [None if np.isnan(v) else float(v) for v in zero_gaps(column(*samples), zero_gap).ravel()]  # type: ignore[misc]


def test_a_gap_of_exactly_max_gap_is_bridged_and_one_step_more_is_not() -> None:
    bridged, valid = bridge(column(1, NAN, NAN, 4, NAN, NAN, NAN, 8), 2)
    np.testing.assert_array_equal(bridged.ravel(), [1, 1, 1, 4, 4, 4, NAN, 8])
    assert valid.ravel().tolist() == [True, False, False, True, False, False, False, True]


def test_nothing_is_carried_from_before_the_first_sample() -> None:
    assert np.isnan(bridge(column(NAN, NAN, 3), 5)[0].ravel()[:2]).all()


def test_infinite_samples_are_missing() -> None:
    bridged, valid = bridge(column(1, np.inf, -np.inf), 1)
    np.testing.assert_array_equal(bridged.ravel(), [1, 1, NAN])
    assert valid.ravel().tolist() == [True, False, False]


def test_without_a_gap_the_values_themselves_come_back() -> None:
    values = column(1, 2, 3)
    assert bridge(values, 3)[0] is values


def test_max_gap_zero_bridges_nothing() -> None:
    np.testing.assert_array_equal(bridge(column(1, NAN), 0)[0].ravel(), [1, NAN])


@pytest.mark.parametrize("shape", [(0, 2, 1), (5, 0, 1), (5, 2, 0)])
def test_empty_blocks_stay_empty(shape: tuple[int, int, int]) -> None:
    assert bridge(np.empty(shape, np.float32), 3)[0].shape == shape
    assert zero_gaps(np.empty(shape, np.float32), 2).shape == shape


def test_bridging_needs_time_entity_and_feature() -> None:
    with pytest.raises(InvalidShapeError, match=r"\[T, N, F\]"):
        bridge(np.zeros(3, np.float32), 1)


samples = st.lists(st.sampled_from([NAN, 0.0, 0.0, 1.0, 2.0]), min_size=1, max_size=25)


@settings(deadline=None, max_examples=100)
@given(samples, st.integers(0, 4))
def test_bridging_a_growing_buffer_never_changes_what_was_said(values: list[float], max_gap: int) -> None:
    whole = bridge(column(*values), max_gap)
    for rows in range(1, len(values) + 1):
        part = bridge(column(*values[:rows]), max_gap)
        np.testing.assert_array_equal(part[0], whole[0][:rows])
        np.testing.assert_array_equal(part[1], whole[1][:rows])


@settings(deadline=None, max_examples=200)
@given(samples, st.integers(1, 4))
def test_a_growing_buffer_equals_the_settled_history_but_for_its_newest_zeros(
    values: list[float], zero_gap: int
) -> None:
    settled = zero_gaps(column(*values), zero_gap)
    for rows in range(1, len(values) + 1):
        live = zero_gaps(column(*values[:rows]), zero_gap)
        sure = max(rows - zero_gap, 0)
        np.testing.assert_array_equal(live[:sure], settled[:sure])


def test_isolated_zeros_up_to_the_limit_are_gaps_and_longer_runs_are_real() -> None:
    assert zeros_gone(5, 0, 0, 5, 5) == [5, None, None, 5, 5]
    assert zeros_gone(5, 0, 0, 0, 5) == [5, 0, 0, 0, 5]


def test_the_newest_zeros_are_gaps_until_they_outlast_the_limit() -> None:
    assert zeros_gone(5, 5, 0) == [5, 5, None]
    assert zeros_gone(5, 5, 0, 0) == [5, 5, None, None]
    assert zeros_gone(5, 5, 0, 0, 0) == [5, 5, 0, 0, 0]


def test_an_idle_series_stays_idle_even_with_gaps_in_it() -> None:
    idle = [0, 0, NAN, 0, NAN, 0, 0, NAN]
    assert zeros_gone(*idle) == [0, 0, None, 0, None, 0, 0, None]


def test_a_zero_between_a_gap_and_a_value_is_part_of_the_gap() -> None:
    assert zeros_gone(5, NAN, 0, 5) == [5, None, None, 5]
    assert zeros_gone(5, 0, NAN, 5) == [5, None, None, 5]


def test_a_run_at_the_very_beginning_is_kept() -> None:
    assert zeros_gone(0, 5, 5) == [0, 5, 5]


def test_zero_gap_off_returns_the_values_themselves() -> None:
    values = column(5, 0, 5)
    assert zero_gaps(values, 0) is values


DAYS = 6
TIMES = np.arange(DAYS * 288)
RNG = np.random.default_rng(1)
DAILY = (10 + 5 * np.sin(TIMES / 288 * 2 * np.pi) + RNG.normal(0, 0.2, TIMES.size)).astype(np.float32)[:, None]


def test_lone_spikes_are_masked() -> None:
    spiked = DAILY.copy()
    at = [300, 700, 1100]
    spiked[at] += 12
    assert mask_outliers(spiked, 0.01, seed=0)[at].all()


def test_a_daily_wave_keeps_its_peaks() -> None:
    peaks = DAILY[:, 0] > 14
    assert peaks.sum() > 200
    assert mask_outliers(DAILY, 0.01, seed=0)[peaks].mean() < 0.01


@pytest.mark.parametrize("contamination", [0.0, 0.005, 0.02, 0.5])
def test_never_more_than_the_contamination_is_masked(contamination: float) -> None:
    wild = (RNG.standard_cauchy((TIMES.size, 1))).astype(np.float32)
    assert mask_outliers(wild, contamination, seed=0).mean() <= contamination


def test_the_worst_of_a_heavy_tail_is_masked() -> None:
    wild = RNG.standard_cauchy((TIMES.size, 1)).astype(np.float32)
    masked = mask_outliers(wild, 0.01, seed=0)
    assert masked[np.argmax(np.abs(wild))]


@pytest.mark.parametrize("level", [0.0, 7.5])
def test_a_constant_series_loses_nothing(level: float) -> None:
    assert not mask_outliers(np.full((500, 1), level, np.float32), 0.05, seed=0).any()


def test_missing_samples_are_never_masked_and_never_in_the_way() -> None:
    holes = DAILY.copy()
    holes[100:150] = NAN
    holes[700] += 12
    masked = mask_outliers(holes, 0.01, seed=0)
    assert masked[700]
    assert not masked[100:150].any()


def test_a_feature_that_is_always_missing_does_not_matter() -> None:
    both = np.concatenate([DAILY, np.full_like(DAILY, NAN)], axis=1)
    both[700, 0] += 12
    np.testing.assert_array_equal(mask_outliers(both, 0.01, seed=0), mask_outliers(both[:, :1], 0.01, seed=0))


@pytest.mark.parametrize("shape", [(0, 1), (5, 1), (5, 0)])
def test_no_data_gives_an_empty_mask(shape: tuple[int, int]) -> None:
    assert mask_outliers(np.full(shape, NAN, np.float32), 0.1, seed=0).tolist() == [False] * shape[0]


def test_thirty_eight_features_are_masked_together() -> None:
    wide = RNG.normal(size=(1000, 38)).astype(np.float32)
    wide[500] += 15
    masked = mask_outliers(wide, 0.01, seed=0)
    assert masked[500]
    assert masked.shape == (1000,)


def test_the_same_seed_gives_the_same_mask() -> None:
    wild = RNG.standard_cauchy((1000, 2)).astype(np.float32)
    np.testing.assert_array_equal(mask_outliers(wild, 0.02, seed=3), mask_outliers(wild, 0.02, seed=3))


def test_impossible_values_are_missing_and_both_edges_of_the_range_are_possible() -> None:
    values = np.array([[[-1, 5]], [[0, 200]], [[1, np.nan]], [[1.5, -9]]], np.float32)
    ranges = ((0.0, 1.0), (None, 100.0))
    assert impossible(values, ranges)[:, 0].tolist() == [[True, False], [False, True], [False, False], [True, False]]
    np.testing.assert_array_equal(possible(values, ranges)[:, 0, 0], [np.nan, 0, 1, np.nan])
    assert possible(values, ()) is values
    with pytest.raises(InvalidShapeError, match="one range per feature"):
        possible(values, ((0, 1),))


def test_cleaning_forgets_the_impossible_before_it_looks_for_gaps_and_bridges() -> None:
    spec = CleaningSpec(max_gap=1, zero_gap=1, ranges=((None, 10.0),))
    x, valid = clean(column(5, 99, 0, 7, 99), spec)
    np.testing.assert_array_equal(x.ravel(), [5, 5, np.nan, 7, 7])
    assert valid.ravel().tolist() == [True, False, False, True, False]
