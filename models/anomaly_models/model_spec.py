"""What one model is asked to be: the part of the configuration that the science reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .exceptions import PackRejectedError

MAX_COUNT = 1 << 20
"""Largest window, tail, step or number of features in a stored specification."""


@dataclass(frozen=True)
class ModelSpec:
    """One way of learning a series; field for field a `models` entry of the configuration.

    ``window``, ``stride`` and ``tail`` count grid steps, ``minimum_scale`` is in the series' own unit,
    ``minimum_relative_scale`` a share of its centre. A window teaches only if at least ``min_features`` features count.
    ``filters``, ``kernel``, ``units`` and ``code`` are the widths of an autoencoder's layers, None the recipe's own.
    The recipe ``auto`` is the calibrated ensemble; ``autoencoder`` is the recipe of its autoencoder, which all other
    fields then describe.

    Raises:
        ValueError: a field is out of its range; names the field and what was received.
    """

    recipe: str
    window: int = 24
    stride: int = 1
    tail: int = 1
    scaler: Literal["robust", "min_max", "standard"] = "robust"
    minimum_scale: float = 1e-6
    minimum_relative_scale: float = 0.01
    seed: int = 0
    epochs: int = 30
    patience: int = 5
    batch: int = 64
    max_windows: int = 2048
    dropout: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 3e-3
    min_features: int = 1
    autoencoder: str = "fc"
    filters: int | None = None
    kernel: int | None = None
    units: int | None = None
    code: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "stride", "tail", "epochs", "patience", "batch", "max_windows", "min_features"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, received {getattr(self, name)}")
        for name in ("filters", "kernel", "units", "code"):
            width = getattr(self, name)
            if width is not None and width < 1:
                raise ValueError(f"{name} must be at least 1, received {width}")
        if self.tail > self.window:
            raise ValueError(f"tail must not exceed the window of {self.window} samples, received {self.tail}")
        if not self.minimum_scale > 0:
            raise ValueError(f"minimum_scale must be positive, received {self.minimum_scale}")


def read_counts(spec: Mapping[str, Any], names: Sequence[str]) -> tuple[int, ...]:
    """The whole positive numbers ``names`` of a stored specification that holds exactly these.

    Raises:
        PackRejectedError: one is missing, unknown, not an integer, or beyond 1..2^20; or the tail exceeds the window.
    """
    if set(spec) != set(names):
        raise PackRejectedError(
            f"a stored model of this kind has the fields {tuple(names)}, received {tuple(spec)[:9]}"
        )
    for name in names:
        if type(spec[name]) is not int or not 1 <= spec[name] <= MAX_COUNT:
            raise PackRejectedError(f"{name} must be an integer from 1 to {MAX_COUNT}, received {spec[name]!r:.80}")
    if spec.get("tail", 0) > spec.get("window", MAX_COUNT):
        raise PackRejectedError(f"tail must not exceed the window, received {spec['tail']} and {spec['window']}")
    return tuple(spec[name] for name in names)
