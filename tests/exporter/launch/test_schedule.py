"""Every target has slots of its own, spread over the period; failures are tried again with growing patience."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.launch.schedule import FIRST_RETRY, due_at, next_slot, offset, retry_at

EVERY = 7200
times = st.floats(0, 4e9)


@given(st.text(min_size=1), st.integers(1, 10**6), times)
def test_the_next_slot_is_within_one_period_and_on_the_targets_own_phase(target: str, every: int, after: float) -> None:
    slot = next_slot(target, every, after)
    assert after < slot <= after + every
    assert slot % every == offset(target, every)


def test_a_hundred_targets_are_spread_over_more_than_half_of_the_period() -> None:
    offsets = sorted(offset(f"target-{i}", EVERY) for i in range(100))
    assert offsets[-1] - offsets[0] > EVERY / 2
    assert len(set(offsets)) > 90


def test_slots_come_once_per_period_whatever_the_training_takes() -> None:
    first = due_at("cpu", EVERY, 1000.0, at_once=False, retry=None)
    assert due_at("cpu", EVERY, first + 300, at_once=False, retry=None) == first + EVERY


def test_what_has_no_models_is_due_at_once() -> None:
    assert due_at("cpu", EVERY, None, at_once=False, retry=None) == -math.inf
    assert due_at("cpu", EVERY, 1000.0, at_once=True, retry=None) == -math.inf


def test_failures_are_tried_again_with_doubled_pauses_up_to_the_period() -> None:
    assert retry_at(0, 50.0, EVERY) is None
    pauses = [(retry_at(n, 0.0, EVERY) or 0.0) for n in (1, 2, 3, 4, 5, 6, 100)]
    assert pauses == [FIRST_RETRY, 600, 1200, 2400, 4800, EVERY, EVERY]
    assert due_at("cpu", EVERY, None, at_once=True, retry=350.0) == 350.0
