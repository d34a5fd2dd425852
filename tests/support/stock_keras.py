"""One stock Keras model from layer records and one row of stacked weights: what the stacked code must agree with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anomaly_models.frame import F32
from anomaly_models.layers import (
    GRU,
    LSTM,
    Conv1D,
    Cropping1D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Layers,
    RepeatVector,
    Reshape,
    UpSampling1D,
    shapes,
    weight_shapes,
)


def random_weights(layers: Layers, window: int, features: int, S: int, seed: int = 0) -> dict[str, F32]:
    """Weights of a size that keeps activations near 1; biases too, so that none can be forgotten."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in weight_shapes(layers, window, features).items():
        inputs = np.prod(shape[:-1]) if not name.endswith("bias") else 4
        out[name] = (rng.normal(size=(S, *shape)) / np.sqrt(inputs)).astype(np.float32)
    return out


def stock_model(
    layers: Layers, window: int, features: int, weights: Mapping[str, F32] | None = None, row: int = 0
) -> Any:
    """``keras.Sequential`` of stock layers; with ``weights`` [S, ...], those of ``row``."""
    import keras

    model = keras.Sequential([keras.Input((window, features)), *(_stock(layer) for layer in layers)])
    if weights is not None:
        for place, layer in zip(shapes(layers, window, features), model.layers, strict=True):
            layer.set_weights([weights[name][row] for name in place.weights])
    return model


def _stock(layer: Layer) -> Any:  # noqa: PLR0911
    import keras

    match layer:
        case Dense():
            return keras.layers.Dense(layer.units, layer.activation)
        case Conv1D():
            return keras.layers.Conv1D(layer.filters, layer.kernel, layer.stride, "same", activation=layer.activation)
        case LSTM():
            return keras.layers.LSTM(layer.units, return_sequences=layer.sequences)
        case GRU():
            return keras.layers.GRU(layer.units, return_sequences=layer.sequences)
        case Flatten():
            return keras.layers.Flatten()
        case Reshape():
            return keras.layers.Reshape((layer.steps, layer.channels))
        case RepeatVector():
            return keras.layers.RepeatVector(layer.times)
        case UpSampling1D():
            return keras.layers.UpSampling1D(layer.size)
        case Cropping1D():
            return keras.layers.Cropping1D((layer.start, 0))
        case Dropout():
            return keras.layers.Dropout(layer.rate)
