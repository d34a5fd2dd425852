"""Stretches that somebody called expected, and how far later windows are from them.

A weekly backup is an anomaly to a model that has hardly seen it. Once marked, its samples are kept as an *exemplar*, a
further expectation beside the model's: a later window at the same time of the day (or of the week), a few steps
earlier or later, is compared with the exemplar's samples sample by sample. Where the window as a whole runs like the
exemplar, its error is the smaller of the model's and of the distance, so that the same backup is quiet and anything
else at that hour is not. The time of the day matters: the level of a backup at noon is still an anomaly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .exceptions import InvalidShapeError
from .frame import F32, I64, Block, Bool, Span, Windows

CONTEXT = 60
"""Samples of a window, the newest included, that must run like the exemplar."""
LONGEST = 512
"""Instants of one exemplar; a longer stretch becomes several."""
MOST = 16
"""Exemplars kept per entity, the newest."""
PERIODS = {"daily": 86_400, "weekly": 604_800}
CHUNK_FLOATS = 2**22
"""Floats of one gathered comparison, 16 MiB."""
INF = np.float32(np.inf)


@dataclass(frozen=True)
class ExemplarSpec:
    """How alike is alike.

    ``shift``: steps that an event may come earlier or later. ``tolerance``: share of the exemplar's own departure from
    the usual level by which a sample may differ for nothing. ``recurrence``: where a later window may lie.

    Raises:
        ValueError: a number is out of bounds.
    """

    shift: int = 5
    tolerance: float = 0.1
    recurrence: Literal["daily", "weekly"] = "daily"

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= 60 or not 0 <= self.tolerance < 1 or self.recurrence not in PERIODS:
            raise ValueError(
                f"expected a shift of 0 to 60 steps, a tolerance from 0 to below 1 and one of {tuple(PERIODS)}, "
                f"received {self}"
            )


@dataclass(frozen=True)
class Exemplar:
    """``values`` float32 [CONTEXT - 1 + L, F] in the series' own unit, NaN = missing: what led up to it, then its L
    instants from data time ``start`` on. ``level`` [F]: the usual value of the series. ``step`` in seconds.

    Raises:
        InvalidShapeError: the arrays do not fit each other or a bound.
    """

    start: int
    step: int
    level: F32
    values: F32

    def __post_init__(self) -> None:
        rows = self.values.shape[0] - (CONTEXT - 1) if self.values.ndim == 2 else 0
        if not 1 <= rows <= LONGEST or self.level.shape != self.values.shape[1:] or self.step < 1:
            raise InvalidShapeError(
                f"an exemplar needs values [{CONTEXT - 1} + 1..{LONGEST}, F] and level [F], "
                f"received {self.values.shape} and {self.level.shape}"
            )

    @property
    def length(self) -> int:
        """Instants that were called expected."""
        return int(self.values.shape[0]) - (CONTEXT - 1)


def cut(block: Block, x: F32, row: int, spans: Sequence[Span]) -> tuple[Exemplar, ...]:
    """Exemplars of entity ``row`` from its samples in ``spans``, the newest ``MOST``, the oldest of them first.

    ``x`` [T, N, F] are the samples of ``block`` as serving would see them: short gaps carried forward, NaN elsewhere.
    """
    own = x[:, row]
    finite = np.isfinite(own)
    if not finite.any():
        return ()
    level = np.array([np.median(own[ok, f]) if ok.any() else 0.0 for f, ok in enumerate(finite.T)], np.float32)
    out: list[Exemplar] = []
    for span in sorted(spans, key=lambda s: s.start):
        inside = block.slice(span)
        first, rows = (inside.start - block.start) // block.step, inside.values.shape[0]
        for begin in range(first, first + rows, LONGEST):
            end = min(begin + LONGEST, first + rows)
            if not finite[begin:end].any():
                continue
            values = np.full((CONTEXT - 1 + end - begin, own.shape[1]), np.nan, np.float32)
            known = own[max(begin - (CONTEXT - 1), 0) : end]
            values[values.shape[0] - known.shape[0] :] = known
            out.append(Exemplar(block.start + begin * block.step, block.step, level, values))
    return tuple(out[-MOST:])


@dataclass(frozen=True)
class Nearest:
    """The nearest exemplar of every window: ``distance`` [S, B] and ``feature_distance`` [S, B, F] in scaler units,
    ``expected`` [S, B, F] in own units. Distance infinite, and the others NaN, where no exemplar runs like the window.
    """

    distance: F32
    feature_distance: F32
    expected: F32

    @classmethod
    def nothing(cls, shape: tuple[int, ...]) -> Nearest:
        """No exemplar near any window; ``shape`` is [S, B, F]."""
        nan = np.full(shape, np.nan, np.float32)
        return cls(np.full(shape[:2], INF), nan, nan.copy())


class Exemplars:
    """The exemplars of a stack of S series, side by side in one array."""

    def __init__(self, of_series: Sequence[Sequence[Exemplar]], spec: ExemplarSpec | None = None) -> None:
        found = [(row, exemplar) for row, mine in enumerate(of_series) for exemplar in mine[-MOST:]]
        if len({(e.step, e.level.shape) for _, e in found}) > 1:
            raise InvalidShapeError("the exemplars of one stack must share step and features")
        self.series = len(of_series)
        self.spec = spec or ExemplarSpec()
        self._row: I64 = np.array([row for row, _ in found], np.int64)
        self._start: I64 = np.array([e.start for _, e in found], np.int64)
        self._length: I64 = np.array([e.length for _, e in found], np.int64)
        rows = np.cumsum([0, *(e.values.shape[0] for _, e in found)])
        self._first: I64 = (rows[:-1] + CONTEXT - 1).astype(np.int64)
        self._samples = np.concatenate([e.values for _, e in found]) if found else np.zeros((0, 0), np.float32)
        self._level = np.stack([e.level for _, e in found]) if found else np.zeros((0, 0), np.float32)
        self._step = found[0][1].step if found else 1

    def __len__(self) -> int:
        return self._row.size

    def nearest(self, w: Windows, scale: F32, threshold: F32, counts: Bool, tail: int = 1) -> Nearest | None:
        """How far every window is from the nearest exemplar that it runs like; None where there is none to ask.

        The distance of one sample is |x - y|, less ``tolerance`` x |y - level|, in scaler units; that of a window is
        the mean over its last ``tail`` observed samples and over the features that count, as a model's error is. A
        window *runs like* an exemplar when the mean over its last CONTEXT samples is below its threshold.

        ``scale`` [S, F] is the unit of the error, ``threshold`` [S, B] in that unit, ``counts`` [S, B, F] the features
        that count.

        Raises:
            InvalidShapeError: the windows are not of these series and features.
        """
        S, B, W, F = w.x.shape
        if self.series != S or (len(self) and self._samples.shape[1] != F):
            raise InvalidShapeError(f"exemplars of {self.series} series cannot judge windows {w.x.shape}")
        out: Nearest | None = None
        context = min(W, CONTEXT)
        size = max(CHUNK_FLOATS // ((2 * self.spec.shift + 1) * context * max(F, 1)), 1)
        many = max(CHUNK_FLOATS // max(B, 1), 1)
        for first in range(0, len(self), many):
            which, b, at = self._candidates(w.end, slice(first, first + many))
            for start in range(0, which.size, size):
                pairs = (which[start : start + size], b[start : start + size], at[start : start + size])
                out = self._compare(w, pairs, (scale, threshold, counts), (context, tail), out)
        return out

    def _candidates(self, end: I64, part: slice) -> tuple[I64, I64, I64]:
        """Pairs of an exemplar of ``part`` and a window near it in the day: exemplar [P], window b [P], and instants
        of the exemplar [P, 2 shift + 1] that it may be compared with, -1 for none."""
        shift, period = self.spec.shift, PERIODS[self.spec.recurrence]
        since = end[self._row[part]] - self._start[part, None]
        last = self._length[part, None] - 1 + shift
        instants = np.rint(np.mod(since, period) / self._step).astype(np.int64)
        # Shortly before its time of the day is the end of the period.
        instants = np.where(instants > last, instants - round(period / self._step), instants)
        near = (instants >= -shift) & (instants <= last) & (since >= -shift * self._step)
        which, b = np.nonzero(near)
        at = instants[which, b][:, None] + np.arange(-shift, shift + 1)
        which = which + part.start
        return which, b, np.where((at >= 0) & (at < self._length[which][:, None]), at, -1)

    def _compare(
        self,
        w: Windows,
        pairs: tuple[I64, I64, I64],
        judged: tuple[F32, F32, Bool],
        lengths: tuple[int, int],
        known: Nearest | None,
    ) -> Nearest:
        """``known`` (None: nothing yet) and what is nearer than that among windows and instants of exemplars."""
        out = known or Nearest.nothing(judged[2].shape)
        (which, b, at), (scale, threshold, counts), (context, tail) = pairs, judged, lengths
        row = self._row[which]
        x = w.x[row, b, -context:][:, None]
        seen = w.valid[row, b, -context:][:, None]
        rows = np.where(at >= 0, self._first[which][:, None] + at, self._first[which][:, None])
        y = self._samples[rows[:, :, None] + np.arange(1 - context, 1)]
        free = np.float32(self.spec.tolerance) * np.abs(y - self._level[which][:, None, None])
        gap = np.maximum(np.abs(x - y) - free, np.float32(0)) / scale[row][:, None, None]
        count = counts[row, b][:, None]
        run = _mean(_mean(np.where(np.isfinite(gap), gap, np.nan), axis=2), axis=2, where=count)
        recent = np.where(seen[:, :, -tail:], gap[:, :, -tail:], np.nan)
        features = np.where(count, _mean(recent, axis=2), np.nan)
        # A feature that counts but that the exemplar lacks cannot be compared.
        whole = (np.isfinite(features) == count).all(axis=2)
        distance = np.where(whole, _mean(features, axis=2), np.inf)
        alike = (at >= 0) & (run < threshold[row, b][:, None]) & np.isfinite(distance)
        distance = np.where(alike, distance, np.inf)
        best = distance.argmin(axis=1)
        pair = np.arange(which.size)
        nearest = distance[pair, best]
        # The nearest of several exemplars is written last.
        order = np.argsort(-nearest, kind="stable")
        order = order[nearest[order] < out.distance[row[order], b[order]]]
        r, c, k = row[order], b[order], best[order]
        newest, free_newest = y[order, k, -1], free[order, k, -1]
        step = np.clip(np.nan_to_num(x[order, 0, -1] - newest), -free_newest, free_newest)
        out.distance[r, c] = nearest[order]
        out.feature_distance[r, c] = features[order, k]
        out.expected[r, c] = np.where(counts[r, c], newest + step, np.float32(np.nan))
        return out


def _mean(
    values: npt.NDArray[np.floating], axis: int, where: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.floating]:
    """Mean of the numbers along ``axis``, NaN where there is none."""
    ok = np.isfinite(values) if where is None else np.isfinite(values) & where
    number = ok.sum(axis=axis)
    total = np.where(ok, values, 0).sum(axis=axis)
    mean: npt.NDArray[np.floating] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return mean
