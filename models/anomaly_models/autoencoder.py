"""Autoencoders: recipes that write layer lists, and the fitted stack that scores windows.

Every recipe squeezes a window through a code of at most a third of its numbers (at least one, always fewer than the
window holds). Without that a network may learn the identity, which reconstructs an anomaly as well as anything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from . import windows
from .exceptions import InvalidShapeError, PackRejectedError
from .forward import forward
from .frame import F32, Inference, Windows
from .layers import (
    GRU,
    LSTM,
    MAX_SIZE,
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
    from_json,
    shapes,
    to_json,
    weight_shapes,
)
from .scaling import Scaler

INPUT_BOUND = 20.0
"""Scaled inputs are clipped to +- this before the forward pass (in training too): one wild sample must not drag the
reconstruction of its neighbours. Errors are taken against the sample as it is, so they grow without bound."""
CHUNK_FLOATS = 1 << 22
"""Numbers of the windows scaled and reconstructed at once: 16 MiB, so that evaluating tens of thousands of windows
needs little more memory than its answer."""


@dataclass(frozen=True)
class Widths:
    """How wide the layers of a recipe are; None is the recipe's own width, and a recipe ignores what it has no use for.

    ``filters`` of the first convolution (later ones keep the recipe's ratio to it), ``kernel`` of convolutions in
    samples, ``units`` of hidden dense and recurrent layers, ``code``: numbers that a window is squeezed through, at
    most a third of the window's whatever is asked for.
    """

    filters: int | None = None
    kernel: int | None = None
    units: int | None = None
    code: int | None = None


OWN_WIDTHS = Widths()
Build = Callable[[int, int, Widths], Layers]


def recipe(name: str, window: int, features: int, dropout: float = 0.0, widths: Widths = OWN_WIDTHS) -> Layers:
    """The layers of a recipe for windows of ``window`` >= 2 samples of ``features`` series.

    Its own widths grow with the square root of ``features``, up to four times; given ``widths`` are taken as they are.
    ``dropout`` follows every hidden layer but the code.

    Raises:
        InvalidShapeError: unknown recipe, a window shorter than 2, or a model beyond the caps of ``layers``.
    """
    if name not in _RECIPES:
        raise InvalidShapeError(f"recipe must be one of {RECIPES}, received {name!r}")
    if window < 2 or features < 1:
        raise InvalidShapeError(f"an autoencoder needs window >= 2 and features >= 1, received {window} x {features}")
    layers = _RECIPES[name](window, features, widths)
    if dropout > 0:
        layers = _with_dropout(layers, dropout)
    shapes(layers, window, features)
    return layers


def _widen(features: int, most: int = 4) -> int:
    return min(max(round(math.sqrt(features)), 1), most)


def _code(window: int, features: int, widths: Widths) -> int:
    return max(min(widths.code or 16 * _widen(features), window * features // 3), 1)


def _halvings(window: int, most: int) -> list[int]:
    """Lengths of a sequence halved (rounding up) at most ``most`` times, while it stays worth halving."""
    lengths = [window]
    while (len(lengths) <= most and lengths[-1] > 2) or len(lengths) == 1:
        lengths.append(-(-lengths[-1] // 2))
    return lengths


def _kernel(steps: int, most: int) -> int:
    """Width of a convolution, ``most`` unless that reached past both ends of ``steps`` samples."""
    return min(most, 2 * steps - 1)


def _upwards(lengths: list[int], filters: Callable[[int], int], kernel: int) -> list[Layer]:
    """Mirror of strided convolutions: repeat, cut the step that rounding up added, convolve."""
    out: list[Layer] = []
    for index, (longer, shorter) in reversed(list(enumerate(pairwise(lengths)))):
        out.append(UpSampling1D(2))
        if 2 * shorter > longer:
            out.append(Cropping1D(2 * shorter - longer))
        if index:
            out.append(Conv1D(filters(index - 1), _kernel(longer, kernel), activation="relu"))
    return out


def _fc(window: int, features: int, widths: Widths) -> Layers:
    hidden = widths.units or 64 * _widen(features)
    return (
        Flatten(),
        Dense(hidden, "relu"),
        Dense(_code(window, features, widths)),
        Dense(hidden, "relu"),
        Dense(window * features),
        Reshape(window, features),
    )


def _cnn(window: int, features: int, widths: Widths) -> Layers:
    lengths = _halvings(window, 3)
    base = widths.filters or 16 * _widen(features)
    kernel = widths.kernel or 7

    def filters(stage: int) -> int:
        return (base, base, base * 3 // 2)[stage]

    down = [
        Conv1D(filters(stage), _kernel(steps, kernel), stride=2, activation="relu")
        for stage, steps in enumerate(lengths[:-1])
    ]
    code = max(_code(window, features, widths) // lengths[-1], 1)
    return (
        *down,
        Conv1D(code, 1),
        Conv1D(filters(len(down) - 1), _kernel(lengths[-1], min(kernel, 3)), activation="relu"),
        *_upwards(lengths, filters, kernel),
        Conv1D(features, _kernel(window, kernel)),
    )


def _recurrent(cell: type[LSTM] | type[GRU]) -> Build:
    def build(window: int, features: int, widths: Widths) -> Layers:
        units = widths.units or 32 * _widen(features, 2)
        return (
            cell(units, sequences=False),
            Dense(min(_code(window, features, widths), units)),
            RepeatVector(window),
            cell(units),
            Dense(features),
        )

    return build


def _hybrid(cell: type[LSTM] | type[GRU]) -> Build:
    def build(window: int, features: int, widths: Widths) -> Layers:
        lengths = _halvings(window, 2)
        base = widths.filters or 16 * _widen(features, 2)
        units = widths.units or 24 * _widen(features, 2)
        kernel = widths.kernel or 5

        def filters(stage: int) -> int:
            return (base, 2 * base)[stage]

        down = [
            Conv1D(filters(stage), _kernel(steps, kernel), stride=2, activation="relu")
            for stage, steps in enumerate(lengths[:-1])
        ]
        return (
            *down,
            cell(units, sequences=False),
            Dense(min(_code(window, features, widths), units)),
            RepeatVector(lengths[-1]),
            cell(units),
            *_upwards(lengths, filters, kernel),
            Conv1D(features, _kernel(window, kernel)),
        )

    return build


_RECIPES: dict[str, Build] = {
    "fc": _fc,
    "cnn": _cnn,
    "lstm": _recurrent(LSTM),
    "gru": _recurrent(GRU),
    "cnn_lstm": _hybrid(LSTM),
    "cnn_gru": _hybrid(GRU),
}
RECIPES: tuple[str, ...] = tuple(_RECIPES)


def _with_dropout(layers: Layers, rate: float) -> Layers:
    out: list[Layer] = []
    for layer in layers:
        out.append(layer)
        hidden = (isinstance(layer, (Dense, Conv1D)) and layer.activation == "relu") or isinstance(layer, (LSTM, GRU))
        if hidden:
            out.append(Dropout(rate))
    return tuple(out)


@dataclass(frozen=True)
class Autoencoder:
    """A fitted stack of S autoencoders of one layer list: a ``Scorer``.

    The error is ``windows.tail_errors`` of the last ``tail`` samples against their reconstruction. Features that are
    not usable enter the network as their centre and get neither error nor expectation (NaN).

    Raises:
        InvalidShapeError: layers do not return what they receive, or a tensor does not fit them.
    """

    layers: Layers
    window: int
    tail: int
    scaler: Scaler
    weights: Mapping[str, F32]

    def __post_init__(self) -> None:
        S, F = self.scaler.center.shape
        after = shapes(self.layers, self.window, F)[-1].after
        if after != (self.window, F):
            raise InvalidShapeError(f"an autoencoder must return ({self.window}, {F}), these layers return {after}")
        if not 1 <= self.tail <= self.window:
            raise InvalidShapeError(f"tail must lie in 1..{self.window}, received {self.tail}")
        expected = {name: (S, *shape) for name, shape in weight_shapes(self.layers, self.window, F).items()}
        received = {name: tensor.shape for name, tensor in self.weights.items()}
        if received != expected or self.scaler.scale.shape != (S, F):
            wrong = sorted(k for k in {*expected, *received} if expected.get(k) != received.get(k)) or ["scale"]
            raise InvalidShapeError(
                f"tensor {wrong[0]} must have shape {expected.get(wrong[0])}, received {received.get(wrong[0])}"
            )

    @property
    def kind(self) -> str:
        return "autoencoder"

    @property
    def features(self) -> int:
        return int(self.scaler.center.shape[1])

    @property
    def scale(self) -> F32:
        """Unit of the error per feature, [S, F]."""
        return self.scaler.scale

    def infer(self, w: Windows) -> Inference:
        """Errors and expectations of windows [S, B, W, F]; see ``frame.Inference``.

        Raises:
            InvalidShapeError: S, W or F of the windows are not those of the models.
        """
        S, B, W, F = w.x.shape
        if (self.scale.shape[0], self.window, self.features) != (S, W, F):
            raise InvalidShapeError(
                f"these models score windows [{self.scale.shape[0]}, B, {self.window}, {self.features}], "
                f"received {w.x.shape}"
            )
        error = np.full((S, B), np.nan, np.float32)
        feature_error = np.full((S, B, F), np.nan, np.float32)
        expected = np.full((S, B, F), np.nan, np.float32)
        step = max(CHUNK_FLOATS // (S * W * F), 1)
        for b in range(0, B, step):
            at = slice(b, b + step)
            part = Windows(w.x[:, at], w.valid[:, at], w.end[:, at])
            error[:, at], feature_error[:, at], expected[:, at] = self._infer(part)
        return Inference(error, feature_error, expected)

    def _infer(self, w: Windows) -> tuple[F32, F32, F32]:
        usable = np.isfinite(w.x).all(axis=2, keepdims=True)
        inputs = np.where(usable, np.clip(self.scaler.to_units(w.x), -INPUT_BOUND, INPUT_BOUND), np.float32(0))
        expected = self.scaler.back(forward(self.layers, self.weights, inputs)[:, :, -self.tail :])
        error, feature_error = windows.tail_errors(w, expected, self.scale)
        return error, feature_error, np.where(np.isfinite(feature_error), expected[:, :, -1], np.float32(np.nan))

    def reconstruct(self, x: F32) -> F32:
        """x̂ [S, B, W, F] of finite windows [S, B, W, F], both in own units."""
        inputs = np.clip(self.scaler.to_units(x), -INPUT_BOUND, INPUT_BOUND)
        return self.scaler.back(forward(self.layers, self.weights, inputs))

    def take(self, rows: Sequence[int]) -> Autoencoder:
        """The models at ``rows``, in that order."""
        at = np.asarray(rows, np.intp)
        weights = {name: tensor[at] for name, tensor in self.weights.items()}
        return Autoencoder(self.layers, self.window, self.tail, self.scaler.take(rows), weights)

    def spec(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        return {
            "window": self.window,
            "features": self.features,
            "tail": self.tail,
            "layers": to_json(self.layers),
        }

    def tensors(self) -> dict[str, F32]:
        """All that was learned: ``center``, ``scale`` [S, F] and the weights of the layers."""
        return {"center": self.scaler.center, "scale": self.scaler.scale, **self.weights}

    @classmethod
    def restore(cls, spec: Mapping[str, Any], tensors: Mapping[str, F32]) -> Autoencoder:
        """The stack that ``spec`` and ``tensors`` describe.

        Raises:
            PackRejectedError: a field is missing, unknown or out of bounds, or a tensor does not fit the layers.
        """
        fields = ("window", "features", "tail")
        if set(spec) != {*fields, "layers"}:
            raise PackRejectedError(f"an autoencoder has the fields {(*fields, 'layers')}, received {tuple(spec)[:9]}")
        for name in fields:
            if isinstance(spec[name], bool) or not isinstance(spec[name], int) or not 1 <= spec[name] <= MAX_SIZE:
                raise PackRejectedError(f"{name} must be an integer in 1..{MAX_SIZE}, received {spec[name]!r:.80}")
        layers = from_json(spec["layers"], spec["window"], spec["features"])
        try:
            center, scale = tensors["center"], tensors["scale"]
        except KeyError as error:
            raise PackRejectedError(f"tensor {error} is missing") from error
        if center.ndim != 2 or center.shape != scale.shape or center.shape[1] != spec["features"]:
            raise PackRejectedError(
                f"center and scale must be [S, {spec['features']}], received {center.shape} and {scale.shape}"
            )
        if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise PackRejectedError("center and scale must be finite and scale positive")
        weights = {name: tensor for name, tensor in tensors.items() if name not in ("center", "scale")}
        try:
            return cls(layers, spec["window"], spec["tail"], Scaler(center, scale), weights)
        except InvalidShapeError as error:
            raise PackRejectedError(str(error)) from error
