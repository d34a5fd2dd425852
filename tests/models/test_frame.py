"""Blocks, spans and grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Block, EntityKey, Span, grid, merge, newest_instant

A, B = EntityKey.of("t", {"pod": "a"}), EntityKey.of("t", {"pod": "b"})
STEPS = st.sampled_from([1, 15, 60, 300])


def block(start: int, values: list[list[float]], entities: tuple[EntityKey, ...] = (A, B)) -> Block:
    return Block(start, 60, entities, ("value",), np.array(values, np.float32)[:, :, None])


def test_the_order_in_which_labels_are_written_does_not_change_an_entity() -> None:
    assert EntityKey.of("t", {"a": "1", "b": "2"}) == EntityKey.of("t", {"b": "2", "a": "1"})


@given(st.integers(0, 10**6), st.integers(0, 10**4), STEPS)
def test_a_grid_holds_exactly_the_multiples_of_the_step_inside_the_span(start: int, length: int, step: int) -> None:
    expected = [t for t in range(start, start + length) if t % step == 0]
    assert grid(Span(start, start + length), step).tolist() == expected


@given(st.floats(0, 2e9), STEPS, st.integers(0, 600))
def test_the_newest_instant_is_on_the_grid_and_old_enough(now: float, step: int, delay: int) -> None:
    at = newest_instant(now, step, delay)
    assert at % step == 0
    assert at <= now - delay < at + step


def test_a_block_says_what_shape_it_needs() -> None:
    with pytest.raises(InvalidShapeError, match=r"needs float32 \[T, 1, 1\], received float64"):
        Block(0, 60, (A,), ("value",), np.zeros((3, 1, 1)))
    with pytest.raises(InvalidShapeError, match="multiple of its step"):
        Block(30, 60, (A,), ("value",), np.zeros((3, 1, 1), np.float32))


@given(st.integers(-300, 900), st.integers(0, 900))
def test_slicing_keeps_exactly_the_instants_inside_the_span(start: int, length: int) -> None:
    whole = block(120, [[t, -t] for t in range(8)])
    part = whole.slice(Span(start, start + length))
    inside = [
        (int(t), float(v))
        for t, v in zip(whole.times, whole.values[:, 0, 0], strict=True)
        if start <= t < start + length
    ]
    assert [(int(t), float(v)) for t, v in zip(part.times, part.values[:, 0, 0], strict=True)] == inside


def test_aligning_puts_nan_where_the_block_holds_nothing() -> None:
    aligned = block(60, [[1, 2], [3, 4]]).align(Span(0, 240), (B, EntityKey.of("t", {"pod": "c"}), A))
    assert np.isnan(aligned.values[:, 1]).all()
    np.testing.assert_array_equal(aligned.values[:, 0, 0], [np.nan, 2, 4, np.nan])
    np.testing.assert_array_equal(aligned.values[:, 2, 0], [np.nan, 1, 3, np.nan])


def test_merging_keeps_what_only_one_block_holds_and_prefers_the_later_one() -> None:
    merged = merge([block(0, [[1], [2], [3]], (A,)), block(60, [[9, 5], [np.nan, 6]])], Span(0, 180), 60, ("value",))
    assert merged.entities == (A, B)
    np.testing.assert_array_equal(merged.values[:, :, 0], np.float32([[1, np.nan], [9, 5], [3, 6]]))


def test_spans_that_only_touch_do_not_intersect() -> None:
    assert Span(0, 60).intersect(Span(60, 120)) is None
    assert Span(0, 90).intersect(Span(60, 120)) == Span(60, 90)
