"""A new normal: a series has moved to another level and stays there (deploy, load moved, new machine).

Two looks at the same thing. *Serving* sees scores: what has stood at 1 or above, steady, since one clear step, for
``after`` steps, is judged against a provisional level from then on, so that the alert ends. *Training* sees history:
where the newest part lies outside of what was usual before, and is steady, older samples are forgotten.

A real incident that lasts must not be taken for a new normal. So neither look absorbs what still moves or swings, what
crept up instead of stepping (a leak), what is barred by its nature (zero, a flat line, a resource at its limit), or a
size far beyond the ordinary, before that has lasted longer in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .exceptions import InvalidShapeError
from .frame import F32, I64, Bool

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]

MARGIN = 1.3
"""The provisional level lies so far above the ninth decile of the scores since the step: beyond the hysteresis."""
SWING = 0.6
"""Largest spread between the deciles of the scores, as a share of their median, that is steady."""
DRIFT = 0.15
"""Largest difference between the medians of both halves, as a share of the median, that is level."""
STEP = 0.6
"""Just before the step the median score was at most this share of the level: what crept up was nearly there."""
SEEN = 0.75
"""Share of the steps that must have a score."""
MOST_RAISES = 3
"""So often a provisional level is taken in one regime: a staircase is no level."""


@dataclass(frozen=True)
class RegimeSpec:
    """``after``: steps that a new level must have stood. ``extreme``: median score up to which that is enough; a level
    ``n`` times as far must have stood ``n`` times as long. ``longest``: steps after which any steady level is normal.
    """

    after: int = 45
    extreme: float = 8.0
    longest: int = 720

    def __post_init__(self) -> None:
        if self.after < 12 or self.extreme < 1 or self.longest < self.after:
            raise ValueError(
                "a regime needs after >= 12 steps, extreme >= 1 and longest >= after, "
                f"received {self.after}, {self.extreme}, {self.longest}"
            )

    @property
    def memory(self) -> int:
        """Scores that are remembered: the new level, and a third as many from before it."""
        return self.after + self.after // 3

    def needed(self, size: F64) -> F64:
        """Steps that a level of median score ``size`` must have stood."""
        return np.asarray(np.clip(self.after * size / self.extreme, self.after, self.longest))


@dataclass(frozen=True)
class RegimeState:
    """Where the fold stands, per series.

    ``scores`` [S, memory]: newest scores; the others [S]: ``away``, steps since the score rose to 1 and more;
    ``onset``, the data time when it did; ``before``, where it stood then; ``crept``, it grew there instead of stepping;
    ``level``, the provisional one, 1 = none; ``raised``, how often it was; ``since``, data time of the step that began
    the regime, 0 = none.
    """

    scores: F32
    away: I32
    onset: I64
    before: F32
    crept: Bool
    level: F32
    raised: I32
    since: I64

    @classmethod
    def fresh(cls, series: int, spec: RegimeSpec | None) -> RegimeState:
        """The state of ``series`` entities that were never seen."""
        return cls(
            np.full((series, spec.memory if spec else 0), np.nan, np.float32),
            np.zeros(series, np.int32),
            np.zeros(series, np.int64),
            np.full(series, np.nan, np.float32),
            np.zeros(series, np.bool_),
            np.ones(series, np.float32),
            np.zeros(series, np.int32),
            np.zeros(series, np.int64),
        )

    def take(self, rows: Sequence[int] | npt.NDArray[np.intp], spec: RegimeSpec | None) -> RegimeState:
        """The entities at ``rows``, in that order; row -1 stands for an entity that was never seen."""
        index = np.asarray(rows, np.intp)
        fresh = RegimeState.fresh(index.size, spec)
        old = index >= 0
        for name in ("scores", "away", "onset", "before", "crept", "level", "raised", "since"):
            getattr(fresh, name)[old] = getattr(self, name)[index[old]]
        return fresh


def fold(score: F32, barred: Bool, end: I64, state: RegimeState, spec: RegimeSpec) -> tuple[F32, I64, RegimeState]:
    """Fold the ``score`` [S, B] of consecutive windows that ``end`` [S, B] into ``state``.

    Returns ``level`` [S, B]: what every score is to be divided by, 1 while there is no new regime; ``since`` [S, B]:
    data time of the step that began it, 0 while there is none; and the state after them. One by one gives the same as
    all at once. ``barred`` [S, B]: must not be taken for a new normal now.

    A level is provisional from the step at which everything said in the module's head holds; it ends when the scores of
    a third of ``after`` were all below 1 again. What rises above it once more has to stand as long again.

    Raises:
        InvalidShapeError: the arrays do not fit each other or the state was made for another ``after``.
    """
    series, steps = score.shape
    if barred.shape != score.shape or end.shape != score.shape or state.scores.shape != (series, spec.memory):
        raise InvalidShapeError(
            f"scores {score.shape} need barred and end of that shape and a state of {spec.memory} scores, "
            f"received {barred.shape}, {end.shape} and {state.scores.shape}"
        )
    line = np.concatenate([state.scores, score], axis=1)
    away, first, before, crept = state.away.copy(), state.onset.copy(), state.before.copy(), state.crept.copy()
    level, raised, since = state.level.copy(), state.raised.copy(), state.since.copy()
    levels, begun = np.ones(score.shape, np.float32), np.zeros(score.shape, np.int64)
    third = spec.after // 3
    with np.errstate(invalid="ignore"):
        for b in range(steps):
            newest, remembered = score[:, b], line[:, b + 1 : b + 1 + spec.memory]
            # Against the level in force: what it covers is not away. A dip costs three steps, a missing score none.
            high = newest >= level
            if not (high.any() or away.any() or since.any()):
                continue  # nobody is away or on a new level: nearly always
            lower = np.where(np.isfinite(newest), np.maximum(away - 3, 0), away)
            away = np.where(high, np.minimum(away + 1, spec.longest), lower).astype(np.int32)
            onset = np.flatnonzero(high & (away == 1))
            first[onset] = end[onset, b]
            # The lower quarter: a first flicker above 1 must not pass for where the series stood.
            before[onset] = _quantiles(remembered[onset, -third - 1 : -1], (0.25,))[0]
            risen = np.flatnonzero(high & (away == third))
            # Unknown, hence no creeping, where there was no score before.
            crept[risen] = before[risen] > STEP * _quantiles(remembered[risen, -third:], (0.5,))[0]
            recent = remembered[:, -third:]
            over = (level > 1) & ~(recent >= 1).any(axis=1) & np.isfinite(recent).any(axis=1)
            level[over], raised[over], since[over] = 1, 0, 0
            asked = np.flatnonzero((away >= spec.after) & high & ~crept & ~barred[:, b] & (raised < MOST_RAISES))
            if asked.size:
                found = _level(remembered[asked, -spec.after :], away[asked], spec)
                good = np.isfinite(found)
                rows = asked[good]
                since[rows] = np.where(since[rows] > 0, since[rows], first[rows])
                level[rows], away[rows] = found[good], 0
                raised[rows] += 1
            levels[:, b], begun[:, b] = level, since
    kept = line[:, steps:].copy()
    return levels, begun, RegimeState(kept, away, first, before, crept, level, raised, since)


def _level(scores: F32, away: I32, spec: RegimeSpec) -> F32:
    """Provisional level of series that have been ``away`` [S] steps, NaN where they are no new normal.

    ``scores`` [S, after] are their newest.
    """
    half = spec.after // 2
    low, middle, high = _quantiles(scores, (0.1, 0.5, 0.9))
    (first,), (second,) = _quantiles(scores[:, :half], (0.5,)), _quantiles(scores[:, half:], (0.5,))
    with np.errstate(invalid="ignore"):
        known = np.isfinite(scores).mean(axis=1) >= SEEN
        steady = (high - low <= SWING * middle) & (np.abs(second - first) <= DRIFT * middle)
        good = known & steady & (middle >= 1) & (away >= spec.needed(middle))
    return np.where(good, MARGIN * high, np.nan).astype(np.float32)


def _quantiles(x: F32, at: Sequence[float]) -> F64:
    """Quantiles [len(at), S] of the finite ones of ``x`` [S, n], NaN where there is none; the nearest sample each."""
    ordered = np.sort(x.astype(np.float64), axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    rows = np.arange(len(ordered))
    picked = [ordered[rows, np.maximum(np.rint(q * (count - 1)), 0).astype(np.intp)] for q in at]
    return np.where(count > 0, np.stack(picked), np.nan)
