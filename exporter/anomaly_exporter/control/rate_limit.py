"""Token buckets per key, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

MOST_KEYS: Final = 2000


class RateLimit:
    """Lets ``burst`` requests of a key pass at once, and ``per_minute`` in the long run."""

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Take one request of ``key``: 0, or the seconds after which the next one may come; then nothing is taken."""
        now = self._clock()
        with self._lock:
            left, at = self._buckets.pop(key, (self._burst, now))
            left = min(left + (now - at) * self._per_second, self._burst)
            wait = 0.0 if left >= 1 else (1 - left) / self._per_second
            self._buckets[key] = (left if wait else left - 1, now)
            # The one that was quiet longest is forgotten; its bucket is the fullest.
            while len(self._buckets) > MOST_KEYS:
                self._buckets.popitem(last=False)
        return wait
