"""The base threshold `budget`: what it promises, on data whose true rate of alerts is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import budget, judging
from anomaly_models.budget import BudgetSpec, calibrate
from anomaly_models.exceptions import UntrainableError

STEP = 60
DAY = 86_400 // STEP
WEEK = 7 * DAY
F64 = budget.F64
Draw = Callable[[np.random.Generator, int], F64]


def correlated(rng: np.random.Generator, samples: int, memory: float) -> F64:
    """A stationary series whose correlation falls to 1/e within ``memory`` samples."""
    share = np.exp(-1 / memory)
    noise = rng.normal(size=samples) * np.sqrt(1 - share**2)
    out, now = np.empty(samples), rng.normal()
    for i, step in enumerate(noise.tolist()):
        now = share * now + step
        out[i] = now
    return out


ERRORS: dict[str, Draw] = {
    "normal": lambda rng, n: np.abs(rng.normal(size=n)),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "log-normal": lambda rng, n: np.exp(0.5 * rng.normal(size=n)),
    "cubic power law": lambda rng, n: np.abs(rng.standard_t(3, size=n)),
    "five minutes of memory": lambda rng, n: np.abs(correlated(rng, n, 5)),
    "an hour of memory": lambda rng, n: np.exp(0.6 * correlated(rng, n, 60)),
}
seeds = st.integers(0, 2**32 - 1)


def a_sample(seed: int, days: float = 3.0) -> F64:
    return ERRORS["exponential"](np.random.default_rng(seed), round(days * DAY))


@pytest.mark.parametrize("persistence", [1, 3])
@pytest.mark.parametrize("name", ERRORS)
def test_the_promised_number_of_alerts_is_kept_whatever_the_errors_are_like(name: str, persistence: int) -> None:
    rng = np.random.default_rng(7)
    spec = BudgetSpec(3.0, STEP, persistence)
    weeks = 40
    later = budget.persistent(ERRORS[name](rng, weeks * WEEK), persistence)
    rates = []
    for _ in range(9):
        found = calibrate(ERRORS[name](rng, 10 * DAY), spec)
        # Without the widening, which pays for days unlike those seen; these days are all alike.
        rates.append(budget.notifications(later >= found.threshold / found.widened, STEP) / weeks)
    assert 3.0 / 5 <= np.median(rates) <= 3.0 * 2
    assert max(rates) <= 3.0 * 5


@pytest.mark.parametrize("name", ERRORS)
def test_a_short_history_errs_on_the_quiet_side(name: str) -> None:
    rng = np.random.default_rng(3)
    later = ERRORS[name](rng, 20 * WEEK)
    rates = [
        budget.notifications(later >= calibrate(ERRORS[name](rng, DAY // 8), BudgetSpec()).threshold, STEP) / 20
        for _ in range(9)
    ]
    # Three hours promise no more than 56 a week; most of them keep far below that.
    assert np.median(rates) <= 2
    assert max(rates) <= 56


@given(seed=seeds, days=st.sampled_from([0.1, 1.0, 4.0]), first=st.floats(0.01, 900), second=st.floats(0.01, 900))
@settings(max_examples=60, deadline=None)
def test_a_smaller_budget_is_never_a_lower_threshold(seed: int, days: float, first: float, second: float) -> None:
    heights = a_sample(seed, days)
    smaller, larger = (calibrate(heights, BudgetSpec(n)).threshold for n in sorted((first, second)))
    assert smaller >= larger * (1 - 1e-9)


@given(seed=seeds, days=st.sampled_from([0.05, 2.0]), factor=st.floats(1e-6, 1e6), persistence=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_errors_in_another_unit_give_the_same_threshold_in_that_unit(
    seed: int, days: float, factor: float, persistence: int
) -> None:
    heights, spec = a_sample(seed, days), BudgetSpec(1.0, STEP, persistence)
    assert calibrate(heights * factor, spec).threshold == pytest.approx(factor * calibrate(heights, spec).threshold)


@given(seed=seeds, size=st.integers(1, 40), missing=st.floats(0, 0.9))
@settings(max_examples=60, deadline=None)
def test_any_history_gives_a_finite_threshold(seed: int, size: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    heights = np.round(rng.exponential(size=size), int(rng.integers(0, 4)))
    heights[rng.random(size) < missing] = np.nan
    heights[rng.integers(size)] = 1.0
    found = calibrate(heights, BudgetSpec(1.0, STEP, int(rng.integers(1, 4))))
    assert np.isfinite([found.threshold, found.attainable, found.widened, found.expected]).all()
    assert found.threshold >= 0
    assert found.attainable > 0
    assert found.widened >= 1


def test_errors_that_are_all_alike_give_just_more_than_that() -> None:
    assert calibrate(np.zeros(3 * DAY), BudgetSpec()).threshold == 0
    found = calibrate(np.full(3 * DAY, 2.0), BudgetSpec())
    assert found.threshold == pytest.approx(2.0 * found.widened)


def test_nothing_to_go_by_is_refused() -> None:
    with pytest.raises(UntrainableError, match="at least one held-out window"):
        calibrate(np.full(10, np.nan), BudgetSpec())


@pytest.mark.parametrize("wrong", [{"per_week": 0.0}, {"step": 0}, {"persistence": 0}])
def test_a_budget_needs_positive_numbers(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive, received"):
        BudgetSpec(**wrong)  # type: ignore[arg-type]


def test_gaps_that_break_every_run_are_no_reason_to_refuse() -> None:
    heights = a_sample(1)
    heights[::2] = np.nan
    assert calibrate(heights, BudgetSpec(1.0, STEP, 2)).threshold > 0


@given(seed=seeds, share=st.sampled_from([0.01, 0.05, 0.2]), height=st.sampled_from([30.0, 1e3, 1e6]))
@settings(max_examples=30, deadline=None)
def test_incidents_in_the_sample_raise_the_threshold_by_a_factor_at_most(
    seed: int, share: float, height: float
) -> None:
    """However high they are: ten days, up to a fifth of the time within incidents of two to six hours."""
    rng = np.random.default_rng(seed)
    clean = a_sample(seed, 10)
    dirty = clean.copy()
    while (dirty >= height).mean() < share:
        start = int(rng.integers(0, dirty.size))
        dirty[start : start + int(rng.integers(120, 360))] = height
    before, after = (calibrate(h, BudgetSpec()).threshold for h in (clean, dirty))
    assert after <= 2 * budget.MOST * before


def test_a_few_incidents_a_week_change_next_to_nothing() -> None:
    clean = a_sample(5, 14)
    dirty = clean.copy()
    for day in (2, 5, 9, 12):
        dirty[day * DAY : day * DAY + 90] = 1e4
    before, after = (calibrate(h, BudgetSpec()).threshold for h in (clean, dirty))
    assert after == pytest.approx(before, rel=0.15)


def test_what_comes_every_day_is_a_habit_and_must_not_alert() -> None:
    heights = a_sample(2, 14)
    heights[DAY // 2 :: DAY] = 16.0  # a job at noon, where the highest of a fortnight is else about 10
    found = calibrate(heights, BudgetSpec())
    assert found.threshold > 16
    assert found.expected <= budget.HABIT


def test_one_long_alert_costs_as_many_mails_as_the_judge_counts() -> None:
    rng = np.random.default_rng(11)
    for _ in range(50):
        above = rng.random(3 * DAY) < rng.choice([0.001, 0.01, 0.2])
        for start in rng.integers(0, above.size, 3):
            above[start : start + int(rng.integers(1, 700))] = True
        times = np.flatnonzero(above).astype(np.int64) * STEP
        assert budget.notifications(above, STEP) == judging.notifications(times, STEP)


@pytest.mark.parametrize(("minutes", "mails"), [(1, 1), (239, 1), (240, 1), (241, 2), (480, 2), (481, 3)])
def test_a_standing_alert_is_mailed_again_every_four_hours(minutes: int, mails: int) -> None:
    above = np.zeros(2 * DAY, np.bool_)
    above[100 : 100 + minutes] = True
    assert budget.notifications(above, STEP) == mails


@pytest.mark.parametrize(("quiet", "mails"), [(13, 1), (14, 1), (15, 2)])
def test_a_quarter_of_an_hour_of_quiet_ends_an_alert(quiet: int, mails: int) -> None:
    above = np.zeros(DAY, np.bool_)
    above[[100, 101 + quiet]] = True
    assert budget.notifications(above, STEP) == mails


def test_with_samples_every_half_hour_one_quiet_sample_ends_an_alert() -> None:
    assert budget.notifications(np.array([True, True, False, True]), 1800) == 2


def test_noise_that_lasts_costs_a_run_not_its_samples() -> None:
    """An hour of noise every two days is as cheap as one sample every two days."""
    quiet = a_sample(4, 14) / 10
    lone, noisy = quiet.copy(), quiet.copy()
    for start in range(500, quiet.size, 2 * DAY):
        lone[start] = 2.0
        noisy[start : start + 60] = 2.0
    assert calibrate(noisy, BudgetSpec()).threshold == pytest.approx(calibrate(lone, BudgetSpec()).threshold, rel=0.1)


def test_persistence_is_part_of_the_calibration() -> None:
    heights = a_sample(6, 7)
    thresholds = [calibrate(heights, BudgetSpec(1.0, STEP, n)).threshold for n in (1, 2, 4)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > 1.5 * thresholds[-1]


def test_a_run_of_errors_persists_only_when_it_is_whole() -> None:
    heights = np.array([3.0, 2.0, 5.0, np.nan, 4.0, 6.0, 1.0])
    expected = [np.nan, 2.0, 2.0, np.nan, np.nan, 4.0, 1.0]
    np.testing.assert_array_equal(budget.persistent(heights, 2), expected)


def test_a_shorter_history_promises_less_and_is_widened_more() -> None:
    found = [calibrate(a_sample(8, days), BudgetSpec()) for days in (14, 7, 1, 0.125)]
    assert [c.attainable for c in found] == pytest.approx([0.5, 1, 7, 56])
    assert [c.widened**2 for c in found] == pytest.approx([1 + 1 / 14, 1 + 1 / 7, 2, 9])


def test_errors_are_laid_on_their_grid_with_holes_where_there_is_none() -> None:
    heights, times = budget.laid(np.array([1.0, 2.0, 3.0]), np.array([120, 240, 300]), STEP)
    np.testing.assert_array_equal(times, [120, 180, 240, 300])
    np.testing.assert_array_equal(heights, [1.0, np.nan, 2.0, 3.0])


def test_a_budget_of_hundreds_a_week_is_met_within_the_data() -> None:
    heights = a_sample(9, 14)
    found = calibrate(heights, BudgetSpec(100.0))
    assert 100 / 1.5 <= budget.notifications(heights >= found.threshold / found.widened, STEP) / 2 <= 100 * 1.5
