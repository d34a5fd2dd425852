"""Data time and wall time."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.clock import Clock

SPEEDS = st.sampled_from([0.5, 1.0, 60.0, 120.0, 600.0])


def test_outside_demo_and_replay_both_times_are_unix_time() -> None:
    clock = Clock()
    assert clock.to_data(1_700_000_000.5) == 1_700_000_000.5
    assert clock.to_wall(1_700_000_000.5) == 1_700_000_000.5


@given(SPEEDS, st.floats(0, 2e9), st.floats(0, 2e9), st.floats(0, 2e9))
def test_converting_there_and_back_is_exact_to_a_millisecond(
    speed: float, wall0: float, data0: float, t: float
) -> None:
    clock = Clock(speed, wall0, data0)
    assert abs(clock.to_data(clock.to_wall(t)) - t) < 1e-3


def test_two_hours_of_data_take_a_minute_at_speed_120() -> None:
    clock = Clock(120.0, 1000.0, 0.0)
    assert clock.wall_duration(7200) == 60
    assert clock.to_wall(7200) == 1060


def test_waiting_for_the_past_returns_at_once() -> None:
    assert Clock().wait_until(0.0, threading.Event()) is False


def test_waiting_ends_when_stopped() -> None:
    stop = threading.Event()
    stop.set()
    assert Clock().wait_until(4e9, stop) is True
