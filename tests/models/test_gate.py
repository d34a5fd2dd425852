"""Promises of the promotion gate: bounds, patience, what it remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_models import gate
from anomaly_models.gate import DAY, GateSpec, Measures, Point, Verdict, decide

SPEC = GateSpec()
WEEK, MONTH = 7 * DAY, 30 * DAY
NOW = 100 * WEEK
SOUND = Measures(alerts=1, newest_alerts=0, weeks=0.4, share=0.001, width=2.0, recall=0.8)


def judged(
    candidate: Measures, current: Measures | None = SOUND, course: tuple[Point, ...] = (), rejections: int = 0
) -> Verdict:
    return decide(SPEC, candidate, current, NOW, course, rejections)


def outcome(candidate: Measures, current: Measures | None = SOUND, **more: object) -> tuple[str, str]:
    verdict = judged(candidate, current, **more)  # type: ignore[arg-type]
    return verdict.decision, verdict.reason


def test_an_equal_model_is_promoted() -> None:
    assert outcome(SOUND) == ("promoted", "bounds")


def test_a_first_model_is_promoted_unless_it_alerts_most_of_the_time() -> None:
    assert outcome(replace(SOUND, share=0.5), None) == ("promoted", "first")
    verdict = judged(replace(SOUND, share=0.51), None)
    assert (verdict.decision, verdict.reason) == ("rejected", "insane")
    assert verdict.detail == "in alert 51% of the replay"


def test_two_notifications_more_are_tolerated_and_three_are_not() -> None:
    assert outcome(replace(SOUND, alerts=3)) == ("promoted", "bounds")
    assert outcome(replace(SOUND, alerts=4)) == ("rejected", "alerts")


def test_a_loss_of_recall_is_tolerated_up_to_its_bound() -> None:
    assert outcome(replace(SOUND, recall=0.651)) == ("promoted", "bounds")
    verdict = judged(replace(SOUND, recall=0.64))
    assert (verdict.decision, verdict.reason) == ("rejected", "recall")
    assert verdict.detail == "catches 64% of the injected anomalies, the model in force 80%"


def test_an_unknown_recall_decides_nothing() -> None:
    assert outcome(replace(SOUND, recall=None)) == ("promoted", "bounds")
    assert outcome(replace(SOUND, recall=0.1), replace(SOUND, recall=None)) == ("promoted", "bounds")


def test_a_much_wider_threshold_is_rejected_unless_nothing_is_lost_by_it() -> None:
    wide = replace(SOUND, width=3.01, recall=0.75)
    assert outcome(wide) == ("rejected", "threshold")
    assert outcome(replace(wide, width=2.99)) == ("promoted", "bounds")
    assert outcome(replace(wide, recall=0.8)) == ("promoted", "bounds")
    assert outcome(replace(wide, recall=0.8, alerts=2)) == ("rejected", "threshold")


def test_a_narrower_threshold_that_alerts_no_more_is_welcome() -> None:
    assert outcome(replace(SOUND, width=0.01)) == ("promoted", "bounds")


def test_small_losses_that_add_up_over_a_week_are_erosion() -> None:
    course = (Point(NOW - WEEK, 2.0, 0.95), Point(NOW - DAY, 2.0, 0.7))
    slipping = replace(SOUND, recall=0.64)
    assert outcome(slipping, replace(SOUND, recall=0.7)) == ("promoted", "bounds")
    verdict = judged(slipping, replace(SOUND, recall=0.7), course)
    assert (verdict.decision, verdict.reason) == ("rejected", "erosion")
    assert verdict.detail == "catches 64% of the injected anomalies, 7 days ago 95%"


@pytest.mark.parametrize(("name", "age"), [("week", WEEK), ("month", MONTH)])
def test_a_threshold_that_grew_over_time_is_erosion_where_recall_fell_too(name: str, age: int) -> None:
    course = (Point(NOW - age, 1.3, 0.85),)
    verdict = judged(SOUND, course=course)
    assert (verdict.decision, verdict.reason) == ("rejected", "erosion")
    assert verdict.detail == f"its threshold is 1.5 times wider than {age // DAY} days ago"
    assert (verdict.shift["current"], verdict.shift[name]) == (1.0, pytest.approx(1.538, abs=1e-3))
    assert outcome(SOUND, course=(Point(NOW - age, 1.3, 0.8),)) == ("promoted", "bounds")
    assert outcome(SOUND, course=(Point(NOW - age, 1.4, 0.85),)) == ("promoted", "bounds")


def test_what_is_younger_than_two_days_is_not_looked_back_to() -> None:
    assert outcome(SOUND, course=(Point(NOW - 2 * DAY + 1, 0.1, 1.0),)) == ("promoted", "bounds")
    assert outcome(SOUND, course=(Point(NOW - 2 * DAY, 0.1, 1.0),)) == ("rejected", "erosion")


def test_rejections_are_counted_and_a_promotion_ends_the_count() -> None:
    worse = replace(SOUND, recall=0.1)
    assert judged(worse).rejections == 1
    assert judged(worse, rejections=4).rejections == 5
    assert judged(SOUND, rejections=4).rejections == 0


def test_a_stuck_gate_gives_way_to_a_model_that_is_better_now() -> None:
    flooding = replace(SOUND, newest_alerts=9, recall=0.3)
    wide = replace(SOUND, width=50.0, recall=0.3, alerts=5, newest_alerts=1)
    assert outcome(wide, flooding, rejections=10) == ("rejected", "alerts")
    verdict = judged(wide, flooding, rejections=11)
    assert (verdict.decision, verdict.reason, verdict.rejections) == ("promoted", "stuck", 0)


def test_a_stuck_gate_does_not_give_way_to_a_model_that_is_blind() -> None:
    flooding = replace(SOUND, newest_alerts=9, recall=0.7)
    blind = replace(SOUND, alerts=0, newest_alerts=0, recall=0.2)
    assert outcome(blind, flooding, rejections=500) == ("rejected", "recall")


def test_an_equal_model_is_not_better_now() -> None:
    assert not gate.better_now(SOUND, SOUND)
    assert gate.better_now(replace(SOUND, recall=0.9), SOUND)
    assert not gate.better_now(replace(SOUND, recall=0.9, newest_alerts=1), SOUND)


@given(st.lists(st.integers(3600, 3 * 86_400), min_size=1, max_size=300))
def test_the_course_stays_short_and_always_reaches_a_week_back(gaps: list[int]) -> None:
    at, course = NOW, ()
    first = NOW + gaps[0]
    for gap in gaps:
        at += gap
        course = decide(SPEC, SOUND, SOUND, at, course).course
    assert len(course) <= gate.KEPT // gate.EVERY + 2
    assert course[-1].at == at
    assert [p.at for p in course] == sorted({p.at for p in course})
    if at - first >= gate.KEPT + 6 * DAY:
        for age in (WEEK, MONTH):
            assert min(abs(at - p.at - age) for p in course) <= 5 * DAY


def test_a_rejection_leaves_the_course_alone() -> None:
    course = (Point(NOW - DAY, 2.0, 0.9),)
    assert judged(replace(SOUND, alerts=99), course=course).course == course


def test_points_of_the_course_come_back_and_what_is_none_is_left_out() -> None:
    for point in (Point(5, 2.5, 0.5), Point(5, 2.5, None)):
        assert Point.from_json(point.to_json()) == point
    for wrong in (None, [], [1, 2], [1, 0, 0.5], [1.5, 2, 0.5], [1, "2", 0.5], {"at": 1}):
        assert Point.from_json(wrong) is None
