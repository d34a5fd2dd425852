"""Promises of the judge of scores."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import judging
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.judging import GAP, REPEAT, Interval, Truth
from support.shared_data import shared_data

STEP = 60
TIMES = np.arange(0, 200 * STEP, STEP, dtype=np.int64)


def truth(*events: tuple[int, int], ignored: tuple[tuple[int, int], ...] = ()) -> Truth:
    """Events and ignored intervals given in steps."""
    seconds = [[Interval(a * STEP, b * STEP) for a, b in group] for group in (events, ignored)]
    return Truth.of(TIMES, STEP, *seconds)


def scores(*alerting: int) -> np.ndarray:
    out = np.zeros(TIMES.size, np.float32)
    out[list(alerting)] = 1
    return out


def test_a_run_is_one_notification_and_its_short_holes_are_closed() -> None:
    times = np.array([0, 60, 120, 120 + GAP], np.int64)
    assert judging.notifications(times, 60) == 1
    times[-1] += 60
    assert judging.notifications(times, 60) == 2
    assert judging.notifications(times[:0], 60) == 0


def test_a_long_run_is_notified_again_every_four_hours() -> None:
    assert judging.notifications(np.arange(0, REPEAT, 60, dtype=np.int64), 60) == 1
    assert judging.notifications(np.arange(0, REPEAT + 60, 60, dtype=np.int64), 60) == 2


def test_an_event_is_found_inside_it_and_five_minutes_after_but_not_before() -> None:
    known = truth((50, 60))
    assert judging.peaks(known, scores(49)).tolist() == [0]
    assert judging.peaks(known, scores(65)).tolist() == [1]
    assert judging.peaks(known, scores(66)).tolist() == [0]
    assert judging.delays(known, scores(53, 54), 1.0) == [180]


def test_nothing_near_an_event_or_ignored_is_false() -> None:
    known = truth((50, 60), ignored=((100, 110),))
    near = scores(48, 55, 90, 100, 110)
    assert judging.false_notifications(known, near, 1.0) == 0
    assert judging.false_notifications(known, scores(47), 1.0) == 1
    assert judging.false_notifications(known, scores(111), 1.0) == 1
    assert judging.confusion(known, near, 1.0) == (1, 2, 10, 200 - 11 - 11 - 2)


def test_labels_less_than_three_minutes_apart_are_one_event() -> None:
    assert len(truth((50, 60), (62, 70)).events) == 1
    assert len(truth((50, 60), (63, 70)).events) == 2


def test_figures_without_a_meaning_are_none() -> None:
    nothing = judging.confusion(truth(), scores(), 1.0)
    assert (nothing.precision, nothing.recall, nothing.f1) == (None, None, None)
    assert judging.vus_pr(truth(), scores()) is None


def test_a_perfect_ranking_has_a_volume_near_one_and_a_reversed_one_far_below() -> None:
    known = truth((50, 60), (120, 140))
    perfect = known.inside.astype(np.float32)
    good, bad = judging.vus_pr(known, perfect), judging.vus_pr(known, -perfect)
    assert good is not None
    assert bad is not None
    assert good > 0.85
    assert bad < good / 2


def test_a_score_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidShapeError, match="200"):
        judging.peaks(truth((50, 60)), np.zeros(199, np.float32))


@given(st.lists(st.integers(0, 199), min_size=1, max_size=40, unique=True), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_a_common_threshold_keeps_its_budget(alerting: list[int], allowed: int) -> None:
    known = truth((20, 25))
    score = np.random.default_rng(sum(alerting)).uniform(size=TIMES.size)
    score[alerting] += 1
    found = judging.common_threshold([known], [score], allowed / known.weeks)
    assert judging.false_notifications(known, score, found) <= allowed


def external() -> ModuleType:
    """The judge beside the shared series."""
    path = shared_data() / "evaluate.py"
    spec = importlib.util.spec_from_file_location("external_judge", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["external_judge"] = module
    spec.loader.exec_module(module)
    return module


def test_it_says_what_the_external_judge_says() -> None:
    judge = external()
    rng = np.random.default_rng(1)
    events = [Interval(3000, 3600), Interval(9000, 9060), Interval(40_000, 52_000), Interval(52_100, 53_000)]
    ignored = [Interval(60_000, 64_000), Interval(51_000, 70_000)]
    times = np.arange(0, 400 * 300, 300, dtype=np.int64)
    known = Truth.of(times, 300, events, ignored)
    score = rng.gamma(1.0, 0.3, times.size) + 0.5 * known.inside * rng.uniform(0, 2, times.size)
    unit = judge.Unit(("d", "e", "*"), 300, times, score, events, ignored)
    assert known.weeks == pytest.approx(unit.weeks)
    np.testing.assert_array_equal(judging.peaks(known, score), unit.evmax)
    for threshold in (0.2, 0.5, 1.0, 1.7):
        assert judging.false_notifications(known, score, threshold) == unit.false(threshold)
        assert judging.delays(known, score, threshold) == unit.delays(threshold)
    length = int(np.clip(round(3600 / 300), 2, 100))
    wanted = judge.vus_pr(unit.y[unit.keep], score[unit.keep], length)
    assert judging.vus_pr(known, score) == pytest.approx(wanted, rel=1e-9)
    table, _ = judge.judge([unit], 1.0, 20.0)
    common = judging.common_threshold([known], [score], 20.0)
    assert common == pytest.approx(float(table.th_pool.iloc[0]))
    assert isinstance(table, pd.DataFrame)
