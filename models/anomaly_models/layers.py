"""Architecture as data: a tuple of frozen layer records, stored with the weights.

One function, ``shapes``, says what every layer receives, returns and learns. The NumPy forward pass, the stacked Keras
layers and the caps on stored models all read it, so they cannot disagree. The records mirror stock Keras layers
(names, padding "same", gate order, GRU with ``reset_after``): stored weights fit a Keras layer of the same name.

Shapes here are those of one window of one model: ``(steps, channels)``, or ``(units,)`` after a flattening. The leading
axes S (models) and B (windows) are added by whoever computes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from .exceptions import InvalidShapeError, PackRejectedError

Activation = Literal["linear", "relu", "tanh", "sigmoid"]
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
Shape: TypeAlias = tuple[int, ...]

MAX_LAYERS = 64
MAX_SIZE = 65_536
"""Most units, filters, steps or channels of a layer."""
MAX_ACTIVATIONS = 1_048_576
"""Most numbers a layer may return for one window."""
MAX_WEIGHTS = 8_388_608
"""Most weights of one model: 32 MiB of float32, 2 GiB for a pack of 64."""
SEQUENCE = 2
"""Rank of (steps, channels)."""


def _check_size(layer: object, **sizes: int) -> None:
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
            raise InvalidShapeError(f"{type(layer).__name__}.{name} must be an integer in 1..{MAX_SIZE}, got {size!r}")


def _check_activation(layer: object, activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise InvalidShapeError(f"{type(layer).__name__}.activation must be one of {ACTIVATIONS}, got {activation!r}")


def _sequence(layer: object, before: Shape) -> tuple[int, int]:
    if len(before) != SEQUENCE:
        raise InvalidShapeError(f"{type(layer).__name__} needs (steps, channels), received {before}")
    return before[0], before[1]


@dataclass(frozen=True)
class Dense:
    """Matrix product over the last axis: (..., c) -> (..., units)."""

    units: int
    activation: Activation = "linear"

    def __post_init__(self) -> None:
        _check_size(self, units=self.units)
        _check_activation(self, self.activation)

    def output(self, before: Shape) -> Shape:
        return (*before[:-1], self.units)

    def weights(self, before: Shape) -> dict[str, Shape]:
        return {"kernel": (before[-1], self.units), "bias": (self.units,)}


@dataclass(frozen=True)
class Conv1D:
    """Convolution over time, padding "same": (t, c) -> (ceil(t / stride), filters)."""

    filters: int
    kernel: int
    stride: int = 1
    activation: Activation = "linear"

    def __post_init__(self) -> None:
        _check_size(self, filters=self.filters, kernel=self.kernel, stride=self.stride)
        _check_activation(self, self.activation)

    def output(self, before: Shape) -> Shape:
        steps, _ = _sequence(self, before)
        return (-(-steps // self.stride), self.filters)

    def weights(self, before: Shape) -> dict[str, Shape]:
        return {"kernel": (self.kernel, before[-1], self.filters), "bias": (self.filters,)}

    def padding(self, steps: int) -> tuple[int, int]:
        """Zeros before and after ``steps`` samples, as TensorFlow's "same" puts them (the odd one behind)."""
        total = max((-(-steps // self.stride) - 1) * self.stride + self.kernel - steps, 0)
        return total // 2, total - total // 2


@dataclass(frozen=True)
class LSTM:
    """Long short-term memory, gates i, f, c, o: (t, c) -> (t, units) or, without ``sequences``, (units,)."""

    units: int
    sequences: bool = True

    def __post_init__(self) -> None:
        _check_size(self, units=self.units)

    def output(self, before: Shape) -> Shape:
        steps, _ = _sequence(self, before)
        return (steps, self.units) if self.sequences else (self.units,)

    def weights(self, before: Shape) -> dict[str, Shape]:
        gates = 4 * self.units
        return {"kernel": (before[-1], gates), "recurrent": (self.units, gates), "bias": (gates,)}


@dataclass(frozen=True)
class GRU:
    """Gated recurrent unit, gates z, r, h, reset applied after the product: shapes as ``LSTM``."""

    units: int
    sequences: bool = True

    def __post_init__(self) -> None:
        _check_size(self, units=self.units)

    def output(self, before: Shape) -> Shape:
        steps, _ = _sequence(self, before)
        return (steps, self.units) if self.sequences else (self.units,)

    def weights(self, before: Shape) -> dict[str, Shape]:
        gates = 3 * self.units
        return {"kernel": (before[-1], gates), "recurrent": (self.units, gates), "bias": (2, gates)}


@dataclass(frozen=True)
class Flatten:
    """(t, c) -> (t * c,)."""

    def output(self, before: Shape) -> Shape:
        return (math.prod(before),)

    def weights(self, before: Shape) -> dict[str, Shape]:
        return {}


@dataclass(frozen=True)
class Reshape:
    """Any shape of ``steps * channels`` numbers -> (steps, channels)."""

    steps: int
    channels: int

    def __post_init__(self) -> None:
        _check_size(self, steps=self.steps, channels=self.channels)

    def output(self, before: Shape) -> Shape:
        if math.prod(before) != self.steps * self.channels:
            raise InvalidShapeError(f"Reshape to ({self.steps}, {self.channels}) does not fit {before}")
        return (self.steps, self.channels)

    def weights(self, before: Shape) -> dict[str, Shape]:
        return {}


@dataclass(frozen=True)
class RepeatVector:
    """(c,) -> (times, c)."""

    times: int

    def __post_init__(self) -> None:
        _check_size(self, times=self.times)

    def output(self, before: Shape) -> Shape:
        if len(before) != 1:
            raise InvalidShapeError(f"RepeatVector needs (units,), received {before}")
        return (self.times, before[0])

    def weights(self, before: Shape) -> dict[str, Shape]:
        return {}


@dataclass(frozen=True)
class UpSampling1D:
    """Every step repeated: (t, c) -> (t * size, c)."""

    size: int

    def __post_init__(self) -> None:
        _check_size(self, size=self.size)

    def output(self, before: Shape) -> Shape:
        steps, channels = _sequence(self, before)
        return (steps * self.size, channels)

    def weights(self, before: Shape) -> dict[str, Shape]:
        return {}


@dataclass(frozen=True)
class Cropping1D:
    """The oldest ``start`` steps cut off: (t, c) -> (t - start, c). Undoes the rounding up of a strided convolution."""

    start: int

    def __post_init__(self) -> None:
        _check_size(self, start=self.start)

    def output(self, before: Shape) -> Shape:
        steps, channels = _sequence(self, before)
        if steps <= self.start:
            raise InvalidShapeError(f"Cropping1D of {self.start} steps leaves nothing of {before}")
        return (steps - self.start, channels)

    def weights(self, before: Shape) -> dict[str, Shape]:
        return {}


@dataclass(frozen=True)
class Dropout:
    """A share ``rate`` of the numbers set to zero while training; does nothing when serving."""

    rate: float

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, (int, float)) or not 0 <= self.rate < 1:
            raise InvalidShapeError(f"Dropout.rate must lie in [0, 1), got {self.rate!r}")

    def output(self, before: Shape) -> Shape:
        return before

    def weights(self, before: Shape) -> dict[str, Shape]:
        return {}


Layer: TypeAlias = Dense | Conv1D | LSTM | GRU | Flatten | Reshape | RepeatVector | UpSampling1D | Cropping1D | Dropout
Layers: TypeAlias = tuple[Layer, ...]

_TYPES: dict[str, type[Layer]] = {
    "dense": Dense,
    "conv1d": Conv1D,
    "lstm": LSTM,
    "gru": GRU,
    "flatten": Flatten,
    "reshape": Reshape,
    "repeat_vector": RepeatVector,
    "up_sampling1d": UpSampling1D,
    "cropping1d": Cropping1D,
    "dropout": Dropout,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}


@dataclass(frozen=True)
class LayerShape:
    """One layer in its place: what it receives and returns for one window, and its weights by full tensor name."""

    layer: Layer
    prefix: str
    before: Shape
    after: Shape
    weights: Mapping[str, Shape]

    def tensor(self, name: str) -> str:
        """Full name of the weight ``name`` ("kernel", "recurrent", "bias"), as stored: ``layer03_kernel``."""
        return f"{self.prefix}_{name}"


def shapes(layers: Layers, window: int, features: int) -> tuple[LayerShape, ...]:
    """Follow a window of ``window`` x ``features`` numbers through ``layers``.

    Raises:
        InvalidShapeError: layers do not fit each other, or a cap (``MAX_LAYERS``, ``MAX_SIZE``, ``MAX_ACTIVATIONS``,
            ``MAX_WEIGHTS``) is exceeded. Nothing is allocated before.
    """
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise InvalidShapeError(f"a model needs 1..{MAX_LAYERS} layers, received {len(layers)}")
    if not (1 <= window <= MAX_SIZE and 1 <= features <= MAX_SIZE and window * features <= MAX_ACTIVATIONS):
        raise InvalidShapeError(f"a window of {window} x {features} numbers exceeds {MAX_ACTIVATIONS}")
    out: list[LayerShape] = []
    before: Shape = (window, features)
    total = 0
    for index, layer in enumerate(layers):
        after = layer.output(before)
        prefix = f"layer{index:02d}"
        weights = {f"{prefix}_{name}": shape for name, shape in layer.weights(before).items()}
        total += sum(math.prod(shape) for shape in weights.values())
        if math.prod(after) > MAX_ACTIVATIONS:
            raise InvalidShapeError(f"{prefix} {layer} returns {after}: more than {MAX_ACTIVATIONS} numbers a window")
        if total > MAX_WEIGHTS:
            raise InvalidShapeError(
                f"{prefix} {layer} brings the model to {total} weights, at most {MAX_WEIGHTS} are allowed: "
                "choose a smaller window, fewer features or another recipe"
            )
        out.append(LayerShape(layer, prefix, before, after, weights))
        before = after
    return tuple(out)


def weight_shapes(layers: Layers, window: int, features: int) -> dict[str, Shape]:
    """Shape of every weight by its tensor name, without the leading S. Raises as ``shapes``."""
    return {name: shape for place in shapes(layers, window, features) for name, shape in place.weights.items()}


def parameters(layers: Layers, window: int, features: int) -> int:
    """Number of weights of one model. Raises as ``shapes``."""
    return sum(math.prod(shape) for shape in weight_shapes(layers, window, features).values())


def to_json(layers: Layers) -> list[dict[str, Any]]:
    """Layers as JSON: ``[{"type": "dense", "units": 16, "activation": "relu"}, ...]``."""
    return [{"type": _NAMES[type(layer)], **dataclasses.asdict(layer)} for layer in layers]


def from_json(data: object, window: int, features: int) -> Layers:
    """The layers that ``to_json`` wrote, checked against every cap before anything is allocated.

    Raises:
        PackRejectedError: not a list of known records with exactly their fields, wrong types, layers that do not fit
            each other, or a model that is too large.
    """
    if not isinstance(data, list) or len(data) > MAX_LAYERS:
        raise PackRejectedError(f"layers must be a list of at most {MAX_LAYERS} records, received {_brief(data)}")
    layers = tuple(_layer(item) for item in data)
    try:
        shapes(layers, window, features)
    except InvalidShapeError as error:
        raise PackRejectedError(str(error)) from error
    return layers


def _layer(item: object) -> Layer:
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(kind, str) or kind not in _TYPES:
        raise PackRejectedError(f"a layer must be a record with a type of {sorted(_TYPES)}, received {_brief(item)}")
    fields = {field.name for field in dataclasses.fields(_TYPES[kind])}
    given = {name: value for name, value in item.items() if name != "type"}
    if set(given) != fields:
        raise PackRejectedError(f"layer {kind} has exactly the fields {sorted(fields)}, received {_brief(item)}")
    if "sequences" in given and not isinstance(given["sequences"], bool):
        raise PackRejectedError(f"layer {kind}: sequences must be true or false, received {_brief(item)}")
    if "activation" in given and not isinstance(given["activation"], str):
        raise PackRejectedError(f"layer {kind}: activation must be a string, received {_brief(item)}")
    try:
        return _TYPES[kind](**given)
    except InvalidShapeError as error:
        raise PackRejectedError(str(error)) from error


def _brief(value: object) -> str:
    text = repr(value) if not isinstance(value, (list, dict)) else f"{type(value).__name__} of {len(value)}"
    return text[:120]
