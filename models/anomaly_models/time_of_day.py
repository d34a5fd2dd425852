"""Local time in slots, and what is usual in a slot: statistics of the same time on the days before.

A *slot* is a piece of the local day (ten minutes, or one step of a coarser grid). Slots are numbered through: local day
times slots per day plus slot of the day. A day's *sources* are the days before it that it is compared with.
Rows are series ([R, T], time last); NaN is a sample that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from .frame import F32, I64

DAY = 86400
QUARTER = 900
"""The clocks of all time zones change at multiples of a quarter of an hour."""
EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Calendar:
    """Whose time of day it is: an IANA ``timezone``, and ISO dates of local days that are compared with each other.

    Raises:
        ValueError: an excluded day is not an ISO date.
        zoneinfo.ZoneInfoNotFoundError: there is no such time zone.
    """

    timezone: str = "UTC"
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = ZoneInfo(self.timezone), self.days

    @property
    def days(self) -> frozenset[int]:
        """The excluded days as day numbers since 1970."""
        return frozenset(date.fromisoformat(day).toordinal() - EPOCH for day in self.excluded)

    def local(self, times: I64) -> I64:
        """Seconds on the local clock since 1970 of data ``times`` (any shape): what a wall clock there would show."""
        if self.timezone == "UTC" or times.size == 0:
            return times
        first = int(times.min()) // QUARTER
        offsets = _offsets(self.timezone, first, int(times.max()) // QUARTER - first + 1)
        return times + offsets[times // QUARTER - first]

    def others(self, day: int, candidates: Sequence[int], most: int) -> list[int]:
        """The newest ``most`` of ``candidates`` (ascending) that are of the type of ``day``: excluded, or not."""
        excluded = self.days
        alike = [d for d in candidates if (d in excluded) == (day in excluded)]
        return alike[-most:]


@lru_cache(maxsize=64)
def _offsets(timezone: str, first: int, quarters: int) -> I64:
    """Seconds that local clocks are ahead of UTC in ``quarters`` quarters of an hour from ``first`` on."""
    zone = ZoneInfo(timezone)
    out = np.empty(quarters, np.int64)
    for i in range(quarters):
        ahead = datetime.fromtimestamp((first + i) * QUARTER, UTC).astimezone(zone).utcoffset()
        out[i] = int(ahead.total_seconds()) if ahead is not None else 0
    return out


@dataclass(frozen=True)
class Slots:
    """Slots of ``seconds`` of a local day; ``per_day`` of them make a day (the last may be longer)."""

    calendar: Calendar
    seconds: int

    @property
    def per_day(self) -> int:
        return max(DAY // self.seconds, 1)

    def number(self, times: I64) -> I64:
        """Number of the slot that each of ``times`` lies in."""
        day, second = np.divmod(self.calendar.local(times), DAY)
        return np.asarray(day * self.per_day + np.minimum(second // self.seconds, self.per_day - 1), np.int64)

    def between(self, times: I64) -> tuple[I64, F32]:
        """The slot whose middle is at or before each of ``times``, and how far on the way to the next middle it is."""
        day, second = np.divmod(self.calendar.local(times), DAY)
        place = np.minimum(second / self.seconds, self.per_day - 0.5) - 0.5
        below = np.floor(place)
        return np.asarray(day * self.per_day + below, np.int64), (place - below).astype(np.float32)


@dataclass(frozen=True)
class Past:
    """Which days say what is usual: the last ``keep``, at least ``fewest`` of them; the ``young`` first days of a
    history borrow from each other."""

    keep: int = 7
    fewest: int = 3
    young: int = 5


@dataclass(frozen=True)
class Days:
    """A history cut into local days: ``first`` day number, ``number`` [T] slot of every sample counted from its start.

    ``count`` days, the last of which may be incomplete; ``width``: most samples of one slot.
    """

    slots: Slots
    first: int
    count: int
    number: I64
    width: int
    place: I64

    @classmethod
    def of(cls, times: I64, step: int, slots: Slots) -> Days:
        """The days of samples at ``times`` [T], ``step`` seconds apart."""
        number = slots.number(times)
        first = int(number.min()) // slots.per_day if number.size else 0
        last = int(number.max()) // slots.per_day if number.size else 0
        width = max(-(-slots.seconds // step), 1)
        # Where clocks go back an hour comes twice: its slots keep the later samples.
        opened = np.flatnonzero(np.diff(number, prepend=number[:1] - 1))
        since = np.arange(number.size) - opened[np.searchsorted(opened, np.arange(number.size), "right") - 1]
        return cls(slots, first, last - first + 1, number - first * slots.per_day, width, since % width)

    def by_slot(self, x: F32) -> F32:
        """``x`` [R, T] sorted into [R, slots, width], NaN where a slot has fewer samples."""
        out = np.full((x.shape[0], self.count * self.slots.per_day, self.width), np.nan, np.float32)
        out[:, self.number, self.place] = x
        return out

    def sources(self, day: int, past: Past, born: int) -> list[int]:
        """Days that ``day`` is compared with, all counted from the first; ``born``: the first day with a sample.

        The last ``past.keep`` days of its type before it. Where there are fewer than ``past.fewest`` and it is one of
        the first ``past.young`` days, the others of these, later ones too: they only serve to look at old history.
        """
        calendar, first = self.slots.calendar, self.first
        found = calendar.others(first + day, range(first + born, first + min(day, self.count)), past.keep)
        young = range(born, min(born + past.young, self.count))
        if len(found) < past.fewest and day in young:
            found = calendar.others(first + day, [first + d for d in young if d != day], past.keep)
        return [d - first for d in found]


def quantiles(x: F32, shares: Sequence[float]) -> list[F32]:
    """Quantiles along the last axis of ``x`` [..., n], NaN ignored, linearly interpolated; NaN where there is none."""
    if x.shape[-1] == 0:
        return [np.full(x.shape[:-1], np.nan, np.float32) for _ in shares]
    ordered = np.sort(x, axis=-1)  # NaN last
    count = np.sum(~np.isnan(ordered), axis=-1, keepdims=True)
    last = np.maximum(count - 1, 0)
    out = []
    for share in shares:
        place = last * share
        below = place.astype(np.intp)
        low = np.take_along_axis(ordered, below, -1)
        high = np.take_along_axis(ordered, np.minimum(below + 1, last), -1)
        out.append((low + (high - low) * (place - below).astype(np.float32))[..., 0].astype(np.float32))
    return out


def mean(x: npt.NDArray[np.floating]) -> F32:
    """Mean along the last axis, NaN ignored; NaN where there is none."""
    seen = ~np.isnan(x)
    count = seen.sum(axis=-1)
    total = np.sum(x, axis=-1, where=seen, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def tables(  # noqa: PLR0917
    by_slot: F32, days: Days, shares: Sequence[float], near: int, past: Past, born: int
) -> list[F32]:
    """Quantiles of what the slots of the source days, ``near`` slots before and after included, say of every slot.

    ``by_slot`` [R, days x slots]: one number per slot of the history, the first of them on the day ``born``. Returns an
    array [R, (days + 1) x slots] per share, for the days of the history and the one after it; NaN where fewer than two
    source days have a number.
    """
    n = days.slots.per_day
    rows = by_slot.shape[0]
    padded = np.full((rows, days.count * n + 2 * near), np.nan, np.float32)
    padded[:, near : near + days.count * n] = by_slot
    out = [np.full((rows, (days.count + 1) * n), np.nan, np.float32) for _ in shares]
    for day in range(born, days.count + 1):
        sources = days.sources(day, past, born)
        if len(sources) < 2:
            continue
        parts = [padded[:, d * n + k : (d + 1) * n + k] for d in sources for k in range(2 * near + 1)]
        stacked = np.stack(parts, axis=-1)
        seen = ~np.isnan(stacked).reshape(rows, n, len(sources), 2 * near + 1)
        enough = seen.any(axis=-1).sum(axis=-1) >= 2
        for table, q in zip(out, quantiles(stacked, shares), strict=True):
            table[:, day * n : (day + 1) * n] = np.where(enough, q, np.float32(np.nan))
    return out
