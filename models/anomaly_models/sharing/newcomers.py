"""What can be known of a series that is minutes old: its scale from few samples, its window before it is full.

Everything depends only on samples *before* those that are judged, and changes only when the number of learned samples
reaches the next step of :data:`LADDER`: an incident cannot drag the scale along, and a restart finds the same scale.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anomaly_models import scaling
from anomaly_models.frame import F32, I64, Bool
from anomaly_models.scaling import UNSEEN, Scaler, ScalerKind

LADDER = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
"""Numbers of samples that a scale is taken from: a series that is ``a`` steps old uses the largest one up to ``a``."""
YOUNGEST = LADDER[0]
"""Steps after which a series is scored at all."""
TRUST = 24.0
"""Samples that count as much as what the fleet says of a scale."""
CONFIDENT = 7 * 86_400
"""Seconds of history after which nothing is left to be wished for: a week holds every hour and every weekday."""


def learned(age: npt.NDArray[np.integer]) -> I64:
    """How many of its first samples a series that is ``age`` [S] steps old is scaled by; 0 while it is too young."""
    steps = np.array((0, *LADDER), np.int64)
    return steps[np.searchsorted(steps, age, side="right") - 1]


def scale_of(
    values: F32, kind: ScalerKind, minimum_scale: float, minimum_relative_scale: float, relative: npt.ArrayLike
) -> Scaler:
    """Centre and scale of series from few samples ``values`` [S, T, F], NaN = missing.

    The centre is that of the samples. The scale is the geometric mean of theirs and of the fleet's, ``relative`` [F]
    times the centre, in which n samples weigh n and the fleet :data:`TRUST`: few samples, close to each other in time,
    always look calmer than the series is. A series that rested so far has the fleet's scale; where the fleet has none
    (NaN), or the centre is 0, the samples speak alone.
    """
    found = scaling.fit(values, kind, minimum_scale, minimum_relative_scale)
    count = np.isfinite(values).sum(axis=1).astype(np.float64)
    bare = scaling.fit(values, kind, float(np.finfo(np.float32).tiny), 0.0).scale.astype(np.float64)
    fleet = np.asarray(relative, np.float64)[None, :] * np.abs(found.center)
    fleet = np.where(np.isfinite(fleet) & (fleet > 0), fleet, np.nan)
    rested = bare <= np.finfo(np.float32).tiny
    weight = np.where(rested, 0.0, count / (count + TRUST))
    with np.errstate(invalid="ignore"):
        mixed = np.exp(weight * np.log(bare) + (1 - weight) * np.log(fleet))
    floor = np.maximum(minimum_scale, minimum_relative_scale * np.abs(found.center))
    scale = np.where(np.isnan(fleet), found.scale, np.fmax(mixed, floor))
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
