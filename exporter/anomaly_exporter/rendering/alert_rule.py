"""One rule of a rule file as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .durations import wall

Severity = Literal["warning", "critical", "none", "info"]
"""``info`` only where nobody must act: kube-prometheus-stack mutes it while no warning of the namespace stands.
``none`` is the watchdog's."""


@dataclass(frozen=True)
class RecordingRule:
    """A series that Prometheus computes: ``name`` is ``level:metric:operations``."""

    name: str
    expression: str

    def document(self, speed: float) -> dict[str, Any]:
        """The rule as Prometheus reads it; the speed is already in the expression."""
        return {"record": self.name, "expr": self.expression}


@dataclass(frozen=True)
class AlertRule:
    """``after`` is how long the expression must hold, ``keep`` how long the alert outlives it; both in data seconds."""

    name: str
    expression: str
    after: float
    summary: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    keep: float = 0
    severity: Severity = "warning"

    def document(self, speed: float) -> dict[str, Any]:
        """The rule as Prometheus reads it; durations are wall time."""
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expression, "for": wall(self.after, speed)}
        if self.keep:
            rule["keep_firing_for"] = wall(self.keep, speed)
        rule["labels"] = {"alert": self.name, "severity": self.severity, **self.labels}
        rule["annotations"] = {"summary": self.summary, **self.annotations}
        return rule


Rule = RecordingRule | AlertRule
