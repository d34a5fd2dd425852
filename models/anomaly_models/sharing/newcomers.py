"""What can be known of a series that is minutes old: its scale from few samples, its window before it is full.

Everything depends only on samples *before* those that are judged, and changes only when the number of learned samples
reaches the next step of :data:`LADDER`: an incident cannot drag the scale along, and a restart finds the same scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_models import scaling, windows
from anomaly_models.frame import F32, I64, Bool, Scorer
from anomaly_models.scaling import UNSEEN, Scaler, ScalerKind

from .scorer import Shared

LADDER = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
"""Numbers of samples that a scale is taken from: a series that is ``a`` steps old uses the largest one up to ``a``."""
YOUNGEST = LADDER[0]
"""Steps after which a series is scored at all."""
TRUST = 24.0
"""Samples that count as much as what the fleet says of a scale."""
QUANTILE = 0.9
"""Of a series' first errors: what its own level of errors is."""
SETTLED = 4
"""Samples after which errors are looked at for that."""
LEAST_LEVEL = 1e-3
"""Smallest level of errors, in scaler units: a series that is reconstructed to the last digit has one too."""
TINY = np.finfo(np.float32).tiny
CONFIDENT = 7 * 86_400
"""Seconds of history after which nothing is left to be wished for: a week holds every hour and every weekday."""


def learned(age: npt.NDArray[np.integer]) -> I64:
    """How many of its first samples a series that is ``age`` [S] steps old is scaled by; 0 while it is too young."""
    steps = np.array((0, *LADDER), np.int64)
    return steps[np.searchsorted(steps, age, side="right") - 1]


@dataclass(frozen=True)
class Rules:
    """How newcomers are scaled: the scaler and its minimums, and ``relative`` [F], the fleet's scale over its level
    (NaN where it has none); ``min_features`` and ``tail`` say when a window counts."""

    scaler: ScalerKind
    minimum_scale: float
    minimum_relative_scale: float
    relative: tuple[float, ...]
    min_features: int = 1
    tail: int = 1


@dataclass(frozen=True)
class Beginning:
    """What S series have shown of themselves: their scale, and how large the shared model's errors on them are.

    ``level`` [S]: 90 % of the errors so far lie below, NaN without any; ``count`` [S]: how many errors those are.
    """

    scaler: Scaler
    level: npt.NDArray[np.float64]
    count: I64


def begin(base: Scorer, x: F32, valid: Bool, born: I64, rules: Rules) -> Beginning:
    """The first samples ``x`` and ``valid`` [M, S, F] of series that begin at the rows ``born`` [S], seen by ``base``.

    All end at the last row; rows before ``born`` play no part.
    """
    rows = np.arange(x.shape[0])[:, None]
    mine = np.where((rows >= born)[:, :, None] & valid, x, np.float32(np.nan))
    scaler = scale_of(mine.transpose(1, 0, 2), rules)
    errors = errors_of(Shared(base, scaler), x, valid, born, rules)
    errors[rows < born + SETTLED] = np.nan
    count = np.isfinite(errors).sum(axis=0)
    ordered = np.sort(errors, axis=0)  # NaN last
    at = np.maximum(np.ceil(QUANTILE * count).astype(np.int64) - 1, 0)
    level = np.where(count > 0, np.take_along_axis(ordered, at[None], axis=0)[0].astype(np.float64), np.nan)
    return Beginning(scaler, np.maximum(level, LEAST_LEVEL), count)


def errors_of(shared: Shared, x: F32, valid: Bool, born: I64, rules: Rules) -> F32:
    """Error of the window that ends at every row of ``x`` [T, S, F]: [T, S], NaN where there is nothing to judge."""
    behind = shared.window - 1
    shape = (behind, *x.shape[1:])
    x = np.concatenate([np.full(shape, np.nan, np.float32), x])
    valid = np.concatenate([np.zeros(shape, np.bool_), valid])
    w = windows.make(padded(x, born + behind, shared.scaler.center), valid, 0, 1, shared.window)
    error = shared.infer(w).error
    return np.where(windows.usable(w, rules.min_features, rules.tail), error, np.float32(np.nan)).T


def scale_of(values: F32, rules: Rules) -> Scaler:
    """Centre and scale of series from few samples ``values`` [S, T, F], NaN = missing.

    The centre is that of the samples. The scale is the geometric mean of theirs and of the fleet's, ``relative`` times
    the centre, in which n samples weigh n and the fleet :data:`TRUST`: few samples, close to each other in time, always
    look calmer than the series is. A series that rested so far has the fleet's scale. One that rested at 0, or where
    the fleet has none, tells nothing of its scale: it is ``UNSEEN`` and does not count.
    """
    least = (rules.minimum_scale, rules.minimum_relative_scale)
    found = scaling.fit(values, rules.scaler, *least)
    count = np.isfinite(values).sum(axis=1).astype(np.float64)
    bare = scaling.fit(values, rules.scaler, float(TINY), 0.0).scale.astype(np.float64)
    rested = bare <= TINY
    fleet = np.asarray(rules.relative, np.float64)[None, :] * np.abs(found.center)
    fleet = np.where(np.isfinite(fleet) & (fleet > 0), fleet, np.nan)
    weight = np.where(rested, 0.0, count / (count + TRUST))
    mixed = np.exp(weight * np.log(bare) + (1 - weight) * np.log(fleet))
    floor = np.maximum(least[0], least[1] * np.abs(found.center))
    scale = np.where(np.isnan(fleet), np.where(rested, UNSEEN, found.scale), np.fmax(mixed, floor))
    scale = np.where(found.scale >= UNSEEN, UNSEEN, np.fmin(scale, UNSEEN))
    return Scaler(found.center, scale.astype(np.float32))


def padded(x: F32, born: I64, center: F32) -> F32:
    """``x`` [T, S, F] with the rows before ``born`` [S] filled by ``center`` [S, F]: a window need not wait to be full.

    Gaps later in the life of a series stay gaps. Filled samples were not observed and never judged.
    """
    before: Bool = np.arange(x.shape[0])[:, None] < born[None, :]
    return np.where(before[:, :, None], center[None], x)


def confidence(seconds: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How far a threshold that rests on ``seconds`` of history can be trusted, 0 to 1: sqrt(history / a week).

    The standard error of what is estimated falls with the root of the number of samples.
    """
    return np.sqrt(np.clip(np.asarray(seconds, np.float64) / CONFIDENT, 0.0, 1.0))
