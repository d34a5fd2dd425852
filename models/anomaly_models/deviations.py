"""How far samples are from what is usual, in local units: what the members that look at one feature are made of.

Six heights, each a deviation divided by its usual size here and now. All of it looks only backwards: later samples
never change a number. Rows are series of one feature: [R, T], time last; NaN is a sample that does not exist.

* ``difference``: change since the sample before
* ``residual_difference``: the same of the residual, the sample minus the profile of its time of the day
* ``level``: residual minus its median over the last hours
* ``band``: distance outside the usual band
* ``shift``: mean residual of the last samples minus the median of such means over the hours before
* ``variation``: root of the mean energy of the last differences
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .ensemble_spec import FEATURE_MEMBERS, UsualSpec
from .frame import F32

NAN = np.float32(np.nan)
KINDS = len(FEATURE_MEMBERS)
UNITS = 4
"""Units: of a difference, of a difference of residuals, of a level, of a residual (for band and shift)."""
CHUNK_FLOATS = 1 << 23


def in_units(deviation: F32, unit: F32, spec: UsualSpec) -> F32:
    """Size of a ``deviation`` in its ``unit``, both of one shape, at most ``spec.largest``."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.minimum(np.abs(deviation) / unit, np.float32(spec.largest)), np.float32)


def bounded(residual: F32, unit: F32, spec: UsualSpec) -> F32:
    """Residuals in units with their sign, within +- ``spec.bound``."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.clip(residual / unit, -spec.bound, spec.bound), np.float32)


def level(residual: F32, newest: int, step: int, spec: UsualSpec) -> F32:
    """Distance [R, newest] of the newest of ``residual`` [R, T] from their median over the last hours."""
    before = running_median(residual, newest, spec.level_length(step), spec.level_samples)
    return residual[:, residual.shape[1] - newest :] - before


def outside(x: F32, lower: F32, upper: F32) -> F32:
    """Distance of ``x`` outside [``lower``, ``upper``], below it negative, all of one shape."""
    return np.asarray(np.maximum(x - upper, 0) - np.maximum(lower - x, 0), np.float32)


def shift(bounded_residual: F32, newest: int, step: int, spec: UsualSpec) -> F32:
    """How far the mean of the last samples moved, [R, newest], of ``bounded_residual`` [R, T], in units."""
    size, length = spec.shift_samples, spec.level_length(step)
    needed = newest + length + size - 1
    means = running_mean(bounded_residual, min(needed, bounded_residual.shape[1]), size)
    before = np.concatenate([np.full((means.shape[0], size), np.nan, np.float32), means], axis=1)[
        :, : means.shape[1] + 1
    ]
    moved = means[:, means.shape[1] - newest :] - running_median(before, newest, length, spec.level_samples)
    return np.where(np.isnan(bounded_residual[:, bounded_residual.shape[1] - newest :]), NAN, np.abs(moved))


def variation(heights: F32, newest: int, spec: UsualSpec) -> F32:
    """Energy [R, newest] of the last of the ``heights`` [R, T] of differences."""
    with np.errstate(invalid="ignore"):
        energy = running_mean(np.minimum(heights, np.float32(spec.bound)) ** 2, newest, spec.variation_samples)
        return np.where(np.isnan(heights[:, heights.shape[1] - newest :]), NAN, np.sqrt(energy))


def difference(x: F32, newest: int) -> F32:
    """Change of the ``newest`` samples of ``x`` [R, T] since the one before each; NaN for the very first."""
    out = np.full((x.shape[0], newest), np.nan, np.float32)
    known = min(newest, x.shape[1] - 1)
    if known > 0:
        out[:, newest - known :] = x[:, x.shape[1] - known :] - x[:, x.shape[1] - known - 1 : -1]
    return out


def running_mean(x: F32, newest: int, length: int) -> F32:
    """Mean of the last ``length`` samples at each of the ``newest`` of ``x`` [..., T]; NaN where none is seen."""
    T = x.shape[-1]
    seen = ~np.isnan(x)
    filled = np.where(seen, x, np.float32(0))
    total = np.zeros((*x.shape[:-1], newest), np.float32)
    count = np.zeros((*x.shape[:-1], newest), np.float32)
    for back in range(min(length, T)):
        missing = max(newest + back - T, 0)
        at = slice(T - newest - back + missing, T - back)
        total[..., missing:] += filled[..., at]
        count[..., missing:] += seen[..., at]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / count, np.float32)


def running_median(x: F32, newest: int, length: int, fewest: int) -> F32:
    """Median of the ``length`` samples before each of the ``newest`` of ``x`` [R, T]; NaN with ``fewest`` not seen."""
    R, T = x.shape
    missing = max(newest + length - T, 0)
    padded = x[:, T - newest - length + missing : T - 1]
    if missing:
        padded = np.concatenate([np.full((R, missing), np.nan, np.float32), padded], axis=1)
    view = sliding_window_view(padded, length, axis=1)
    out = np.empty((R, newest), np.float32)
    width = max(CHUNK_FLOATS // max(R * length, 1), 1)
    for first in range(0, newest, width):
        at = slice(first, first + width)
        ordered = np.sort(view[:, at], axis=-1)  # a copy; NaN last
        count = np.sum(~np.isnan(ordered), axis=-1, keepdims=True)
        low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, -1)
        high = np.take_along_axis(ordered, count // 2, -1)
        out[:, at] = np.where(count >= fewest, (low + high) / 2, NAN)[..., 0]
    return out
