"""How far samples are from what is usual, in local units: the raw material of the members but the autoencoder.

Four deviations: the difference from the sample before; the same of the residual (sample minus the profile of its time
of the day); the residual minus its median over the last hours; the distance outside the usual band. Each is divided by
its usual size here and now. All of it looks only backwards: later samples never change a number, except that the first
days of a history borrow from each other (see ``time_of_day.Past``).

Rows are series of one feature: [R, T], time last. What changes slowly is constant for a period (see ``usual``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .ensemble_spec import UsualSpec
from .frame import F32, Bool

NAN = np.float32(np.nan)
KINDS = 4
"""Deviations: difference, difference of residuals, level, band. Units: of the first three, and of the residual."""
CHUNK_FLOATS = 1 << 23


@dataclass(frozen=True)
class Usual:
    """What is usual at T samples, each [R, T]: profile and band edges."""

    profile: F32
    lower: F32
    upper: F32


def deviate(x: F32, valid: Bool, usual: Usual, newest: int, spec: UsualSpec, level_length: int) -> F32:
    """Deviations of the ``newest`` samples of ``x`` [R, T] in the series' own unit: [4, R, newest].

    ``x`` is bridged; only samples that are ``valid`` deviate. ``usual.profile`` is that of all T samples, the band that
    of the newest ones. NaN where a deviation has nothing to compare with. Signs are kept.
    """
    residual = x - usual.profile
    at = slice(x.shape[1] - newest, None)
    out = np.full((KINDS, x.shape[0], newest), np.nan, np.float32)
    out[0], out[1] = difference(x, newest), difference(residual, newest)
    out[2] = residual[:, at] - running_median(np.where(valid, residual, NAN), newest, level_length, spec.level_samples)
    out[3] = np.maximum(x[:, at] - usual.upper, 0) - np.maximum(usual.lower - x[:, at], 0)
    out[:, ~valid[:, at]] = np.nan
    return out


def heights(deviations: F32, units: F32, spec: UsualSpec) -> F32:
    """Sizes of ``deviations`` [4, R, T] in ``units`` [4, R, T], at most ``spec.largest``."""
    with np.errstate(invalid="ignore"):
        return np.minimum(np.abs(deviations) / units, np.float32(spec.largest))


def difference(x: F32, newest: int) -> F32:
    """Change of the ``newest`` samples of ``x`` [R, T] since the one before each; NaN for the very first."""
    out = np.full((x.shape[0], newest), np.nan, np.float32)
    known = min(newest, x.shape[1] - 1)
    if known > 0:
        out[:, newest - known :] = x[:, x.shape[1] - known :] - x[:, x.shape[1] - known - 1 : -1]
    return out


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
