"""How good a model is: errors of one-step expectations, and what lies above a threshold.

All functions take samples with the features last and ignore NaN. A figure that has no meaning for the data (R2 of a
constant, a mean of nothing) is None, never a number that looks like one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Samples = npt.NDArray[np.floating]


def mae(observed: Samples, expected: Samples) -> float | None:
    """Mean absolute error over all samples and features of ``observed`` and ``expected`` [n, F]."""
    return _mean(np.abs(_difference(observed, expected)))


def rmse(observed: Samples, expected: Samples) -> float | None:
    """Root of the mean squared error over all samples and features of ``observed`` and ``expected`` [n, F]."""
    square = _mean(_difference(observed, expected) ** 2)
    return None if square is None else float(np.sqrt(square))


def mase(observed: Samples, expected: Samples, naive: F64) -> float | None:
    """Mean absolute scaled error: each feature's absolute error over its ``naive`` error [F], then the mean.

    Below 1 the model is nearer than repeating the last value (Hyndman and Koehler 2006, with the training part's naive
    error). Features that never move are left out: repeating the last value is perfect there.
    """
    error = _column_mean(np.abs(_difference(observed, expected)))
    moving = naive > 0
    return _mean(error[moving] / naive[moving])


def r2(observed: Samples, expected: Samples) -> float | None:
    """Coefficient of determination, mean over features: 1 is perfect, 0 as good as the mean, below 0 worse.

    Features without variance are left out.
    """
    difference = _difference(observed, expected)
    seen = np.where(np.isfinite(difference), np.asarray(observed, np.float64), np.nan)
    variance = _column_mean((seen - _column_mean(seen)) ** 2)
    moving = variance > 0
    return _mean(1 - _column_mean(difference**2)[moving] / variance[moving])


def naive_error(values: Samples) -> F64:
    """Error of repeating the last value, per feature: mean |x(t) - x(t-1)| of ``values`` [T, F]; NaN where none."""
    return _column_mean(np.abs(np.diff(np.asarray(values, np.float64), axis=0)))


def above_ratio(errors: Samples, threshold: float) -> float | None:
    """Share of ``errors`` (any shape) above ``threshold``."""
    finite = errors[np.isfinite(errors)]
    return float((finite > threshold).mean()) if finite.size else None


def above_mean(errors: Samples, threshold: float) -> float | None:
    """Mean of the ``errors`` (any shape) above ``threshold``; None when there are none."""
    return _mean(errors[np.isfinite(errors) & (errors > threshold)].astype(np.float64))


def _difference(observed: Samples, expected: Samples) -> F64:
    return np.asarray(observed, np.float64) - np.asarray(expected, np.float64)


def _mean(values: F64) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def _column_mean(values: F64) -> F64:
    """Mean over axis 0 without NaN; NaN where a column has no number."""
    seen = np.isfinite(values)
    count = seen.sum(axis=0)
    total = np.where(seen, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
