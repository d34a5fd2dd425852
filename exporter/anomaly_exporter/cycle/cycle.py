"""Once per interval: every target is read and scored, side by side, and one snapshot comes out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial

from anomaly_exporter.config import Config, Target
from anomaly_exporter.metrics import UNSCORED_REASONS
from anomaly_exporter.snapshot import LIFETIME, Snapshot, TargetView
from anomaly_exporter.sources import Source
from anomaly_models.frame import newest_instant

from .claims import settle
from .watch import Resources, Watch
from .workers import Workers

log = logging.getLogger(__name__)

MOST_WORKERS = 8
PATIENCE = 0.75
"""Share of an interval after which a cycle goes on without the targets that are not done."""
LEAST_PATIENCE = 1.0
"""The same in wall seconds, for compressed time."""
LOAD_FAILURES = ("exemplars", "missing", "rejected", "scoring", "truncated", "unreadable")


class Cycle:
    """Watches every target of ``config``; :meth:`run` makes the snapshot of one instant, :meth:`reconfigure` swaps.

    A target that fails loses its own gauges and nobody else's. One that is not done in time keeps its last view until
    that is :data:`~anomaly_exporter.snapshot.LIFETIME` steps old, and is not asked again before it is done.
    """

    def __init__(self, config: Config, resources: Resources) -> None:
        resources.metrics.begin("cycles_total", "outcome", ("succeeded", "partial", "failed"))
        resources.metrics.begin("model_load_failures_total", "reason", LOAD_FAILURES)
        self._resources = resources
        self._config = config
        self._watches = {target.name: Watch(config, target, resources) for target in config.targets}
        self._views: dict[str, TargetView] = {}
        self._busy: dict[str, tuple[Watch, Future[TargetView]]] = {}
        self._workers: Workers[TargetView] = Workers(min(len(config.targets), MOST_WORKERS), "cycle")

    @property
    def interval(self) -> int:
        """Data seconds between two cycles: the smallest step of a target."""
        return min(target.step for target in self._config.targets)

    def next_after(self, now: float) -> float:
        """Data time of the next cycle after data time ``now``: when the earliest delay of a new instant is over."""
        phase = min(target.delay for target in self._config.targets) % self.interval
        return ((now - phase) // self.interval + 1) * self.interval + phase

    def run(self, now: float) -> Snapshot:
        """The snapshot at data time ``now``."""
        began = time.monotonic()
        # What was finished too late for its own cycle is old news: its target is due again and goes on from there.
        self._busy = {name: busy for name, busy in self._busy.items() if not busy[1].done()}
        limit = max(PATIENCE * self._resources.clock.wall_duration(self.interval), LEAST_PATIENCE)
        wait(self._start(now), timeout=limit)
        for name, (watch, future) in list(self._busy.items()):
            if future.done():
                del self._busy[name]
                if self._watches.get(name) is watch:
                    self._views[name] = self._result(watch.target, future)
            elif self._watches.get(name) is watch:
                self._late(watch.target, began)
        views = [self._views.get(t.name) or _nothing(t, self._wall(), "warming up") for t in self._config.targets]
        snapshot = Snapshot(self._wall(), settle(views, self._config))
        self._report(snapshot, time.monotonic() - began)
        return snapshot

    def reconfigure(self, config: Config, source: Source) -> None:
        """Go on with ``config`` and ``source``; targets that stay the same keep their samples, models and alerts."""
        kept: dict[str, Watch] = {}
        resources = replace(self._resources, source=source)
        for target in config.targets:
            watch = self._watches.get(target.name)
            if watch and watch.source is source and _same(self._config, config, target):
                kept[target.name] = watch
            else:
                kept[target.name] = Watch(config, target, resources)
                self._views.pop(target.name, None)
        self._views = {name: view for name, view in self._views.items() if name in kept}
        self._resources, self._config, self._watches = resources, config, kept
        self._workers.close()
        self._workers = Workers(min(len(config.targets), MOST_WORKERS), "cycle")
        # Jobs that never began are gone with the old threads.
        self._busy = {name: busy for name, busy in self._busy.items() if not busy[1].cancelled()}

    def close(self) -> None:
        """Let the threads end; readings under way are abandoned."""
        self._workers.close()

    def _start(self, now: float) -> list[Future[TargetView]]:
        """Begin what is due: targets with a new instant whose last work is done."""
        started = []
        for target in self._config.targets:
            view = self._views.get(target.name)
            due = view is None or view.error or view.at != newest_instant(now, target.step, target.delay)
            if due and target.name not in self._busy:
                watch = self._watches[target.name]
                future = self._workers.submit(partial(watch.run, now))
                self._busy[target.name] = (watch, future)
                started.append(future)
        return started

    def _result(self, target: Target, future: Future[TargetView]) -> TargetView:
        try:
            return future.result()
        except Exception as error:
            log.exception("a target failed", extra={"target": target.name})
            return _nothing(target, self._wall(), f"{type(error).__name__}: {error}")

    def _late(self, target: Target, began: float) -> None:
        """Keep the last view of a target that is not done, for a while."""
        view = self._views.get(target.name)
        longest = LIFETIME * self._resources.clock.wall_duration(target.step)
        log.warning("a target is not done in time", extra={"target": target.name, "seconds": time.monotonic() - began})
        if view is None or self._wall() - view.wall > longest:
            self._views[target.name] = _nothing(target, self._wall(), "not done in time")

    def _wall(self) -> float:
        return self._resources.clock.wall()

    def _report(self, snapshot: Snapshot, seconds: float) -> None:
        watched = {target.name for target in self._config.watched}
        metrics, views = self._resources.metrics, tuple(v for v in snapshot.views if v.target in watched)
        failed = sum(view.error is not None for view in views)
        outcome = "succeeded" if failed == 0 else "failed" if failed == len(views) else "partial"
        metrics.inc("cycles_total", outcome=outcome)
        metrics.set("cycle_duration_seconds", seconds)
        metrics.set("cycle_interval_seconds", self._resources.clock.wall_duration(self.interval))
        if outcome != "failed":
            metrics.set("last_success_timestamp_seconds", snapshot.wall)
            metrics.set("ready", 1)
        metrics.replace("series_expected", {(view.target,): view.expected for view in views})
        metrics.replace("series_scored", {(view.target,): view.scored for view in views})
        metrics.replace("series_unscored", _unscored(views))
        metrics.replace("data_lag_seconds", {(view.target,): view.lag for view in views if view.lag is not None})
        metrics.replace("models", {(v.target, state): count for v in views for state, count in v.models.items()})
        log.debug("cycle", extra={"outcome": outcome, "seconds": seconds, "scored": sum(v.scored for v in views)})


def _unscored(views: tuple[TargetView, ...]) -> Mapping[tuple[str, ...], float]:
    counts = {view.target: view.counts() for view in views}
    return {(target, reason): found.get(reason, 0) for target, found in counts.items() for reason in UNSCORED_REASONS}


def _same(before: Config, after: Config, target: Target) -> bool:
    """Whether nothing that a watch of ``target`` was made from has changed."""
    return (
        target in before.targets
        and before.exposition.max_series == after.exposition.max_series
        and before.feedback.expected == after.feedback.expected
        and all(before.model(name) == after.model(name) for name in target.models)
    )


def _nothing(target: Target, wall: float, error: str) -> TargetView:
    return TargetView(target.name, None, wall, error=error)
