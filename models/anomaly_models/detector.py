"""From windows to verdicts: the one path that serving and evaluation share."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from . import alerting, regime, thresholds
from .alerting import AlertSpec, AlertState
from .exceptions import InvalidShapeError
from .exemplars import Exemplars
from .frame import F32, I64, Bool, Scorer, Windows
from .signs import Signs
from .thresholds import Parts, ThresholdSpec, ThresholdStack

NAN = np.float32(np.nan)
SCORE_DECADES = 3.0
"""Decades of rarity that multiply the score of an ensemble by ten."""
COMMON = np.float32(-2.0)
"""Rarity (in decades: a hundred a week) up to which a feature has no share in what an ensemble objects to."""


ABSORBED = np.float32(0.9)
"""Highest score of an ensemble in a new regime that is still judged by a provisional level: no alert, and yet unlike
all that is usual, until training has learned it. A single model's score stays error / threshold."""


@dataclass(frozen=True)
class Verdict:
    """What is said of B consecutive windows of S entities with F features.

    ``error``, ``threshold`` (scaler units), ``score`` and ``alerting`` [S, B] are NaN where the window cannot be
    scored; ``alerting`` also until ``persistence`` scores in a row exist. ``detected`` [S, B] is then False. ``score``
    is error / threshold; an ensemble's tells how much rarer the sample is than the alert budget allows, see
    :func:`rarity_score`. ``provisional`` [S, B] is the level of a new regime that threshold and score are judged by, 1
    where there is none, and ``regime_since`` [S, B] the data time when it began, 0 where there is none. ``observed``
    [S, B, F] is the newest sample (NaN = missing); ``expected``, ``lower``, ``upper`` in own units and ``contribution``
    (shares that sum to 1) are NaN for features that do not count. ``parts`` says what the threshold was made of, also
    where nothing was scored. ``members`` [S, B, M], decades of rarity in the order of ``member_names``, is None where
    the scorer is not an ensemble. ``state`` is the input of the next call.
    """

    error: F32
    threshold: F32
    score: F32
    alerting: F32
    detected: Bool
    observed: F32
    expected: F32
    lower: F32
    upper: F32
    contribution: F32
    parts: Parts
    state: AlertState
    provisional: F32
    regime_since: I64
    members: F32 | None = None
    member_names: tuple[str, ...] = ()


def detect(  # noqa: PLR0917  the order of the data flow
    scorer: Scorer,
    windows: Windows,
    inputs: ThresholdStack,
    threshold_spec: ThresholdSpec,
    alert_spec: AlertSpec,
    min_features: int = 1,
    state: AlertState | None = None,
    *,
    budget: float | npt.NDArray[np.floating] = 1.0,
    exemplars: Exemplars | None = None,
    signs: Signs | None = None,
) -> Verdict:
    """Score ``windows`` [S, B, W, F] that end at consecutive grid instants, oldest first.

    A window is scorable when at least ``min_features`` features count and the newest sample of one of them is
    observed. Without a ``state`` the entities are taken as never seen. One call with B windows gives what B calls with
    one window each give, if the state is passed on. ``budget``: false alerts allowed per week, one number or one per
    entity [S]; only the score of an ensemble depends on it. Where an ensemble has an opinion but its autoencoder has
    none (an error of NaN), it is scored nevertheless. A window that runs like one of the ``exemplars`` has no larger
    error than its distance from it and no larger score than that distance / threshold; its expectation is then the
    exemplar's. ``signs``: what stands still scores at least 1 (unless it runs like an exemplar), what is barred is no
    new regime, what was restarted is held.

    Raises:
        InvalidShapeError: scorer, windows, thresholds and state are not of the same S, W and F.
    """
    S, _, W, _ = windows.x.shape
    if len(inputs) != S or scorer.window != W:
        raise InvalidShapeError(
            f"windows {windows.x.shape} need {S} threshold inputs and a scorer of window {W}, "
            f"received {len(inputs)} and {scorer.window}"
        )
    inference = scorer.infer(windows)
    seen = windows.valid[:, :, -1]
    observed = np.where(seen, windows.x[:, :, -1], NAN)
    opinion = inference.opinion
    judged_by, shares = inference.error, inference.feature_error
    if opinion is not None:
        # A negative rarity is what every sample has: only what is rarer than a few times a day shares the blame.
        judged_by, shares = opinion.rarity, np.maximum(opinion.feature_rarity - COMMON, 0)
    counts = np.isfinite(shares)
    scorable = np.isfinite(judged_by) & (counts.sum(axis=2) >= max(min_features, 1)) & (counts & seen).any(axis=2)
    counts &= scorable[:, :, None]

    parts = thresholds.adaptive(inputs, threshold_spec, windows.end)
    threshold = np.where(scorable, parts.threshold, np.nan).astype(np.float32)
    error = np.where(scorable, inference.error, NAN)
    score: F32 = np.divide(error, threshold, dtype=np.float32)
    if opinion is not None:
        score = np.where(scorable, rarity_score(opinion.rarity, budget), NAN)
    expected = np.full(observed.shape, NAN) if inference.expected is None else np.where(counts, inference.expected, NAN)
    nearest, closer = None, np.zeros(score.shape, np.bool_)
    if exemplars is not None and len(exemplars):
        tail = int(getattr(scorer, "tail", 1))
        nearest = exemplars.nearest(windows, scorer.scale, threshold, counts, tail)
    if nearest is not None:
        like = np.divide(nearest.distance, threshold, dtype=np.float32)
        closer = scorable & (like < score)
        error = np.where(closer, np.fmin(error, nearest.distance), error)
        score = np.where(closer, like, score)
        shares = np.where(closer[:, :, None], nearest.feature_distance, shares)
        expected = np.where(closer[:, :, None], nearest.expected, expected)
    judged = None if inference.expected is None else expected
    if state is None:
        state = AlertState.fresh(S, alert_spec)
    known = Signs.none(*score.shape) if signs is None else signs
    level, since = np.ones(score.shape, np.float32), np.zeros(score.shape, np.int64)
    unusual = np.zeros(score.shape, np.float32)
    if alert_spec.regime is not None:
        level, since, moved = regime.fold(score, known.barred, windows.end, state.regime, alert_spec.regime)
        state = replace(state, regime=moved)
        if opinion is not None:
            unusual = np.where(level > 1, np.fmin(score, ABSORBED), np.float32(0))
        threshold, score = threshold * level, score / level
    forced = known.forced(alert_spec.direction) & ~closer
    score = np.where(forced & (score < 1), np.float32(1), score)
    alerted, detected, state = alerting.fold(
        score, observed, judged, state, alert_spec, forced=forced, restarted=known.restarted
    )
    score, alerted = np.maximum(score, unusual), np.maximum(alerted, unusual)

    margin = threshold[:, :, None] * scorer.scale[:, None, :]
    return Verdict(
        error=error,
        threshold=threshold,
        score=score,
        alerting=alerted,
        detected=detected,
        observed=observed,
        expected=expected,
        lower=expected - margin,
        upper=expected + margin,
        contribution=_contribution(shares, counts),
        parts=parts,
        state=state,
        provisional=level,
        regime_since=since,
        members=None if opinion is None else np.where(scorable[:, :, None], opinion.members, NAN),
        member_names=() if opinion is None else opinion.names,
    )


def decades(budget: float | npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The rarity at which a series uses up its ``budget`` of notifications per week, in decades: -log10(budget)."""
    return -np.log10(np.asarray(budget, np.float64))


def rarity_score(rarity: F32, budget: float | npt.NDArray[np.floating]) -> F32:
    """Score of ``rarity`` [S, B]: 1 exactly at the ``budget`` (a number or [S]), ten times it every three decades."""
    beyond = rarity - decades(budget).reshape(-1, 1)
    return np.power(10.0, beyond / SCORE_DECADES).astype(np.float32)


def _contribution(feature_error: F32, counts: Bool) -> F32:
    """Share of every counted feature in the error, [S, B, F]; equal shares of an error of 0."""
    share = np.where(counts, feature_error, np.float32(0))
    total = share.sum(axis=2, keepdims=True)
    equal = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1)
    share = np.where(total > 0, share / np.where(total > 0, total, 1), equal)
    return np.where(counts, share, NAN).astype(np.float32)
