"""No launcher: somebody else runs the trainings, and only their results are seen."""

from __future__ import annotations

from dataclasses import replace

from anomaly_exporter.config import Config, Overrides
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TrainingStatus

from .interface import LauncherRefusedError, begin, publish


class IdleLauncher:
    """Knows when models were trained and refuses every request."""

    def __init__(self, config: Config, metrics: SelfMetrics) -> None:
        self._metrics = metrics
        self._status: dict[str, TrainingStatus] = {}
        begin(metrics)
        self.reconfigure(config)

    def start(self) -> None:
        """Nothing begins."""

    def stop(self) -> None:
        """Nothing ends."""

    def reconfigure(self, config: Config) -> None:
        self._config = config
        self._status = {t.name: self._status.get(t.name, TrainingStatus()) for t in config.targets}
        publish(config, self._status, self._metrics)

    def observe(self, snapshot: Snapshot) -> None:
        for view in snapshot.views:
            if view.target in self._status and view.trained_at is not None:
                self._status[view.target] = replace(
                    self._status[view.target], state="succeeded", succeeded_at=view.trained_at
                )
        publish(self._config, self._status, self._metrics)

    def status(self) -> dict[str, TrainingStatus]:
        return dict(self._status)

    def train(self, target: str | None, overrides: Overrides | None = None) -> bool:
        raise self._refused()

    def suspend(self, target: str | None) -> None:
        raise self._refused()

    def resume(self, target: str | None) -> None:
        raise self._refused()

    def cancel(self, target: str | None) -> bool:
        raise self._refused()

    def _refused(self) -> LauncherRefusedError:
        return LauncherRefusedError("launcher.kind is none: whoever runs `anomaly-exporter train` must be asked")
