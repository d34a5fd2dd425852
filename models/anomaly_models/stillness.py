"""Series that stand still, or fall to zero and stay there, although they never used to.

A model that sees a short window reconstructs a flat line well: nothing is easier to predict. So stillness is judged by
itself, by how long the series ever stood still before. A series that often stands still (idle, constant, changed once
a day) has no limit and is never judged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exceptions import InvalidShapeError
from .frame import F32, I64, Bool

DAY = 86_400
MOST = 120
"""Longest run of equal samples that is waited for, in steps: what serving must keep."""
LEAST_FLAT, LEAST_ZERO = 20, 3
"""Shortest runs that are anomalous at all, in steps."""
TIMES_FLAT, TIMES_ZERO = 3, 2
"""So many times the longest usual run."""
FORGIVEN_EVERY = 7
"""The worst day of every so many is forgotten: an incident in the history must not hide the next one."""
LEARNED = 240
"""Fewest observed samples that say what is usual."""


@dataclass(frozen=True)
class Limits:
    """Steps after which N entities have stood still too long: ``flat`` and ``zero`` [N, F], 0 = never judged."""

    flat: I64
    zero: I64

    def __post_init__(self) -> None:
        if self.flat.ndim != 2 or self.flat.shape != self.zero.shape:
            raise InvalidShapeError(
                f"limits need flat and zero [N, F], received {self.flat.shape} and {self.zero.shape}"
            )

    @classmethod
    def none(cls, series: int, features: int) -> Limits:
        """Nobody is judged."""
        return cls(np.zeros((series, features), np.int64), np.zeros((series, features), np.int64))


@dataclass(frozen=True)
class Still:
    """Which of N entities stand still, or at zero, longer than they ever should, [N, B]."""

    flat: Bool
    zero: Bool


def learn(x: F32, valid: Bool, start: int, step: int) -> Limits:
    """Limits from a history ``x``, ``valid`` [T, N, F] (bridged samples) whose row 0 is the instant ``start``.

    The usual run is the longest one of a day, over all days but the worst of every seven; the limit is three times that
    (twice for zeros). Where it would be more than :data:`MOST` steps, or the history is short, nothing is judged.
    """
    rows, series, features = x.shape
    if rows == 0:
        return Limits.none(series, features)
    day = (start + step * np.arange(rows, dtype=np.int64)) // DAY
    first = np.flatnonzero(np.concatenate([[True], np.diff(day) > 0]))
    enough = valid.sum(axis=0) >= LEARNED
    flat = _limit(_daily(runs(x, valid), first), LEAST_FLAT, TIMES_FLAT)
    zero = _limit(_daily(runs(x, valid, zeros=True), first), LEAST_ZERO, TIMES_ZERO)
    return Limits(np.where(enough, flat, 0), np.where(enough, zero, 0))


def still(x: F32, valid: Bool, limits: Limits, steps: int) -> Still:
    """Who stands still at the newest ``steps`` instants of ``x``, ``valid`` [T, N, F], which should reach back
    :data:`MOST` rows further.

    Of several features at least half must be judged, and half of those must stand still.
    """
    judged_flat, judged_zero = limits.flat > 0, limits.zero > 0
    flat = (runs(x, valid) >= limits.flat) & judged_flat
    zero = (runs(x, valid, zeros=True) >= limits.zero) & judged_zero
    first = max(x.shape[0] - steps, 0)
    return Still(_most(flat[first:], judged_flat), _most(zero[first:], judged_zero))


def runs(x: F32, valid: Bool, *, zeros: bool = False) -> I64:
    """Length of the run of equal samples that every one of ``x`` [T, N, F] ends; only of zeros, if ``zeros``.

    Bridged samples neither lengthen nor break a run; missing ones break it. Every run begins at the first row at the
    earliest.
    """
    rows = x.shape[0]
    with np.errstate(invalid="ignore"):
        same = x == 0 if zeros else np.concatenate([np.zeros((1, *x.shape[1:]), np.bool_), x[1:] == x[:-1]])
    counted = np.cumsum(valid, axis=0, dtype=np.int64)
    if rows == 0:
        return counted
    # What was counted up to the row where the run began (of zeros: up to the last row before it).
    held = np.where(same, 0, counted if zeros else counted - valid)
    np.maximum.accumulate(held, axis=0, out=held)
    return np.where(np.isfinite(x) & (same | (not zeros)), counted - held, 0)


def _daily(lengths: I64, first: I64) -> I64:
    """Longest run of every day, [D, N, F]; ``first`` are the rows where days begin."""
    return np.maximum.reduceat(lengths, first, axis=0)


def _limit(longest: I64, least: int, times: int) -> I64:
    """Limit [N, F] from the longest run of every day [D, N, F]."""
    kept = max(len(longest) - 1 - len(longest) // FORGIVEN_EVERY, 0)
    usual = np.sort(longest, axis=0)[kept]
    limit = np.maximum(times * usual, least)
    return np.where(limit <= MOST, limit, 0)


def _most(still_features: Bool, judged: Bool) -> Bool:
    """[B, N, F] and [N, F] -> [N, B]: half of the features are judged, and half of those stand still."""
    of, among = still_features.sum(axis=2), judged.sum(axis=1)
    enough = (2 * among >= judged.shape[1]) & (among > 0)
    return np.asarray(((2 * of >= among) & (of > 0) & enough).T)
