"""Trainings as Jobs of a CronJob: Kubernetes schedules and runs them; this follows them and passes requests on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from anomaly_exporter.config import CANARY_TAG, Config, Overrides
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TrainingStatus

from .interface import LauncherConfigError, LauncherError, LauncherRefusedError, begin, known, publish
from .job_api import JobApi, TakenError
from .jobs import Job, jobs_of, new_job, status_of

log = logging.getLogger(__name__)

POLL: Final = 5.0
"""Wall seconds between two looks at the Jobs."""


class KubernetesLauncher:
    """Follows the Jobs of ``launcher.cron_job``, scheduled ones and requested ones, and makes Jobs on request.

    It starts nothing by itself: the CronJob is the scheduler. A scheduled Job trains all targets, so that a request
    for one target only concerns the Jobs that were requested for it; one for None concerns every Job.
    """

    def __init__(
        self, config: Config, metrics: SelfMetrics, api: JobApi, wall: Callable[[], float] = time.time
    ) -> None:
        if config.launcher.cron_job is None:
            raise LauncherConfigError("launcher.cron_job is missing")
        self._cron_job = config.launcher.cron_job
        self._config = config
        self._metrics = metrics
        self._api = api
        self._wall = wall
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._status: dict[str, TrainingStatus] = {}
        self._seen: dict[str, Job] | None = None
        self._troubled = False
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)
        begin(metrics)
        self.reconfigure(config)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End following; Jobs go on."""
        self._stop.set()

    def reconfigure(self, config: Config) -> None:
        with self._lock:
            self._config = config
            self._status = {t.name: self._status.get(t.name, TrainingStatus()) for t in config.targets}
        self._publish()

    def observe(self, snapshot: Snapshot) -> None:
        with self._lock:
            for view in snapshot.views:
                if view.target in self._status and view.trained_at is not None:
                    self._status[view.target] = replace(self._status[view.target], succeeded_at=view.trained_at)
        self._publish()

    def status(self) -> dict[str, TrainingStatus]:
        with self._lock:
            return dict(self._status)

    def jobs(self) -> list[Job]:
        """The Jobs that there are, oldest first. Raises LauncherError."""
        return jobs_of(self._api.jobs(), self._cron_job)

    def train(self, target: str | None, overrides: Overrides | None = None) -> bool:
        """Make a Job of the CronJob's template; one that runs for the same purpose goes on instead."""
        known(target, self._config)
        if any(job.unfinished and not job.suspended and job.target == target for job in self.jobs()):
            return False
        cron_job = self._api.cron_job(self._cron_job)
        job = new_job(cron_job, target, self._config.launcher.container, self._wall(), overrides)
        try:
            self._api.create(job)
        except TakenError as error:
            found = [j for j in self.jobs() if j.name == job["metadata"]["name"]]
            if not any(j.unfinished for j in found):
                raise LauncherRefusedError(
                    f"{error}; a Job was made within this minute: try again in the next"
                ) from error
            return False
        asked = {"overrides": overrides.text()} if overrides else {}
        log.info("a Job was made", extra={"job": job["metadata"]["name"], "target": target or "all", **asked})
        self.follow()
        return True

    def suspend(self, target: str | None) -> None:
        """Suspend its Jobs: their pods are ended by SIGTERM."""
        for job in self._asked(target):
            if not job.suspended:
                self._api.suspend(job.name, True)
        self.follow()

    def resume(self, target: str | None) -> None:
        """Let its suspended Jobs make pods again."""
        for job in self._asked(target):
            if job.suspended:
                self._api.suspend(job.name, False)
        self.follow()

    def cancel(self, target: str | None) -> bool:
        """Delete its Jobs that are not finished, and their pods."""
        asked = self._asked(target)
        for job in asked:
            self._api.delete(job.name, job.uid)
        self.follow()
        return bool(asked)

    def follow(self) -> None:
        """Look at the Jobs once and draw the conclusions. Raises LauncherError."""
        # One look at a time: an older one that is judged last would count what has ended twice.
        with self._looking:
            self._conclude(self.jobs())

    def _conclude(self, jobs: list[Job]) -> None:
        with self._lock:
            watched = {t.name for t in self._config.targets if t.tag != CANARY_TAG}
            ended = self._ended(jobs)
            self._status = {name: status_of(name, jobs, status) for name, status in self._status.items()}
            for job in ended:
                if job.outcome == "succeeded":
                    for name in [n for n in self._status if job.trains(n)]:
                        before = self._status[name]
                        newest = max(before.succeeded_at or 0.0, job.ended or 0.0)
                        self._status[name] = replace(before, succeeded_at=newest)
        for job in ended:
            if job.target is None or job.target in watched:
                self._metrics.inc("training_runs_total", outcome=job.outcome or "stopped")
            extra = {"job": job.name, "outcome": job.outcome or "stopped", "reason": job.message}
            log.log(logging.ERROR if job.outcome == "failed" else logging.INFO, "training ended", extra=extra)
        self._publish()

    def _ended(self, jobs: list[Job]) -> list[Job]:
        """Jobs that have ended since the last look; none at the first one, which cannot know."""
        before, self._seen = self._seen, {job.uid: job for job in jobs}
        if before is None:
            return []
        finished = [j for j in jobs if j.outcome and (j.uid not in before or before[j.uid].outcome is None)]
        vanished = [j for uid, j in before.items() if uid not in self._seen and j.outcome is None]
        return finished + vanished

    def _asked(self, target: str | None) -> list[Job]:
        known(target, self._config)
        return [j for j in self.jobs() if j.unfinished and (target is None or j.target == target)]

    def _run(self) -> None:
        while True:
            try:
                self.follow()
                self._troubled = False
            except LauncherError as error:
                if not self._troubled:
                    log.error("the Jobs that train cannot be followed", extra={"error": str(error)})
                self._troubled = True
            except Exception:
                log.exception("the Jobs that train cannot be followed")
            if self._stop.wait(POLL):
                return

    def _publish(self) -> None:
        with self._lock:
            found, config = dict(self._status), self._config
        publish(config, found, self._metrics)
