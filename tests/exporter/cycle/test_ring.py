"""The ring holds exactly the newest samples of the grid, whoever comes and goes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.cycle.ring import Ring
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import Block, EntityKey, Span, merge

STEP = 60
ROWS = 5


def key(name: str) -> EntityKey:
    return EntityKey.of("cpu", {"container": name})


def block(start: int, rows: int, samples: Mapping[str, Sequence[float]]) -> Block:
    """A block of ``rows`` rows that starts at row number ``start`` of the grid."""
    values = np.array([samples[name] for name in samples], np.float32).reshape(len(samples), rows).T[:, :, None]
    return Block(start * STEP, STEP, tuple(key(n) for n in samples), ("value",), np.ascontiguousarray(values))


def held(ring: Ring) -> dict[str, list[float | None]]:
    values = {e.get("container"): ring.values[:, i, 0].tolist() for i, e in enumerate(ring.entities)}
    return {name: [None if np.isnan(v) else v for v in column] for name, column in values.items()}


def test_rows_move_on_and_newcomers_get_a_column_of_their_own() -> None:
    ring = Ring(ROWS, STEP, 1, 10)
    ring.extend(block(10, 3, {"a": [1, 2, 3]}))
    ring.extend(block(13, 1, {"b": [9], "a": [4]}))
    assert held(ring) == {"a": [None, 1, 2, 3, 4], "b": [None, None, None, None, 9]}
    assert (ring.start, ring.end) == (9 * STEP, 14 * STEP)


def test_missed_instants_are_empty_rows() -> None:
    ring = Ring(ROWS, STEP, 1, 10)
    ring.extend(block(0, 2, {"a": [1, 2]}))
    ring.extend(block(4, 1, {"a": [5]}))
    assert held(ring) == {"a": [1, 2, None, None, 5]}


def test_an_entity_is_forgotten_when_its_last_sample_leaves_the_ring() -> None:
    ring = Ring(ROWS, STEP, 1, 10)
    ring.extend(block(0, 1, {"a": [1], "b": [1]}))
    for row in range(1, 5):
        ring.extend(block(row, 1, {"b": [row]}))
    assert set(held(ring)) == {"a", "b"}
    ring.extend(block(5, 1, {"b": [5]}))
    assert set(held(ring)) == {"b"}
    assert ring.columns([key("a"), key("b")]).tolist() == [-1, 0]


def test_an_entity_without_samples_never_takes_a_column_until_it_has_one() -> None:
    ring = Ring(ROWS, STEP, 1, 10)
    ring.extend(block(0, 1, {"a": [1], "b": [np.nan]}))
    assert set(held(ring)) == {"a"}
    ring.extend(block(1, 1, {"a": [1], "b": [2]}))
    assert held(ring)["b"][-1] == 2


def test_beyond_the_capacity_those_who_were_there_stay() -> None:
    ring = Ring(ROWS, STEP, 1, 2)
    ring.extend(block(0, 1, {"m": [1], "n": [1]}))
    ring.extend(block(1, 1, {"a": [2], "m": [2], "n": [2]}))
    assert set(held(ring)) == {"m", "n"}
    assert ring.refused == (key("a"),)
    ring.extend(block(2, 1, {"m": [3], "n": [3]}))
    assert ring.refused == ()


def test_a_block_longer_than_the_ring_leaves_its_end() -> None:
    ring = Ring(ROWS, STEP, 1, 10)
    ring.extend(block(0, 8, {"a": list(range(8))}))
    assert held(ring) == {"a": [3, 4, 5, 6, 7]}


def test_instants_already_held_and_other_grids_are_refused() -> None:
    ring = Ring(ROWS, STEP, 1, 10)
    ring.extend(block(0, 2, {"a": [1, 2]}))
    with pytest.raises(InvalidShapeError, match="ends at 120"):
        ring.extend(block(1, 1, {"a": [1]}))
    with pytest.raises(InvalidShapeError, match="step 60"):
        ring.extend(Block(300, 300, (), ("value",), np.zeros((1, 0, 1), np.float32)))


def test_columns_are_found_anew_only_when_the_entities_change() -> None:
    ring = Ring(ROWS, STEP, 1, 10)
    ring.extend(block(0, 1, {"a": [1], "b": [1]}))
    version = ring.version
    ring.extend(block(1, 1, {"a": [1], "b": [np.nan]}))
    assert ring.version == version
    ring.extend(block(2, 1, {"a": [1], "b": [1], "c": [1]}))
    assert ring.version != version


answers = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(1, 3),
        st.lists(st.sampled_from("abcd"), unique=True),
        st.randoms(use_true_random=False),
    ),
    min_size=1,
    max_size=8,
)


@given(answers)
def test_the_ring_is_the_tail_of_everything_that_was_read(readings: list[tuple[int, int, list[str], object]]) -> None:
    ring, blocks, row = Ring(ROWS, STEP, 1, 10), [], 0
    for gap, rows, names, random in readings:
        choose = random.choice  # type: ignore[attr-defined]
        samples = {name: [choose([1.0, 2.0, np.nan]) for _ in range(rows)] for name in names}
        blocks.append(block(row + gap, rows, samples))
        ring.extend(blocks[-1])
        row += gap + rows
    whole = merge(blocks, Span(ring.start, row * STEP), STEP, ("value",))
    expected = {e: whole.values[:, i] for i, e in enumerate(whole.entities) if np.isfinite(whole.values[:, i]).any()}
    assert set(ring.entities) == set(expected)
    for i, entity in enumerate(ring.entities):
        np.testing.assert_array_equal(ring.values[:, i], expected[entity])


def test_ten_thousand_entities_move_on_quickly() -> None:
    entities = tuple(key(str(i)) for i in range(10_000))
    values = np.ones((1, 10_000, 1), np.float32)
    ring = Ring(60, STEP, 1, 20_000)
    ring.extend(Block(0, STEP, entities, ("value",), values))
    began = time.process_time()
    for row in range(1, 11):
        again = tuple(EntityKey(e.target, e.labels) for e in entities)
        ring.extend(Block(row * STEP, STEP, again, ("value",), values))
    assert (time.process_time() - began) / 10 < 0.1
