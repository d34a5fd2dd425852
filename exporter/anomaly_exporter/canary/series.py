"""The canary's series as a function of data time: every process and every restart continues the same one."""

from __future__ import annotations

import math

from anomaly_exporter.config.canary import LEVEL, SPIKE, WAVE, Canary


def injected_at(canary: Canary, at: float) -> int:
    """When the newest spike began that has begun at data time ``at``: a multiple of ``every``."""
    return math.floor(at / canary.every) * canary.every


def value_at(canary: Canary, at: float) -> float:
    """The value at data time ``at``: a wave of one period per spike, and the spike in its first ``length`` steps."""
    since = at - injected_at(canary, at)
    wave = LEVEL + WAVE * math.sin(2 * math.pi * since / canary.every)
    return wave + SPIKE if since < canary.spike_seconds else wave
