"""Slow growth: a robust slope over hours to days, and how long it takes to a limit.

Theil-Sen (Sen 1968): the median of the slopes between all pairs of points. How sure it is, is said by the share of
pairs that rise (Mann 1945, Kendall 1975). Slow growth, over three days, is looked for between points of the same time
of day only (the seasonal form: Hirsch, Slack and Smith 1982), fast growth over six hours in what differs from the days
before, so that a morning is no trend.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .frame import F32, Bool

F64 = npt.NDArray[np.float64]

DAY = 86_400
SLOW, FAST = 3 * DAY, 6 * 3600
"""Newest history that is looked at for slow and for fast growth, in seconds."""
SLOW_AT_LEAST, FAST_AT_LEAST = 2 * DAY, 3 * 3600
"""Shortest histories that can show it."""
HOUR, MINUTES = 3600, 600
"""Buckets whose medians are the points, in seconds."""
POINTS = 12
"""Fewest points."""
STEADY = 0.9
"""Share of pairs that must rise for a leak. A step in the middle of flat data has 0.75, one between two days 0.83."""
GROWTH = 0.02
"""Smallest growth over the span that is a leak, as a share of the level ..."""
BEYOND_NOISE = 2.0
"""... and in median deviations from the line."""


@dataclass(frozen=True)
class Trend:
    """Of N entities with F features, [N, F], NaN where the history is too short.

    ``slope``: own units per second. ``rising``: share of pairs that rise, 0 to 1. ``seconds``: how much history it was
    taken from. ``leak``: grows steadily and by more than its noise.
    """

    slope: F64
    rising: F64
    seconds: F64
    leak: Bool


def fit(x: F32, step: int) -> Trend:
    """The trend at the end of a history ``x`` [T, N, F], NaN = missing: fast growth where there is one, else slow."""
    _, series, features = x.shape
    slope, rising, seconds = (np.full((series, features), np.nan) for _ in range(3))
    out = Trend(slope, rising, seconds, np.zeros((series, features), np.bool_))
    for n in range(series):
        for f in range(features):
            seen = np.flatnonzero(np.isfinite(x[:, n, f]))
            own = x[seen[0] : seen[-1] + 1, n, f].astype(np.float64) if seen.size else np.empty(0)
            fast = _fit(_unusual(own, step), step, MINUTES, None)
            slow = _fit(own[-(SLOW // step) :], step, HOUR, DAY) if own.size * step >= SLOW_AT_LEAST else None
            found = fast if fast and (fast[3] or slow is None) else slow
            if found:
                out.slope[n, f], out.rising[n, f], out.seconds[n, f], out.leak[n, f] = found
    return out


def _unusual(x: F64, step: int) -> F64:
    """The newest six hours of ``x`` [T] without what the days before had at that time, where there are such days."""
    rows, day = FAST // step, DAY // step
    newest = x[-rows:]
    days = [x[len(x) - rows - k * day : len(x) - k * day] for k in (1, 2, 3) if len(x) >= rows + k * day]
    if not days or len(newest) * step < FAST_AT_LEAST:
        return newest
    usual = np.median(np.stack(days), axis=0)
    return newest - usual + np.nanmedian(usual) if np.isfinite(usual).any() else newest


def _fit(x: F64, step: int, bucket: int, period: int | None) -> tuple[float, float, float, bool] | None:
    """Slope, share of rising pairs, seconds and verdict of ``x`` [T] by medians of ``bucket`` seconds; None: too short.

    With a ``period`` only points that lie whole periods apart are compared.
    """
    if len(x) * step < FAST_AT_LEAST:
        return None
    size = max(bucket // step, 1)
    count = len(x) // size
    buckets = x[len(x) - count * size :].reshape(count, size)
    known = np.isfinite(buckets).sum(axis=1) * 2 >= size
    if known.sum() < POINTS:
        return None
    y = np.full(count, np.nan)
    y[known] = np.nanmedian(buckets[known], axis=1)
    t = np.arange(count) * float(size * step)
    i, j = np.triu_indices(count, 1)
    chosen = known[i] & known[j]
    if period is not None:
        chosen &= (j - i) % max(round(period / (size * step)), 1) == 0
    i, j = i[chosen], j[chosen]
    if i.size < POINTS:
        return None
    rise = y[j] - y[i]
    slope = float(np.median(rise / (t[j] - t[i])))
    rising = float(((rise > 0).sum() + 0.5 * (rise == 0).sum()) / rise.size)
    line = slope * t
    noise = float(np.nanmedian(np.abs(y - line - np.nanmedian(y - line)))) if period is None else 0.0
    growth = slope * float(t[-1] - t[0])
    leak = rising >= STEADY and growth > GROWTH * abs(float(np.nanmedian(y))) and growth > BEYOND_NOISE * noise
    return slope, rising, float(count * size * step), bool(leak)


def seconds_to_limit(level: F64, slope: F64, leak: Bool, limit: F64) -> F64:
    """Seconds until ``level`` reaches ``limit`` at ``slope``, arrays of one shape.

    NaN where nothing leaks, where no limit is known, and where the limit is not positive; 0 when it is reached.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.maximum(limit - level, 0) / slope
        known = leak & (slope > 0) & np.isfinite(left) & (limit > 0)
    return np.where(known, left, np.nan)
