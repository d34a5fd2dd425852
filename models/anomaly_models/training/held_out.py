"""What held-out errors say of one entity: thresholds now and before, and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_models import quality, thresholds, windows
from anomaly_models.following import KEEP, Sample
from anomaly_models.frame import F32, I64, Bool, Inference, Scorer, Windows
from anomaly_models.thresholds import FORMULAS, Recent, ThresholdInputs, ThresholdSpec, base_threshold

MIN_RECENT = 30
"""Fewest errors that the newest threshold is taken from before older held-out ones are added."""
MIN_COMMON = 20
"""Fewest common held-out windows to compare two models by."""
_EVER = float(2**60)


def score(scorer: Scorer, w: Windows, min_features: int, tail: int) -> Inference:
    """What ``scorer`` says of ``w``; NaN also where fewer than ``min_features`` features count."""
    said = scorer.infer(w)
    usable = windows.usable(w, min_features, tail)
    return replace(said, error=np.where(usable, said.error, np.float32(np.nan)))


def joined(parts: Sequence[Sample]) -> Sample:
    """Samples one after the other in time, each taken up to where the next begins."""
    out = Sample(np.empty(0, np.float32), np.empty(0, np.int64))
    for part in parts:
        out = out.then(part.errors, part.end)
    return out


def in_runs(above: Bool, length: int) -> Bool:
    """Members [B] of runs of at least ``length`` True in a row: what persistence would have called detected."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]])))
    out = np.zeros(above.shape, np.bool_)
    for start, end in edges.reshape(-1, 2):
        out[start:end] = end - start >= length
    return out


def detected(errors: F32, spec: ThresholdSpec, persistence: int) -> Bool:
    """Windows [B] whose errors stay above the base threshold of all ``errors`` for ``persistence`` steps or more."""
    if not np.isfinite(errors).any():
        return np.zeros(errors.shape, np.bool_)
    return in_runs(errors > base_threshold(errors, spec.base, spec.k, spec.budget), persistence)


def recent(
    validation: tuple[F32, I64], test: tuple[F32, I64], spec: ThresholdSpec, persistence: int
) -> tuple[Recent, F32, Bool]:
    """R from held-out errors and times [B] of validation and test; also the errors it looked at and which are calm.

    From the undetected errors of the newest ``spec.recent`` seconds of the test part; where those are fewer than
    ``MIN_RECENT``, of the whole test part; where those are too, of the validation part as well.

    Raises:
        UntrainableError: nothing held out can be scored.
    """
    errors, end = np.concatenate([validation[0], test[0]]), np.concatenate([validation[1], test[1]])
    # The base `budget` decides itself what was an incident.
    calm = np.ones(errors.shape, np.bool_) if spec.base == "budget" else ~detected(errors, spec, persistence)
    in_test = np.arange(errors.size) >= validation[0].size
    countable = calm & np.isfinite(errors)
    newest = in_test & (end > test[1].max(initial=0) - spec.recent)
    if (countable & newest).sum() >= MIN_RECENT:
        return thresholds.measure(errors[in_test], end[in_test], spec, calm[in_test]), errors[in_test], calm[in_test]
    chosen = in_test if (countable & in_test).sum() >= MIN_RECENT else np.ones(errors.shape, np.bool_)
    whole = replace(spec, recent=_EVER)
    return thresholds.measure(errors[chosen], end[chosen], whole, calm[chosen]), errors[chosen], calm[chosen]


@dataclass(frozen=True)
class Old:
    """What was in force for one entity: a one-row scorer, its threshold inputs, and when its test part began."""

    scorer: Scorer
    inputs: ThresholdInputs
    test_start: int


def earlier(old: Old, w: Windows, new_errors: F32, calm: Bool, spec: ThresholdSpec) -> tuple[Recent, ...]:
    """Thresholds of earlier generations on the new model's scale.

    ``w`` [1, B, W, F] are the new test windows, ``new_errors`` and ``calm`` [B] tell of them. Only windows that neither
    model learned from are compared. Nothing is remembered where they are too few or cannot be compared.
    """
    common = np.flatnonzero(w.end[0] >= old.test_start)
    if common.size < MIN_COMMON:
        return ()
    at = slice(int(common[0]), None)
    old_errors = old.scorer.infer(Windows(w.x[:, at], w.valid[:, at], w.end[:, at])).error[0]
    both = np.isfinite(old_errors) & np.isfinite(new_errors[at]) & calm[at]
    if both.sum() < MIN_COMMON:
        return ()
    before, after = (
        base_threshold(np.where(both, e, np.float32(np.nan)), spec.base, spec.k, spec.budget)
        for e in (old_errors, new_errors[at])
    )
    # A model that reproduces its data to the last digit has no scale to compare by.
    if not (before > 0 and after > 0 and np.isfinite(after / before)):
        return ()
    return thresholds.history_after(old.inputs, after / before, KEEP)


def base_figures(errors: F32, calm: Bool, spec: ThresholdSpec, calibrated: float) -> dict[str, Any]:
    """Base threshold of every method on the calm ones of held-out ``errors`` [B], and what of all lies above each.

    ``calibrated``: the one of the method ``budget``, which is taken from more than these.
    """
    kept = errors[calm & np.isfinite(errors)]
    kept = kept if kept.size else errors
    base = {method: base_threshold(kept, method, spec.k) for method in FORMULAS} | {"budget": calibrated}
    above = {
        method: _known({"ratio": quality.above_ratio(errors, t), "mean_error": quality.above_mean(errors, t)})
        for method, t in base.items()
    }
    return {"base": base, "above": above}


def quality_figures(
    said: Inference, w: Windows, scale: F32, row: int, naive: npt.NDArray[np.float64]
) -> dict[str, float]:
    """MAE, RMSE, MASE and R2 of the newest sample of windows of series ``row``.

    In scaler units, so that cores and bytes compare: an MAE of 1 is one ``scale`` of the series. ``naive`` [F] is the
    naive forecast's error on the training part, in the same units. Empty where the model has no expectation.
    """
    if said.expected is None:
        return {}
    unit = scale[row]
    observed = np.where(w.valid[row, :, -1], w.x[row, :, -1], np.float32(np.nan)) / unit
    expected = said.expected[row] / unit
    return _known(
        {
            "mae": quality.mae(observed, expected),
            "rmse": quality.rmse(observed, expected),
            "mase": quality.mase(observed, expected, naive),
            "r2": quality.r2(observed, expected),
        }
    )


def _known(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items() if value is not None and np.isfinite(value)}
