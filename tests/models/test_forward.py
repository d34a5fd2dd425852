"""The NumPy forward pass: equal to stock Keras, independent of chunks and of the neighbours in the stack."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_models import forward as module
from anomaly_models.autoencoder import RECIPES, recipe
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.forward import forward
from anomaly_models.layers import (
    ACTIVATIONS,
    GRU,
    LSTM,
    Conv1D,
    Cropping1D,
    Dense,
    Dropout,
    Flatten,
    Layers,
    RepeatVector,
    Reshape,
    UpSampling1D,
)
from support.stock_keras import random_weights, stock_model


def windows_of(S: int, B: int, W: int, F: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(S, B, W, F)).astype(np.float32)


SINGLE: dict[str, Layers] = {
    **{f"dense {a}": (Dense(5, a),) for a in ACTIVATIONS},  # type: ignore[arg-type]
    "dense of a flat window": (Flatten(), Dense(5, "tanh")),
    "conv": (Conv1D(4, 3, activation="relu"),),
    "conv with an even kernel": (Conv1D(4, 4, activation="sigmoid"),),
    "conv with stride 2": (Conv1D(4, 5, stride=2),),
    "conv with stride 3": (Conv1D(4, 7, stride=3),),
    "conv wider than the window": (Conv1D(3, 15),),
    "conv narrower than its stride": (Conv1D(3, 1, stride=2),),
    "lstm": (LSTM(6),),
    "lstm, last state": (LSTM(6, sequences=False),),
    "gru": (GRU(6),),
    "gru, last state": (GRU(6, sequences=False),),
    "flatten": (Flatten(),),
    "repeat": (Flatten(), RepeatVector(3)),
    "up and cut": (UpSampling1D(2), Cropping1D(3)),
    "dropout": (Dropout(0.5), Dense(2)),
}


@pytest.mark.keras
@pytest.mark.parametrize("features", [1, 38])
@pytest.mark.parametrize("layers", SINGLE.values(), ids=SINGLE)
def test_every_layer_equals_the_stock_keras_layer(layers: Layers, features: int) -> None:
    S, W = 2, 11
    weights, x = random_weights(layers, W, features, S), windows_of(S, 3, W, features)
    ours = forward(layers, weights, x)
    for row in range(S):
        stock = np.asarray(stock_model(layers, W, features, weights, row)(x[row]))
        np.testing.assert_allclose(ours[row], stock, atol=1e-5, rtol=1e-5)


@pytest.mark.keras
@pytest.mark.parametrize(("features", "window"), [(1, 24), (38, 8)])
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_equals_the_stock_keras_model(name: str, features: int, window: int) -> None:
    layers = recipe(name, window, features, dropout=0.1)
    weights, x = random_weights(layers, window, features, 2), windows_of(2, 3, window, features)
    ours = forward(layers, weights, x)
    for row in range(2):
        stock = np.asarray(stock_model(layers, window, features, weights, row)(x[row]))
        np.testing.assert_allclose(ours[row], stock, atol=1e-5, rtol=1e-5)


@settings(deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99)
)
def test_convolution_is_its_definition(  # noqa: PLR0917
    steps: int, channels: int, kernel: int, stride: int, filters: int, seed: int
) -> None:
    conv = Conv1D(filters, kernel, stride)
    weights, x = random_weights((conv,), steps, channels, 1, seed), windows_of(1, 1, steps, channels, seed)
    padded = np.pad(x[0, 0].astype(float), (conv.padding(steps), (0, 0)))
    k, b = weights["layer00_kernel"][0], weights["layer00_bias"][0]
    expected = [
        np.einsum("kc,kcf->f", padded[t * stride : t * stride + kernel], k) + b for t in range(-(-steps // stride))
    ]
    np.testing.assert_allclose(forward((conv,), weights, x)[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_a_row_does_not_depend_on_the_stack_or_on_chunks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = recipe(name, 10, 2)
    weights, x = random_weights(layers, 10, 2, 5), windows_of(5, 7, 10, 2)
    whole = forward(layers, weights, x)
    monkeypatch.setattr(module, "CHUNK_FLOATS", 2000)
    monkeypatch.setattr(module, "CHUNK_WINDOWS", 2)
    np.testing.assert_allclose(forward(layers, weights, x), whole, atol=1e-6)
    alone = forward(layers, {k: v[3:4] for k, v in weights.items()}, x[3:4])
    np.testing.assert_allclose(alone[0], whole[3], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(RECIPES), st.floats(-1e6, 1e6, width=32))
def test_large_inputs_give_finite_outputs_without_warnings(name: str, value: float) -> None:
    layers = recipe(name, 4, 1)
    with np.errstate(all="raise", under="ignore"):
        out = forward(layers, random_weights(layers, 4, 1, 2), np.full((2, 1, 4, 1), value, np.float32))
    assert np.isfinite(out).all()


def test_inputs_and_weights_are_not_written_to() -> None:
    for name in RECIPES:
        layers = recipe(name, 6, 2, dropout=0.2)
        weights, x = random_weights(layers, 6, 2, 2), windows_of(2, 3, 6, 2)
        for array in (*weights.values(), x):
            array.flags.writeable = False
        forward(layers, weights, x)


def test_no_windows_give_no_outputs() -> None:
    layers = recipe("gru", 6, 2)
    assert forward(layers, random_weights(layers, 6, 2, 3), windows_of(3, 0, 6, 2)).shape == (3, 0, 6, 2)


def test_strided_views_give_what_copies_give() -> None:
    layers: Layers = (Flatten(), Dense(8, "relu"), Dense(12), Reshape(6, 2))
    weights = random_weights(layers, 6, 2, 2)
    series = windows_of(1, 1, 20, 4)[0, 0].reshape(20, 2, 2)
    view = np.lib.stride_tricks.sliding_window_view(series, 6, axis=0).transpose(1, 0, 3, 2)
    np.testing.assert_array_equal(forward(layers, weights, view), forward(layers, weights, view.copy()))


def test_a_wrong_weight_is_named() -> None:
    layers = recipe("fc", 6, 1)
    weights, x = random_weights(layers, 6, 1, 2), windows_of(2, 1, 6, 1)
    with pytest.raises(InvalidShapeError, match=r"layer01_bias must have shape \(2, 64\), received \(1, 64\)"):
        forward(layers, {**weights, "layer01_bias": weights["layer01_bias"][:1]}, x)
    with pytest.raises(InvalidShapeError, match=r"layer03_kernel must have shape .* received nothing"):
        forward(layers, {k: v for k, v in weights.items() if k != "layer03_kernel"}, x)
