"""What the demo shows: which cluster, which hours, which configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_exporter.workload import CPU_METRIC, MEMORY_METRIC, SERVICES

from .feeds import I64
from .stand import Ends

DAY = 86_400


@dataclass(frozen=True)
class Scenario:
    """Data time in seconds throughout; ``speed`` is data seconds per wall second.

    The live part begins at ``start``, a Thursday at 22:30 UTC: the load has fallen, so the incident later that night
    stays far below the level of any afternoon, and far outside what the night expects, however fast the machine
    trains. No service has a burst of load in the hours before it: `auto` sees single samples, and would mail them. The
    defaults are one fixed story: the same seed, the same models.
    """

    seed: int = 7
    step: int = 120
    speed: float = 120.0
    start: int = 1_800_570_600
    history: int = 14 * DAY
    every: int = 2 * 3600
    quiet: int = 30 * 60
    incident: int = 60 * 60
    service: tuple[str, str] = ("crab", "crabserver")
    recipe: str = "auto"
    base: str = "budget"

    @property
    def birth(self) -> int:
        """Where the history begins."""
        return self.start - self.history

    @property
    def past(self) -> I64:
        """Instants to backfill, up to and including the first live one."""
        return np.arange(self.birth, self.start + 1, self.step, dtype=np.int64)

    def document(self, ends: Ends) -> dict[str, Any]:
        """The exporter's configuration where Prometheus is the source."""
        routes = [{"tag": tag, "emails": [address(tag)]} for tag in sorted({s.namespace for s in SERVICES})]
        return {
            "prometheus": {"url": ends.prometheus_url, "timeout": "20s"},
            # Silence the demo's alert with the word expected in the comment, and it becomes feedback.
            "feedback": {"alertmanager": {"url": ends.alertmanager_url}, "every": 2},
            **self._common(),
            "routing": {
                "routes": routes,
                "smtp": smtp(ends),
            },
        }

    def embedded(self, incident_file: Path) -> dict[str, Any]:
        """The exporter's configuration where it reads the simulator itself."""
        simulator = {"seed": self.seed, "origin": self.birth, "incident_file": str(incident_file)}
        return {"simulator": simulator, **self._common()}

    def _common(self) -> dict[str, Any]:
        services = "|".join(sorted({s.container for s in SERVICES}))
        selector = f'{{phase="Running",container=~"{services}"}}'
        return {
            # A small model for a small machine: 10,080 instants, every tenth window, few passes.
            "models": {self.recipe: {"recipe": self.recipe, "stride": 10, "epochs": 8, "patience": 3}},
            "threshold": {"base": self.base},
            "training": {"history": f"{self.history}s", "min_history": "1d", "every": f"{self.every}s"},
            # The incident is an hour of steady load: the story is its alert, not that it becomes a new normal.
            "regime": {"enabled": False},
            "targets": [
                self._target("kube-eagle-cpu", "cpu", "cores", f"{CPU_METRIC}{selector}"),
                self._target("kube-eagle-memory", "memory", "bytes", f"{MEMORY_METRIC}{selector}"),
            ],
        }

    def _target(self, name: str, metric: str, unit: str, expr: str) -> dict[str, Any]:
        return {
            "name": name,
            "metric": metric,
            "unit": unit,
            "step": f"{self.step}s",
            "delay": f"{self.step // 2}s",
            "zero_gap": 2,
            "models": [self.recipe],
            "queries": [{"name": metric, "expr": expr}],
        }


def address(tag: str) -> str:
    """Where the team of ``tag`` gets its mail."""
    return f"{tag}-team@demo.example"


def smtp(ends: Ends) -> dict[str, Any]:
    """The section of the mail server: the demo's mailbox."""
    return {"smarthost": f"127.0.0.1:{ends.smtp_port}", "sender": "anomaly-exporter@demo.example", "require_tls": False}
