"""The newest change of level in a history that has lasted: what training must learn a series by.

A cut is looked for where ranks before and after differ most (the standardised rank sum of every cut; Pettitt 1979), in
what differs from the usual time of day. It counts if the new part lies outside of what was usual before, is steady, and
began with a step (see :mod:`.regime`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .frame import F32, I64
from .regime import RegimeSpec

F64 = npt.NDArray[np.float64]

DAY = 86_400
USUAL = 7 * DAY
"""History before a cut that says what was usual, in seconds."""
DAYS = 3
"""Fewest days that have a usual time of day."""
LEAST_BEFORE, LEAST_AFTER = 16, 4
"""Fewest points before and after a cut."""
DIFFERENT = 4.0
"""Smallest standardised rank sum of a cut."""
OUTSIDE = 0.8
"""Share of the new points that must lie beyond all but 2 % of the old ones."""
STEADY = 0.3
"""Largest difference between both halves of the new part and its newest points, as a share of the change."""
SHARP = 0.5
"""Smallest share of the change that happens between the two points around the cut."""
SCORE = 1.5
"""The range of all but a tenth of the old points is about as many thirds of a usual threshold: makes sizes scores."""
NEAR = 3
"""Points by which ranks may miss the place of a step."""
MOST_CUTS = 12


@dataclass(frozen=True)
class Change:
    """The row where the regime of every one of N entities began that stands now, ``row`` [N], -1 = none.

    What was ``x`` before would be ``times * x + plus`` now, both [N, F]. A service with twice the load has twice the
    noise and twice the daily cycle, one that holds another gigabyte has not: the noise tells which.
    """

    row: I64
    times: F64
    plus: F64


def apply(x: F32, change: Change, alone_after: int) -> F32:
    """History ``x`` [T, N, F] as it should be learned after ``change``; ``x`` itself where nothing changed.

    A regime that is ``alone_after`` rows old is learned alone: what is older is missing. Until then older samples are
    moved to the new level, since a few hours know nothing of a day. (A sample that the move makes negative in a series
    that never was is 0.)
    """
    changed = np.flatnonzero(change.row > 0)
    if changed.size == 0:
        return x
    out = x.copy()
    for n in changed:
        row = int(change.row[n])
        old = out[:row, n]
        if len(x) - row >= alone_after:
            old[:] = np.nan
        else:
            positive = ~(x[:, n] < 0).any(axis=0)
            old[:] = old * change.times[n].astype(np.float32) + change.plus[n].astype(np.float32)
            np.maximum(old, np.where(positive, np.float32(0), np.float32(-np.inf)), out=old)
    return out


def newest(x: F32, start: int, step: int, spec: RegimeSpec) -> Change:
    """The change that began the regime that stands at the end of a history ``x`` [T, N, F].

    ``start`` is the instant of row 0, NaN = missing. A change of several features counts if half of those that are
    known have moved.
    """
    out = Change(np.full(x.shape[1], -1, np.int64), np.ones(x.shape[1:]), np.zeros(x.shape[1:]))
    size = max(spec.after // 3, 1)
    first = x.shape[0] % size
    points = _medians(x[first:], size)
    point_of_day = (start // step + first) // size
    per_day = max(round(DAY / (size * step)), 1)
    for n in range(x.shape[1]):
        seen = np.flatnonzero(np.isfinite(points[:, n]).any(axis=1))
        if seen.size >= LEAST_BEFORE + LEAST_AFTER:
            raw = points[seen[0] : seen[-1] + 1, n]
            y = _unusual(raw, int(point_of_day + seen[0]), per_day)
            usual = max(USUAL // (size * step), LEAST_BEFORE)
            cut = _newest_cut(y, raw, spec, size, usual)
            if cut > 0:
                row = out.row[n] = first + size * (int(seen[0]) + cut)
                for f, (old, new) in enumerate(zip(y[max(cut - usual, 0) : cut].T, y[cut:].T, strict=True)):
                    by = _change(old, new)
                    out.times[n, f], out.plus[n, f] = _move(x[:row, n, f], x[row:, n, f], by)
    return out


def _move(old: F32, new: F32, by: float) -> tuple[float, float]:
    """Factor and summand that take samples ``old`` [T] to the level of ``new`` [T'], ``by`` away."""
    level, noise = float(np.nanmedian(new)) if np.isfinite(new).any() else 0.0, (_noise(old), _noise(new))
    if level * (level - by) > 0 and min(noise) > 0:
        ratio = level / (level - by)
        if abs(np.log(noise[1] / noise[0] / ratio)) < abs(np.log(noise[1] / noise[0])):
            return ratio, 0.0
    return 1.0, by


def _noise(x: F32) -> float:
    """Median distance of neighbours, 0 where there are none."""
    moves = np.abs(np.diff(x))
    return float(np.nanmedian(moves)) if np.isfinite(moves).any() else 0.0


def _reach(raw: F64) -> F64:
    """What counts as far for points ``raw`` [K, F], [F]: half of their range, or a tenth of their level, if more.

    Without it a series of little noise would move to infinity with every step.
    """
    out = np.zeros(raw.shape[1])
    for f, column in enumerate(raw.T):
        known = column[np.isfinite(column)]
        if known.size:
            bottom, middle, top = np.quantile(known, (0.05, 0.5, 0.95))
            out[f] = max((top - bottom) / 2, 0.1 * abs(middle))
    return out


def _change(old: F64, new: F64) -> float:
    """How far the middle has moved, 0 where nothing is known."""
    old, new = old[np.isfinite(old)], new[np.isfinite(new)]
    return float(np.median(new) - np.median(old)) if old.size and new.size else 0.0


def _medians(x: F32, size: int) -> F64:
    """Medians [K, N, F] of ``size`` rows each; NaN where fewer than half are known."""
    blocks = x.reshape(x.shape[0] // size, size, *x.shape[1:]).astype(np.float64)
    known = 2 * np.isfinite(blocks).sum(axis=1) >= size
    blocks[~np.broadcast_to(known[:, None], blocks.shape)] = 0.0
    return np.where(known, np.nanmedian(blocks, axis=1), np.nan) if blocks.size else np.empty((0, *x.shape[1:]))


def _unusual(y: F64, first: int, per_day: int) -> F64:
    """``y`` [K, F] less the median of its time of day, where there are days enough; ``first``: number of point 0."""
    if len(y) < DAYS * per_day:
        return y
    days = -(-(len(y) + first % per_day) // per_day)
    laid = np.full((days * per_day, y.shape[1]), np.nan)
    laid[first % per_day : first % per_day + len(y)] = y
    table = laid.reshape(days, per_day, y.shape[1])
    known = np.isfinite(table).any(axis=0)
    usual = np.zeros(known.shape)
    usual[known] = np.nanmedian(np.where(known, table, 0.0), axis=0)[known]
    return np.asarray(y - np.tile(usual, (days, 1))[first % per_day : first % per_day + len(y)])


def _newest_cut(y: F64, raw: F64, spec: RegimeSpec, size: int, usual: int) -> int:
    """The newest point of ``y`` [K, F] (``raw`` less its time of day) that begins a regime, 0 = none.

    ``size`` steps per point, ``usual`` points before a cut that say what was usual.
    """
    reach = _reach(raw)
    found = low = 0
    for _ in range(MOST_CUTS):
        cut = _cut(y[low:])
        if cut == 0:
            break
        cut = _sharpest(y, cut + low, reach)
        if not _stands_still(raw, cut) and _is_regime(y[max(cut - usual, 0) : cut], y[cut:], reach, spec, size):
            found = cut
        low = max(cut, low + 1)
    return found


def _cut(y: F64) -> int:
    """The point of ``y`` [K, F] where ranks before and after differ most, 0 where they do not; features together."""
    if len(y) < 2 * LEAST_AFTER:
        return 0
    total = np.zeros(len(y) - 1)
    known_features = 0
    for column in y.T:
        seen = np.isfinite(column)
        if np.ptp(column[seen]) > 0 if seen.any() else False:
            total += _rank_sums(column, seen) ** 2
            known_features += 1
    if known_features == 0:
        return 0
    score = np.sqrt(total / known_features)
    score[: LEAST_AFTER - 1], score[len(score) - LEAST_AFTER + 1 :] = 0, 0
    best = int(np.argmax(score))
    return best + 1 if score[best] >= DIFFERENT * np.sqrt(0.5) else 0


def _sharpest(y: F64, cut: int, reach: F64) -> int:
    """The point near ``cut`` where the largest step is: ranks find the change, and miss its place by a point or two."""
    best, largest = cut, -1.0
    for at in range(max(cut - NEAR, 2), min(cut + NEAR, len(y) - 2) + 1):
        pairs = np.concatenate([y[at - 2 : at], y[at : at + 2]])
        known = np.isfinite(pairs).all(axis=0) & (reach > 0)
        step = float((np.abs(pairs[2:].sum(axis=0) - pairs[:2].sum(axis=0))[known] / reach[known]).sum())
        if step > largest:
            best, largest = at, step
    return best


def _rank_sums(column: F64, seen: npt.NDArray[np.bool_]) -> F64:
    """Standardised rank sum of the points before every cut, [K - 1]; missing points rank in the middle."""
    count = int(seen.sum())
    values = column[seen]
    order = np.sort(values)
    ranks = np.zeros(len(column))
    ranks[seen] = (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right") + 1) / 2
    ranks[seen] -= (count + 1) / 2
    sums, left = np.cumsum(ranks)[:-1], np.cumsum(seen)[:-1].astype(np.float64)
    spread = np.sqrt(np.maximum(left * (count - left), 1) * (count + 1) / 12)
    return np.asarray(np.abs(sums) / spread)


def _stands_still(raw: F64, cut: int) -> bool:
    """Whether half of what varied before the cut stands still, or at zero, since: an outage is no new normal.

    The first points since may still hold the fall.
    """
    told = []
    for old, new in zip(raw[:cut].T, raw[cut + (len(raw) - cut) // 4 :].T, strict=True):
        before, after = old[np.isfinite(old)], new[np.isfinite(new)]
        if before.size and after.size and np.ptp(before) > 0:
            told.append(np.ptp(after) == 0)
    return bool(told) and 2 * sum(told) >= len(told)


def _is_regime(old: F64, new: F64, reach: F64, spec: RegimeSpec, size: int) -> bool:
    """Whether half of the features know a new normal in ``new`` [K', F] after ``old`` [K, F]; ``reach`` [F]."""
    told = [
        _of_feature(a[np.isfinite(a)], b[np.isfinite(b)], float(r), spec, size)
        for a, b, r in zip(old.T, new.T, reach, strict=True)
    ]
    known = [t for t in told if t is not None]
    return bool(known) and 2 * sum(known) >= len(known)


def _of_feature(old: F64, new: F64, reach: float, spec: RegimeSpec, size: int) -> bool | None:
    """Whether one feature has found a new normal; None where too little is known, or it stands still as ever."""
    if len(old) < LEAST_BEFORE or len(new) < LEAST_AFTER or np.ptp(np.concatenate([old, new])) == 0:
        return None
    low, bottom, middle, top, high = np.quantile(old, (0.02, 0.05, 0.5, 0.95, 0.98))
    change = float(np.median(new) - middle)
    beyond = new > high if change > 0 else new < low
    half = len(new) // 2
    middles = [float(np.median(part)) for part in (new[:half], new[half:], new[-2 * LEAST_AFTER :])]
    steady = max(middles) - min(middles) <= STEADY * abs(change)
    sharp = abs(float(np.median(new[:2]) - np.median(old[-2:]))) >= SHARP * abs(change)
    size_as_score = SCORE * abs(change) / max(float(top - bottom), reach, 1e-12)
    lasted = len(new) * size >= float(spec.needed(np.asarray(size_as_score)))
    return bool(change != 0 and beyond.mean() >= OUTSIDE and steady and sharp and lasted)
