"""Simple members that know the time of the day, each a model in its own right: ``difference``, ``level``, ``band``.

They are what the calibrated ensemble is made of, with one scale per series instead of local ones; see ``deviations``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import scaling, windows
from .exceptions import InvalidShapeError, PackRejectedError
from .frame import F32, Inference, Scorer, Windows
from .model_spec import ModelSpec, read_counts
from .scaling import Scaler
from .seasonal import DAY, WEEK, at_times, profile_of
from .time_of_day import quantiles

Kind = Literal["difference", "level", "band"]
NAN = np.float32(np.nan)
LOWER, UPPER = 0.1, 0.9
"""Quantiles of a time of the day between which a sample is usual."""
CHUNK_FLOATS = 1 << 22
"""Numbers of the windows looked at together: 16 MiB."""
FIELDS = ("window", "features", "tail", "step", "slots")


@dataclass(frozen=True)
class SlotMember:
    """A stack of S members of one ``kind``, a ``Scorer``. The expected value of a sample is

    * ``difference``: the sample before, moved as the profile of the time of the day moves;
    * ``level``: the profile moved to the median of what it left of the window's earlier samples;
    * ``band``: the nearest value that is usual at this time of the day.

    ``profile``, ``lower``, ``upper`` [S, slots, F] in own units, slots of ten minutes (UTC) of a day or a week.
    ``scaler`` is fitted on what the expectation leaves of the training data. ``step``: seconds between samples.
    """

    kind: Kind
    window: int
    tail: int
    step: int
    profile: F32
    lower: F32
    upper: F32
    scaler: Scaler

    @property
    def scale(self) -> F32:
        """Unit of the error per feature, [S, F]."""
        return self.scaler.scale

    def infer(self, w: Windows) -> Inference:
        """Errors and expectations of windows [S, B, W, F].

        Raises:
            InvalidShapeError: S, W or F of the windows are not those of the models.
        """
        S, _, W, F = w.x.shape
        if (*self.scale.shape, self.window) != (S, F, W):
            raise InvalidShapeError(
                f"these models score windows [{self.scale.shape[0]}, B, {self.window}, {self.scale.shape[1]}], "
                f"received {w.x.shape}"
            )
        expected = self.expected(w, self.tail)
        error, feature_error = windows.tail_errors(w, expected, self.scale)
        newest = np.where(np.isfinite(feature_error), expected[:, :, -1], NAN)
        return Inference(error, feature_error, newest)

    def expected(self, w: Windows, tail: int) -> F32:
        """Expected values [S, B, tail, F] of the last ``tail`` samples of windows."""
        S, B, W, F = w.x.shape
        out = np.empty((S, B, tail, F), np.float32)
        size = max(CHUNK_FLOATS // max(S * W * F, 1), 1)
        for first in range(0, B, size):
            at = slice(first, first + size)
            out[:, at] = self._expected(Windows(w.x[:, at], w.valid[:, at], w.end[:, at]), tail)
        return out

    def _expected(self, w: Windows, tail: int) -> F32:
        W = w.x.shape[2]
        times = w.end[:, :, None] - self.step * np.arange(W - 1, -1, -1, dtype=np.int64)
        if self.kind == "band":
            late = times[:, :, W - tail :]
            low, high = at_times(self.lower, late), at_times(self.upper, late)
            return np.asarray(np.minimum(np.maximum(w.x[:, :, W - tail :], low), high), np.float32)
        profile = at_times(self.profile, times)
        residual = w.x - profile
        if self.kind == "difference":
            return profile[:, :, W - tail :] + residual[:, :, W - tail - 1 : W - 1]
        seen = np.where(w.valid, residual, NAN)[:, :, : W - tail].transpose(0, 1, 3, 2)
        (median,) = quantiles(np.ascontiguousarray(seen), (0.5,))
        return profile[:, :, W - tail :] + median[:, :, None]

    def take(self, rows: Sequence[int]) -> SlotMember:
        """The models at ``rows``, in that order."""
        at = np.asarray(rows, np.intp)
        tables = (self.profile[at], self.lower[at], self.upper[at])
        return SlotMember(self.kind, self.window, self.tail, self.step, *tables, self.scaler.take(rows))

    def spec(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        slots, features = self.profile.shape[1:]
        return dict(zip(FIELDS, (self.window, features, self.tail, self.step, slots), strict=True))

    def tensors(self) -> dict[str, F32]:
        """``profile``, ``lower``, ``upper`` [S, slots, F]; ``center`` and ``scale`` [S, F] of what is left over."""
        return {
            "profile": self.profile,
            "lower": self.lower,
            "upper": self.upper,
            "center": self.scaler.center,
            "scale": self.scaler.scale,
        }

    @classmethod
    def restore(cls, kind: Kind, spec: Mapping[str, Any], tensors: Mapping[str, F32]) -> SlotMember:
        """The stack that ``spec`` and ``tensors`` describe.

        Raises:
            PackRejectedError: a field or a tensor is missing, unknown or out of bounds.
        """
        window, features, tail, step, slots = read_counts(spec, FIELDS)
        scaler = Scaler.restore(tensors, features)
        shape = (scaler.center.shape[0], slots, features)
        tables = [tensors.get(name) for name in ("profile", "lower", "upper")]
        if slots not in (DAY, WEEK) or tail >= window:
            raise PackRejectedError(
                f"a {kind} needs {DAY} or {WEEK} slots and a tail shorter than its window of {window}"
            )
        good = [t for t in tables if t is not None and t.shape == shape and np.isfinite(t).all()]
        if len(good) != len(tables):
            raise PackRejectedError(f"profile, lower and upper of a {kind} must be finite {shape}")
        profile, lower, upper = good
        return cls(kind, window, tail, step, profile, lower, upper, scaler)


@dataclass(frozen=True)
class SlotLearner:
    """Fits ``SlotMember`` of a ``kind``: quantiles of ten-minute slots and their neighbours, as ``seasonal`` does."""

    kind: Kind
    model: ModelSpec

    def fit(
        self, train: Windows, val: Windows, y: npt.NDArray[np.int8] | None, warm: Scorer | None, seed: int
    ) -> SlotMember:
        """Fit on the samples under ``train``; ``val``, ``y``, ``warm`` and ``seed`` play no part.

        Raises:
            InvalidShapeError: fewer than two windows (the step is unknown), series on different grids, or a window
                that is not longer than its tail.
        """
        m = self.model
        values, times = windows.samples(train)
        if times.size < 2 or m.tail >= m.window:
            raise InvalidShapeError(
                f"a {self.kind} needs two windows longer than the tail of {m.tail}, received {times.size} of {m.window}"
            )
        step = int(times[1] - times[0]) // m.stride
        level = np.nan_to_num(scaling.quantiles(values, (0.5,))[0])
        profile, lower, upper = (profile_of(values, times, level, share) for share in (0.5, LOWER, UPPER))
        unit = Scaler(np.zeros(level.shape, np.float32), np.ones(level.shape, np.float32))
        rough = SlotMember(self.kind, m.window, m.tail, step, profile, lower, upper, unit)
        left = values - rough.expected(train, 1)[:, :, 0]
        scaler = scaling.fit(left, m.scaler, m.minimum_scale, m.minimum_relative_scale, level)
        return SlotMember(self.kind, m.window, m.tail, step, profile, lower, upper, scaler)
