"""What may be learned from: impossible values, gaps, isolated zeros, outliers.

Everything that serving does too looks only backwards, so that a live buffer and a stored history agree. Masking of
outliers is for training alone: an outlier is what serving is looking for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from .exceptions import InvalidShapeError
from .frame import F32, Bool

ISOLATED = 0.6
"""Isolation score from which a sample may be an outlier at all (Liu, Ting, Zhou 2008, fig. 3)."""
TREES = 64
LEARNED = 8192
"""Most samples the forest draws its trees from."""
SUSPECTS = 4
"""Samples that are ranked for every one that may be masked."""
NEIGHBOURHOOD = 31
"""Samples of the rolling median that tells a lone spike from a daily peak."""


Ranges = tuple[tuple[float | None, float | None], ...]
"""Smallest and largest possible value per feature, None = no limit."""


@dataclass(frozen=True)
class CleaningSpec:
    """``contamination``: largest masked share; ``max_gap``, ``zero_gap``: steps; ``seed`` of the isolation forest.

    ``ranges``: smallest and largest possible value of every feature, None = any; empty: every value is possible.
    """

    contamination: float = 0.01
    max_gap: int = 3
    zero_gap: int = 0
    seed: int = 0
    ranges: Ranges = ()


def clean(values: F32, spec: CleaningSpec) -> tuple[F32, Bool]:
    """What training and serving see of raw ``values`` [T, N, F]: bridged samples, and which were really observed.

    Impossible values are missing, isolated zeros too, and short gaps are bridged by the last value, in this order.
    """
    return bridge(zero_gaps(possible(values, spec.ranges), spec.zero_gap), spec.max_gap)


def possible(values: F32, ranges: Ranges) -> F32:
    """``values`` [T, N, F] with samples outside the range of their feature made missing; ``values`` itself if none is.

    Raises:
        InvalidShapeError: there are ranges, but not one per feature.
    """
    outside = impossible(values, ranges)
    return np.where(outside, np.float32(np.nan), values) if outside.any() else values


def impossible(values: F32, ranges: Ranges) -> Bool:
    """Which of ``values`` [T, N, F] lie outside the range of their feature; a missing sample does not."""
    if ranges and len(ranges) != values.shape[2]:
        raise InvalidShapeError(f"one range per feature is needed: expected {values.shape[2]}, received {len(ranges)}")
    outside = np.zeros(values.shape, np.bool_)
    for f, (lowest, highest) in enumerate(ranges):
        with np.errstate(invalid="ignore"):
            if lowest is not None:
                outside[:, :, f] |= values[:, :, f] < lowest
            if highest is not None:
                outside[:, :, f] |= values[:, :, f] > highest
    return outside


def zero_gaps(values: F32, zero_gap: int) -> F32:
    """``values`` [T, N, F] with isolated zeros of at most ``zero_gap`` steps made missing.

    Some exporters write 0 when they mean "not read". A run of zeros is such a gap when it is at most ``zero_gap``
    steps long, has no zero on either side, and at least one side is a present, nonzero sample: an idle series stays
    idle. Runs at the very first row are kept, since what came before is unknown.

    Causal: a run that touches the newest row may still turn out to be isolated, so it counts as a gap until it is
    longer than ``zero_gap``. Hence a growing buffer equals the settled history except in its newest ``zero_gap`` rows
    (and in its first ones, when it begins inside a run).
    """
    if zero_gap < 1 or values.shape[0] == 0:
        return values
    zero = values == 0
    if not zero.any():
        return values
    rows = values.shape[0]
    present = np.isfinite(values) & ~zero
    gap = np.zeros_like(zero)
    for length in range(1, min(zero_gap, rows - 1) + 1):
        first = np.arange(1, rows - length + 1)  # row of the run's first zero
        run = ~zero[first - 1]
        for i in range(length):
            run &= zero[first + i]
        after = first[:-1] + length  # the last candidate touches the newest row: nothing after it yet
        run[:-1] &= ~zero[after] & (present[first[:-1] - 1] | present[after])
        run[-1] &= present[first[-1] - 1]
        for i in range(length):
            gap[first + i] |= run
    return np.where(gap, np.float32(np.nan), values)


def bridge(values: F32, max_gap: int) -> tuple[F32, Bool]:
    """Carry the last value forward over at most ``max_gap`` missing steps of ``values`` [T, N, F].

    Returns the bridged values and ``valid``: True where a finite sample was really observed. Beyond ``max_gap`` NaN
    stays, so windows never span a longer gap. Never interpolated: that would read the future. ``values`` itself is
    returned when nothing is missing.
    """
    if values.ndim != 3:
        raise InvalidShapeError(f"bridge needs values [T, N, F], received {values.shape}")
    valid = np.isfinite(values)
    t, n, f = np.nonzero(~valid)
    if t.size == 0:
        return values, valid
    out = np.where(valid, values, np.float32(np.nan))
    filled = np.full(t.size, np.nan, np.float32)
    for back in range(1, max_gap + 1):
        earlier = np.where(t >= back, out[np.maximum(t - back, 0), n, f], np.float32(np.nan))
        filled = np.where(np.isnan(filled), earlier, filled)
    out[t, n, f] = filled
    return out, valid


def mask_outliers(values: F32, contamination: float, seed: int) -> Bool:
    """Outliers of one entity's ``values`` [T, F] by isolation forest; True [T] = masked.

    Every feature is seen three ways: its value, its change since the sample before, and its distance from the rolling
    median of its 31 neighbours, so that a lone spike stands out while a daily peak does not. Suspects are samples
    outside Tukey's outer fences (3 interquartile ranges beyond the quartiles) in one of these views; the forest ranks
    them, and the most isolated are masked: at most ``contamination`` of the observed samples, and only with an
    isolation score of at least 0.6. A clean or a constant series loses nothing, and costs no forest. The same seed
    gives the same mask.
    """
    if values.ndim != 2:
        raise InvalidShapeError(f"mask_outliers needs values [T, F] of one entity, received {values.shape}")
    observed = np.flatnonzero(np.isfinite(values).any(axis=1))
    most = int(contamination * observed.size)
    masked = np.zeros(values.shape[0], np.bool_)
    views = _views(values)[observed]
    suspects = _suspects(views, SUSPECTS * most)
    if suspects.size == 0:
        return masked
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415  training only; serving runs without scikit-learn

    learned = np.random.default_rng(seed).permutation(len(views))[:LEARNED]
    forest = IsolationForest(n_estimators=TREES, max_samples=min(256, learned.size), random_state=seed, n_jobs=1)
    isolation = -forest.fit(views[learned]).score_samples(views[suspects])
    worst = np.argsort(-isolation, kind="stable")[:most]
    masked[observed[suspects[worst[isolation[worst] >= ISOLATED]]]] = True
    return masked


def _suspects(views: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.intp]:
    """Rows of ``views`` outside the outer fences of a column, at most the ``most`` farthest out."""
    if most == 0 or views.size == 0:
        return np.empty(0, np.intp)
    lower, upper = np.percentile(views, (25, 75), axis=0)
    spread = np.where(upper > lower, upper - lower, views.std(axis=0))
    beyond = np.maximum(lower - views, views - upper) / np.where(spread > 0, spread, 1.0)
    farthest = beyond.max(axis=1)
    suspects = np.flatnonzero(farthest > 3)
    return suspects[np.argsort(-farthest[suspects], kind="stable")[:most]]


def _views(values: F32) -> npt.NDArray[np.float64]:
    """Value, first difference and distance from the rolling median of every feature, [T, <= 3 F], constants dropped."""
    x = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    x = x[:, np.isfinite(x).any(axis=0)]
    if x.shape[1] == 0:
        return x
    x = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
    half = NEIGHBOURHOOD // 2
    padded = np.pad(x, ((half, half), (0, 0)), mode="edge")
    local = np.median(sliding_window_view(padded, NEIGHBOURHOOD, axis=0), axis=-1)
    views = np.concatenate([x, np.diff(x, axis=0, prepend=x[:1]), x - local], axis=1)
    return views[:, np.ptp(views, axis=0) > 0]
