"""Forward pass of a fleet in NumPy: S stacked models, B windows each, equal to stock Keras within 1e-5.

Every product is a batched ``matmul`` over the stack: Dense directly, Conv1D after im2col, LSTM and GRU in one loop over
time whose input products are done for all steps at once and whose gates are fused in one product and one ``tanh``.
The stack is walked in chunks whose temporaries stay near the cache; results do not depend on the chunks.
Run with one BLAS thread (``OPENBLAS_NUM_THREADS=1``): the products are small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .exceptions import InvalidShapeError
from .frame import F32
from .layers import (
    GRU,
    LSTM,
    Activation,
    Conv1D,
    Cropping1D,
    Dense,
    Dropout,
    Flatten,
    Layers,
    LayerShape,
    RepeatVector,
    Reshape,
    UpSampling1D,
    shapes,
)

CHUNK_MODELS = 64
"""Most models computed at once."""
CHUNK_WINDOWS = 128
"""Windows per model worth computing together before the chunk of models is made smaller."""
CHUNK_FLOATS = 1 << 20
"""Numbers in the largest temporary of a chunk: 4 MiB, near the size of a cache."""


def forward(layers: Layers, weights: Mapping[str, F32], x: F32) -> F32:
    """Reconstruct windows.

    Args:
        layers: one architecture for the whole stack.
        weights: tensors named as ``layers.weight_shapes`` says, each with a leading axis S.
        x: windows [S, B, W, F] in scaler units, finite.

    Returns:
        [S, B, W, F] for an autoencoder; in general S and B followed by what the last layer returns.

    Raises:
        InvalidShapeError: a weight is missing or its shape does not fit ``layers`` and S.
    """
    S, B, W, F = x.shape
    plan = shapes(layers, W, F)
    for name, shape in ((n, s) for place in plan for n, s in place.weights.items()):
        if name not in weights or weights[name].shape != (S, *shape):
            received = weights[name].shape if name in weights else "nothing"
            raise InvalidShapeError(f"weight {name} must have shape {(S, *shape)}, received {received}")
    out = np.empty((S, B, *plan[-1].after), np.float32)
    models, windows = _chunk(B, max(_scratch(place) for place in plan))
    for s in range(0, S, models):
        part = {name: weights[name][s : s + models] for place in plan for name in place.weights}
        for b in range(0, B, windows):
            h = x[s : s + models, b : b + windows]
            for place in plan:
                h = _apply(place, part, h)
            out[s : s + models, b : b + windows] = h
    return out


def _chunk(B: int, floats: int) -> tuple[int, int]:
    """How many models and how many windows each to compute at once, for ``floats`` temporaries per window."""
    room = max(CHUNK_FLOATS // floats, 1)
    models = min(max(room // min(max(B, 1), CHUNK_WINDOWS), 1), CHUNK_MODELS)
    return models, max(room // models, 1)


def _scratch(place: LayerShape) -> int:
    """Numbers in the largest temporary of a layer, for one window of one model."""
    match place.layer:
        case Conv1D(kernel=kernel):
            own = place.after[0] * kernel * place.before[1]
        case LSTM(units=units):
            own = place.before[0] * 4 * units
        case GRU(units=units):
            own = place.before[0] * 3 * units
        case _:
            own = 0
    return max(own, math.prod(place.before), math.prod(place.after))


def _apply(place: LayerShape, weights: Mapping[str, F32], x: F32) -> F32:  # noqa: PLR0911
    """One layer on [s, b, ...]."""
    shape = (*x.shape[:2], *place.after)
    match place.layer:
        case Dense(activation=activation):
            return _affine(place, weights, x, activation).reshape(shape)
        case Conv1D() as conv:
            return _affine(place, weights, _im2col(conv, x), conv.activation).reshape(shape)
        case LSTM(sequences=sequences):
            return _lstm(place, weights, x, sequences)
        case GRU(sequences=sequences):
            return _gru(place, weights, x, sequences)
        case Flatten() | Reshape():
            return x.reshape(shape)
        case RepeatVector():
            return np.broadcast_to(x[:, :, None, :], shape)
        case UpSampling1D(size=size):
            return np.repeat(x, size, axis=2)
        case Cropping1D(start=start):
            return x[:, :, start:]
        case Dropout():
            return x


def _affine(place: LayerShape, weights: Mapping[str, F32], x: F32, activation: Activation) -> F32:
    """``activation(x @ kernel + bias)`` over the last axis of [s, ..., c], one product per model: [s, rows, units]."""
    kernel, bias = weights[place.tensor("kernel")], weights[place.tensor("bias")]
    inputs = math.prod(kernel.shape[1:-1])
    rows = x.reshape(x.shape[0], -1, inputs)
    out: F32 = np.matmul(rows, kernel.reshape(kernel.shape[0], inputs, kernel.shape[-1]))
    out += bias[:, None, :]
    match activation:
        case "relu":
            np.maximum(out, 0, out=out)
        case "tanh":
            np.tanh(out, out=out)
        case "sigmoid":
            # 1 / (1 + exp(-x)) by tanh: never overflows, one pass.
            out *= np.float32(0.5)
            np.tanh(out, out=out)
            out += 1
            out *= np.float32(0.5)
        case "linear":
            pass
    return out


def _im2col(conv: Conv1D, x: F32) -> F32:
    """Patches of a padded sequence: [s, b, t, c] -> [s, b, ceil(t / stride), kernel * c]."""
    s, b, t, c = x.shape
    steps = -(-t // conv.stride)
    padded = np.zeros((s, b, t + sum(conv.padding(t)), c), np.float32)
    before = conv.padding(t)[0]
    padded[:, :, before : before + t] = x
    s0, s1, s2, s3 = padded.strides
    patches = np.lib.stride_tricks.as_strided(
        padded, (s, b, steps, conv.kernel, c), (s0, s1, s2 * conv.stride, s2, s3), writeable=False
    )
    return patches.reshape(s, b, steps, conv.kernel * c)


def _halved(gates: int, units: int, tanh_gate: int) -> F32:
    """Factors that turn a sigmoid gate into a tanh one (sigmoid(x) = (tanh(x / 2) + 1) / 2): 1 for the tanh gate."""
    factor = np.full(gates * units, 0.5, np.float32)
    factor[tanh_gate * units : (tanh_gate + 1) * units] = 1
    return factor


def _lstm(place: LayerShape, weights: Mapping[str, F32], x: F32, sequences: bool) -> F32:
    recurrent = weights[place.tensor("recurrent")]
    s, b, t, _ = x.shape
    u = recurrent.shape[1]
    factor = _halved(4, u, 2)
    inputs = _affine(place, weights, x, "linear").reshape(s, b, t, 4 * u)
    inputs *= factor
    recurrent = recurrent * factor
    h = np.zeros((s, b, u), np.float32)
    c = np.zeros((s, b, u), np.float32)
    out = np.empty((s, b, t, u), np.float32) if sequences else h
    for step in range(t):
        z = np.matmul(h, recurrent)
        z += inputs[:, :, step]
        np.tanh(z, out=z)
        i, f, g, o = z[..., :u], z[..., u : 2 * u], z[..., 2 * u : 3 * u], z[..., 3 * u :]
        c *= f + 1
        c += (i + 1) * g
        c *= np.float32(0.5)
        h = np.tanh(c)
        h *= o + 1
        h *= np.float32(0.5)
        if sequences:
            out[:, :, step] = h
    return out if sequences else h


def _gru(place: LayerShape, weights: Mapping[str, F32], x: F32, sequences: bool) -> F32:
    kernel, recurrent = weights[place.tensor("kernel")], weights[place.tensor("recurrent")]
    bias = weights[place.tensor("bias")]
    s, b, t, c = x.shape
    u = recurrent.shape[1]
    factor = _halved(3, u, 2)
    # The biases of z and r simply add up; the recurrent one of h stays inside the reset gate.
    outer = bias[:, 0].copy()
    outer[:, : 2 * u] += bias[:, 1, : 2 * u]
    inner = bias[:, 1, None, 2 * u :]
    inputs = np.matmul(x.reshape(s, b * t, c), kernel)
    inputs += outer[:, None, :]
    inputs *= factor
    inputs = inputs.reshape(s, b, t, 3 * u)
    recurrent = recurrent * factor
    h = np.zeros((s, b, u), np.float32)
    out = np.empty((s, b, t, u), np.float32) if sequences else h
    for step in range(t):
        a = np.matmul(h, recurrent)
        gates = a[..., : 2 * u]
        gates += inputs[:, :, step, : 2 * u]
        np.tanh(gates, out=gates)
        gates += 1
        gates *= np.float32(0.5)
        z, r, candidate = gates[..., :u], gates[..., u:], a[..., 2 * u :]
        candidate += inner
        candidate *= r
        candidate += inputs[:, :, step, 2 * u :]
        np.tanh(candidate, out=candidate)
        # h = z h + (1 - z) candidate
        h = candidate + z * (h - candidate)
        if sequences:
            out[:, :, step] = h
    return out if sequences else h
