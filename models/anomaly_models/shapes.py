"""What an anomaly looks like: one word per series, from its newest samples.

Small and honest: a few questions in a fixed order, each with one threshold, no learning. It names what is visible now;
a level shift begins as a spike and is called so until enough samples have stayed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .exceptions import InvalidShapeError
from .frame import F32, I64, Bool

NAMES: Final = ("spike", "dip", "level_shift", "leak", "flat_line", "zero", "variance")
SPIKE, DIP, LEVEL_SHIFT, LEAK, FLAT_LINE, ZERO, VARIANCE = range(7)
NONE = -1

LOOK_BACK = 60
"""Samples that are looked at."""
SETTLED = 8
"""So many samples after the change make a shift or a variance of what was a spike."""
LEAST = 2 * SETTLED
"""Fewest samples that can be told apart."""
WILD = 3.0
"""The spread after the change is this many times the one before: variance."""
STEADY = 0.9
"""Share of pairs of block medians that rise: leak."""
BLOCKS = 10
TURNS = 0.3
"""Share of samples at which a wild part turns back; a ramp never does."""
JUMP = 0.4
"""A leak's largest rise between two block medians is at most this share of its growth; a step's is all of it."""

F64 = npt.NDArray[np.float64]


def classify(x: F32, deviation: F32, flat: Bool, zero: Bool, leaking: Bool) -> I64:
    """The shape of S anomalous series, as an index into :data:`NAMES`; NONE (-1) where too little is known.

    ``x`` [S, L]: newest samples of the feature that departs most, oldest first, NaN = missing. ``deviation`` [S]:
    observed - expected of its newest sample, NaN where nothing is expected. ``flat``, ``zero``, ``leaking`` [S]: what
    is known from longer looks.

    Asked in this order: stands at zero? stands still? grows steadily, now or over hours? Then the samples are cut in
    two where the steps between neighbours change most: has the part after the cut :data:`SETTLED` samples, steps
    :data:`WILD` times those before and turns back again and again, it is a variance. Then where the mean changes most:
    is the part after the cut as long and farther away than three steps, it is a level shift. Else a spike or a dip, by
    the sign of the deviation.

    Raises:
        InvalidShapeError: the arrays do not fit each other.
    """
    if x.ndim != 2 or any(a.shape != x.shape[:1] for a in (deviation, flat, zero, leaking)):
        raise InvalidShapeError(f"shapes need samples [S, L] and what is known of S series, received {x.shape}")
    y, enough = _whole(x[:, -LOOK_BACK:])
    with np.errstate(invalid="ignore"):
        known = np.where(np.isfinite(deviation), np.sign(deviation), 0)
        newest = y[:, -1:].sum(axis=1) - (np.median(y, axis=1) if y.shape[1] else 0)
        side = np.where(known != 0, known, np.where(enough, np.sign(newest), 0))
    out = np.select([side > 0, side < 0], [SPIKE, DIP], NONE)
    if y.shape[1] >= LEAST:
        out = np.where(enough & _shifted(y), LEVEL_SHIFT, out)
        out = np.where(enough & _wilder(y), VARIANCE, out)
        out = np.where(enough & _grows(y), LEAK, out)
    out = np.where(leaking & (side >= 0), LEAK, out)
    return np.select([zero, flat], [ZERO, FLAT_LINE], out).astype(np.int64)


def _whole(x: F32) -> tuple[F64, Bool]:
    """``x`` [S, L] with its median where samples are missing, and which series are known well enough."""
    y = x.astype(np.float64)
    seen = np.isfinite(y)
    enough = seen.sum(axis=1) >= LEAST
    y[~enough], seen[~enough] = 0.0, True
    middle = np.nanmedian(np.where(seen, y, np.nan), axis=1) if y.size else np.zeros(len(y))
    return np.where(seen, y, middle[:, None]), enough


def _grows(y: F64) -> Bool:
    """Whether medians of ten blocks rise steadily, without one jump that is most of the rise, [S]."""
    blocks = np.stack([np.median(block, axis=1) for block in np.array_split(y, BLOCKS, axis=1)], axis=1)
    i, j = np.triu_indices(BLOCKS, 1)
    growth = blocks[:, -1] - blocks[:, 0]
    steady = (blocks[:, j] > blocks[:, i]).mean(axis=1) >= STEADY
    even = np.diff(blocks, axis=1).max(axis=1) <= JUMP * growth
    return np.asarray(steady & (growth > 0) & even)


def _shifted(y: F64) -> Bool:
    """Whether a settled part stands far from what was before it, [S]."""
    after, long = _cut(y)
    distance = _median(y, after) - _median(y, ~after)
    moves = np.abs(np.diff(y, axis=1))
    noise = np.maximum(_median(moves, ~after[:, 1:]), _median(moves, after[:, :-1])) + _tiny(y)
    return np.asarray(long & (np.abs(distance) > 3 * noise))


def _wilder(y: F64) -> Bool:
    """Whether a settled part varies far more than what was before it, and back and forth, [S]."""
    moves = np.abs(np.diff(y, axis=1))
    # A lone jump must not pass for a spread.
    most = 10 * (np.median(moves, axis=1) + _tiny(y))
    after, long = _cut(np.minimum(moves, most[:, None]))
    turned = np.diff(np.sign(np.diff(y, axis=1)), axis=1) != 0
    turning = (turned & after[:, 1:]).sum(axis=1) > TURNS * after[:, 1:].sum(axis=1)
    wild = _median(moves, after) > WILD * (_median(moves, ~after) + _tiny(y))
    return np.asarray(long & turning & wild)


def _cut(y: F64) -> tuple[Bool, Bool]:
    """The part after the cut where means differ most for the sizes of the parts (CUSUM), [S, L]; and whether both parts
    are long, [S]."""
    length = y.shape[1]
    sums = np.cumsum(y - y.mean(axis=1, keepdims=True), axis=1)[:, :-1]
    left = np.arange(1, length)
    cut = np.argmax(np.abs(sums) / np.sqrt(left * (length - left)), axis=1) + 1
    long = (cut >= SETTLED) & (length - cut >= SETTLED - 1)
    return np.arange(length) >= cut[:, None], long


def _median(y: F64, of: Bool) -> F64:
    """Median of the chosen ones of ``y`` [S, L], 0 where none is."""
    chosen = np.where(of, y, np.nan)
    chosen[~of.any(axis=1)] = 0.0
    return np.asarray(np.nanmedian(chosen, axis=1), np.float64)


def _tiny(y: F64) -> F64:
    """What float32 cannot tell from nothing, [S]."""
    return np.asarray(np.abs(y).max(axis=1) * 1e-6 + 1e-30, np.float64)
