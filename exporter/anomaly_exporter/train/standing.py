"""What stands while a target is trained: the models in force when it began, and the commits on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from anomaly_exporter.config import Target
from anomaly_exporter.generations import Entry, Generation, GenerationError, Generations, SharedEntry
from anomaly_exporter.generations.documents import replaces
from anomaly_exporter.generations.verdicts import settle
from anomaly_exporter.history import data_digest
from anomaly_models import scorers
from anomaly_models.exceptions import PackError
from anomaly_models.frame import EntityKey, Scorer
from anomaly_models.training import Plan, Previous

from .sharing import InForce

log = logging.getLogger(__name__)

COMMIT_EVERY = 5.0
"""Wall seconds between two commits of one run: a generation names every entity, so small batches share one."""


class Committer:
    """Gathers entries and commits them now and then, so that a kill loses seconds of work and no more.

    ``began``: wall time of the run's start; models that learned nothing since ``oldest`` (data time) are dropped.
    ``number`` is that of the newest generation it made.
    """

    def __init__(
        self,
        generations: Generations,
        target: Target,
        began: float,
        oldest: int,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.generations, self.target, self.began, self.oldest = generations, target, began, oldest
        self.seconds = seconds
        self.pending: list[Entry] = []
        self.shared: list[SharedEntry] = []
        self.last = seconds()
        self.number: int | None = None

    def add(self, entries: Iterable[Entry]) -> None:
        """Entries with their verdicts. Raises BlobError, GenerationError."""
        self.pending += entries
        if self.seconds() - self.last >= COMMIT_EVERY:
            self.flush()

    def share(self, entry: SharedEntry) -> None:
        """Goes along with the next commit."""
        self.shared.append(entry)

    def flush(self) -> None:
        """Commit what was gathered. Raises BlobError, GenerationError."""
        if self.pending or self.shared:
            generation: Generation = self.generations.commit(
                self.target.name,
                self.pending,
                began=self.began,
                forget_before=self.oldest,
                settle=settle if self.target.gate.enabled else replaces,
                shared=self.shared,
            )
            self.number = generation.number
            self.pending, self.shared = [], []
        self.last = self.seconds()


class Standing:
    """The models in force when the run began: where training starts from and what thresholds remember."""

    def __init__(self, generations: Generations, target: Target) -> None:
        self.generations, self.target = generations, target
        self.packs: dict[str, Scorer | None] = {}
        try:
            generation = generations.current(target.name)
        except GenerationError as error:
            log.warning(
                "generation in force cannot be used, training starts without a past",
                extra={"target": target.name, "reason": error.reason, "error": str(error)},
            )
            generation = None
        self.entries = dict(generation.entries) if generation else {}
        self.shared_entries = dict(generation.shared) if generation else {}
        self.shared: dict[str, InForce] = {}
        self.digest = data_digest(target)

    def sharing(self, name: str, plan: Plan) -> Plan:
        """``plan`` with the model that all series share, where there is one."""
        found = self.shared.get(name)
        if found is None:
            return plan
        return replace(plan, scope=self.target.training.scope, shared=found.scorer)

    def previous(self, name: str, entities: Iterable[EntityKey], plan: Plan) -> Previous:
        """What is in force for ``entities`` and may be compared with what ``plan`` will give."""
        kept: dict[EntityKey, Entry] = {}
        stacks: dict[EntityKey, Scorer] = {}
        for entity in entities:
            entry = self.entries.get((entity, name))
            # Samples of another meaning teach nothing about these.
            if entry is None or entry.data_digest != self.digest:
                continue
            stack = self.stack(entry.pack)
            if stack is not None and entry.row < stack.scale.shape[0]:
                stacks[entity] = stack.take([entry.row])
                kept[entity] = entry
        same = {e: x for e, x in kept.items() if _measured_as(x, plan)}
        return Previous(
            scorers=stacks,
            thresholds={e: x.threshold for e, x in same.items()},
            test_starts={e: int(x.training.get("test_start", 0)) for e, x in same.items()},
        )

    def stack(self, digest: str) -> Scorer | None:
        """The models of the pack ``digest``, None where it cannot be used."""
        if digest not in self.packs:
            try:
                pack = self.generations.open_pack(digest)
                self.packs[digest] = scorers.restore(pack.kind, pack.spec, pack.tensors)
            except PackError as error:
                log.warning(
                    "pack in force cannot be used, its entities start without a past",
                    extra={"target": self.target.name, "reason": error.reason, "error": str(error)},
                )
                self.packs[digest] = None
        return self.packs[digest]


def _measured_as(entry: Entry, plan: Plan) -> bool:
    """Whether the threshold of ``entry`` means what ``plan`` would measure: another budget is another threshold."""
    spec, figures = plan.threshold, entry.figures.get("budget", {})
    if (entry.training.get("base"), entry.training.get("k")) != (spec.base, spec.k):
        return False
    return spec.base != "budget" or figures.get("asked") == plan.budgets.get(entry.entity, plan.budget)
