"""The usual value at this time of the day, or of the week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import scaling, windows
from .exceptions import InvalidShapeError, PackRejectedError
from .frame import F32, I64, Inference, Scorer, Windows
from .model_spec import ModelSpec, read_counts
from .scaling import Scaler

SLOT = 600
"""Seconds of one slot of the profile."""
DAY = 86400 // SLOT
WEEK = 7 * DAY
NEEDS_DAY = 2 * 86400
"""Seconds of history from which a daily profile is believed; less gives a level."""
NEEDS_WEEK = 14 * 86400
"""Seconds of history from which a weekly profile is believed."""
FIELDS = ("window", "features", "tail", "step", "slots")


@dataclass(frozen=True)
class Seasonal:
    """A stack of S profiles, a ``Scorer``: the expected value is the median of the same time of the day or week.

    ``profile`` [S, slots, F] in own units, slots of ten minutes of data time (UTC), 144 a day or 1,008 a week.
    ``scaler`` is fitted on what the profile leaves over of the training data, so that error, threshold and band follow
    the noise around the profile, not the height of the daily wave. ``step``: seconds between samples.
    """

    window: int
    tail: int
    step: int
    profile: F32
    scaler: Scaler

    @property
    def kind(self) -> str:
        return "seasonal"

    @property
    def scale(self) -> F32:
        """Unit of the error per feature, [S, F]."""
        return self.scaler.scale

    def infer(self, w: Windows) -> Inference:
        """Errors and expectations of windows [S, B, W, F].

        Raises:
            InvalidShapeError: S or F of the windows are not those of the models.
        """
        if self.scale.shape != (w.x.shape[0], w.x.shape[3]):
            raise InvalidShapeError(f"these models score [S, F] = {self.scale.shape}, received windows {w.x.shape}")
        back = self.step * np.arange(self.tail - 1, -1, -1, dtype=np.int64)
        expected = at_times(self.profile, w.end[:, :, None] - back)
        error, feature_error = windows.tail_errors(w, expected, self.scale)
        newest = np.where(np.isfinite(feature_error), expected[:, :, -1], np.float32(np.nan))
        return Inference(error, feature_error, newest)

    def take(self, rows: Sequence[int]) -> Seasonal:
        """The models at ``rows``, in that order."""
        at = np.asarray(rows, np.intp)
        return Seasonal(self.window, self.tail, self.step, self.profile[at], self.scaler.take(rows))

    def spec(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        slots, features = self.profile.shape[1:]
        return dict(zip(FIELDS, (self.window, features, self.tail, self.step, slots), strict=True))

    def tensors(self) -> dict[str, F32]:
        """``profile`` [S, slots, F]; ``center`` and ``scale`` [S, F] of the residuals."""
        return {"profile": self.profile, "center": self.scaler.center, "scale": self.scaler.scale}

    @classmethod
    def restore(cls, spec: Mapping[str, Any], tensors: Mapping[str, F32]) -> Seasonal:
        """The stack that ``spec`` and ``tensors`` describe.

        Raises:
            PackRejectedError: a field or a tensor is missing, unknown or out of bounds.
        """
        window, features, tail, step, slots = read_counts(spec, FIELDS)
        scaler = Scaler.restore(tensors, features)
        profile = tensors.get("profile")
        shape = (scaler.center.shape[0], slots, features)
        if slots not in (DAY, WEEK) or profile is None or profile.shape != shape or not np.isfinite(profile).all():
            received = None if profile is None else profile.shape
            raise PackRejectedError(f"profile must be finite {shape} with {DAY} or {WEEK} slots, received {received}")
        return cls(window, tail, step, profile, scaler)


@dataclass(frozen=True)
class SeasonalLearner:
    """Fits ``Seasonal``: medians of ten-minute slots and their neighbours."""

    model: ModelSpec

    def fit(
        self, train: Windows, val: Windows, y: npt.NDArray[np.int8] | None, warm: Scorer | None, seed: int
    ) -> Seasonal:
        """Fit on the samples under ``train``; ``val``, ``y``, ``warm`` and ``seed`` play no part.

        A slot's value is the median of its samples and its two neighbours'. A feature observed for less than two days
        gets its median as a level, from two weeks on a weekly profile whose empty slots take the daily value; empty
        slots of the day are interpolated around midnight.

        Raises:
            InvalidShapeError: fewer than two windows (the step is unknown), or series on different grids.
        """
        values, times = windows.samples(train)
        if times.size < 2:
            raise InvalidShapeError(f"a profile needs at least two windows, received {times.size}")
        m = self.model
        step = int(times[1] - times[0]) // m.stride
        level = scaling.quantiles(values, (0.5,))[0]
        level = np.where(np.isnan(level), 0.0, level)
        profile = profile_of(values, times, level)
        left = values - at_times(profile, np.broadcast_to(times, values.shape[:2]))
        scaler = scaling.fit(left, m.scaler, m.minimum_scale, m.minimum_relative_scale, level)
        return Seasonal(m.window, m.tail, step, profile, scaler)


def at_times(profile: F32, times: I64) -> F32:
    """``profile`` [S, slots, F] at data times ``times`` [S, ...]: [S, ..., F]."""
    slot = times // SLOT % profile.shape[1]
    series = np.arange(slot.shape[0]).reshape(-1, *[1] * (slot.ndim - 1))
    return np.asarray(profile[series, slot])


def profile_of(values: F32, times: I64, level: npt.NDArray[np.float64], share: float = 0.5) -> F32:
    """Profiles [S, slots, F] of ``values`` [S, T, F] at ``times`` [T]; weekly if any feature has weeks of history.

    A profile is the quantile ``share`` of every slot; ``level`` [S, F] where a history is too short for one.
    """
    span = _observed_span(values, times)[:, None, :]
    daily = np.where(span >= NEEDS_DAY, _interpolated(_slot_quantiles(values, times, DAY, share)), level[:, None, :])
    daily = np.where(np.isnan(daily), level[:, None, :], daily)
    if not (span >= NEEDS_WEEK).any():
        return daily.astype(np.float32)
    every_day = np.tile(daily, (1, 7, 1))
    weekly = _slot_quantiles(values, times, WEEK, share)
    return np.where((span >= NEEDS_WEEK) & ~np.isnan(weekly), weekly, every_day).astype(np.float32)


def _observed_span(values: F32, times: I64) -> npt.NDArray[np.float64]:
    """Seconds from the first to just after the last sample, [S, F]; 0 without any."""
    seen = np.isfinite(values)
    first = np.where(seen.any(axis=1), times[seen.argmax(axis=1)], 0)
    last = np.where(seen.any(axis=1), times[len(times) - 1 - seen[:, ::-1].argmax(axis=1)] + times[1] - times[0], 0)
    return (last - first).astype(np.float64)


def _slot_quantiles(values: F32, times: I64, slots: int, share: float) -> npt.NDArray[np.float64]:
    """Quantile ``share`` of every slot with its two neighbours, [S, slots, F], NaN where none has a sample."""
    slot = times // SLOT % slots
    order = np.argsort(slot, kind="stable")
    border = np.searchsorted(slot[order], np.arange(slots + 1))
    rows = [order[border[i] : border[i + 1]] for i in range(slots)]
    out = np.full((values.shape[0], slots, values.shape[2]), np.nan)
    for i in range(slots):
        near = np.concatenate([rows[i - 1], rows[i], rows[(i + 1) % slots]])
        if near.size:
            out[:, i] = scaling.quantiles(values[:, near], (share,))[0]
    return out


def _interpolated(profile: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``profile`` [S, slots, F] with NaN slots interpolated linearly around the circle; all NaN stays NaN."""
    slots = profile.shape[1]
    at = np.arange(slots)
    for s, f in zip(*np.nonzero(np.isnan(profile).any(axis=1)), strict=True):
        known = ~np.isnan(profile[s, :, f])
        if known.any():
            profile[s, :, f] = np.interp(at, at[known], profile[s, known, f], period=slots)
    return profile
