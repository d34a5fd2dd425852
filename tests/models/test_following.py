"""Thresholds that follow their entity: fast enough to end a flood, too slow for an incident to blind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models.budget import BudgetSpec
from anomaly_models.exceptions import UntrainableError
from anomaly_models.following import MEMORY, Sample, follow, incidents, next_inputs
from anomaly_models.thresholds import Recent, ThresholdInputs, ThresholdSpec

STEP = 300
HOUR = 3600 // STEP
DAY = 24 * HOUR
PERIOD = 2 * HOUR
SPEC = ThresholdSpec(base="budget", budget=BudgetSpec(1.0, STEP, 1))
Shape = Callable[[int], float]


def errors(days: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=round(days * DAY)).astype(np.float32)


def sample_of(values: np.ndarray, first: int = 0) -> Sample:
    return Sample(np.asarray(values, np.float32), (first + np.arange(len(values), dtype=np.int64)) * STEP)


def followed(learned: np.ndarray, later: np.ndarray, spec: ThresholdSpec = SPEC) -> list[float]:
    """Thresholds of the generations made every two hours while ``later`` went on."""
    sample = sample_of(learned)
    inputs = ThresholdInputs(follow(sample, (), spec)[0])
    out = []
    for first in range(0, len(later), PERIOD):
        out.append(inputs.recent.value)
        part = sample_of(later[first : first + PERIOD], len(learned) + first)
        sample = sample.then(part.errors, part.end)
        inputs = next_inputs(inputs, sample, spec)
    return [*out, inputs.recent.value]


def test_while_nothing_changes_the_threshold_stays() -> None:
    thresholds = followed(errors(14), errors(14, 1))
    assert max(thresholds) <= 1.3 * min(thresholds)


@pytest.mark.parametrize("hours", [1, 6, 20])
def test_an_incident_teaches_nothing(hours: int) -> None:
    later = errors(2, 1)
    later[DAY // 2 : DAY // 2 + hours * HOUR] = 500
    quiet, disturbed = followed(errors(14), errors(2, 1)), followed(errors(14), later)
    assert max(disturbed) <= 1.05 * max(quiet)


def test_however_large_an_incident_is_no_day_lifts_the_threshold_by_more_than_half() -> None:
    later = np.full(5 * DAY, 1e6, np.float32)
    thresholds = followed(errors(14), later)
    for day in range(5):
        assert thresholds[(day + 1) * 12] <= 1.5 * thresholds[day * 12] * (1 + 1e-6)


@given(seed=st.integers(0, 2**32 - 1), rise=st.floats(0.1, 2.0))
@settings(max_examples=20, deadline=None)
def test_no_later_errors_lift_the_threshold_faster_than_allowed(seed: int, rise: float) -> None:
    rng = np.random.default_rng(seed)
    later = errors(2, seed) * np.float32(10.0 ** rng.uniform(0, 4))
    spec = replace(SPEC, largest_rise=rise)
    thresholds = followed(errors(3, seed + 1), later, spec)
    for before, after in pairwise(thresholds):
        assert after <= before * (1 + rise) ** (1 / 12) * (1 + 1e-6)


def test_an_entity_that_became_noisier_is_followed_within_days() -> None:
    later = 3 * errors(8, 1)
    thresholds = followed(errors(14), later)
    assert thresholds[-1] >= 2.5 * thresholds[0]
    alerts = [(later[d * DAY : (d + 1) * DAY] >= thresholds[d * 12]).sum() for d in range(8)]
    assert sum(alerts[5:]) <= 3 < sum(alerts[:3])


def test_what_lasts_longer_than_a_day_is_how_things_are_now() -> None:
    later = errors(12, 1) + 30
    thresholds = followed(errors(14), later)
    assert thresholds[12] <= 1.1 * thresholds[0]
    assert thresholds[-1] > 25


def test_an_entity_that_calmed_down_is_followed_once_its_past_is_forgotten() -> None:
    thresholds = followed(errors(14), errors(20, 1) / 5)
    assert thresholds[-1] <= 0.3 * thresholds[0]


def test_a_threshold_from_a_few_hours_may_rise_by_as_much_in_that_time() -> None:
    young, grown = errors(0.25), errors(14)
    later = 10 * errors(0.25, 1)
    first = followed(young, later)
    old = followed(grown, later)
    assert first[-1] / first[0] > old[-1] / old[0]


def test_slowly_growing_errors_cannot_lift_the_threshold_past_a_real_incident() -> None:
    """Two percent a day for thirty days: an error of five times the highest usual one is found on every day."""
    growth = (1.02 ** (np.arange(30 * DAY) / DAY)).astype(np.float32)
    thresholds = followed(errors(14), errors(30, 1) * growth)
    usual = errors(14).max()
    assert max(thresholds) < 5 * usual


def at(*pairs: tuple[int, float]) -> tuple[Recent, ...]:
    return tuple(Recent(when, value, 1.0) for when, value in pairs)


def judged(heights: Sequence[float], earlier: Sequence[Recent], spec: BudgetSpec = SPEC.budget) -> list[bool]:
    line = np.asarray(heights, np.float64)
    return incidents(line, np.arange(len(line), dtype=np.int64) * STEP, earlier, spec).tolist()


def test_errors_count_as_incidents_by_the_threshold_that_was_in_force() -> None:
    heights = [3.0, 3.0, 3.0, 3.0]
    assert judged(heights, at((0, 4.0), (STEP, 2.0))) == [False, False, True, True]
    assert judged(heights, at((10 * STEP, 2.0))) == [True] * 4
    assert judged(heights, ()) == [False] * 4


def test_persistence_decides_what_was_an_incident_and_marks_all_of_its_samples() -> None:
    spec = replace(SPEC.budget, persistence=2)
    assert judged([5.0, 1.0, 5.0, 5.0, 1.0], at((-STEP, 2.0)), spec) == [False, False, True, True, False]


def test_more_incidents_than_anybody_has_in_a_week_are_none() -> None:
    three, four = np.zeros(7 * DAY), np.zeros(7 * DAY)
    three[[0, DAY, 2 * DAY]] = 9
    four[[0, DAY, 2 * DAY, 3 * DAY]] = 9
    assert sum(judged(three, at((-1, 5.0)))) == 3
    assert sum(judged(four, at((-1, 5.0)))) == 0
    assert sum(judged(four, at((-1, 5.0)), replace(SPEC.budget, per_week=4.0))) == 4


@pytest.mark.parametrize(("samples", "counts"), [(DAY, True), (DAY + 1, True), (DAY + 2, False)])
def test_a_day_is_the_longest_incident(samples: int, counts: bool) -> None:
    heights = np.zeros(4 * DAY)
    heights[DAY : DAY + samples] = 9
    assert any(judged(heights, at((-1, 5.0)))) is counts


def test_a_sample_grows_only_by_later_finite_errors_and_forgets() -> None:
    first = sample_of(np.array([1.0, 2.0]))
    later = first.then(np.array([7, 3, np.nan], np.float32), np.array([STEP, 2 * STEP, 3 * STEP]))
    assert later.errors.tolist() == [1, 2, 3]
    assert later.end.tolist() == [0, STEP, 2 * STEP]
    far = later.then(np.array([4], np.float32), np.array([MEMORY + STEP]))
    assert far.end.tolist() == [2 * STEP, MEMORY + STEP]


def test_without_new_errors_there_is_no_new_generation() -> None:
    sample = sample_of(errors(3))
    inputs = ThresholdInputs(follow(sample, (), SPEC)[0])
    assert next_inputs(inputs, sample, SPEC) is inputs


def test_an_empty_sample_is_refused() -> None:
    with pytest.raises(UntrainableError, match="held-out window"):
        follow(sample_of(np.empty(0)), (), SPEC)
