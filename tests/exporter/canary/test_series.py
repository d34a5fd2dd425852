"""The canary's series is the same in every process, and its spikes are where the schedule says."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.canary import injected_at, value_at
from anomaly_exporter.config import Canary
from anomaly_exporter.config.canary import LEVEL, PARTS, SHORTEST, SPIKE, WAVE


@st.composite
def canaries(draw: st.DrawFn) -> Canary:
    step = draw(st.integers(1, 600))
    length = draw(st.integers(SHORTEST, 60))
    every = step * draw(st.integers(PARTS * length, 20 * PARTS * length))
    return Canary(enabled=True, step=step, length=length, every=every)


times = st.one_of(st.integers(0, 2**33), st.floats(0, 2.0**33))


@given(canaries(), times)
def test_the_spike_is_there_exactly_when_it_is_scheduled_and_the_value_is_finite(canary: Canary, at: float) -> None:
    value = value_at(canary, at)
    assert math.isfinite(value)
    scheduled = at % canary.every < canary.length * canary.step
    low, high = (LEVEL + SPIKE, LEVEL + SPIKE + WAVE) if scheduled else (LEVEL - WAVE, LEVEL + WAVE)
    assert low - 1e-6 <= value <= high + 1e-6


@given(canaries(), st.integers(0, 10**6))
def test_a_spike_begins_on_the_grid_and_lasts_its_length_on_both_edges(canary: Canary, number: int) -> None:
    begin = number * canary.every
    end = begin + canary.spike_seconds
    assert begin % canary.step == 0
    on_grid = [value_at(canary, t) > LEVEL + SPIKE / 2 for t in range(begin - canary.step, end + 1, canary.step)]
    assert on_grid == [False, *[True] * canary.length, False]
    assert injected_at(canary, begin) == injected_at(canary, begin + canary.every - 0.001) == begin
    if number:
        assert injected_at(canary, begin - 0.001) == begin - canary.every


@given(canaries(), times, st.floats(0, 1))
def test_between_spikes_the_series_is_smooth(canary: Canary, at: float, share: float) -> None:
    later = at + share * canary.step
    quiet = [t % canary.every >= canary.spike_seconds for t in (at, later)]
    if all(quiet) and injected_at(canary, at) == injected_at(canary, later):
        steepest = 2 * math.pi * WAVE / canary.every
        assert abs(value_at(canary, later) - value_at(canary, at)) <= steepest * (later - at) + 1e-6
