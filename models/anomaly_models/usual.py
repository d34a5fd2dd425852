"""A history seen with the eyes of each of its moments: what was usual when a sample came, and how far it deviated.

Profile, band and the usual size at a time of the day come from the days before; the usual size of the last day and of
the last month change once a *period*. Periods are counted back from the end of the history, so that a history that
ends whole periods earlier sees the samples they share alike. That is what makes a walk over years cost no more than
one look at them: see ``History.settled``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import deviations
from .deviations import KINDS, NAN, UNITS
from .ensemble_spec import UsualSpec
from .frame import F32, I64, Bool
from .time_of_day import DAY, Days, mean, quantiles, tables

F64 = npt.NDArray[np.float64]
TABLES = 3 + UNITS
"""Tables: profile, lower and upper edge, and the four units at a time of the day."""


@dataclass(frozen=True)
class History:
    """T samples of R series and what was usual at each.

    ``x`` [R, T]: the bridged samples; ``residual`` [R, T]: what the profile leaves of the observed ones, in units, with
    sign and bounds; ``heights`` [6, R, T] in the order of ``FEATURE_MEMBERS``, NaN where there is none. ``tables``
    [7, R, (days + 1) x slots] from the first slot of ``days`` on, finite. ``base`` [4, R, periods + 1]: the part of
    every unit that does not depend on the time of the day, per period; the last column is that of the period after the
    history. ``per``: samples of a period, ``lead``: samples that the first, incomplete period lacks. ``settled`` [R]:
    first row from which on later samples change nothing any more. ``seen`` [R]: the series has a sample at all.
    """

    start: int
    step: int
    days: Days
    x: F32
    residual: F32
    heights: F32
    tables: F32
    base: F32
    per: int
    lead: int
    settled: I64
    seen: Bool


def look(  # noqa: PLR0917
    x: F32, valid: Bool, start: int, step: int, period: int, spec: UsualSpec
) -> History:
    """The history of bridged ``x`` [R, T] whose first sample is that of data time ``start``."""
    R, T = x.shape
    times = start + step * np.arange(T, dtype=np.int64)
    days = Days.of(times, step, spec.slots(step))
    seen: Bool = np.asarray(valid.any(axis=1))
    first = np.where(seen, valid.argmax(axis=1), 0)
    observed = np.where(valid, x, np.float32(np.nan))
    young = _young(observed, first, max(spec.young // step, 1))
    level = np.nan_to_num(quantiles(young, (0.5,))[0])
    born = days.number[first] // days.slots.per_day if T else first

    slot_level = quantiles(days.by_slot(observed), (0.5,))[0]
    shares = (0.5, spec.lower, spec.upper)
    profile, lower, upper = _by_birth(slot_level, days, shares, spec.near_value, spec, born, np.stack([level] * 3))
    below, share = _between(days, times)
    expected, low, high = (at(t, below, share) for t in (profile, lower, upper))
    residual = x - expected
    observed_residual = np.where(valid, residual, NAN)
    raw = [
        deviations.difference(x, T),
        deviations.difference(residual, T),
        deviations.level(observed_residual, T, step, spec),
        observed_residual,
    ]

    per = max(period // step, 1)
    lead = -T % per
    age = _age(first, T, per, lead)
    spread = _spread(observed - level[:, None], level, young, per, lead, age, step, spec)
    found = [profile, lower, upper]
    base = np.empty((UNITS, R, (T + lead) // per + 1), np.float32)
    heights = np.empty((KINDS, R, T), np.float32)
    period_of = (np.arange(T) + lead) // per
    unit = np.empty(x.shape, np.float32)
    for kind, deviation in enumerate(raw):
        size = np.where(valid, np.abs(deviation), NAN)
        ever, recent, capped, early = _sizes(size, first, per, lead, age, step, spec)
        (table,) = _by_birth(mean(days.by_slot(capped)), days, (0.5,), spec.near_scale, spec, born, early[None])
        found.append(table)
        base[kind] = spec.recent * recent + spec.ever * ever + spec.spread * spread
        unit = spec.same_time * at(table, below, share) + base[kind][:, period_of]
        heights[kind] = deviations.in_units(size, unit, spec)
    in_units = deviations.bounded(observed_residual, unit, spec)
    outside = deviations.outside(x, low, high)
    heights[3] = np.where(valid, deviations.in_units(outside, unit, spec), NAN)
    heights[4] = deviations.shift(in_units, T, step, spec)
    heights[5] = deviations.variation(heights[0], T, spec)
    return History(
        start=start,
        step=step,
        days=days,
        x=x,
        residual=in_units,
        heights=heights,
        tables=np.stack(found),
        base=base,
        per=per,
        lead=lead,
        settled=np.where(seen, _settled(first, born, days, step, spec), 0),
        seen=seen,
    )


def at(table: F32, below: I64, share: F32) -> F32:
    """``table`` [R, slots] between its slots ``below`` [T] and the next ones, ``share`` [T] on the way: [R, T]."""
    last = table.shape[1] - 1
    low, high = np.clip(below, 0, last), np.clip(below + 1, 0, last)
    return np.asarray(table[:, low] * (1 - share) + table[:, high] * share, np.float32)


def _between(days: Days, times: I64) -> tuple[I64, F32]:
    below, share = days.slots.between(times)
    return below - days.first * days.slots.per_day, share


def _young(x: F32, first: npt.NDArray[np.intp], length: int) -> F32:
    """The first ``length`` samples of every row from its ``first`` on, [R, length], NaN beyond the end."""
    index = first[:, None] + np.arange(min(length, x.shape[1]))
    inside = index < x.shape[1]
    return np.where(inside, np.take_along_axis(x, np.where(inside, index, 0), 1), np.float32(np.nan))


def _by_birth(  # noqa: PLR0917
    by_slot: F32, days: Days, shares: tuple[float, ...], near: int, spec: UsualSpec, born: I64, default: F32
) -> list[F32]:
    """``tables`` of series whose histories began on different days; ``default`` [shares, R] where nothing is known."""
    out = [np.repeat(d[:, None], (days.count + 1) * days.slots.per_day, axis=1).astype(np.float32) for d in default]
    for day in np.unique(born):
        rows = np.flatnonzero(born == day)
        for table, part in zip(out, tables(by_slot[rows], days, shares, near, spec.past, int(day)), strict=True):
            table[rows] = np.where(np.isnan(part), table[rows], part)
    return out


def _age(first: npt.NDArray[np.intp], T: int, per: int, lead: int) -> I64:
    """Periods since the one of the first sample, [R, periods + 1]."""
    periods = np.arange((T + lead) // per + 1)
    return np.asarray(periods[None, :] - (first[:, None] + lead) // per, np.int64)


def _blocks(x: F32, per: int, lead: int) -> F32:
    """``x`` [R, T] cut into periods: [R, periods, per]."""
    padded = np.concatenate([np.full((x.shape[0], lead), np.nan, np.float32), x], axis=1)
    return padded.reshape(x.shape[0], -1, per)


def _window_sum(cumulated: F64, width: int) -> F64:
    """Sums over the ``width`` periods before each, [R, P + 1], of sums ``cumulated`` [R, P + 1] from the first on."""
    before = np.maximum(np.arange(cumulated.shape[1]) - width, 0)
    return cumulated - cumulated[:, before]


def _cumulated(x: npt.NDArray[np.floating]) -> F64:
    return np.concatenate([np.zeros((x.shape[0], 1)), np.cumsum(x, axis=1, dtype=np.float64)], axis=1)


def _spread(  # noqa: PLR0917
    x: F32, level: F32, young: F32, per: int, lead: int, age: I64, step: int, spec: UsualSpec
) -> F32:
    """Standard deviation of the last ``memory`` seconds before every period, [R, periods + 1].

    Of a history's first days until it is ``settled``. A constant has a twentieth of its level, or 1.
    """
    blocks = _blocks(x, per, lead)
    seen = ~np.isnan(blocks)
    width = max(spec.memory // (per * step), 1)
    filled = np.where(seen, blocks, 0).astype(np.float64)
    count, first, second = (
        _window_sum(_cumulated(part), width)
        for part in (seen.sum(axis=2), filled.sum(axis=2), (filled * filled).sum(axis=2))
    )
    centred = first / np.maximum(count, 1)
    deviation = np.sqrt(np.maximum(second / np.maximum(count, 1) - centred**2, 0))
    shifted = young.astype(np.float64) - level[:, None]
    early = np.sqrt(np.nan_to_num(mean(shifted**2).astype(np.float64) - mean(shifted).astype(np.float64) ** 2).clip(0))
    old = (age * per * step >= spec.settled) & (count > 0)
    out = np.where(old, deviation, early[:, None])
    fallback = np.where(level != 0, 0.05 * np.abs(level), 1.0)[:, None]
    return np.where(out > 1e-6 * np.abs(level)[:, None], out, fallback).astype(np.float32)


def _sizes(  # noqa: PLR0917
    size: F32, first: npt.NDArray[np.intp], per: int, lead: int, age: I64, step: int, spec: UsualSpec
) -> tuple[F32, F32, F32, F32]:
    """Mean ``size`` [R, T] over ``memory`` and over a day before every period, [R, periods + 1]; the capped sizes
    [R, T]; the mean [R] of a history's first days, which stands in until it is ``settled``."""
    R = size.shape[0]
    young = _young(size, first, max(spec.young // step, 1))
    early = np.nan_to_num(mean(np.minimum(young, quantiles(young, (spec.cap_share,))[0][:, None])))
    blocks = _blocks(size, per, lead)
    periods = blocks.shape[1]
    month, day = max(spec.memory // (per * step), 1), max(DAY // (per * step), 1)
    least = max(3, DAY // step // 24)
    total, count = np.zeros((R, periods + 1)), np.zeros((R, periods + 1))
    ever, recent = np.empty((R, periods + 1)), np.empty((R, periods + 1))
    old = age * per * step >= spec.settled
    capped = np.empty_like(blocks)
    for p in range(periods + 1):
        since, lately = max(p - month, 0), max(p - day, 0)
        known = count[:, p] - count[:, since]
        average = (total[:, p] - total[:, since]) / np.maximum(known, 1)
        ever[:, p] = np.where(old[:, p] & (known > 0), average, early)
        known = count[:, p] - count[:, lately]
        recent[:, p] = np.where(known >= least, (total[:, p] - total[:, lately]) / np.maximum(known, 1), ever[:, p])
        if p < periods:
            capped[:, p] = np.minimum(blocks[:, p], (spec.cap * ever[:, p] + 1e-12)[:, None])
            seen = ~np.isnan(capped[:, p])
            total[:, p + 1] = total[:, p] + np.sum(capped[:, p], axis=1, where=seen, dtype=np.float64)
            count[:, p + 1] = count[:, p] + seen.sum(axis=1)
    flat = capped.reshape(R, -1)[:, lead:]
    return ever.astype(np.float32), recent.astype(np.float32), flat, early.astype(np.float32)


def _settled(first: npt.NDArray[np.intp], born: I64, days: Days, step: int, spec: UsualSpec) -> I64:
    """First row [R] at which a history is not young any more; beyond the end where it still is."""
    by_age = first + spec.young // step + 1
    grown = np.searchsorted(days.number // days.slots.per_day, born + spec.past.young)
    return np.asarray(np.where(grown < days.number.size, np.maximum(by_age, grown), days.number.size + 1), np.int64)
