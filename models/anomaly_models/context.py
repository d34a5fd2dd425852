"""What a period needs to know of all that was before it: tables of the day, units, lines, guards, habits.

A context is a pure function of the samples (and autoencoder errors) before the period begins. Trainers draw it and
store it beside the weights, serving applies it to the newest window; evaluation draws it again for every period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from . import opinion
from .calibration import Line, block_maxima, block_samples
from .deviations import KINDS, UNITS
from .ensemble_spec import EnsembleSpec, GuardSpec, RecurrenceSpec
from .frame import F32, I64
from .lessons import Lessons
from .likeness import Likeness
from .opinion import Lines
from .time_of_day import DAY, Days, Slots, quantiles
from .usual import TABLES

NAN = np.float32(np.nan)
SILENT = 1e6
"""Decades off for a history too short for an opinion."""


@dataclass(frozen=True)
class Context(Likeness):
    """What is known at the beginning of a period, of S entities with F features; float32, finite.

    The fields of ``Likeness``, and: ``clock`` [S, 2]: data time as days and seconds of the day. ``tables``
    [S, 7, F, L]: profile, band edges and units of the slots from ``origin`` [S, 1] on, a day and some hours before.
    ``base`` [S, P, 4, F]: the other part of the units, of the periods before and this one. ``feature_lines``
    [S, 6, F, 3], ``member_lines`` [S, 10, 3], ``final_line`` [S, 3]. ``guard`` [S, 10]: decades off each member.
    ``habit`` [S, H]: decades off by time of the day, slots from ``habit_origin`` [S, 1] on. ``widen`` [S, 1]: decades
    off for a short history, ``SILENT`` for one too short for an opinion. ``seen`` [S, F]: 1 where the feature ever had
    a sample.
    """

    clock: F32
    origin: F32
    tables: F32
    base: F32
    feature_lines: F32
    member_lines: F32
    final_line: F32
    guard: F32
    habit_origin: F32
    habit: F32
    widen: F32
    seen: F32

    def take(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Context:
        """The entities at ``rows``, in that order."""
        at = np.asarray(rows, np.intp)
        return Context(**{name: tensor[at] for name, tensor in self.tensors().items()})

    @classmethod
    def joined(cls, parts: Sequence[Context]) -> Context:
        """The entities of all ``parts``, one after the other."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})

    def tensors(self) -> dict[str, F32]:
        """By field name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def lines(self) -> Lines:
        """The lines that heights are read by."""
        return Lines(Line.of(self.feature_lines), Line.of(self.member_lines), Line.of(self.final_line))

    @property
    def time(self) -> I64:
        """Data time at which each context begins, [S]."""
        return np.rint(self.clock[:, 0]).astype(np.int64) * DAY + np.rint(self.clock[:, 1]).astype(np.int64)


def lead_slots(step: int, spec: EnsembleSpec) -> int:
    """Slots before its beginning that a context tells of: what the oldest sample of a window needs."""
    return -(-spec.usual.reach(step) * step // spec.usual.slots(step).seconds) + 2


def base_periods(step: int, spec: EnsembleSpec) -> int:
    """Periods, the one that begins included, that the samples of a window lie in."""
    return 1 + -(-spec.usual.reach(step) // max(spec.period // step, 1))


def draw(lessons: Lessons, error: F32, rows: int) -> Context:
    """The context at the row ``rows`` of the history of ``lessons``; ``error`` [S, T] of the autoencoder.

    ``rows`` must be a whole number of periods before the history's end, and either that end itself or not before
    ``history.settled``: then nothing after ``rows`` plays a part.
    """
    history, F, spec = lessons.history, lessons.features, lessons.spec
    step, days = history.step, history.days
    S = error.shape[0]
    since = max(rows - max(spec.memory // step, 1), 0)
    heights = history.heights[:, :, since:rows].reshape(KINDS, S, F, rows - since).transpose(1, 0, 2, 3)
    size = block_samples(rows - since, step, spec.member)
    feature_lines = opinion.draw(heights, size, step, spec.member)
    learned, unlikeness = lessons.at(rows, since)
    whole = np.concatenate([error[:, None, since:rows], unlikeness], axis=1)
    stand, _ = opinion.member_heights(heights, whole, feature_lines, spec)
    member_lines = opinion.draw(stand, size, step, spec.member)
    rarity = member_lines.decades(stand, spec.member)
    guard = _guard(rarity, step, spec.guard)
    combined = opinion.combine(rarity, spec)
    slots = Slots(spec.usual.calendar, max(spec.recurrence.slot, step))
    end = history.start + rows * step
    times = history.start + step * np.arange(since, rows, dtype=np.int64)
    habit_days = Days.of(times, step, slots)
    habits = _habits(combined, habit_days, spec.recurrence, slots.seconds)
    combined = combined - habits[:, habit_days.number]
    final = opinion.final_heights(combined)
    final_line = opinion.draw(final, block_samples(rows - since, step, spec.final), step, spec.final)

    period = (rows + history.lead) // history.per
    origin = int(days.slots.number(np.array([end]))[0]) - lead_slots(step, spec)
    length = days.slots.per_day + lead_slots(step, spec) + 2
    index = np.clip(origin - days.first * days.slots.per_day + np.arange(length), 0, history.tables.shape[2] - 1)
    habit_origin = int(slots.number(np.array([end]))[0])
    habit_index = habit_origin - habit_days.first * slots.per_day + np.arange(slots.per_day)
    habit_index = np.clip(habit_index, 0, habits.shape[1] - 1)
    seconds = np.sum(~np.isnan(stand).all(axis=1), axis=1) * float(step)
    widen = spec.widen * np.maximum(np.log10(spec.enough / np.maximum(seconds, step)), 0)
    widen = np.where(seconds < spec.least, SILENT, widen)
    recent = np.maximum(period + np.arange(1 - base_periods(step, spec), 1), 0)
    base = history.base[:, :, recent].reshape(UNITS, S, F, recent.size)
    return Context(
        clock=np.tile(np.array([end // DAY, end % DAY], np.float32), (S, 1)),
        origin=np.full((S, 1), origin, np.float32),
        tables=np.ascontiguousarray(history.tables[:, :, index].reshape(TABLES, S, F, length).transpose(1, 0, 2, 3)),
        base=np.ascontiguousarray(base.transpose(1, 3, 0, 2)),
        feature_lines=feature_lines.stacked(),
        member_lines=member_lines.stacked(),
        final_line=final_line.stacked(),
        guard=guard,
        habit_origin=np.full((S, 1), habit_origin, np.float32),
        habit=np.ascontiguousarray(habits[:, habit_index]),
        widen=widen[:, None].astype(np.float32),
        seen=history.seen.reshape(S, F).astype(np.float32),
        **{f.name: getattr(learned, f.name) for f in fields(learned)},
    )


def _guard(rarity: F32, step: int, spec: GuardSpec) -> F32:
    """Decades [S, M] by which the last days were louder than the whole of ``rarity`` [S, M, T]."""
    size = max(round(spec.block / step), 1)
    maxima = np.maximum(block_maxima(rarity, size), np.float32(spec.lowest))
    lately = max(round(spec.days * DAY / (size * step)), 12)
    (all_of_it,) = quantiles(maxima, (spec.share,))
    (newest,) = quantiles(maxima[..., -lately:], (spec.share,))
    louder = np.nan_to_num(newest - all_of_it - np.float32(spec.dead))
    return np.asarray(np.clip(louder, 0, spec.most), np.float32)


def _habits(combined: F32, days: Days, spec: RecurrenceSpec, slot: int) -> F32:
    """Decades off at every slot of ``days`` and the day after, [S, slots], for what ``combined`` [S, T] repeats."""
    n, reach = days.slots.per_day, max(round(spec.reach / slot), 1)
    S = combined.shape[0]
    highest = np.full((S, days.count * n + 2 * reach), -np.inf, np.float32)
    by_slot = days.by_slot(combined)
    highest[:, reach:-reach] = np.fmax.reduce(by_slot, axis=-1, initial=np.float32(-4))
    near = np.max([highest[:, k : k + days.count * n] for k in range(2 * reach + 1)], axis=0)
    out = np.zeros((S, (days.count + 1) * n), np.float32)
    for day in range(spec.times, days.count + 1):
        past = days.slots.calendar.others(
            days.first + day, range(max(days.first, days.first + day - spec.keep - 2), days.first + day), spec.keep
        )
        if len(past) < spec.times:
            continue
        stacked = np.stack([near[:, (d - days.first) * n : (d - days.first + 1) * n] for d in past])
        nth = -np.partition(-stacked, spec.times - 1, axis=0)[spec.times - 1]
        out[:, day * n : (day + 1) * n] = spec.share * np.clip(nth - spec.least, 0, spec.most)
    return out
