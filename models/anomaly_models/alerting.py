"""When a score becomes an alert: persistence, direction, deviation, hysteresis, holds.

The alert state is a fold over scores. It is rebuilt by replaying the newest samples after a restart, never stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .exceptions import InvalidShapeError
from .frame import F32, Bool
from .regime import RegimeSpec, RegimeState

I32 = npt.NDArray[np.int32]
NAN = np.float32(np.nan)
QUIET = 2
"""A restart starts a hold only after so many holds without one: what restarts again and again is not hidden by that."""


@dataclass(frozen=True)
class AlertSpec:
    """When a score becomes an alert; the `alerting` section of the configuration, and what belongs to it.

    ``persistence``, ``clear_after`` and the holds count steps, ``minimum_deviation`` is in the series' own unit.
    ``hold_after_restart``: see :func:`fold`. ``regime``: when a new level is a new normal, None = never.
    """

    persistence: int = 3
    direction: Literal["both", "up", "down"] = "both"
    minimum_deviation: float = 0.0
    minimum_relative_deviation: float = 0.0
    clear_below: float = 0.8
    clear_after: int = 3
    hold: int = 0
    hold_after_restart: int = 0
    regime: RegimeSpec | None = None

    def __post_init__(self) -> None:
        if self.persistence < 1 or self.clear_after < 1 or self.hold < 0 or self.hold_after_restart < 0:
            raise ValueError(
                "persistence and clear_after must be at least 1, hold and hold_after_restart at least 0, received "
                f"{self.persistence}, {self.clear_after}, {self.hold}, {self.hold_after_restart}"
            )
        if self.direction not in ("both", "up", "down"):
            raise ValueError(f"direction must be both, up or down, received {self.direction!r}")

    @property
    def replay(self) -> int:
        """Steps whose scores rebuild the state that matters now: warm-up replays at least these."""
        remembered = self.regime.memory if self.regime else 0
        return self.persistence + self.clear_after + max(self.hold, (QUIET + 1) * self.hold_after_restart) + remembered


@dataclass(frozen=True)
class AlertState:
    """Where the fold stands, per series.

    ``scores`` [S, persistence - 1]: newest scores, NaN = missing; the others [S]: ``streak``, samples in a row that
    were worth an alert; ``quiet``, scores in a row that were not; ``missing``, steps without a score; ``age``, steps
    since the entity appeared, counted up to the hold; ``restarted``, steps since the newest restart, and ``held``,
    steps since the newest one that started a hold, both counted up to what matters; ``detected``, an alert is on.
    ``regime``: whether scores are judged against a provisional level.
    """

    scores: F32
    streak: I32
    quiet: I32
    missing: I32
    age: I32
    restarted: I32
    held: I32
    detected: Bool
    regime: RegimeState

    @classmethod
    def fresh(cls, series: int, spec: AlertSpec) -> AlertState:
        """The state of ``series`` entities that were never seen."""
        return cls(
            np.full((series, spec.persistence - 1), np.nan, np.float32),
            np.zeros(series, np.int32),
            np.zeros(series, np.int32),
            np.full(series, spec.clear_after + 1, np.int32),
            np.zeros(series, np.int32),
            np.full(series, QUIET * spec.hold_after_restart, np.int32),
            np.full(series, spec.hold_after_restart, np.int32),
            np.zeros(series, np.bool_),
            RegimeState.fresh(series, spec.regime),
        )

    def take(self, rows: Sequence[int] | npt.NDArray[np.intp], spec: AlertSpec) -> AlertState:
        """The entities at ``rows``, in that order; row -1 stands for an entity that was never seen."""
        index = np.asarray(rows, np.intp)
        new = index < 0
        fresh = AlertState.fresh(1, spec)
        if len(self.streak) == 0:
            return AlertState.fresh(index.size, spec)
        scores = self.scores[index]
        scores[new] = fresh.scores
        columns: dict[str, Any] = {}
        for name in ("streak", "quiet", "missing", "age", "restarted", "held", "detected"):
            column = getattr(self, name)[index]
            column[new] = getattr(fresh, name)[0]
            columns[name] = column
        return AlertState(scores=scores, regime=self.regime.take(index, spec.regime), **columns)


def fold(  # noqa: PLR0917  the order of the data flow
    score: F32,
    observed: F32,
    expected: F32 | None,
    state: AlertState,
    spec: AlertSpec,
    forced: Bool | None = None,
    restarted: Bool | None = None,
) -> tuple[F32, Bool, AlertState]:
    """Fold the ``score`` [S, B] of B consecutive steps into ``state``; one by one gives the same as all at once.

    ``observed`` and ``expected`` [S, B, F] are the newest sample of every window, in own units, NaN = none. ``forced``
    [S, B]: anomalous whatever is expected; ``restarted`` [S, B]: the entity was deployed or restarted at this step.

    Returns ``alerting`` [S, B]: the minimum of the last ``persistence`` scores, NaN until there are that many in a row;
    ``detected`` [S, B]: an alert is on (False where there is no score: no verdict); and the state after them.

    * A sample is *worth an alert* when its score is at least 1 and some feature deviates from its expectation to the
      wanted side by both minimum deviations. Where there is no expectation, the score alone decides.
    * An alert begins after ``persistence`` such samples in a row, outside the hold.
    * It ends after ``clear_after`` quiet scores: below ``clear_below``, or of a deviation that is not wanted.
    * A missing score restarts persistence. The alert is remembered for up to ``clear_after`` missing steps; after more
      the entity is forgotten, and its next score is an appearance.
    * For ``hold`` steps from an appearance on, an entity is scored but raises no alert; also for ``hold_after_restart``
      steps from a restart on, its own included, if there was none for twice as long before. An alert that is on stays.

    Raises:
        InvalidShapeError: the arrays do not fit each other or the state was made for another persistence.
    """
    series, steps = score.shape
    if observed.shape[:2] != score.shape or state.scores.shape != (series, spec.persistence - 1):
        raise InvalidShapeError(
            f"scores {score.shape} need observed [S, B, F] and a state of {series} series with {spec.persistence - 1} "
            f"scores, received {observed.shape} and {state.scores.shape}"
        )
    line = np.concatenate([state.scores, score], axis=1)
    alerting = _running_minimum(line, spec.persistence)
    scored = np.isfinite(score)
    wanted = _wanted(observed, expected, spec)
    if wanted is not None and forced is not None:
        wanted = wanted | forced
    with np.errstate(invalid="ignore"):
        worth = (score >= 1) if wanted is None else (score >= 1) & wanted
        quiet = (score < spec.clear_below) if wanted is None else (score < spec.clear_below) | ~wanted
    detected = np.zeros((series, steps), np.bool_)
    now = state
    for b in range(steps):
        again = None if restarted is None else restarted[:, b]
        now = _step(now, scored[:, b], worth[:, b], quiet[:, b], again, spec)
        detected[:, b] = now.detected & scored[:, b]
    kept = line[:, line.shape[1] - (spec.persistence - 1) :].copy()
    return alerting, detected, replace(now, scores=kept)


def _step(  # noqa: PLR0917  all that tells of one step
    state: AlertState, scored: Bool, worth: Bool, quiet: Bool, restarted: Bool | None, spec: AlertSpec
) -> AlertState:
    """The state one step on; ``scored``, ``worth``, ``quiet`` and ``restarted`` [S] tell of the newest sample."""
    missing = np.where(scored, 0, np.minimum(state.missing + 1, spec.clear_after + 1)).astype(np.int32)
    appeared = scored & (state.missing > spec.clear_after)
    known = ~appeared & (missing <= spec.clear_after)
    # Counters stop where they stop mattering, so that equal situations are equal states.
    age = np.where(known, np.minimum(state.age + 1, spec.hold), 0).astype(np.int32)
    streak = np.where(worth, np.minimum(state.streak + 1, spec.persistence), 0).astype(np.int32)
    lull = np.where(known, state.quiet, 0)
    lull = np.where(scored, np.where(quiet, np.minimum(lull + 1, spec.clear_after), 0), lull).astype(np.int32)
    since, held = _held(state, restarted, spec)
    begins = (streak >= spec.persistence) & (age >= spec.hold) & (held >= spec.hold_after_restart)
    ends = lull >= spec.clear_after
    detected = begins | (state.detected & known & ~ends)
    return AlertState(state.scores, streak, lull, missing, age, since, held, detected, state.regime)


def _held(state: AlertState, restarted: Bool | None, spec: AlertSpec) -> tuple[I32, I32]:
    """Steps since the newest restart and since the newest one that started a hold, one step on."""
    quiet = QUIET * spec.hold_after_restart
    since = np.minimum(state.restarted + 1, quiet).astype(np.int32)
    held = np.minimum(state.held + 1, spec.hold_after_restart).astype(np.int32)
    if restarted is None or spec.hold_after_restart == 0:
        return since, held
    held = np.where(restarted & (since >= quiet), 0, held).astype(np.int32)
    return np.where(restarted, 0, since).astype(np.int32), held


def _running_minimum(line: F32, n: int) -> F32:
    """Minimum of the last ``n`` columns at every column from the n-th on, NaN if one of them is; in log2(n) passes."""
    width, out = 1, line
    while width < n:
        shift = min(width, n - width)
        out = np.minimum(out[:, shift:], out[:, : out.shape[1] - shift])
        width += shift
    return out.copy() if out is line else out


def _wanted(observed: F32, expected: F32 | None, spec: AlertSpec) -> Bool | None:
    """Whether some feature deviates as wanted, [S, B]; None when every deviation is welcome."""
    free = spec.direction == "both" and spec.minimum_deviation == 0 and spec.minimum_relative_deviation == 0
    if free or expected is None:
        return None
    with np.errstate(invalid="ignore"):
        deviation = observed - expected
        size = np.abs(deviation)
        enough = (size >= spec.minimum_deviation) & (size >= spec.minimum_relative_deviation * np.abs(expected))
        if spec.direction == "up":
            enough &= deviation > 0
        elif spec.direction == "down":
            enough &= deviation < 0
    known = np.isfinite(deviation)
    return np.asarray((enough & known).any(axis=2) | ~known.any(axis=2))
