"""Trainings as Jobs of a CronJob: Kubernetes schedules and runs them; this follows them and passes requests on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from anomaly_exporter.blobs import Blobs
from anomaly_exporter.config import CANARY_TAG, Config, Overrides
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import Snapshot, TrainingStatus

from .cron import next_time
from .interface import LauncherConfigError, LauncherError, LauncherRefusedError, begin, known, publish
from .job_api import GoneError, JobApi, TakenError
from .jobs import Job, Wire, jobs_of, new_job, status_of
from .reports import newest_round, summed
from .reports import read as read_reports

log = logging.getLogger(__name__)

POLL: Final = 5.0
"""Wall seconds between two looks at the Jobs where they cannot be watched."""
WATCHED: Final = 60
"""Wall seconds of one watch; then all Jobs are looked at again, whatever was missed."""
AGAIN: Final = 0.2
"""Wall seconds from the end of one watch to the next list."""


class KubernetesLauncher:
    """Follows the Jobs of ``launcher.cron_job``, scheduled ones and requested ones, and makes Jobs on request.

    It starts nothing by itself: the CronJob is the scheduler. A scheduled Job trains all targets, so that a request
    for one target only concerns the Jobs that were requested for it; one for None concerns every Job.
    """

    def __init__(
        self,
        config: Config,
        metrics: SelfMetrics,
        api: JobApi,
        wall: Callable[[], float] = time.time,
        blobs: Blobs | None = None,
    ) -> None:
        """``blobs``: where the trainings leave their reports; without it their figures stay unknown."""
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
        self._items: dict[str, Wire] = {}
        self._looks = 0
        self._blobs = blobs
        self._told: set[tuple[str, str, float]] | None = None
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
        return jobs_of(self._api.jobs()[0], self._cron_job)

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

    def follow(self) -> str:
        """Look at the Jobs once and draw the conclusions; the version of what was seen. Raises LauncherError."""
        # One look at a time: an older one that is judged last would count what has ended twice.
        with self._looking:
            items, version = self._api.jobs()
            self._items = {item["metadata"]["uid"]: item for item in items}
            self._looks += 1
            self._conclude(jobs_of(items, self._cron_job))
        return version

    def _watch(self, version: str, looks: int) -> None:
        """Draw conclusions from every change after ``version``, until the server ends the watch or somebody looked.

        Raises LauncherError.
        """
        for kind, item in self._api.watch(version, WATCHED):
            with self._looking:
                if self._stop.is_set() or self._looks != looks:
                    return  # what was looked at meanwhile is newer than this
                uid = item["metadata"]["uid"]
                if kind == "DELETED":
                    self._items.pop(uid, None)
                else:
                    self._items[uid] = item
                self._conclude(jobs_of(self._items.values(), self._cron_job))

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
        if ended or self._told is None:
            self._read_reports()
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
        """List, watch from there, and begin anew; where a watch is not to be had, looking again has to do."""
        while not self._stop.is_set():
            watched = False
            try:
                version = self.follow()
                self._plan_next()
                self._troubled = False
                looks = self._looks
                self._watch(version, looks)
                watched = True
            except GoneError as error:
                log.debug("the watch begins anew", extra={"error": str(error)})
                watched = True
            except LauncherError as error:
                if not self._troubled:
                    log.error("the Jobs that train cannot be followed", extra={"error": str(error)})
                self._troubled = True
            except Exception:
                log.exception("the Jobs that train cannot be followed")
            self._stop.wait(AGAIN if watched else POLL)

    def _plan_next(self) -> None:
        """When the CronJob comes next; unknown where it cannot be read, never where it is suspended."""
        try:
            spec = self._api.cron_job(self._cron_job).get("spec", {})
        except LauncherError as error:
            log.debug("the CronJob cannot be read", extra={"error": str(error)})
            return
        schedule, zone = str(spec.get("schedule", "")), spec.get("timeZone")
        due = None if spec.get("suspend") else next_time(schedule, zone, self._wall())
        with self._lock:
            self._status = {name: replace(status, next_at=due) for name, status in self._status.items()}
        self._publish()

    def _read_reports(self) -> None:
        """Take in what the processes that trained say of themselves."""
        if self._blobs is None:
            return
        with self._lock:
            names = list(self._status)
            watched = {t.name for t in self._config.targets if t.tag != CANARY_TAG}
        found = read_reports(self._blobs, names)
        with self._lock:
            for report in found:
                if self._told is not None and report.run not in self._told and report.target in watched:
                    self._metrics.inc("promotions_total", report.promoted, verdict="promoted")
                    self._metrics.inc("promotions_total", report.rejected, verdict="rejected")
            # The first look cannot know what was counted before.
            self._told = (self._told or set()) | {report.run for report in found}
            for name in names:
                mine = newest_round(report for report in found if report.target == name)
                if mine:
                    self._status[name] = replace(self._status[name], **summed(mine))

    def _publish(self) -> None:
        with self._lock:
            found, config = dict(self._status), self._config
        publish(config, found, self._metrics)
