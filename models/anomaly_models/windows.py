"""Windows over a grid, which of them may be used, and the one definition of the error over them.

A feature of a window is *usable* when all its samples are finite; it *counts* when it is usable and really observed in
the last ``tail`` samples. A window is *scorable* when enough features count and the newest sample is observed for at
least one of them: a value carried over a gap is never judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from .exceptions import InvalidShapeError
from .frame import F32, I64, Bool, Windows
from .scaling import UNSEEN

Sample = TypeVar("Sample", bound=np.generic)


def make(  # noqa: PLR0917  the order of the axes' origin, then of the windows
    x: F32, valid: Bool, start: int, step: int, window: int, stride: int = 1
) -> Windows:
    """Windows of ``window`` samples over ``x`` and ``valid`` [T, N, F] whose row 0 is the instant ``start``.

    Views, not copies: S = N, B = (T - window) // stride + 1, none when the data is shorter than a window.

    Raises:
        InvalidShapeError: the arrays do not fit each other, or ``window`` or ``stride`` is not positive.
    """
    if x.ndim != 3 or valid.shape != x.shape or window < 1 or stride < 1:
        raise InvalidShapeError(
            f"windows need x and valid [T, N, F] and positive window and stride, received {x.shape}, {valid.shape}, "
            f"{window}, {stride}"
        )
    rows, series, features = x.shape
    if rows < window:
        empty = (series, 0, window, features)
        return Windows(np.empty(empty, np.float32), np.empty(empty, np.bool_), np.empty((series, 0), np.int64))
    last = np.arange(window - 1, rows, stride, dtype=np.int64)
    end = np.broadcast_to(start + step * last, (series, last.size))
    return Windows(_view(x, window, stride), _view(valid, window, stride), end)


def _view(a: npt.NDArray[Sample], window: int, stride: int) -> npt.NDArray[Sample]:
    """[T, N, F] seen as [N, B, W, F]."""
    return sliding_window_view(a, window, axis=0)[::stride].transpose(1, 0, 3, 2)


def counted(w: Windows, tail: int = 1) -> Bool:
    """Which features of which windows count in the error, [S, B, F]."""
    count: Bool = np.asarray(w.valid[:, :, -tail:].any(axis=2))
    for i in range(w.x.shape[2]):  # one [S, B, F] at a time: the windows overlap, their union would be W times larger
        count &= np.isfinite(w.x[:, :, i])
    return count


def usable(w: Windows, min_features: int = 1, tail: int = 1) -> Bool:
    """Which windows may be scored or learned from, [S, B]."""
    return scorable(w, counted(w, tail), min_features)


def scorable(w: Windows, count: Bool, min_features: int = 1) -> Bool:
    """Windows in which enough of the features ``count`` [S, B, F] and the newest sample is observed, [S, B]."""
    enough = count.sum(axis=2) >= max(min_features, 1)
    return np.asarray(enough & (count & w.valid[:, :, -1]).any(axis=2))


def tail_errors(w: Windows, expected: F32, scale: F32) -> tuple[F32, F32]:
    """Error [S, B] and feature error [S, B, F], in scaler units, of windows whose last samples were ``expected``.

    ``expected`` [S, B, tail, F] in the series' own unit, ``scale`` [S, F]. Feature error is the mean
    |x - expected| / scale over the last ``tail`` samples that were observed, NaN where the feature does not count, was
    never seen in training (scale ``UNSEEN``) or the window is not scorable; error is the mean over the features that
    count.
    """
    tail = expected.shape[2]
    count = counted(w, tail)
    count &= (scale < UNSEEN)[:, None, :]
    count &= scorable(w, count)[:, :, None]
    x, valid = w.x[:, :, -tail:], w.valid[:, :, -tail:]
    distance = np.abs(np.where(valid, x - expected, np.float32(0)))
    seen = valid.sum(axis=2)
    feature_error = distance.sum(axis=2, dtype=np.float32) / np.maximum(seen, 1) / scale[:, None, :]
    feature_error = np.where(count, feature_error, np.float32(np.nan)).astype(np.float32)
    number = count.sum(axis=2)
    total = np.where(count, feature_error, np.float32(0)).sum(axis=2, dtype=np.float32)
    error = np.where(number > 0, total / np.maximum(number, 1), np.float32(np.nan))
    return error.astype(np.float32), feature_error


def samples(w: Windows) -> tuple[F32, I64]:
    """The observed samples under windows that share one grid: values [S, T, F] (NaN = not observed) and ``end`` [T].

    They are the newest sample of every window: with a stride above 1 the history is thinned evenly.

    Raises:
        InvalidShapeError: the series of the stack do not end at the same instants.
    """
    if w.end.shape[0] and not np.array_equal(w.end, np.broadcast_to(w.end[:1], w.end.shape)):
        raise InvalidShapeError("series of one stack must share one grid, received windows that end at other instants")
    values = np.where(w.valid[:, :, -1], w.x[:, :, -1], np.float32(np.nan))
    times = w.end[0] if w.end.shape[0] else np.empty(w.end.shape[1], np.int64)
    return values.astype(np.float32), times


def split(times: int, fractions: Sequence[float]) -> tuple[slice, slice, slice]:
    """Rows of a history of ``times`` rows for training, validation and test, in time order, without overlap.

    ``fractions`` are three shares that sum to 1. Make windows after splitting: then none spans a border.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise InvalidShapeError(f"split needs three shares that sum to 1, received {tuple(fractions)}")
    first = round(times * fractions[0])
    second = round(times * (fractions[0] + fractions[1]))
    return slice(0, first), slice(first, second), slice(second, times)
