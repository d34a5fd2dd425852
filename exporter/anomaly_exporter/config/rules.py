"""Which alerts are rendered on top of the ones that always are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import PositiveSeconds, Seconds, Section


class SeverityStep(Section):
    score: Annotated[float, Field(ge=1)]
    """The alert fires when the score is at least this, ..."""
    after: PositiveSeconds
    """... for most of this long, and for the last fifth of it without a break."""
    severity: Literal["warning", "critical"] = "critical"
    """Static label of the rule; never info, which kube-prometheus-stack mutes."""


class Rules(Section):
    """Rendered into Prometheus' rules by `anomaly-exporter render rules`."""

    workload_at: int = Field(2, ge=2)
    """So many metrics of one workload that depart at once are one alert about the workload."""
    namespace_at: int = Field(5, ge=2)
    """So many workloads of one namespace that depart at once are one alert about the namespace."""
    drop_to_zero: bool = True
    """Alert when a series is exactly 0 although the expected band is clearly above; needs `exposition.values`."""
    leak_within: Seconds = 86_400
    """Alert when a resource that grows steadily will reach its limit within this time; 0 switches it off."""
    severity_steps: tuple[SeverityStep, ...] = ()
    """A rule of its own per step, by score and duration. Without steps everything is a warning."""
