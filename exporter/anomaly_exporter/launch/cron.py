"""When a CronJob comes next: its five fields, read as Kubernetes reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NAMED: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
NAMES: Final = {name: i + 1 for i, name in enumerate(MONTHS)} | {name: i for i, name in enumerate(DAYS)}
FARTHEST: Final = 366 * 5
"""Days that are looked ahead: 29 February comes within."""


def next_time(schedule: str, zone: str | None, after: float) -> float | None:
    """Unix seconds of the first start later than ``after``; None for a schedule or zone that cannot be read.

    Day of month and day of week both count where both are restricted (either is enough), as cron has it.
    """
    try:
        fields = NAMED.get(schedule.strip(), schedule).split()
        if len(fields) != len(RANGES):
            return None
        minutes, hours, days, months, weekdays = (
            _values(field, *limits) for field, limits in zip(fields, RANGES, strict=True)
        )
        now = datetime.fromtimestamp(after, UTC).astimezone(ZoneInfo(zone or "Etc/UTC"))
    except (ValueError, ZoneInfoNotFoundError, OSError):
        return None
    either = "*" not in (fields[2][0], fields[4][0])
    for ahead in range(FARTHEST):
        day = now.date() + timedelta(days=ahead)
        of_month, of_week = day.day in days, (day.isoweekday() % 7) in weekdays
        if day.month not in months or not (of_month or of_week if either else of_month and of_week):
            continue
        for hour in sorted(hours):
            for minute in sorted(minutes):
                found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=now.tzinfo).timestamp()
                if found > after:
                    return found
    return None


def _values(field: str, low: int, high: int) -> set[int]:
    """The numbers of one field. Raises ValueError."""
    out: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        else:
            begin, dash, end = span.partition("-")
            first = _number(begin)
            last = _number(end) if dash else high if step else first
        # Sunday is 0 and may be written as 7.
        numbers = range(first, last + 1, int(step) if step else 1)
        out |= {0 if high == 6 and n == 7 else n for n in numbers}
    if not out or min(out) < low or max(out) > high:
        raise ValueError(f"{field!r} is not within {low}-{high}")
    return out


def _number(text: str) -> int:
    return NAMES[text.lower()] if text.lower() in NAMES else int(text)
