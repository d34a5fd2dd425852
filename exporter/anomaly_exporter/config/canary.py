"""A series of our own with an anomaly on a schedule: proof that the way from a sample to a notification is whole."""

from __future__ import annotations

from typing import Any, Final, Self

from pydantic import Field, model_validator

from .base import Name, PositiveSeconds, Seconds, Section
from .routes import Url

CANARY_TAG: Final = "anomaly-exporter-canary"
"""Label ``tag`` of the canary's series and alert; whatever counts or aggregates series leaves it out."""
CANARY_TARGET: Final = "canary"
"""Name and label ``metric`` of the canary's target."""
VALUE: Final = "anomaly_exporter_canary_value"

LEVEL: Final = 100.0
WAVE: Final = 10.0
SPIKE: Final = 100.0
"""The series is ``LEVEL`` with a wave of amplitude ``WAVE``; a spike adds ``SPIKE``."""

SHORTEST: Final = 5
"""Steps that a spike must last for persistence, two evaluations and a late cycle."""
PARTS: Final = 8
"""A spike takes at most this part of its period: what is learned from is mostly quiet."""
FLOOR, CEILING = 2.0, 3.0
"""Bounds of the threshold in scaler units, of which the wave has about 1 and the spike 9: whatever part of the series
was learned from, spikes or a flat piece of the wave, the one is found and the other is not."""
FIRST, HISTORY, RETRAIN = 2, 8, 4
"""Periods of history for the first training, for any training, and between two trainings."""


class Canary(Section):
    """Needs `prometheus`, which must scrape the exporter at least once per `step`."""

    enabled: bool = False
    """Expose the canary's series, watch it, and say when its alert arrived."""
    name: Name = "canary"
    """Tells installations apart that one Prometheus scrapes: each watches the canary of its own name."""
    every: PositiveSeconds = 3600
    """From one spike to the next."""
    length: int = Field(6, ge=SHORTEST)
    """Steps that a spike lasts; at most an eighth of `every`."""
    step: PositiveSeconds = 60
    """Distance of two samples that are scored."""
    delay: Seconds = 60
    """How long after an instant its samples are complete: scrape interval and more."""
    webhook_url: Url | None = None
    """Where Alertmanager reports the canary's alert: `http://<exporter>:8345/-/canary`. Without it nobody is told."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.every % self.step:
            raise ValueError(f"every must be a multiple of step ({self.step} s), received {self.every} s")
        if PARTS * self.length * self.step > self.every:
            raise ValueError(
                f"a spike may last at most an eighth of every ({self.every} s),"
                f" received length {self.length} x step {self.step} s"
            )
        return self

    @property
    def spike_seconds(self) -> int:
        """Data time that a spike lasts."""
        return self.length * self.step


def canary_target(canary: Canary) -> dict[str, Any]:
    """The target that watches the canary, as it would be written in the file.

    It is a target like any other, with the simplest model and a threshold that its history cannot spoil.
    """
    return {
        "name": CANARY_TARGET,
        "metric": CANARY_TARGET,
        "queries": [{"expr": f'{VALUE}{{canary="{canary.name}"}}'}],
        "labels": ["canary"],
        # Replicas expose the same series at slightly different times.
        "aggregation": "max",
        "step": canary.step,
        "delay": canary.delay,
        "models": ["zscore"],
        "tag": CANARY_TAG,
        "training": {
            "history": HISTORY * canary.every,
            "min_history": FIRST * canary.every,
            "every": RETRAIN * canary.every,
            "contamination": 0,
            "scope": "own",
        },
        "gate": {"enabled": False},  # its history is anomalous on purpose
        "threshold": {"base": "mad", "floor": FLOOR, "ceiling": CEILING},
        "alerting": {"persistence": 2, "clear_after": 2, "minimum_deviation": SPIKE / 2},
    }
