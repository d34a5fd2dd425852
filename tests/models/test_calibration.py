"""Promises of calibration: from heights to decades of rarity, for any unit, any length, any gap."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models.calibration import WEEK, Line, LineSpec, block_maxima, block_samples, fit

RNG = np.random.default_rng(0)
SPEC = LineSpec()
HOUR = 3600.0
LOW = LineSpec(least_height=1e-12)


def line_of(heights: np.ndarray, step: int = 300, spec: LineSpec = SPEC) -> Line:
    size = block_samples(heights.shape[-1], step, spec)
    return fit(block_maxima(heights.astype(np.float32), size), float(size * step), spec)


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return RNG.exponential(1.0, shape)


def test_a_peak_that_comes_ten_times_a_week_has_a_rarity_of_minus_one() -> None:
    hours = 30 * 24
    maxima = np.exp(0.3 * -np.log10(np.arange(1, hours + 1) / (hours * HOUR / WEEK)))  # exactly on a line of slope 0.3
    line = fit(RNG.permutation(maxima)[None].astype(np.float32), HOUR, SPEC)
    asked = np.exp(0.3 * np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]])).astype(np.float32)
    np.testing.assert_allclose(line.decades(asked, SPEC), [[-2, -1, 0, 1, 2]], atol=0.02)


@given(st.integers(1, 400), st.floats(0, 0.9), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_higher_height_is_never_less_rare(samples: int, missing: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    heights = rng.exponential(1.0, (2, 3, samples))
    heights[rng.random(heights.shape) < missing] = np.nan
    rising = np.broadcast_to(np.geomspace(1e-3, 1e3, 50), (2, 3, 50)).astype(np.float32)
    decades = line_of(heights).decades(rising, SPEC)
    assert np.isfinite(decades).all()
    assert (np.diff(decades) >= 0).all()
    assert decades.min() >= SPEC.lowest
    assert decades.max() <= SPEC.highest


@given(st.floats(1e-6, 1e6))
@settings(max_examples=20, deadline=None)
def test_rarity_does_not_depend_on_the_unit(unit: float) -> None:
    heights = np.random.default_rng(1).exponential(1.0, (2, 4000)) + 0.1
    mine = line_of(heights, spec=LOW).decades(heights.astype(np.float32), LOW)
    theirs = line_of(heights * unit, spec=LOW).decades((heights * unit).astype(np.float32), LOW)
    np.testing.assert_allclose(mine, theirs, atol=2e-3)


def test_rows_do_not_depend_on_their_neighbours() -> None:
    heights = noise((3, 2, 2000))
    heights[1] *= 100
    together = line_of(heights).stacked()
    for row in range(3):
        np.testing.assert_array_equal(line_of(heights[row : row + 1]).stacked()[0], together[row])


def test_a_constant_series_has_a_finite_line_and_its_first_step_is_rare() -> None:
    line = line_of(np.zeros((1, 30 * 288)))
    decades = line.decades(np.array([[0.0, 1.0]], np.float32), SPEC)
    assert np.isfinite(line.stacked()).all()
    assert decades[0, 0] < 0
    assert decades[0, 1] == SPEC.highest


def test_nothing_but_gaps_gives_a_finite_line_and_nan_stays_nan() -> None:
    line = line_of(np.full((2, 500), np.nan))
    assert np.isfinite(line.stacked()).all()
    assert np.isnan(line.decades(np.full((2, 3), np.nan, np.float32), SPEC)).all()


def test_gaps_count_as_time_that_was_not_watched() -> None:
    heights = noise((1, 8000))
    gappy = np.concatenate(
        [heights, np.full((1, 8064), np.nan)], axis=1
    )  # four weeks of nothing after it, in whole blocks
    np.testing.assert_allclose(line_of(gappy[:, 8000 % 12 :]).stacked(), line_of(heights).stacked(), atol=0.02)


def test_anomalies_inside_the_data_do_not_raise_a_line_through_frequent_peaks() -> None:
    heights = noise((1, 30 * 288))
    robust = LineSpec(least=30, most=300, block=900, floor=0.05, highest=8)
    asked = np.array([[30.0]], np.float32)
    clean = line_of(heights, spec=robust).decades(asked, robust)
    heights[0, 1000:8000:500] = 200.0
    np.testing.assert_allclose(line_of(heights, spec=robust).decades(asked, robust), clean, atol=0.25)


def test_the_slope_is_shrunk_where_there_are_few_blocks_and_never_below_its_floor() -> None:
    assert 0.2 < float(line_of(np.full((1, 13), 5.0)).slope[0]) <= SPEC.prior
    flat = line_of(np.full((1, 30 * 288), 5.0))
    assert float(flat.slope[0]) == np.float32(SPEC.floor)


def test_a_line_comes_back_from_its_tensor() -> None:
    line = line_of(noise((2, 3, 900)))
    again = Line.of(line.stacked())
    for name in ("slope", "height", "rarity"):
        np.testing.assert_array_equal(getattr(again, name), getattr(line, name))


def test_block_maxima_count_back_from_the_newest_sample() -> None:
    heights = np.array([[9, 1, 2, np.nan, np.nan, 3, 1]], np.float32)
    np.testing.assert_array_equal(block_maxima(heights, 2), [[2, np.nan, 3]])
    np.testing.assert_array_equal(block_maxima(heights, 1), heights)
    assert block_maxima(heights, 9).shape == (1, 0)
