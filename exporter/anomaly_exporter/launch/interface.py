"""What every launcher can do, and how it fails.

Errors, named by the reader's next move:

* ``LauncherError``
    * ``LauncherConfigError``         it cannot work as it is set up: change the configuration or the installation
    * ``LauncherRefusedError``        the request makes no sense, or is forbidden: change it, or the rights
    * ``LauncherUnavailableError``    nobody answers now: try again
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from anomaly_exporter.config import CANARY_TAG, Config, Overrides
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TrainingStatus

NOTHING_TRAINABLE: Final = 4
STOPPED: Final = 130
MEANINGS: Final[Mapping[int, str]] = {
    2: "the configuration is refused",
    3: "the source cannot be reached",
    NOTHING_TRAINABLE: "nothing can be trained yet",
    5: "the store cannot be written",
}
"""What exit codes of `anomaly-exporter train` say."""


class LauncherError(Exception):
    """Base of what can go wrong with a launcher."""


class LauncherConfigError(LauncherError):
    """The launcher cannot work as it is set up."""


class LauncherRefusedError(LauncherError):
    """The request is refused and will be again."""


class LauncherUnavailableError(LauncherError):
    """Whoever runs the trainings does not answer now."""


class Launcher(Protocol):
    """Starts trainings or follows those that others start.

    Requests name a target, or None for all of them, and return at once; what came of them shows in :meth:`status`.
    A training that is ended loses nothing: what it put in force stays, and history that was read is kept.
    """

    def start(self) -> None:
        """Begin to work."""
        ...

    def stop(self) -> None:
        """End within a deadline, with all that runs in this process. Idempotent."""
        ...

    def reconfigure(self, config: Config) -> None:
        """Go on with the targets of ``config``."""
        ...

    def observe(self, snapshot: Snapshot) -> None:
        """Learn from a cycle which targets have models, and since when."""
        ...

    def status(self) -> dict[str, TrainingStatus]:
        """How the training of every target is doing."""
        ...

    def train(self, target: str | None, overrides: Overrides | None = None) -> bool:
        """Train as soon as possible, this once with ``overrides``; whether something new was asked for.

        A training that runs, or is asked for already, goes on instead. Raises LauncherError.
        """
        ...

    def suspend(self, target: str | None) -> None:
        """End what runs and keep it from running until it is resumed. Raises LauncherError."""
        ...

    def resume(self, target: str | None) -> None:
        """Let what was suspended run, again from its beginning. Raises LauncherError."""
        ...

    def cancel(self, target: str | None) -> bool:
        """End what runs and drop what was asked for; whether there was anything. Raises LauncherError."""
        ...


def known(target: str | None, config: Config) -> tuple[str, ...]:
    """The names that a request is about. Raises LauncherRefusedError for a target that is not configured."""
    names = tuple(t.name for t in config.targets)
    if target is None:
        return names
    if target not in names:
        raise LauncherRefusedError(f"target {target!r} is not configured, known are {', '.join(names)}")
    return (target,)


def begin(metrics: SelfMetrics) -> None:
    """Show the counters of trainings from 0 on."""
    metrics.begin("training_runs_total", "outcome", ("succeeded", "failed", "stopped"))
    metrics.begin("promotions_total", "verdict", ("promoted", "rejected"))


def publish(config: Config, statuses: Mapping[str, TrainingStatus], metrics: SelfMetrics) -> None:
    """Bring the self metrics up to date; the canary's target is nobody's."""
    shown = {t.name for t in config.targets if t.tag != CANARY_TAG}
    found = {name: status for name, status in statuses.items() if name in shown}
    metrics.replace("training_running", {(n,): float(s.state == "running") for n, s in found.items()})
    metrics.replace("training_progress_ratio", {(n,): s.progress for n, s in found.items()})
    metrics.replace("training_failure_info", {(n, s.message): 1.0 for n, s in found.items() if s.message})
    metrics.replace("training_epoch", {(n, m): float(e) for n, s in found.items() for m, e in s.epochs.items()})
    metrics.replace("training_loss", {(n, *key): loss for n, s in found.items() for key, loss in s.losses.items()})
    metrics.replace(
        "training_last_success_timestamp_seconds",
        {(n,): s.succeeded_at for n, s in found.items() if s.succeeded_at is not None},
    )
    metrics.replace(
        "training_next_timestamp_seconds", {(n,): s.next_at for n, s in found.items() if s.next_at is not None}
    )
    metrics.replace(
        "training_samples_read", {(n,): s.samples_read for n, s in found.items() if s.samples_read is not None}
    )
    metrics.replace(
        "training_stage_memory_bytes",
        {(n, stage): value for n, s in found.items() for stage, value in s.stage_memory.items()},
    )
