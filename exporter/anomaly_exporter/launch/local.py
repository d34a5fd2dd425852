"""Retrains every target in a child process, one at a time, and knows how each is doing."""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import CANARY_TAG, Config, Overrides, Target
from anomaly_exporter.generations.sharding import UNDIVIDED, Shard
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TrainingState, TrainingStatus

from .child import Child, Event
from .interface import MEANINGS, NOTHING_TRAINABLE, STOPPED, begin, known, publish
from .schedule import due_at, retry_at

log = logging.getLogger(__name__)

POLL: Final = 0.5
GRACE: Final = 5.0
"""Wall seconds that a child gets to end by itself."""
LONGEST: Final = 3600.0
"""Wall seconds that any training may take; more when ``training.every`` is longer."""


@dataclass
class _Course:
    """How the training of ``target`` has gone. ``began`` and ``failed_at`` are data time.

    ``seen``: a cycle has said whether it is ``untrained``, that is: whether a configured model has nothing in force.
    ``tried``: so it was trained in this process; what is still untrained then waits for its slot like all others.
    ``requested``, ``suspended``, ``cancelled``: what was asked for; the last one until the child has ended.
    ``overrides``: what the next training, which was asked for, does differently.
    """

    target: Target
    status: TrainingStatus = field(default_factory=TrainingStatus)
    began: float | None = None
    seen: bool = False
    untrained: bool = False
    tried: bool = False
    failures: int = 0
    failed_at: float = 0.0
    requested: bool = False
    suspended: bool = False
    cancelled: bool = False
    overrides: Overrides | None = None

    @property
    def due(self) -> float:
        """Data time of its next training; infinite while there is none to come."""
        if self.suspended:
            return math.inf
        if self.requested:
            return -math.inf
        if not self.seen:
            return math.inf
        every = self.target.training.every
        retry = retry_at(self.failures, self.failed_at, every)
        return due_at(self.target.name, every, self.began, self.untrained and not self.tried, retry)


class LocalLauncher:
    """Starts ``anomaly-exporter train`` for every target of ``config`` when it is due, from a thread of its own.

    A target is due once :meth:`observe` has said whether it has models. ``command`` is what comes before the
    subcommand; tests replace it.
    """

    def __init__(
        self,
        config_path: Path,
        config: Config,
        clock: Clock,
        metrics: SelfMetrics,
        command: Sequence[str] = (sys.executable, "-m", "anomaly_exporter"),
        *,
        shard: Shard = UNDIVIDED,
    ) -> None:
        self._path = config_path
        self._clock = clock
        self._metrics = metrics
        self._command = tuple(command)
        self._shard = shard
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._child: Child | None = None
        self._running: str | None = None
        self._config = config
        self._courses: dict[str, _Course] = {}
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)
        begin(metrics)
        self.reconfigure(config)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End a training under way, within a deadline, and the thread."""
        self._stop.set()
        with self._lock:
            child = self._child
        if child:
            child.end(GRACE)
        if self._thread.ident is not None:
            self._thread.join(GRACE)

    def reconfigure(self, config: Config) -> None:
        """Go on with the targets of ``config``; one that changed is looked at afresh."""
        with self._lock:
            self._config, before = config, self._courses
            self._courses = {
                t.name: before[t.name] if t.name in before and before[t.name].target == t else _Course(t)
                for t in config.targets
            }
        self._publish()

    def observe(self, snapshot: Snapshot) -> None:
        """Learn from a cycle which targets have models, and since when."""
        with self._lock:
            for view in snapshot.views:
                course = self._courses.get(view.target)
                if course is None or view.at is None:
                    continue
                course.untrained, course.seen = view.untrained, True
                if view.trained_at is not None:
                    course.status = replace(course.status, succeeded_at=view.trained_at)
                    if course.began is None:
                        course.began = self._clock.to_data(view.trained_at)
        self._publish()

    def status(self) -> dict[str, TrainingStatus]:
        """How every target's training is doing."""
        with self._lock:
            return {name: replace(c.status, requested=c.requested) for name, c in self._courses.items()}

    def train(self, target: str | None, overrides: Overrides | None = None) -> bool:
        """Train next, before its time. Raises LauncherRefusedError."""
        asked = self._asked(target)
        with self._lock:
            new = [c for c in asked if not c.requested and self._running != c.target.name]
            for course in new:
                course.requested, course.overrides = True, overrides
        return bool(new)

    def suspend(self, target: str | None) -> None:
        """End the child and start none until it is resumed. Raises LauncherRefusedError."""
        for course in self._asked(target):
            course.suspended, course.requested, course.overrides = True, False, None
            self._end(course)

    def resume(self, target: str | None) -> None:
        """Begin again what was suspended. Raises LauncherRefusedError."""
        for course in self._asked(target):
            course.requested = course.suspended or course.requested
            course.suspended = False

    def cancel(self, target: str | None) -> bool:
        """End the child, or drop the request; the next slot comes. Raises LauncherRefusedError."""
        found = False
        for course in self._asked(target):
            dropped, course.requested, course.suspended, course.overrides = course.requested, False, False, None
            found = self._end(course) or dropped or found
        return found

    def _asked(self, target: str | None) -> list[_Course]:
        with self._lock:
            return [self._courses[name] for name in known(target, self._config)]

    def _end(self, course: _Course) -> bool:
        """End the child if it is the one of ``course``; whether it was."""
        with self._lock:
            child = self._child if self._running == course.target.name else None
            course.cancelled = child is not None
        if child is None:
            return False
        child.end(GRACE)
        # Whoever asked sees it at once; one that had succeeded just before is told so a moment later.
        self._update(course.target.name, state="stopped", progress=0.0)
        return True

    def _run(self) -> None:
        while not self._stop.wait(POLL):
            name = self._due()
            if name is not None:
                try:
                    self._train(name)
                except Exception:
                    log.exception("a training failed", extra={"target": name})
                    self._finish(name, 1, 0.0)

    def _due(self) -> str | None:
        """The target that has waited longest for its training; None when none is due."""
        now = self._clock.now()
        with self._lock:
            waiting = [(course.due, name) for name, course in self._courses.items()]
        due = min(waiting, default=None)
        return due[1] if due and due[0] <= now else None

    def _train(self, name: str) -> None:
        """Run the training of a target to its end."""
        with self._lock:
            course = self._courses[name]
            course.began, course.tried = self._clock.now(), True
            course.requested = course.cancelled = False
            overrides, course.overrides = course.overrides, None
            self._running = name
            child = self._child = Child([*self._command, *self._arguments(name, overrides)])
        longest = max(LONGEST, self._clock.wall_duration(course.target.training.every))
        began = time.monotonic()
        self._update(name, state="running", started_at=self._clock.wall(), progress=0.0, message="", failed={})
        asked = {"overrides": overrides.text()} if overrides else {}
        log.info("training begins", extra={"target": name, "pid": child.pid, **asked})
        if self._stop.is_set() or course.suspended:
            course.cancelled = True
            child.end(GRACE)
        code = child.follow(lambda event: self._react(name, event), longest)
        with self._lock:
            self._child = self._running = None
        self._finish(name, code, time.monotonic() - began)

    def _arguments(self, name: str, overrides: Overrides | None) -> list[str]:
        level = logging.getLevelName(log.getEffectiveLevel()).lower().replace("warning", "warn")
        flags = ["--config", str(self._path), "--target", name, "--output", "json", "--shard", str(self._shard)]
        asked = ["--override", overrides.text()] if overrides else []
        return ["train", *flags, *asked, "--log.format", "json", "--log.level", level]

    def _react(self, name: str, event: Event) -> None:
        """Take in one event of the child."""
        match event:
            case {"event": "start", "samples_read": int(samples)}:
                self._update(name, samples_read=samples)
            case {"event": "progress", "done": int() | float() as done, "total": int() | float() as total}:
                progress = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
                self._update(name, progress=progress, **_fit(event))
            case {"event": "stage", "stage": str(stage), "rss_bytes": int(memory)}:
                with self._lock:
                    known = self._courses[name].status.stage_memory if name in self._courses else {}
                self._update(name, stage_memory={**known, stage: memory})
            case {"event": "trained", "entities": int(entities), "failed": dict(failed)}:
                if self._counts(name):
                    rejected = event.get("rejected")
                    self._metrics.inc("promotions_total", max(entities, 0), verdict="promoted")
                    self._metrics.inc(
                        "promotions_total", max(rejected, 0) if isinstance(rejected, int) else 0, verdict="rejected"
                    )
                with self._lock:
                    before = self._courses[name].status.failed if name in self._courses else {}
                self._update(name, failed={**before, **{str(k): int(v) for k, v in failed.items()}})

    def _finish(self, name: str, code: int, seconds: float) -> None:
        """Draw the conclusions from an exit code."""
        with self._lock:
            course = self._courses.get(name)
            stopped = self._stop.is_set() or code == STOPPED or bool(course and course.cancelled and code)
        outcome: TrainingState = "succeeded" if code == 0 else "stopped" if stopped else "failed"
        message = "" if outcome != "failed" else MEANINGS.get(code, f"ended with exit code {code}")
        if self._counts(name):
            self._metrics.inc("training_runs_total", outcome=outcome)
        if code == 5:
            self._metrics.inc("store_failures_total", reason="training")
        with self._lock:
            course = self._courses.get(name)
            if course:
                course.failures = course.failures + 1 if outcome == "failed" else 0
                course.failed_at = self._clock.now()
        done = {"succeeded_at": self._clock.wall()} if code == 0 else {}
        state: TrainingState = "waiting" if code == NOTHING_TRAINABLE else outcome
        over: dict[str, Any] = {"seconds": seconds, "progress": 1.0 if code == 0 else 0.0, "epochs": {}, "losses": {}}
        self._update(name, state=state, message=message, **over, **done)
        level = logging.INFO if outcome != "failed" else logging.ERROR
        extra = {"target": name, "outcome": outcome, "code": code, "seconds": seconds, "reason": message}
        log.log(level, "training ended", extra=extra)

    def _counts(self, name: str) -> bool:
        """Whether the target is one that was asked for, not the canary's."""
        with self._lock:
            course = self._courses.get(name)
        return course is None or course.target.tag != CANARY_TAG

    def _update(self, name: str, **changes: Any) -> None:
        with self._lock:
            course = self._courses.get(name)
            if course:
                course.status = replace(course.status, **changes)
        self._publish()

    def _publish(self) -> None:
        """Bring the self metrics up to date."""
        with self._lock:
            for course in self._courses.values():
                if course.seen:
                    due = max(course.due, self._clock.now())
                    course.status = replace(
                        course.status, next_at=None if math.isinf(due) else self._clock.to_wall(due)
                    )
            found, config = {name: course.status for name, course in self._courses.items()}, self._config
        publish(config, found, self._metrics)


def _fit(event: Event) -> dict[str, Any]:
    """Epoch and losses of the batch in training, as far as a progress event tells."""
    match event:
        case {"model": str(model), "epoch": int(epoch), "loss": dict(losses)}:
            known = {(model, str(k)): float(v) for k, v in losses.items() if isinstance(v, int | float)}
            return {"epochs": {model: epoch}, "losses": known}
    return {"epochs": {}, "losses": {}}
