"""Architecture as data: shapes follow the records, stored lists are refused before anything is allocated."""

from __future__ import annotations

import json
import math
import tracemalloc
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import layers as L  # noqa: N812
from anomaly_models.autoencoder import RECIPES, recipe
from anomaly_models.exceptions import InvalidShapeError, PackRejectedError

sizes = st.integers(1, 40)
activations = st.sampled_from(L.ACTIVATIONS)
sequence_layers = st.one_of(
    st.builds(L.Dense, sizes, activations),
    st.builds(L.Conv1D, sizes, st.integers(1, 9), st.integers(1, 4), activations),
    st.builds(L.LSTM, sizes, st.just(True)),
    st.builds(L.GRU, sizes, st.just(True)),
    st.builds(L.UpSampling1D, st.integers(1, 3)),
    st.builds(L.Dropout, st.floats(0, 0.9)),
)


@settings(deadline=None)
@given(st.lists(sequence_layers, min_size=1, max_size=5), st.integers(1, 48), st.integers(1, 8))
def test_every_layer_receives_what_the_one_before_returns(chain: list[L.Layer], window: int, features: int) -> None:
    plan = L.shapes(tuple(chain), window, features)
    assert plan[0].before == (window, features)
    assert all(a.after == b.before for a, b in pairwise(plan))
    assert all(size >= 1 for place in plan for size in place.after)


@settings(deadline=None)
@given(st.lists(sequence_layers, min_size=1, max_size=5), st.integers(1, 48), st.integers(1, 8))
def test_layers_survive_json(chain: list[L.Layer], window: int, features: int) -> None:
    text = json.dumps(L.to_json(tuple(chain)))
    assert L.from_json(json.loads(text), window, features) == tuple(chain)


@settings(deadline=None)
@given(st.integers(1, 100), st.integers(1, 12), st.integers(1, 6))
def test_padding_same_returns_the_steps_divided_by_the_stride_rounded_up(steps: int, kernel: int, stride: int) -> None:
    conv = L.Conv1D(1, kernel, stride)
    before, after = conv.padding(steps)
    out = conv.output((steps, 1))[0]
    assert out == math.ceil(steps / stride)
    assert 0 <= after - before <= 1
    assert (steps + before + after - kernel) // stride + 1 == out or before + after == 0


def test_weights_are_those_of_keras_layers() -> None:
    chain: L.Layers = (L.Conv1D(4, 3, 2), L.LSTM(5), L.GRU(6, sequences=False), L.Dense(7))
    assert L.weight_shapes(chain, 8, 2) == {
        "layer00_kernel": (3, 2, 4),
        "layer00_bias": (4,),
        "layer01_kernel": (4, 20),
        "layer01_recurrent": (5, 20),
        "layer01_bias": (20,),
        "layer02_kernel": (5, 18),
        "layer02_recurrent": (6, 18),
        "layer02_bias": (2, 18),
        "layer03_kernel": (6, 7),
        "layer03_bias": (7,),
    }
    assert L.parameters(chain, 8, 2) == 28 + 200 + 234 + 49


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ((), "1..64 layers"),
        ((L.Dropout(0.1),) * 65, "1..64 layers"),
        ((L.Flatten(), L.LSTM(2)), r"needs \(steps, channels\)"),
        ((L.RepeatVector(3),), "needs .units"),
        ((L.Reshape(3, 3),), "does not fit"),
        ((L.Cropping1D(8),), "leaves nothing"),
        ((L.Dense(65_536), L.Dense(65_536)), "weights"),
        ((L.Flatten(), L.RepeatVector(65_536), L.Dense(200)), "numbers a window"),
    ],
)
def test_layers_that_do_not_fit_are_named(chain: L.Layers, words: str) -> None:
    with pytest.raises(InvalidShapeError, match=words):
        L.shapes(chain, 8, 2)


@pytest.mark.parametrize("size", [0, -1, 65_537, 2.0, True, "3", None])
def test_sizes_are_integers_between_one_and_the_cap(size: object) -> None:
    with pytest.raises(InvalidShapeError, match=r"integer in 1\.\.65536"):
        L.Dense(size)  # type: ignore[arg-type]


def test_the_caps_hold_on_both_sides() -> None:
    assert L.shapes((L.Dense(65_536),), 16, 1)[-1].after == (16, 65_536)
    with pytest.raises(InvalidShapeError, match="numbers a window"):
        L.shapes((L.Dense(65_536),), 17, 1)
    assert L.parameters((L.Flatten(), L.Dense(127)), 1, 65_536) <= L.MAX_WEIGHTS
    with pytest.raises(InvalidShapeError, match="at most 8388608"):
        L.shapes((L.Flatten(), L.Dense(128)), 1, 65_536)


BOMBS = {
    "not a list": {"type": "dense", "units": 1, "activation": "linear"},
    "nothing": [],
    "null": None,
    "text": "dense",
    "too many layers": [{"type": "flatten"}] * 65,
    "a million layers": [{}] * 1_000_000,
    "no record": [1],
    "unknown type": [{"type": "lambda", "function": "__import__('os')"}],
    "type is no string": [{"type": ["dense"]}],
    "missing field": [{"type": "dense", "units": 1}],
    "extra field": [{"type": "flatten", "x": 1}],
    "huge units": [{"type": "dense", "units": 10**12, "activation": "linear"}],
    "huge product": [{"type": "dense", "units": 65_536, "activation": "linear"}] * 3,
    "huge repetition": [{"type": "flatten"}, {"type": "repeat_vector", "times": 10**9}],
    "growing steps": [{"type": "up_sampling1d", "size": 60_000}] * 5,
    "huge recurrence": [{"type": "lstm", "units": 20_000, "sequences": True}],
    "boolean size": [{"type": "dense", "units": True, "activation": "linear"}],
    "float size": [{"type": "dense", "units": 2.5, "activation": "linear"}],
    "not a number": [{"type": "dropout", "rate": float("nan")}],
    "unknown activation": [{"type": "dense", "units": 2, "activation": "exec"}],
    "activation is a list": [{"type": "dense", "units": 2, "activation": ["relu"]}],
    "sequences is a number": [{"type": "gru", "units": 2, "sequences": 1}],
    "stride zero": [{"type": "conv1d", "filters": 1, "kernel": 1, "stride": 0, "activation": "linear"}],
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_stored_bombs_and_junk_are_refused_without_allocating(data: object) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PackRejectedError):
            L.from_json(data, 8, 2)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["type", "units", "rate", "dense", "activation"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_junk_never_raises_anything_but_a_rejection(data: object) -> None:
    with suppress(PackRejectedError):
        L.from_json(data, 8, 2)


@settings(deadline=None)
@given(st.sampled_from(RECIPES), st.integers(2, 96), st.integers(1, 12), st.sampled_from([0.0, 0.2]))
def test_every_recipe_returns_its_window_through_a_narrower_code(
    name: str, window: int, features: int, dropout: float
) -> None:
    chain = recipe(name, window, features, dropout)
    plan = L.shapes(chain, window, features)
    assert plan[-1].after == (window, features)
    assert min(math.prod(place.after) for place in plan) < window * features
    assert L.from_json(json.loads(json.dumps(L.to_json(chain))), window, features) == chain
    assert any(isinstance(layer, L.Dropout) for layer in chain) == (dropout > 0)
