"""Durations as Prometheus and Alertmanager write them, divided by the speed of a compressed clock."""

from __future__ import annotations

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))


def wall(seconds: float, speed: float = 1.0) -> str:
    """``seconds`` of data time as a wall duration: ``wall(600)`` is ``10m``, ``wall(600, 1000)`` is ``600ms``.

    Whole milliseconds, at least one: both programs refuse a zero where they need an interval. Zero stays ``0s``.
    """
    if seconds == 0:
        return "0s"
    rest = max(1, round(seconds * 1000 / speed))
    out = ""
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            out += f"{count}{unit}"
    return out


def number(seconds: float, speed: float = 1.0) -> str:
    """``seconds`` of data time as a PromQL number of wall seconds, never in scientific notation."""
    return f"{seconds / speed:.3f}".rstrip("0").rstrip(".")
