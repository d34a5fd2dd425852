"""Keras layers with a leading axis S: weights (S, ...), inputs [S, B, ...]; row s computes what a stock layer would.

Outputs and gradients equal those of the stock Keras layer of the same record (tests compare both). Fast paths of
TensorFlow known to be wrong are avoided: ``BlockLSTMV2`` has the gradient of ``BlockLSTM``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from anomaly_models.layers import (
    GRU,
    LSTM,
    Conv1D,
    Cropping1D,
    Dense,
    Dropout,
    Flatten,
    LayerShape,
    RepeatVector,
    Reshape,
    UpSampling1D,
)

UNROLL_STEPS = 64
"""Recurrent layers over at most so many steps are unrolled (about 1.3 times as fast); longer ones loop in the graph."""
BAND_KERNELS = 4
"""Convolutions over at most so many kernels' lengths are written as one matrix (up to 3 times as fast, traced in a
fraction of the time) ..."""
BAND_NUMBERS = 1 << 18
"""... if that matrix has at most so many numbers: 64 MiB for 64 rows."""


class Stacked(keras.layers.Layer):  # type: ignore[misc]
    """One layer of a stack of ``S`` models. All rows start from the same stock Keras initial weights.

    Equal starts make what a row becomes independent of where in which stack it stands.
    """

    def __init__(self, place: LayerShape, S: int, seed: int) -> None:
        super().__init__(name=place.prefix)
        self.place = place
        self.S = S
        self.weights_by_name: dict[str, Any] = {}
        for position, (name, shape) in enumerate(place.weights.items()):
            initial = _initial(place, name.removeprefix(f"{place.prefix}_"), shape, seed + position)
            self.weights_by_name[name] = self.add_weight(
                name=name, shape=(S, *shape), initializer=_stack(initial), trainable=True
            )
        self.built = True

    def call(self, x: Any, training: bool = False, seed: Any = None) -> Any:  # noqa: PLR0911
        """``x`` [S, B, ...] -> [S, B, ...]; ``seed`` (int32 [2]) draws the dropped numbers while ``training``."""
        S, B = self.S, tf.shape(x)[1]
        shape = (S, B, *self.place.after)
        match self.place.layer:
            case Dense(activation=activation):
                return tf.reshape(_ACTIVATIONS[activation](self._affine(x, self.place.before[-1])), shape)
            case Conv1D() as conv:
                return _ACTIVATIONS[conv.activation](self._conv(conv, x))
            case LSTM() | GRU():
                return self._recurrent(x)
            case Flatten() | Reshape():
                return tf.reshape(x, shape)
            case RepeatVector(times=times):
                return tf.repeat(x[:, :, None, :], times, axis=2)
            case UpSampling1D(size=size):
                return tf.repeat(x, size, axis=2)
            case Cropping1D(start=start):
                return x[:, :, start:]
            case Dropout(rate=rate):
                if not training or rate == 0:
                    return x
                # One mask for all rows: a row's luck must not depend on its neighbours.
                noise = (1, *x.shape[1:])
                return tf.nn.experimental.stateless_dropout(x, rate, seed=seed, noise_shape=noise)

    def _weight(self, name: str) -> Any:
        return tf.convert_to_tensor(self.weights_by_name[self.place.tensor(name)])

    def _affine(self, x: Any, inputs: int) -> Any:
        """x @ kernel + bias over the last ``inputs`` numbers: [S, rows, units]."""
        kernel = tf.reshape(self._weight("kernel"), (self.S, inputs, -1))
        return tf.matmul(tf.reshape(x, (self.S, -1, inputs)), kernel) + self._weight("bias")[:, None, :]

    def _conv(self, conv: Conv1D, x: Any) -> Any:
        """The convolution by the way that was measured fastest on a CPU.

        A kernel of one sample is a Dense layer. Short sequences: one product with the convolution written as a band
        matrix (steps * channels, out * filters). Long ones: a stock convolution per row inside the one graph; im2col
        by concatenation has a gradient several times slower.
        """
        kernel, bias = self._weight("kernel"), self._weight("bias")
        steps, channels = self.place.before
        out = self.place.after[0]
        if conv.kernel == conv.stride == 1:
            return tf.reshape(self._affine(x, channels), (self.S, -1, steps, conv.filters))
        if steps > BAND_KERNELS * conv.kernel or steps * channels * out * conv.filters > BAND_NUMBERS:
            rows = [
                tf.nn.conv1d(a, k, conv.stride, "SAME")
                for a, k in zip(tf.unstack(x, self.S), tf.unstack(kernel, self.S), strict=True)
            ]
            return tf.stack(rows) + bias[:, None, None, :]
        tap = np.arange(steps)[:, None] + conv.padding(steps)[0] - conv.stride * np.arange(out)[None, :]
        reached = (tap[..., None] == np.arange(conv.kernel)).astype(np.float32)
        band = tf.einsum("tok,skcf->stcof", reached, kernel)
        band = tf.reshape(band, (self.S, steps * channels, out * conv.filters))
        y = tf.matmul(tf.reshape(x, (self.S, -1, steps * channels)), band)
        return tf.reshape(y, (self.S, -1, out, conv.filters)) + bias[:, None, None, :]

    def _recurrent(self, x: Any) -> Any:
        layer = self.place.layer
        assert isinstance(layer, (LSTM, GRU))  # noqa: S101  (narrows the type)
        steps, channels = self.place.before
        recurrent, bias = self._weight("recurrent"), self._weight("bias")
        S, B, units = self.S, tf.shape(x)[1], layer.units
        outer = bias if isinstance(layer, LSTM) else bias[:, 0]
        inputs = tf.matmul(tf.reshape(x, (S, -1, channels)), self._weight("kernel")) + outer[:, None, :]
        inputs = tf.transpose(tf.reshape(inputs, (S, B, steps, -1)), [2, 0, 1, 3])
        zero = tf.zeros((S, B, units))
        if isinstance(layer, LSTM):
            hidden = _over_time(lambda state, z: _lstm_cell(state, z, recurrent), inputs, (zero, zero), steps)
        else:
            inner = bias[:, 1, None, :]
            hidden = _over_time(lambda state, z: _gru_cell(state, z, recurrent, inner), inputs, (zero,), steps)
        return tf.transpose(hidden, [1, 2, 0, 3]) if layer.sequences else hidden[-1]


def _over_time(cell: Callable[[Any, Any], Any], inputs: Any, state: Any, steps: int) -> Any:
    """Hidden states [T, S, B, units] of ``cell(state, input)`` applied to every step of ``inputs`` [T, S, B, gates]."""
    if steps > UNROLL_STEPS:
        return tf.scan(cell, inputs, state)[0]
    out = []
    for z in tf.unstack(inputs, steps):
        state = cell(state, z)
        out.append(state[0])
    return tf.stack(out)


def _lstm_cell(state: Any, z: Any, recurrent: Any) -> Any:
    h, c = state
    i, f, g, o = tf.split(z + tf.matmul(h, recurrent), 4, axis=-1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def _gru_cell(state: Any, inputs: Any, recurrent: Any, inner_bias: Any) -> Any:
    (h,) = state
    z, r, candidate = tf.split(inputs, 3, axis=-1)
    inner_z, inner_r, inner_candidate = tf.split(tf.matmul(h, recurrent) + inner_bias, 3, axis=-1)
    z, r = tf.sigmoid(z + inner_z), tf.sigmoid(r + inner_r)
    return (z * h + (1 - z) * tf.tanh(candidate + r * inner_candidate),)


_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "relu": tf.nn.relu,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
}


def _initial(place: LayerShape, name: str, shape: tuple[int, ...], seed: int) -> Any:
    """What a stock Keras layer starts from: Glorot kernels, orthogonal recurrent kernels, an open forget gate."""
    if name == "bias":
        bias = np.zeros(shape, np.float32)
        if isinstance(place.layer, LSTM):
            bias[place.layer.units : 2 * place.layer.units] = 1
        return bias
    kind = keras.initializers.Orthogonal if name == "recurrent" else keras.initializers.GlorotUniform
    return np.asarray(kind(seed=seed)(shape))


def _stack(initial: Any) -> Callable[..., Any]:
    def initializer(shape: Any, dtype: Any = None) -> Any:
        return tf.constant(np.broadcast_to(initial, tuple(shape)), dtype=dtype or tf.float32)

    return initializer
