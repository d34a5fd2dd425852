"""What trainings elsewhere tell of themselves: a small report in the store, per target and shard, the newest only.

A Job's status says whether it ended, not what it did. The process that trains writes its events together; whoever
follows the Jobs reads them. A report that is missing or damaged takes nothing away but figures.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from anomaly_exporter.blobs import BlobError, BlobMissingError, Blobs, digest

log = logging.getLogger(__name__)

FOLDER: Final = "reports"
LARGEST: Final = 1 << 20
TRIES: Final = 5


@dataclass(frozen=True)
class Report:
    """One training of ``target`` by ``shard`` (such as 0/4). Times are wall time; ``ended`` None while it runs."""

    target: str
    shard: str
    started: float
    ended: float | None = None
    samples_read: int = 0
    promoted: int = 0
    rejected: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    stage_memory: Mapping[str, int] = field(default_factory=dict)

    @property
    def run(self) -> tuple[str, str, float]:
        """Which training this is."""
        return self.target, self.shard, self.started


def told(report: Report, event: Mapping[str, Any]) -> Report:
    """``report`` after one more event of the training."""
    values = {name: getattr(report, name) for name in Report.__dataclass_fields__}
    match event:
        case {"event": "start", "samples_read": int(samples)}:
            values["samples_read"] = samples
        case {"event": "stage", "stage": str(stage), "rss_bytes": int(memory)}:
            values["stage_memory"] = {**report.stage_memory, stage: max(memory, report.stage_memory.get(stage, 0))}
        case {"event": "trained", "entities": int(entities), "failed": dict(failed)}:
            rejected = event.get("rejected", 0)
            values["promoted"] = report.promoted + max(entities, 0)
            values["rejected"] = report.rejected + (rejected if isinstance(rejected, int) else 0)
            values["failed"] = {k: report.failed.get(k, 0) + failed.get(k, 0) for k in {*report.failed, *failed}}
    return Report(**values)


def write(blobs: Blobs, report: Report) -> None:
    """Put ``report`` in the place of the last one; a store that cannot be written is logged and changes nothing."""
    name = f"{FOLDER}/{report.target}/{report.shard.replace('/', '-of-')}.json"
    data = json.dumps(dict(vars(report)), sort_keys=True, default=dict).encode() + b"\n"
    try:
        for _ in range(TRIES):
            if blobs.swap(name, _digest(blobs, name), data):
                return
    except BlobError as error:
        log.warning("the report of a training cannot be stored", extra={"target": report.target, "error": str(error)})


def read(blobs: Blobs, targets: Iterable[str]) -> list[Report]:
    """The newest reports of ``targets``, of every shard; what cannot be read is left out."""
    out: list[Report] = []
    for target in targets:
        try:
            names = blobs.list(f"{FOLDER}/{target}/")
        except BlobError as error:
            log.warning("reports of trainings cannot be listed", extra={"target": target, "error": str(error)})
            continue
        for name in names:
            found = _read(blobs, name)
            if found is not None and found.target == target:
                out.append(found)
    return out


def newest_round(reports: Iterable[Report]) -> list[Report]:
    """Those of the division into shards that trained last: what another number of shards left behind is history."""
    known = list(reports)
    if not known:
        return []
    total = max(known, key=lambda report: report.started).shard.rpartition("/")[2]
    return [report for report in known if report.shard.rpartition("/")[2] == total]


def summed(reports: Iterable[Report]) -> dict[str, Any]:
    """What the reports of all shards of a target come to, as fields of a training's status."""
    known = list(reports)
    failed: Counter[str] = Counter()
    memory: dict[str, int] = {}
    for report in known:
        failed.update(report.failed)
        memory = {k: max(memory.get(k, 0), report.stage_memory.get(k, 0)) for k in {*memory, *report.stage_memory}}
    return {"samples_read": sum(r.samples_read for r in known), "failed": dict(failed), "stage_memory": memory}


def _digest(blobs: Blobs, name: str) -> str | None:
    try:
        return digest(blobs.fetch(name).read_bytes())
    except (BlobMissingError, FileNotFoundError):
        return None


def _read(blobs: Blobs, name: str) -> Report | None:
    try:
        with blobs.fetch(name).open("rb") as file:
            data = json.loads(file.read(LARGEST))
        failed, memory = ({str(k): int(v) for k, v in data[key].items()} for key in ("failed", "stage_memory"))
        return Report(
            target=str(data["target"]),
            shard=str(data["shard"]),
            started=float(data["started"]),
            ended=None if data["ended"] is None else float(data["ended"]),
            samples_read=int(data["samples_read"]),
            promoted=int(data["promoted"]),
            rejected=int(data["rejected"]),
            failed=failed,
            stage_memory=memory,
        )
    except (BlobError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.debug("a report cannot be read", extra={"blob": name, "error": str(error)})
        return None
