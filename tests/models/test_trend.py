"""Promises of trends: growth is found at its slope, what comes back is none, and time to a limit is never made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models.trend import fit, seconds_to_limit

NAN = np.nan
STEP = 60
DAY = 1440
RNG = np.random.default_rng(1)


def daily(days: float) -> np.ndarray:
    """A daily cycle of 10 % with noise around 100."""
    t = np.arange(int(days * DAY))
    return 100 + 10 * np.sin(t / DAY * 2 * np.pi) + RNG.normal(size=t.size)


def trend_of(x: np.ndarray) -> tuple[float, bool]:
    """Slope per hour, and whether it is a leak."""
    found = fit(x.astype(np.float32)[:, None, None], STEP)
    return float(found.slope[0, 0]) * 3600, bool(found.leak[0, 0])


@pytest.mark.parametrize("days", [2.5, 5, 30])
def test_slow_growth_is_found_at_its_slope_whatever_the_daily_cycle(days: float) -> None:
    x = daily(days)
    slope, leak = trend_of(x + np.arange(x.size) / 60)
    assert leak
    assert slope == pytest.approx(1, rel=0.05)
    assert not trend_of(x)[1]


def test_fast_growth_of_a_few_hours_is_found_beside_days_without_any() -> None:
    x = daily(4)
    slope, leak = trend_of(x + np.maximum(np.arange(x.size) - x.size + 300, 0) / 60 * 8)
    assert leak
    assert slope == pytest.approx(8, rel=0.2)


def test_a_morning_a_step_and_a_weekend_are_no_leaks() -> None:
    x = daily(4)
    for hour in range(24):
        assert not trend_of(x[: x.size - hour * 60])[1]
    assert not trend_of(x + 30 * (np.arange(x.size) > x.size - 200))[1]
    assert not trend_of(x + 30 * (np.arange(x.size) > x.size - 2000))[1]
    week = daily(14) * np.where(np.arange(14 * DAY) // DAY % 7 < 5, 1.3, 1.0)
    for day in range(7):
        assert not trend_of(week[: week.size - day * DAY])[1]


def test_a_constant_a_short_history_and_holes_have_no_leak() -> None:
    assert trend_of(np.full(3 * DAY, 7.0)) == (0, False)
    assert np.isnan(trend_of(daily(0.1))[0])
    assert np.isnan(trend_of(np.full(DAY, NAN))[0])
    assert np.isnan(fit(np.empty((0, 1, 1), np.float32), STEP).slope).all()


def test_half_of_the_samples_may_be_missing() -> None:
    x = daily(3) + np.arange(3 * DAY) / 60
    x[RNG.random(x.size) < 0.45] = NAN
    assert trend_of(x)[1]


@settings(deadline=None, max_examples=30)
@given(st.floats(0.001, 1000), st.floats(-1000, 1000), st.integers(0, 3))
def test_slopes_follow_scale_and_ignore_shift(scale: float, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = (np.cumsum(rng.normal(size=2000)) + 1000).astype(np.float32)[:, None, None]
    before = fit(x, STEP).slope[0, 0]
    assert fit(x * np.float32(scale), STEP).slope[0, 0] == pytest.approx(before * scale, rel=1e-3, abs=1e-9 * scale)
    assert fit(x + np.float32(shift), STEP).slope[0, 0] == pytest.approx(before, rel=1e-3, abs=1e-7)


def test_series_do_not_touch_each_other() -> None:
    x = np.stack([daily(1), daily(1) + np.arange(DAY) / 6], axis=1)[:, :, None].astype(np.float32)
    together = fit(x, STEP)
    for n in range(2):
        assert fit(x[:, n : n + 1], STEP).slope[0] == together.slope[n]


def test_time_to_a_limit_is_what_is_left_by_the_slope() -> None:
    def left(level: float, slope: float, limit: float, leak: bool = True) -> float:
        arrays = (np.array([[v]]) for v in (level, slope))
        return float(seconds_to_limit(*arrays, np.array([[leak]]), np.array([[limit]]))[0, 0])

    assert left(60, 0.5, 100) == 80
    assert left(120, 0.5, 100) == 0
    for absent in (left(60, 0, 100), left(60, -1, 100), left(60, 1, NAN), left(60, 1, 0), left(NAN, 1, 100)):
        assert np.isnan(absent)
    assert np.isnan(left(60, 1, 100, leak=False))
