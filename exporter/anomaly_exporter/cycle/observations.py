"""What samples, habits and conditions say of series beside their scores: signs for the detector, and what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_exporter.generations import Entry
from anomaly_models import shapes, stillness, trend
from anomaly_models.detector import Verdict
from anomaly_models.frame import F32, I64, Bool
from anomaly_models.habits import Habits
from anomaly_models.signs import Signs
from anomaly_models.stillness import Limits, Still

from .tail import Tail

F64 = npt.NDArray[np.float64]

NEAR = 0.9
"""From this share of its limit on a resource is at its limit: that is no new normal."""
SAME_CHANGE = 86_400
"""Training and serving that see a change within so many seconds of each other see the same; training saw its step."""
LOOK_BACK = stillness.MOST
"""Rows before the newest ones that must be in the ring."""


@dataclass(frozen=True)
class Shown:
    """What is shown of S entities: ``shape`` [S], index into shapes.NAMES, -1 where nothing departs;
    ``seconds_to_limit`` [S, F], NaN where nothing leaks or no limit is known; ``regime`` [S]: data time of the newest
    change of regime, NaN where there was none.
    """

    shape: I64
    seconds_to_limit: F64
    regime: F64


def habits_of(entries: Sequence[Entry], features: int) -> Habits:
    """What training learned of the series beside their models."""
    rows = [found if isinstance(found := e.figures.get("habits"), dict) else None for e in entries]
    return Habits.of_json(rows, features)


def signs(tail: Tail, columns: I64, entries: Sequence[Entry], habits: Habits, steps: int) -> Signs:
    """What is known at the newest ``steps`` instants of the entities at ``columns`` (-1: none) of the ring."""
    entities = [e.entity for e in entries]
    newest, _ = tail.samples(columns, steps)
    none = np.zeros((len(entities), steps), np.bool_)
    at_limit = none
    if tail.conditions is not None and (limits := tail.conditions.limits(entities)).size:
        with np.errstate(invalid="ignore"):
            near = newest >= NEAR * limits[None].astype(np.float32)
        at_limit = _last(np.asarray(near.any(axis=2)).T, none)
    restarted = none if tail.conditions is None else tail.conditions.restarted(entities, steps)
    bounded = np.asarray(at_limit | np.asarray(habits.leak.any(axis=1))[:, None])
    return Signs(_still(tail, columns, habits.limits, newest, steps), bounded, restarted)


def show(  # noqa: PLR0917  all that is known of the newest instant
    tail: Tail, columns: I64, entries: Sequence[Entry], habits: Habits, known: Signs, verdict: Verdict
) -> Shown:
    """What the newest instant shows."""
    observed = verdict.observed[:, -1]
    limits = np.full(observed.shape, np.nan)
    if tail.conditions is not None:
        limits = tail.conditions.limits([e.entity for e in entries])
    left = trend.seconds_to_limit(observed.astype(np.float64), habits.slope, habits.leak, limits)
    since = np.where(verdict.regime_since[:, -1] > 0, verdict.regime_since[:, -1], np.nan)
    with np.errstate(invalid="ignore"):
        same = since - habits.regime < SAME_CHANGE
    regime = np.where(same, habits.regime, np.fmax(habits.regime, since))
    return Shown(_shapes(tail, columns, habits, known, verdict), left, regime)


def _shapes(tail: Tail, columns: I64, habits: Habits, known: Signs, verdict: Verdict) -> I64:
    """Shapes of what is detected now, by the feature that contributes most."""
    out = np.full(len(columns), shapes.NONE, np.int64)
    rows = np.flatnonzero(verdict.detected[:, -1])
    if rows.size == 0:
        return out
    share = np.where(np.isfinite(verdict.contribution[rows, -1]), verdict.contribution[rows, -1], -1)
    lead = share.argmax(axis=1)
    x, valid = tail.samples(columns[rows], shapes.LOOK_BACK)
    each = np.arange(rows.size)
    seen = np.where(valid[:, each, lead], x[:, each, lead], np.float32(np.nan)).T
    deviation: F32 = verdict.observed[rows, -1, lead] - verdict.expected[rows, -1, lead]
    flat, zero = known.still.flat[rows, -1], known.still.zero[rows, -1]
    out[rows] = shapes.classify(np.ascontiguousarray(seen), deviation, flat, zero, habits.leak[rows, lead])
    return out


def _still(tail: Tail, columns: I64, limits: Limits, newest: F32, steps: int) -> Still:
    """Who stands still; only those that repeat a sample, or are zero, are looked at longer."""
    flat, zero = np.zeros((len(columns), steps), np.bool_), np.zeros((len(columns), steps), np.bool_)
    judged = ((limits.flat > 0) | (limits.zero > 0)).any(axis=1)
    repeats = (newest[1:] == newest[:-1]).any(axis=(0, 2)) if steps > 1 else True
    rows = np.flatnonzero(judged & repeats & (columns >= 0))
    if steps == 1 and rows.size:
        two, _ = tail.samples(columns[rows], 2)
        rows = rows[((two[-1] == two[0]) | (two[-1] == 0)).any(axis=1)]
    if rows.size:
        x, valid = tail.samples(columns[rows], LOOK_BACK + steps)
        found = stillness.still(x, valid, Limits(limits.flat[rows], limits.zero[rows]), steps)
        flat[rows], zero[rows] = _last(found.flat, flat[rows]), _last(found.zero, zero[rows])
    return Still(flat, zero)


def _last(found: Bool, out: Bool) -> Bool:
    """``found`` [S, B'] as the newest of the instants of ``out`` [S, B]; False before."""
    laid = np.zeros_like(out)
    laid[:, out.shape[1] - found.shape[1] :] = found
    return laid
