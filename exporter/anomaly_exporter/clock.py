"""Data time and wall time; the only place that converts between them.

*Data time* places samples (grid, season, half-life, persistence). *Wall time* measures ourselves (deadlines, self
metrics, every ``*_timestamp_seconds``). ``wall = wall_origin + (data - data_origin) / speed``; outside demo and replay
the speed is 1 and both are Unix time.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from .config import Timing


@dataclass(frozen=True)
class Clock:
    """Times in seconds since 1970 UTC; ``speed`` is data seconds per wall second."""

    speed: float = 1.0
    wall_origin: float = 0.0
    data_origin: float = 0.0

    @classmethod
    def of(cls, timing: Timing) -> Clock:
        return cls(timing.speed, timing.wall_origin, timing.data_origin)

    def wall(self) -> float:
        """Wall time now."""
        return time.time()

    def now(self) -> float:
        """Data time now."""
        return self.to_data(self.wall())

    def to_data(self, wall: float) -> float:
        return self.data_origin + (wall - self.wall_origin) * self.speed

    def to_wall(self, data: float) -> float:
        return self.wall_origin + (data - self.data_origin) / self.speed

    def wall_duration(self, data_seconds: float) -> float:
        """Wall seconds that ``data_seconds`` take."""
        return data_seconds / self.speed

    def wait_until(self, data: float, stop: threading.Event) -> bool:
        """Wait until data time ``data`` or until ``stop`` is set; True when stopped."""
        while not stop.is_set():
            left = self.to_wall(data) - self.wall()
            if left <= 0:
                return False
            # Wake up now and then: a stepped system clock must not make one wait last for hours.
            stop.wait(min(left, 5.0))
        return True
