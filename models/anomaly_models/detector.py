"""From windows to verdicts: the one path that serving and evaluation share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import alerting, thresholds
from .alerting import AlertSpec, AlertState
from .exceptions import InvalidShapeError
from .frame import F32, Bool, Scorer, Windows
from .thresholds import Parts, ThresholdSpec, ThresholdStack

NAN = np.float32(np.nan)


@dataclass(frozen=True)
class Verdict:
    """What is said of B consecutive windows of S entities with F features.

    ``error``, ``threshold`` (scaler units), ``score`` = error / threshold and ``alerting`` [S, B] are NaN where the
    window cannot be scored; ``alerting`` also until ``persistence`` scores in a row exist. ``detected`` [S, B] is then
    False. ``observed`` [S, B, F] is the newest sample (NaN = missing); ``expected``, ``lower``, ``upper`` in own units
    and ``contribution`` (shares that sum to 1) are NaN for features that do not count. ``parts`` says what the
    threshold was made of, also where nothing was scored. ``state`` is the input of the next call.
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


def detect(  # noqa: PLR0917  the order of the data flow
    scorer: Scorer,
    windows: Windows,
    inputs: ThresholdStack,
    threshold_spec: ThresholdSpec,
    alert_spec: AlertSpec,
    min_features: int = 1,
    state: AlertState | None = None,
) -> Verdict:
    """Score ``windows`` [S, B, W, F] that end at consecutive grid instants, oldest first.

    A window is scorable when at least ``min_features`` features count and the newest sample of one of them is
    observed. Without a ``state`` the entities are taken as never seen. One call with B windows gives what B calls with
    one window each give, if the state is passed on.

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
    counts = np.isfinite(inference.feature_error)
    scorable = np.isfinite(inference.error) & (counts.sum(axis=2) >= max(min_features, 1)) & (counts & seen).any(axis=2)
    counts &= scorable[:, :, None]

    parts = thresholds.adaptive(inputs, threshold_spec, windows.end)
    threshold = np.where(scorable, parts.threshold, np.nan).astype(np.float32)
    error = np.where(scorable, inference.error, NAN)
    score: F32 = np.divide(error, threshold, dtype=np.float32)
    expected = np.full(observed.shape, NAN) if inference.expected is None else np.where(counts, inference.expected, NAN)
    judged = None if inference.expected is None else expected
    if state is None:
        state = AlertState.fresh(S, alert_spec)
    alerted, detected, state = alerting.fold(score, observed, judged, state, alert_spec)

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
        contribution=_contribution(inference.feature_error, counts),
        parts=parts,
        state=state,
    )


def _contribution(feature_error: F32, counts: Bool) -> F32:
    """Share of every counted feature in the error, [S, B, F]; equal shares of an error of 0."""
    share = np.where(counts, feature_error, np.float32(0))
    total = share.sum(axis=2, keepdims=True)
    equal = counts / np.maximum(counts.sum(axis=2, keepdims=True), 1)
    share = np.where(total > 0, share / np.where(total > 0, total, 1), equal)
    return np.where(counts, share, NAN).astype(np.float32)
