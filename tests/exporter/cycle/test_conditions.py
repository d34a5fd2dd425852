"""Promises of conditions: read beside the samples, never needed, never made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_exporter.config import HoldOn, Target
from anomaly_exporter.cycle.conditions import KEPT, REFRESH, Conditions, events
from anomaly_exporter.cycle.share import Share
from anomaly_exporter.generations.sharding import UNDIVIDED
from anomaly_exporter.sources import SourceError
from anomaly_models.frame import Block, EntityKey, Span, grid

STEP = 60
NAN = np.nan
ENTITIES = tuple(EntityKey.of("m", {"container": name}) for name in ("a", "b"))


class Scripted:
    """Restarts and limits as functions of the instant, per entity; ``down`` refuses everything."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Span]] = []
        self.down = False
        self.features: tuple[str, ...] | None = None

    def read(self, target: Target, span: Span) -> Block:
        (query,) = target.queries
        self.asked.append((query.expr, span))
        if self.down:
            raise SourceError("down")
        times = grid(span, target.step)
        counts = np.where(query.expr == "restarts", times[:, None] >= [600, 10**9], 8.0)
        values = np.broadcast_to(counts, (times.size, 2)).astype(np.float32)[:, :, None]
        return Block(int(times[0]), target.step, ENTITIES, self.features or target.features, values)

    def lag(self, target: Target, at: int) -> float | None:
        return None


def conditions(source: Scripted, **query: object) -> Conditions:
    target = Target.model_validate(
        {
            "name": "m",
            "metric": "memory",
            "labels": ["container"],
            "tag": "t",
            "queries": [{"expr": "x", **query}],
            "hold_on": {"expr": "restarts", "steps": 5},
        }
    )
    return Conditions(target, source, Share(UNDIVIDED), 100)


def test_restarts_are_read_as_a_range_first_then_instant_by_instant() -> None:
    source = Scripted()
    known = conditions(source)
    known.read(900, 10)
    assert known.restarted(ENTITIES, 10).tolist() == [[i == 4 for i in range(10)], [False] * 10]
    known.read(960, 10)
    assert source.asked == [("restarts", Span(300, 960)), ("restarts", Span(960, 1020))]
    assert known.restarted(ENTITIES, 10)[0].tolist() == [i == 3 for i in range(10)]
    assert known.restarted(ENTITIES[:1], 3).tolist() == [[False] * 3]
    assert known.restarted((EntityKey.of("m", {"container": "new"}),), 2).tolist() == [[False] * 2]


def test_limits_are_read_now_and_then_and_forgotten_when_they_cannot_be_read_for_long() -> None:
    source = Scripted()
    known = conditions(source, limit="limits")
    for i in range(2 * REFRESH):
        known.read(600 + i * STEP, 1)
    assert [expr for expr, _ in source.asked].count("limits") == 2
    assert known.limits(ENTITIES).tolist() == [[8.0], [8.0]]
    source.down = True
    known.read(600 + (3 * REFRESH) * STEP, 1)
    assert known.limits(ENTITIES).tolist() == [[8.0], [8.0]]
    known.read(600 + (2 * REFRESH + KEPT + 1) * STEP, 1)
    assert np.isnan(known.limits(ENTITIES)).all()


def test_a_constant_limit_needs_no_question_and_without_one_nothing_is_known() -> None:
    source = Scripted()
    assert conditions(source, limit=5).limits(ENTITIES).tolist() == [[5.0], [5.0]]
    assert np.isnan(conditions(source).limits(ENTITIES)).all()
    assert source.asked == []


@pytest.mark.parametrize("features", [None, ("something else",)])
def test_a_source_that_fails_or_answers_something_else_holds_nobody(features: tuple[str, ...] | None) -> None:
    source = Scripted()
    source.down, source.features = features is None, features
    known = conditions(source, limit="limits")
    known.read(900, 10)
    assert not known.restarted(ENTITIES, 10).any()
    assert np.isnan(known.limits(ENTITIES)).all()
    source.down, source.features = False, None
    known.read(960, 10)
    assert known.restarted(ENTITIES, 10).any()


def test_events_are_changes_from_the_last_known_value_in_the_wanted_direction() -> None:
    values = np.array([[NAN], [1], [1], [NAN], [2], [2], [0]], np.float32)
    assert events(values, "change").ravel().tolist() == [False, False, False, False, True, False, True]
    assert events(values, "rise").ravel().nonzero()[0].tolist() == [4]
    assert events(values, "fall").ravel().nonzero()[0].tolist() == [6]
    assert events(values[:0], "change").shape == (0, 1)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([NAN, 1.0, 2.0, 3.0]), min_size=1, max_size=20), st.sampled_from(["rise", "fall"]))
def test_a_change_is_a_rise_or_a_fall_and_the_future_does_not_matter(drawn: list[float], way: str) -> None:
    values = np.array(drawn, np.float32)[:, None]
    change, rise, fall = (events(values, when) for when in ("change", "rise", "fall"))
    np.testing.assert_array_equal(change, rise | fall)
    for rows in range(1, len(drawn)):
        np.testing.assert_array_equal(events(values[:rows], way), events(values, way)[:rows])


def test_a_hold_says_what_it_is_told_by() -> None:
    assert HoldOn(expr="x") == HoldOn(expr="x", when="change", aggregation="sum", steps=15)
