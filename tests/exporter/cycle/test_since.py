"""Since when an anomaly stands: from its first point, over gaps, cycles and changes of generation."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.cycle.groups import since

STEP = 60
LEAD = 2 * STEP


def told(detected: list[int], scored: list[int] | None = None, before: int | None = None) -> int:
    """``since`` of one series whose instants end at 1000, 1060, ..."""
    on = np.array([detected], np.bool_)
    known = np.ones_like(on) if scored is None else np.array([scored], np.bool_)
    end = 1000 + STEP * np.arange(on.shape[1])[None]
    return int(since(on & known, known, end, None if before is None else np.array([before]), LEAD)[0])


def test_nothing_stands():
    assert told([0, 0, 0]) == 0
    assert told([0, 1, 0], before=500) == 0


def test_it_stands_since_the_first_of_the_points_that_persistence_waited_for():
    assert told([0, 0, 1, 1]) == 1000 + 2 * STEP - LEAD


def test_it_goes_on_over_cycles():
    assert told([1, 1], before=500) == 500


def test_an_anomaly_that_ended_and_came_again_stands_since_it_came_again():
    assert told([1, 0, 0, 1], before=500) == 1000 + 3 * STEP - LEAD


def test_an_instant_without_a_score_ends_nothing():
    assert told([1, 0, 1], scored=[1, 0, 1], before=500) == 500
    assert told([0], scored=[0], before=500) == 500


def test_what_was_on_before_anybody_looked_stands_since_the_first_instant_seen():
    assert told([1, 1, 1]) == 1000 - LEAD


@given(st.lists(st.sampled_from(["on", "off", "gap"]), min_size=1, max_size=12), st.integers(0, 11))
def test_one_call_over_all_instants_says_what_two_calls_say(story: list[str], cut: int):
    on = np.array([[s == "on" for s in story]])
    scored = np.array([[s != "gap" for s in story]])
    end = 1000 + STEP * np.arange(len(story))[None]
    whole = since(on, scored, end, None, LEAD)
    cut = min(cut, len(story) - 1)
    if cut == 0:
        return
    first = since(on[:, :cut], scored[:, :cut], end[:, :cut], None, LEAD)
    np.testing.assert_array_equal(since(on[:, cut:], scored[:, cut:], end[:, cut:], first, LEAD), whole)
