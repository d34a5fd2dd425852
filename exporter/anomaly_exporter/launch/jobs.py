"""Jobs of Kubernetes as data: what one is made of, and what its status says about a training."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from anomaly_exporter.config import Overrides
from anomaly_exporter.snapshot import TrainingState, TrainingStatus

from .interface import MEANINGS, LauncherConfigError

TARGET_LABEL: Final = "anomaly-exporter/target"
"""On Jobs that train one target; those without it train all."""
TARGET_VARIABLE: Final = "ANOMALY_EXPORTER_TARGET"
OVERRIDE_VARIABLE: Final = "ANOMALY_EXPORTER_OVERRIDE"
MANUAL: Final = "cronjob.kubernetes.io/instantiate"
"""Annotation of Jobs that were made from a CronJob by request, as kubectl sets it."""
LONGEST_NAME: Final = 52
"""Of a Job: names of pods get an index and a suffix on top and must stay within 63 characters."""
_CODE: Final = re.compile(r"exit code (\d+)")

Wire = Mapping[str, Any]
Outcome = Literal["succeeded", "failed"]


@dataclass(frozen=True)
class Job:
    """One Job. Times are Unix seconds; ``target`` None trains all; ``outcome`` None while it is not finished."""

    name: str
    uid: str
    target: str | None
    created: float
    suspended: bool
    deleting: bool
    active: int
    started: float | None
    ended: float | None
    progress: float
    outcome: Outcome | None
    message: str

    @property
    def unfinished(self) -> bool:
        return self.outcome is None and not self.deleting

    def trains(self, target: str) -> bool:
        return self.target is None or self.target == target


def new_job(
    cron_job: Wire, target: str | None, container: str, at: float, overrides: Overrides | None = None
) -> dict[str, Any]:
    """The Job that ``cron_job`` would make, for ``target`` only, named after the minute of ``at``.

    ``overrides`` of one target reach its process by an environment variable.
    Two requests within a minute have one name, so that the second is refused as a conflict. Raises LauncherConfigError
    when the template has no such ``container``.
    """
    name = cron_job["metadata"]["name"]
    template = copy.deepcopy(cron_job["spec"]["jobTemplate"])
    labels = {**template.get("metadata", {}).get("labels", {})}
    if target is not None:
        labels[TARGET_LABEL] = target
        found = [c for c in template["spec"]["template"]["spec"]["containers"] if c["name"] == container]
        if not found:
            raise LauncherConfigError(
                f"CronJob {name} has no container {container!r}: launcher.container must name the one that trains"
            )
        wanted = {TARGET_VARIABLE: target, **({OVERRIDE_VARIABLE: overrides.text()} if overrides else {})}
        kept = [variable for variable in found[0].get("env") or [] if variable["name"] not in wanted]
        found[0]["env"] = [*kept, *({"name": name, "value": value} for name, value in wanted.items())]
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": cron_job["metadata"]["uid"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(name, target, at),
            "labels": labels,
            "annotations": {**template.get("metadata", {}).get("annotations", {}), MANUAL: "manual"},
            # As kubectl does it: without blockOwnerDeletion, which would need a right on finalizers.
            "ownerReferences": [{**owner, "controller": True}],
        },
        "spec": template["spec"],
    }


def job_name(cron_job: str, target: str | None, at: float) -> str:
    """A valid name, the same for the same request within a minute."""
    whole = f"{cron_job}-{(target or 'all').replace('_', '-')}"
    minute = f"{int(at // 60)}"
    room = LONGEST_NAME - len(minute) - 1
    if len(whole) > room or "_" in (target or ""):
        mark = hashlib.sha256(f"{cron_job}/{target}".encode()).hexdigest()[:8]
        whole = f"{whole[: room - 9].rstrip('-.')}-{mark}"
    return f"{whole}-{minute}"


def jobs_of(items: Iterable[Wire], cron_job: str) -> list[Job]:
    """The Jobs that belong to ``cron_job``, oldest first."""
    mine = [item for item in items if any(_is(owner, cron_job) for owner in _metadata(item).get("ownerReferences", []))]
    return sorted(map(read_job, mine), key=lambda job: (job.created, job.name))


def read_job(item: Wire) -> Job:
    """What the object of a Job says."""
    metadata, spec, status = _metadata(item), item.get("spec", {}), item.get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions", []) if c.get("status") == "True"}
    outcome: Outcome | None = "succeeded" if "Complete" in conditions else "failed" if "Failed" in conditions else None
    total = spec.get("completions") or 1
    done = count_indexes(status.get("completedIndexes", "")) or status.get("succeeded", 0)
    ended = conditions.get("Failed", {}).get("lastTransitionTime")
    return Job(
        name=metadata["name"],
        uid=metadata["uid"],
        target=metadata.get("labels", {}).get(TARGET_LABEL),
        created=seconds(metadata["creationTimestamp"]),
        suspended=bool(spec.get("suspend")),
        deleting="deletionTimestamp" in metadata,
        active=status.get("active", 0),
        started=_time(status.get("startTime")),
        ended=_time(status.get("completionTime")) or _time(ended),
        progress=min(done / total, 1.0),
        outcome=outcome,
        message=_explained(conditions["Failed"], status) if outcome == "failed" else "",
    )


def status_of(target: str, jobs: Iterable[Job], before: TrainingStatus) -> TrainingStatus:
    """How the training of ``target`` is doing, from ``jobs`` (oldest first) and what was known ``before``."""
    mine = [job for job in jobs if job.trains(target)]
    running = [job for job in mine if job.unfinished and not job.suspended]
    newest = running[-1] if running else mine[-1] if mine else None
    if newest is None:
        state: TrainingState = "stopped" if before.state == "running" else before.state
        return replace(before, state=state, progress=0.0)
    told = replace(
        before, started_at=newest.started or newest.created, progress=newest.progress, message=newest.message
    )
    if running:
        return replace(told, state="running")
    if newest.outcome is None:
        return replace(told, state="stopped")
    spent = newest.ended - newest.started if newest.ended and newest.started else None
    return replace(told, state=newest.outcome, seconds=spent)


def count_indexes(text: str) -> int:
    """How many numbers a list of intervals such as ``0-2,5`` names."""
    total = 0
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        total += int(last or first) - int(first) + 1
    return total


def seconds(text: str) -> float:
    """Unix seconds of an RFC 3339 time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC).timestamp()


def _time(text: str | None) -> float | None:
    return seconds(text) if text else None


def _metadata(item: Wire) -> Wire:
    metadata: Wire = item.get("metadata", {})
    return metadata


def _is(owner: Wire, cron_job: str) -> bool:
    return owner.get("kind") == "CronJob" and owner.get("name") == cron_job


def _explained(failed: Wire, status: Wire) -> str:
    """Why a Job failed, in our words where the exit code is told, else in Kubernetes' own."""
    message = str(failed.get("message", ""))
    code = _CODE.search(message)
    if code and int(code[1]) in MEANINGS:
        return MEANINGS[int(code[1])]
    indexes = status.get("failedIndexes")
    where = f", failed indexes {indexes}" if indexes else ""
    return f"{failed.get('reason', 'failed')}: {message}{where}"[:500]
