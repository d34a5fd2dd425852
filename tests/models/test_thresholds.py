"""Promises of thresholds: every property that docs/thresholds.md states."""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models.exceptions import PackRejectedError, UntrainableError
from anomaly_models.thresholds import (
    MAX_EARLIER,
    Parts,
    Recent,
    ThresholdInputs,
    ThresholdSpec,
    ThresholdStack,
    adaptive,
    base_threshold,
    history_after,
    measure,
    re_express,
)

HOUR = 3600
DAY = 24 * HOUR
ERRORS = [1.0, 2.0, 3.0, 4.0, 10.0]
OPEN = {"floor": 1e-12}
"""A floor that never interferes: the stated properties hold before clamping."""

values = st.floats(0, 1e6, allow_subnormal=False)
sigmas = st.floats(0, 1e6, allow_subnormal=False)
times = st.integers(0, 4 * 10**9)
recents = st.builds(Recent, times, values, sigmas)
pasts = st.lists(recents, min_size=1, max_size=6).map(tuple)
specs = st.builds(
    ThresholdSpec,
    mode=st.sampled_from(["decay", "literal"]),
    weighting=st.sampled_from(["sigma", "inverse_variance"]),
    half_life=st.floats(60, 30 * DAY),
    floor=st.just(1e-12),
)


def threshold_at(inputs: ThresholdInputs, spec: ThresholdSpec, now: int) -> float:
    return float(adaptive(ThresholdStack.of([inputs]), spec, now).threshold[0, 0])


def one(previous: Recent, recent: Recent) -> ThresholdInputs:
    return ThresholdInputs(recent, (previous,))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean_std", 4 + 2 * math.sqrt(10)),  # mean 4, population variance (9+4+1+0+36)/5
        ("mad", 3 + 2 * 1),  # median 3, deviations 2 1 0 1 7
        ("p95", 8.8),
        ("p99", 9.76),
    ],
)
def test_base_thresholds_follow_their_formulas(method: str, expected: float) -> None:
    assert base_threshold(ERRORS, method, 2.0) == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["mean_std", "mad", "p95", "p99"])
def test_missing_errors_are_ignored(method: str) -> None:
    with_gaps = [math.nan, *ERRORS, math.nan, math.inf]
    assert base_threshold(with_gaps, method, 2.0) == base_threshold(ERRORS, method, 2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("errors", [[], [math.nan, math.nan]])
def test_without_any_error_there_is_no_threshold(errors: list[float]) -> None:
    with pytest.raises(UntrainableError) as raised:
        base_threshold(errors, "p95", 1.0)
    assert raised.value.reason == "no_errors"


def test_a_constant_error_is_its_own_threshold() -> None:
    assert [base_threshold([2.0] * 9, m, 5.0) for m in ("mean_std", "mad", "p95", "p99")] == [2.0] * 4  # type: ignore[arg-type]


def test_r_is_measured_on_the_newest_held_out_day_only() -> None:
    end = np.arange(0, 3 * DAY, HOUR)
    errors = np.where(end < 2 * DAY, 100.0, 1.0).astype(np.float32)
    spec = ThresholdSpec(base="mad", recent=DAY)
    assert measure(errors, end, spec) == Recent(at=3 * DAY - HOUR, value=1.0, sigma=0.0)


def test_r_ignores_windows_that_were_detected_unless_all_were() -> None:
    end = np.arange(4) * HOUR
    errors = np.array([1, 1, 50, np.nan], np.float32)
    undetected = np.array([True, True, False, True])
    spec = ThresholdSpec(base="p99")
    assert measure(errors, end, spec, undetected) == Recent(2 * HOUR, 1.0, 0.0)
    assert measure(errors, end, spec, np.zeros(4, np.bool_)).value > 1


def test_r_needs_an_error() -> None:
    with pytest.raises(UntrainableError):
        measure(np.full(3, np.nan, np.float32), np.arange(3), ThresholdSpec())


@settings(deadline=None, max_examples=200)
@given(recents, pasts, specs, times)
def test_the_threshold_lies_between_p_and_r(
    recent: Recent, past: tuple[Recent, ...], spec: ThresholdSpec, now: int
) -> None:
    parts = adaptive(ThresholdStack.of([ThresholdInputs(recent, past)]), spec, now)
    low, high = sorted((parts.previous[0], parts.recent[0]))
    assert max(low, spec.floor) <= parts.threshold[0, 0] <= max(high, spec.floor)


@settings(deadline=None, max_examples=100)
@given(recents, pasts, specs)
def test_p_lies_among_the_earlier_thresholds(recent: Recent, past: tuple[Recent, ...], spec: ThresholdSpec) -> None:
    parts = adaptive(ThresholdStack.of([ThresholdInputs(recent, past)]), spec, 0)
    assert parts.previous[0] <= max(r.value for r in past) * (1 + 1e-9)
    assert parts.previous[0] >= min(r.value for r in past) * (1 - 1e-9)
    assert parts.previous_sigma[0] <= max(r.sigma for r in past) * (1 + 1e-9)


def share_of_p(spec: ThresholdSpec, previous: Recent, recent: Recent, now: int) -> float:
    """P's weight in T, read off a pair of thresholds at 0 and 1 with the same spreads."""
    return threshold_at(one(replace(previous, value=1.0), replace(recent, value=0.0)), spec, now)


@settings(deadline=None, max_examples=150)
@given(recents, recents, specs, st.integers(0, 60 * DAY), st.integers(0, 60 * DAY))
def test_p_never_gains_weight_in_decay_and_never_loses_it_in_literal(
    previous: Recent, recent: Recent, spec: ThresholdSpec, one_time: int, other: int
) -> None:
    early, late = sorted((previous.at + one_time, previous.at + other))
    before, after = share_of_p(spec, previous, recent, early), share_of_p(spec, previous, recent, late)
    if spec.mode == "decay":
        assert after <= before + 1e-12
    else:
        assert after >= before - 1e-12


@settings(deadline=None, max_examples=100)
@given(recents, recents, specs)
def test_both_limits_in_time(previous: Recent, recent: Recent, spec: ThresholdSpec) -> None:
    at_once, much_later = previous.at, previous.at + int(spec.half_life * 200)
    weighed = adaptive(ThresholdStack.of([one(previous, recent)]), spec, at_once).weight[0]
    start, end = share_of_p(spec, previous, recent, at_once), share_of_p(spec, previous, recent, much_later)
    if spec.mode == "decay":
        assert (start, end) == pytest.approx((weighed, 0), abs=1e-9)
    else:
        assert (start, end) == pytest.approx((0, weighed), abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(recents, specs, times)
def test_without_a_past_the_threshold_is_r(recent: Recent, spec: ThresholdSpec, now: int) -> None:
    assert threshold_at(ThresholdInputs(recent), spec, now) == max(recent.value, spec.floor)


def test_in_a_mixed_stack_entities_without_a_past_keep_r_and_have_no_p() -> None:
    past = one(Recent(0, 4.0, 1.0), Recent(100, 2.0, 1.0))
    parts = adaptive(ThresholdStack.of([ThresholdInputs(Recent(100, 2.0, 1.0)), past]), ThresholdSpec(), 100)
    assert parts.threshold[0, 0] == 2.0
    assert np.isnan([parts.previous[0], parts.previous_sigma[0], parts.weight[0], parts.decay[0, 0]]).all()
    assert parts.threshold[1, 0] > 2.0


@settings(deadline=None, max_examples=100)
@given(pasts, st.floats(0.01, 100), specs, times)
def test_re_expression_scales_p_and_its_spread_by_the_ratio(
    past: tuple[Recent, ...], ratio: float, spec: ThresholdSpec, now: int
) -> None:
    recent = Recent(0, 1.0, 1.0)
    before = adaptive(ThresholdStack.of([ThresholdInputs(recent, past)]), spec, now)
    after = adaptive(ThresholdStack.of([ThresholdInputs(recent, re_express(past, ratio))]), spec, now)
    assert after.previous[0] == pytest.approx(before.previous[0] * ratio)
    assert after.previous_sigma[0] == pytest.approx(before.previous_sigma[0] * ratio)


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.nan, math.inf])
def test_models_that_cannot_be_compared_are_not_re_expressed(ratio: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        re_express([Recent(0, 1.0, 1.0)], ratio)


def test_the_noisier_side_wins_by_sigma_and_loses_by_inverse_variance() -> None:
    stack = ThresholdStack.of([one(Recent(0, 1.0, 3.0), Recent(0, 1.0, 1.0))])
    assert adaptive(stack, ThresholdSpec(weighting="sigma"), 0).weight[0] == pytest.approx(0.75)
    assert adaptive(stack, ThresholdSpec(weighting="inverse_variance"), 0).weight[0] == pytest.approx(0.1)


@pytest.mark.parametrize("weighting", ["sigma", "inverse_variance"])
@pytest.mark.parametrize("sigma", [0.0, 1e-300, 1e300])
def test_equal_spreads_weigh_half_however_small_or_large(weighting: str, sigma: float) -> None:
    stack = ThresholdStack.of([one(Recent(0, 1.0, sigma), Recent(0, 1.0, sigma))])
    assert adaptive(stack, ThresholdSpec(weighting=weighting), 0).weight[0] == 0.5  # type: ignore[arg-type]


def test_an_earlier_threshold_counts_half_after_a_half_life() -> None:
    now, spec = 100 * DAY, ThresholdSpec(half_life=DAY)
    past = (Recent(now, 3.0, 0.0), Recent(now - DAY, 0.0, 0.0))
    parts = adaptive(ThresholdStack.of([ThresholdInputs(Recent(now, 1.0, 0.0), past)]), spec, now + DAY)
    assert parts.previous[0] == pytest.approx(2.0)
    assert parts.decay[0, 0] == pytest.approx(0.5)


def test_very_old_thresholds_still_have_a_mean() -> None:
    past = (Recent(0, 2.0, 0.0), Recent(1, 4.0, 0.0))
    parts = adaptive(ThresholdStack.of([ThresholdInputs(Recent(10**10, 1.0, 0.0), past)]), ThresholdSpec(), 10**10)
    assert parts.previous[0] == pytest.approx(3.0, rel=1e-4)


def test_time_before_the_earlier_threshold_counts_as_none_passed() -> None:
    inputs = one(Recent(DAY, 4.0, 1.0), Recent(2 * DAY, 2.0, 1.0))
    assert threshold_at(inputs, ThresholdSpec(), 0) == threshold_at(inputs, ThresholdSpec(), DAY)


def test_floor_and_ceiling_hold() -> None:
    spec = ThresholdSpec(floor=0.5, ceiling=2.0)
    at = {v: threshold_at(ThresholdInputs(Recent(0, v, 0.0)), spec, 0) for v in (0.0, 0.4, 0.5, 1.0, 2.0, 9.0)}
    assert at == {0.0: 0.5, 0.4: 0.5, 0.5: 0.5, 1.0: 1.0, 2.0: 2.0, 9.0: 2.0}


@pytest.mark.parametrize(("recent", "expected"), [(1.4, 1.4), (1.5, 1.5), (9.0, 1.5), (0.5, 0.5), (0.1, 0.5)])
def test_the_largest_step_bounds_the_change_from_the_generation_before(recent: float, expected: float) -> None:
    spec = ThresholdSpec(largest_step=0.5, half_life=1, floor=0.01)
    past = (Recent(50, 77.0, 1.0), Recent(100, 1.0, 1.0))  # the newest counts, in whatever order they come
    assert threshold_at(ThresholdInputs(Recent(200, recent, 1.0), past), spec, 10**6) == pytest.approx(expected)


@settings(deadline=None, max_examples=100)
@given(recents, pasts, specs, times, st.floats(0.01, 3))
def test_the_largest_step_never_breaks_floor_or_ceiling(
    recent: Recent, past: tuple[Recent, ...], spec: ThresholdSpec, now: int, step: float
) -> None:
    bounded = replace(spec, floor=0.5, ceiling=100.0, largest_step=step)
    assert 0.5 <= threshold_at(ThresholdInputs(recent, past), bounded, now) <= 100.0


def test_the_first_generation_has_no_step_to_keep() -> None:
    assert threshold_at(ThresholdInputs(Recent(0, 9.0, 0.0)), ThresholdSpec(largest_step=0.1), 0) == 9.0


def test_one_time_per_entity_and_step_equals_single_calls() -> None:
    inputs = [one(Recent(i, 4.0, 1.0), Recent(2 * i, 2.0, 1.0)) for i in range(1, 4)]
    now = np.arange(12).reshape(3, 4) * HOUR
    many = adaptive(ThresholdStack.of(inputs), ThresholdSpec(), now)
    for s in range(3):
        for b in range(4):
            assert many.threshold[s, b] == threshold_at(inputs[s], ThresholdSpec(), int(now[s, b]))


def test_no_entities_and_no_windows_are_no_error() -> None:
    assert adaptive(ThresholdStack.of([]), ThresholdSpec(), 0).threshold.shape == (0, 1)
    stack = ThresholdStack.of([one(Recent(0, 1.0, 1.0), Recent(0, 1.0, 1.0))])
    assert adaptive(stack, ThresholdSpec(), np.empty((1, 0), np.int64)).threshold.shape == (1, 0)


def test_take_keeps_order_and_past() -> None:
    stack = ThresholdStack.of(
        [ThresholdInputs(Recent(0, float(i), 0.0), (Recent(0, 10.0 * i, 0.0),)) for i in range(3)]
    )
    taken = stack.take([2, 0])
    assert taken.value.tolist() == [2.0, 0.0]
    assert taken.earlier_value.ravel().tolist() == [20.0, 0.0]


def test_ten_thousand_entities_take_a_few_milliseconds() -> None:
    past = tuple(Recent(i * 7200, 1.0 + i, 0.1) for i in range(12))
    stack = ThresholdStack.of([ThresholdInputs(Recent(12 * 7200, 1.0, 0.1), past)] * 10_000)
    now = np.full((10_000, 1), 13 * 7200)
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        adaptive(stack, ThresholdSpec(), now)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.02  # about 0.003 s on one core; the rest is room for a busy machine


def test_a_generation_hands_its_past_to_the_next_newest_first() -> None:
    previous = ThresholdInputs(Recent(300, 3.0, 0.3), (Recent(100, 1.0, 0.1), Recent(200, 2.0, 0.2)))
    assert history_after(previous, 2.0, keep=2) == (Recent(300, 6.0, 0.6), Recent(200, 4.0, 0.4))


@settings(deadline=None, max_examples=100)
@given(recents, pasts)
def test_inputs_survive_json(recent: Recent, past: tuple[Recent, ...]) -> None:
    inputs = ThresholdInputs(recent, past)
    assert ThresholdInputs.from_json(json.loads(json.dumps(inputs.to_json()))) == inputs


GOOD = [100, 1.0, 0.1]


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"recent": GOOD},
        {"recent": GOOD, "earlier": [], "more": 1},
        {"recent": GOOD, "earlier": {}},
        {"recent": GOOD, "earlier": [GOOD] * (MAX_EARLIER + 1)},
        {"recent": GOOD[:2], "earlier": []},
        {"recent": "100", "earlier": []},
        {"recent": [100.5, 1.0, 0.1], "earlier": []},
        {"recent": [True, 1.0, 0.1], "earlier": []},
        {"recent": [-1, 1.0, 0.1], "earlier": []},
        {"recent": [2**60, 1.0, 0.1], "earlier": []},
        {"recent": [100, math.nan, 0.1], "earlier": []},
        {"recent": [100, 1.0, math.inf], "earlier": []},
        {"recent": [100, -1.0, 0.1], "earlier": []},
        {"recent": [100, 1e13, 0.1], "earlier": []},
        {"recent": [100, 10**400, 0.1], "earlier": []},
        {"recent": [100, "1", 0.1], "earlier": []},
        {"recent": GOOD, "earlier": [[100, 1.0, None]]},
    ],
)
def test_stored_inputs_that_could_do_harm_are_rejected(data: object) -> None:
    with pytest.raises(PackRejectedError):
        ThresholdInputs.from_json(data)


@pytest.mark.parametrize(
    "wrong",
    [{"base": "p50"}, {"floor": 0.0}, {"half_life": 0.0}, {"floor": 1.0, "ceiling": 0.5}, {"largest_rise": 0.0}],
)
def test_a_specification_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="received"):
        ThresholdSpec(**wrong)  # type: ignore[arg-type]


EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "thresholds.md"


def worked_example(mode: str, weighting: str, hours: int) -> Parts:
    """The example of docs/thresholds.md: a calm past, a noisier present."""
    now = 100 * DAY
    past = (Recent(now - 2 * HOUR, 3.0, 0.4), Recent(now - 26 * HOUR, 4.5, 0.4))
    inputs = ThresholdInputs(Recent(now, 2.0, 0.8), past)
    spec = ThresholdSpec(mode=mode, weighting=weighting)  # type: ignore[arg-type]
    return adaptive(ThresholdStack.of([inputs]), spec, now - 2 * HOUR + hours * HOUR)


def test_the_worked_example_in_the_documentation_is_what_the_code_says() -> None:
    rows = re.findall(
        r"^\| (\d+) h \| `(\w+)` \| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$",
        EXAMPLE.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) >= 8
    for hours, mode, weighting, *stated in rows:
        parts = worked_example(mode, weighting, int(hours))
        received = (parts.previous[0], parts.weight[0], parts.decay[0, 0], parts.threshold[0, 0])
        assert [f"{v:.3f}" for v in received] == stated, (hours, mode, weighting)
