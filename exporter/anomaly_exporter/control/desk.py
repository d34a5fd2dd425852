"""What control can reach of the running exporter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, Target
from anomaly_exporter.feedback import Feedback
from anomaly_exporter.generations import Generations
from anomaly_exporter.launch import Launcher
from anomaly_exporter.snapshot import Snapshot


@dataclass(frozen=True)
class Desk:
    """``config`` and ``snapshot`` give the newest; the snapshot is None when none may be shown any more."""

    config: Callable[[], Config]
    snapshot: Callable[[], Snapshot | None]
    launcher: Launcher
    generations: Generations
    feedback: Feedback
    clock: Clock

    def targets(self) -> tuple[Target, ...]:
        """The targets that were asked for; the canary's is nobody's business."""
        return self.config().watched

    def target(self, name: str) -> Target | None:
        """The target called ``name``."""
        return next((target for target in self.targets() if target.name == name), None)
