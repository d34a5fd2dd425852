"""Bring series of any unit to one scale.

The unit of every error is one ``scale``: about a standard deviation of the training data for ``robust`` and
``standard``, half the range for ``min_max``. Fitted once per training on training data only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .exceptions import InvalidShapeError, PackRejectedError
from .frame import F32

ScalerKind = Literal["robust", "min_max", "standard"]
NORMAL_IQR = 1.3489795003921634
"""Interquartile range of the standard normal distribution: robust scales then read like standard deviations."""

UNSEEN = np.float32(1e30)
"""Scale of a feature without any training sample: it enters a model as its centre and never counts in an error."""


@dataclass(frozen=True)
class Scaler:
    """Per series and feature: ``center`` and ``scale``, float32 [S, F], in the series' own unit; scale is positive."""

    center: F32
    scale: F32

    def to_units(self, x: F32) -> F32:
        """Own unit to scaler units, [S, B, W, F]; NaN stays NaN."""
        return (x - self.center[:, None, None, :]) / self.scale[:, None, None, :]

    def back(self, units: F32) -> F32:
        """Scaler units to the series' own unit, [S, B, W, F]."""
        return units * self.scale[:, None, None, :] + self.center[:, None, None, :]

    def take(self, rows: Sequence[int]) -> Scaler:
        """The series at ``rows``, in that order."""
        index = np.asarray(rows, np.intp)
        return Scaler(self.center[index], self.scale[index])

    @classmethod
    def restore(cls, tensors: Mapping[str, F32], features: int) -> Scaler:
        """The scaler among stored tensors ``center`` and ``scale``.

        Raises:
            PackRejectedError: one is missing, not [S, features], not finite, or a scale is not positive.
        """
        center, scale = tensors.get("center"), tensors.get("scale")
        if center is None or scale is None or center.ndim != 2 or center.shape[1] != features:
            raise PackRejectedError(f"tensors center and scale must be [S, {features}], received {_shapes(tensors)}")
        if scale.shape != center.shape or not np.isfinite(center).all() or not np.isfinite(scale).all():
            raise PackRejectedError(f"center and scale must be finite and of one shape, received {_shapes(tensors)}")
        if not (scale > 0).all():
            raise PackRejectedError(f"every scale must be positive, received {scale.min()}")
        return cls(center, scale)


def _shapes(tensors: Mapping[str, F32]) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def fit(
    values: F32,
    kind: ScalerKind,
    minimum_scale: float,
    minimum_relative_scale: float,
    level: npt.NDArray[np.floating] | None = None,
) -> Scaler:
    """Fit centre and scale of ``values`` [S, T, F], NaN = missing.

    ``robust``: median and interquartile range / 1.349; a series that rests on one value for more than half of its
    time has no interquartile range, its standard deviation is taken instead. ``standard``: mean and standard
    deviation. ``min_max``: middle and half of the range, so that training data spans [-1, 1].

    The scale is never below ``minimum_scale`` nor below ``minimum_relative_scale * |level|``; ``level`` [S, F] is the
    centre unless given (residuals have a centre near 0, their minimum scale must follow the series they are left of).
    A feature without any sample gets centre 0 and the scale ``UNSEEN``.
    """
    if values.ndim != 3:
        raise InvalidShapeError(f"a scaler is fitted on values [S, T, F], received {values.shape}")
    x = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if kind == "robust":
        lower, center, upper = quantiles(x, (0.25, 0.5, 0.75))
        scale = (upper - lower) / NORMAL_IQR
        # A difference of two equal float32 quartiles is exactly 0: this is the resting series, not a quiet one.
        scale = np.where(scale > 0, scale, _mean_std(x)[1])
    elif kind == "standard":
        center, scale = _mean_std(x)
    elif kind == "min_max":
        lower, upper = quantiles(x, (0.0, 1.0))
        center, scale = (lower + upper) / 2, (upper - lower) / 2
    else:
        raise ValueError(f"scaler must be robust, min_max or standard, received {kind!r}")
    unseen = np.isnan(center)
    center = np.where(unseen, 0.0, center)
    floor = np.maximum(minimum_scale, minimum_relative_scale * np.abs(center if level is None else level))
    scale = np.where(unseen, UNSEEN, np.fmin(np.fmax(scale, floor), UNSEEN))
    return Scaler(center.astype(np.float32), scale.astype(np.float32))


def quantiles(x: npt.NDArray[np.floating], q: Sequence[float]) -> npt.NDArray[np.float64]:
    """Quantiles along axis 1 of ``x`` [S, T, F] that ignore NaN, linearly interpolated; [len(q), S, F], NaN where none.

    ``numpy.nanquantile`` says the same but loops over series in Python.
    """
    ordered = np.sort(x, axis=1)  # NaN last
    count = np.sum(~np.isnan(x), axis=1)
    out = np.full((len(q), x.shape[0], x.shape[2]), np.nan)
    if x.shape[1] == 0:
        return out
    for i, share in enumerate(q):
        position = share * np.maximum(count - 1, 0)
        below = np.floor(position).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(count - 1, 0))
        low = np.take_along_axis(ordered, below[:, None, :], axis=1)[:, 0].astype(np.float64)
        high = np.take_along_axis(ordered, above[:, None, :], axis=1)[:, 0].astype(np.float64)
        out[i] = low + (high - low) * (position - below)
    return out


def _mean_std(x: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation over axis 1, NaN ignored; NaN where there is no sample."""
    seen = ~np.isnan(x)
    count = np.where(seen.any(axis=1), seen.sum(axis=1), np.nan)
    mean = np.sum(x, axis=1, where=seen) / count
    deviation = np.where(seen, x - mean[:, None, :], 0.0)
    return mean, np.sqrt(np.sum(deviation * deviation, axis=1) / count)
