"""An alert budget: the threshold that costs at most so many notifications per week, from errors that were held out.

Whoever is on call does not count anomalous samples but mails. A *notification* is a run of alerting samples, short
holes closed, and one more for every started ``REPEAT`` seconds that it lasts. How often notifications come is counted
at levels that are exceeded often, and a generalised Pareto tail (Pickands 1975; Coles, "An Introduction to Statistical
Modeling of Extreme Values", 2001, ch. 4) through those counts says how high the threshold must be for the few that are
allowed. Levels that are exceeded rarely have no say in the tail: that is where the incidents hide in the data.

All heights are one series on its grid, oldest first, NaN = no error at that instant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .exceptions import UntrainableError
from .frame import I64, Bool

F64 = npt.NDArray[np.float64]
WEEK = 604_800
DAY = 86_400
GAP = 900
"""Seconds without an alerting sample that do not end a notification."""
REPEAT = 4 * 3600
"""After so many seconds a standing alert is sent again (Alertmanager's usual ``repeat_interval``)."""

RARE, OFTEN = 10.0, 200.0
"""Notifications per week between which the tail is drawn. More often than 200, runs merge and their number says
nothing; less often than 10, an entity with an incident a day would raise its own threshold."""
ORDINARY = 40.0
"""What comes more often than this is no incident: a fifth of the time in incidents of an hour is 34 a week."""
HABIT = 3.0
"""Notifications per week that are taken for incidents. What comes more often, undisturbed by anybody, is a habit of the
entity and must not alert."""
MOST = 3.0
"""The threshold is at most this multiple of what ordinary peaks say: many incidents are no reason to become blind to
one that is three times as high."""
SHAPE, SHAPE_WEIGHT = 0.15, 15.0
"""Shape of the tail before anything was seen, and how many notifications that opinion is worth. It lies between a
normal distribution's (about 0) and a cubic power law's (1/3), which is where errors of monitoring series lie; one
standard deviation of the opinion (0.18) reaches either."""
SHAPES = np.linspace(-0.3, 0.7, 21)
LEVELS = 60
"""Levels at which notifications are counted, spread over the ranks of the peaks evenly and once more geometrically."""
FEWEST = 5
"""Fewest levels that a tail is drawn through, unless the history has fewer."""
LEAST_DAYS = 1 / 24
"""A history counts as at least this long when the next day is foretold from it."""


@dataclass(frozen=True)
class BudgetSpec:
    """``per_week``: notifications allowed; ``step``: seconds between samples; ``persistence``: so many errors in a row
    above the threshold make an alert.

    Raises:
        ValueError: one of them is not positive.
    """

    per_week: float = 1.0
    step: int = 60
    persistence: int = 1

    def __post_init__(self) -> None:
        if not self.per_week > 0 or self.step < 1 or self.persistence < 1:
            raise ValueError(
                "per_week, step and persistence must be positive, received "
                f"{self.per_week}, {self.step}, {self.persistence}"
            )


@dataclass(frozen=True)
class Calibrated:
    """A threshold and how far it can be trusted.

    ``attainable``: notifications per week that the history can support, one in its whole length; a smaller budget is
    extrapolated. ``widened``: factor in ``threshold`` for the days that were not seen. ``expected``: notifications per
    week that the history itself would have made at ``threshold``.
    """

    threshold: float
    attainable: float
    widened: float
    expected: float


def calibrate(heights: npt.ArrayLike, spec: BudgetSpec) -> Calibrated:
    """The threshold of errors ``heights`` [B] at the budget ``spec``.

    Proportional to the heights, and never lower for a smaller budget.

    Where gaps leave no ``persistence`` heights in a row, each is taken for itself.

    Raises:
        UntrainableError: no height is finite.
    """
    every = np.asarray(heights, np.float64).ravel()
    line = persistent(every, spec.persistence)
    if not np.isfinite(line).any():
        line = every
    seen = int(np.isfinite(line).sum())
    if seen == 0:
        raise UntrainableError("no_errors", "a threshold needs at least one held-out window that can be scored")
    days = seen * spec.step / DAY
    # The tail looks at 60 % of the most frequent rate and at OFTEN at most: no need to count much beyond.
    enough = max(OFTEN / 0.6, 2 * spec.per_week) * days / 7
    levels, counts = _exceeded(line, spec.step, enough)
    rates = counts * 7 / days
    tail = max(
        _tail(levels, counts, rates, RARE, spec.per_week),
        float(levels[rates > max(HABIT, spec.per_week)].max(initial=0.0)),
    )
    tail = min(tail, MOST * _tail(levels, counts, rates, ORDINARY, spec.per_week))
    tail = max(tail, float(levels[-1]))  # lower ones would not make more notifications, but longer ones
    widened = widening(days)
    threshold = tail * widened
    expected = notifications(line >= threshold, spec.step) * 7 / days
    return Calibrated(threshold, 7 / days, widened, expected)


def widening(days: float) -> float:
    """How much higher a threshold must be because only so many days were seen: sqrt(1 + 1 / days).

    That is how much wider the prediction of one more day is than the spread of the days themselves, when their mean is
    known from ``days`` of them. Two for eight hours, 1.07 for a week.
    """
    return float(np.sqrt(1 + 1 / max(days, LEAST_DAYS)))


def persistent(heights: F64, persistence: int) -> F64:
    """Minimum of the last ``persistence`` heights at every instant, NaN until there are that many in a row."""
    out = heights.copy()
    for back in range(1, persistence):
        out[back:] = np.minimum(out[back:], heights[:-back])
        out[:back] = np.nan
    return out


def spans(above: Bool, step: int) -> npt.NDArray[np.intp]:
    """First and last row [K, 2] of every run of alerting samples ``above`` [B], short holes closed."""
    rows = np.flatnonzero(above)
    cut = np.flatnonzero(np.diff(rows) > _hole(step))
    return np.stack([np.append(rows[:1], rows[cut + 1]), np.append(rows[cut], rows[-1:])], axis=1)


def notifications(above: Bool, step: int) -> int:
    """Notifications that the alerting samples ``above`` [B] of a grid of ``step`` seconds make."""
    return _count(np.flatnonzero(above), step)


def laid(errors: npt.NDArray[np.floating], end: I64, step: int) -> tuple[F64, I64]:
    """Errors [B] that end at data times ``end`` [B] on the grid between the first and the last: heights and times."""
    first, last = int(end.min()), int(end.max())
    times = np.arange(first, last + 1, step, dtype=np.int64)
    heights = np.full(times.size, np.nan)
    heights[(end - first) // step] = errors
    return heights, times


def _hole(step: int) -> int:
    """Rows between two alerting samples of one notification, at most."""
    return max(1, round(max(GAP, step) / step))


def _count(rows: npt.NDArray[np.intp], step: int) -> int:
    if rows.size == 0:
        return 0
    cut = np.flatnonzero(np.diff(rows) > _hole(step))
    first, last = np.append(rows[:1], rows[cut + 1]), np.append(rows[cut], rows[-1:])
    return int((1 + ((last - first) * step + step - 1) // REPEAT).sum())


def _exceeded(line: F64, step: int, enough: float) -> tuple[F64, F64]:
    """Levels from the highest down, and how many notifications exceed each.

    They end where notifications are most frequent: below that, runs grow together. Or where they are ``enough``.
    """
    filled = np.where(np.isfinite(line), line, -np.inf)
    size = _hole(step)
    whole = filled[filled.size % size :] if filled.size >= size else filled
    peaks = -np.sort(-whole.reshape(-1, min(size, whole.size)).max(axis=1))
    peaks = peaks[np.isfinite(peaks)]
    if peaks.size < FEWEST:
        peaks = -np.sort(-line[np.isfinite(line)])
    spread = np.geomspace(1, peaks.size, LEVELS), np.linspace(1, peaks.size, LEVELS)
    levels = np.unique(peaks[np.concatenate(spread).astype(np.intp) - 1])[::-1]
    found: list[int] = []
    for level in levels:
        found.append(_count(np.flatnonzero(filled >= level), step))
        if found[-1] > enough:
            break
    counts = np.array(found, np.float64)
    most = int(counts.argmax()) + 1
    return levels[:most], np.maximum.accumulate(counts[:most])


def _tail(levels: F64, counts: F64, rates: F64, rare: float, per_week: float) -> float:
    """Level that is exceeded ``per_week`` times a week by the tail through ``levels`` exceeded ``rates`` times a week.

    It is drawn through those that are exceeded from ``rare`` to ``OFTEN`` times, where there are enough of them.
    The level of a rate is ``a + s ((often / rate)^shape - 1) / shape``: for every shape, ``a`` and ``s`` by least
    squares; the shape that fits best, drawn towards ``SHAPE``.
    """
    often = min(OFTEN, 0.6 * float(rates.max()))
    used = (rates >= min(rare, often / 2)) & (rates <= often) & (counts >= 2)
    if used.sum() < FEWEST:  # a short history, or one that never alerts often: what comes most often
        frequent = np.flatnonzero(rates <= often)
        used = np.isin(np.arange(levels.size), frequent[-2 * FEWEST :])
    if used.sum() < FEWEST:
        used = np.arange(levels.size) < max(FEWEST, 0.7 * levels.size)
    level, count, rate = levels[used], counts[used], rates[used]
    weight = np.sqrt(count) / np.sqrt(count).sum()
    top = float(rate.max())
    rarity = _stretched(top / rate[None, :], SHAPES[:, None])  # [shapes, levels]
    across = rarity - (rarity @ weight)[:, None]
    middle = float(level @ weight)
    spread = (across**2) @ weight
    slope = (across * (level - middle)) @ weight / np.maximum(spread, np.finfo(np.float64).tiny)
    slope = np.maximum(slope, 0.0)
    base = middle - slope * (rarity @ weight)
    off = level - base[:, None] - slope[:, None] * rarity
    unit = np.where(slope > 0, slope, 1.0)
    cost = count.max() * ((off / unit[:, None]) ** 2 @ weight) + SHAPE_WEIGHT * (SHAPES - SHAPE) ** 2
    best = int(cost.argmin())
    beyond = _stretched(np.array([[top / per_week]]), SHAPES[best : best + 1, None])[0, 0]
    return float(base[best] + slope[best] * beyond)


def _stretched(ratio: F64, shape: F64) -> F64:
    """(ratio^shape - 1) / shape, the logarithm for a shape of 0."""
    flat = np.abs(shape) < 1e-9
    safe = np.where(flat, 1.0, shape)
    return np.where(flat, np.log(ratio), (ratio**safe - 1) / safe)
