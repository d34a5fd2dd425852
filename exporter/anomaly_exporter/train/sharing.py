"""The model that all series of a target share: fitted before those of their own, from some of the series."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomaly_exporter.config import Target
from anomaly_exporter.generations import Generations, SharedEntry
from anomaly_exporter.history import data_digest
from anomaly_models import pack as codec
from anomaly_models import scorers
from anomaly_models.exceptions import AnomalyModelsError, PackError, UntrainableError
from anomaly_models.frame import Block, EntityKey, Scorer
from anomaly_models.sharing import Prior
from anomaly_models.training import FEWEST_SERIES, MOST_SERIES, Plan, can_share, fitted_part, train_shared

log = logging.getLogger(__name__)

RECENT = 0.5
"""Share of ``training.every`` within which another trainer's shared model is taken as it is: shards train at once."""


@dataclass(frozen=True)
class InForce:
    """A shared model that series are measured against: its scorer of one row, and what the fleet is like."""

    scorer: Scorer
    prior: Prior


@dataclass(frozen=True)
class Sharing:
    """What a run needs to share models; ``read`` gives the history of some entities, ``began`` is wall time."""

    target: Target
    generations: Generations
    began: float
    wall: Callable[[], float]
    read: Callable[[Sequence[EntityKey]], Block]

    def wanted(self, plan: Plan) -> bool:
        """Whether the target asks for a shared model and ``plan`` can be one."""
        return self.target.training.scope != "own" and can_share(fitted_part(plan.model).recipe)

    def known(self, entry: SharedEntry | None) -> InForce | None:
        """The shared model in force, None where there is none for these queries or it cannot be used."""
        if entry is None or entry.data_digest != data_digest(self.target):
            return None
        try:
            pack = self.generations.open_pack(entry.pack)
            return InForce(scorers.restore(pack.kind, pack.spec, pack.tensors), entry.prior)
        except PackError as error:
            log.warning(
                "the shared model in force cannot be used",
                extra={"target": self.target.name, "reason": error.reason, "error": str(error)},
            )
            return None

    def is_recent(self, entry: SharedEntry | None) -> bool:
        """Whether ``entry`` was trained for this very round, by another shard."""
        if entry is None or entry.training.get("origin") == "seed":
            return False
        return entry.trained_at > self.began - RECENT * self.target.training.every

    def fit(
        self, name: str, plan: Plan, entities: Sequence[EntityKey], before: InForce | None, about: Mapping[str, Any]
    ) -> tuple[InForce, SharedEntry] | None:
        """A new shared model of ``name``, its pack stored; None, where it came to nothing, with the reason in the log.

        ``about`` goes into its provenance. Raises BlobError.
        """
        started = time.monotonic()
        if len(entities) < FEWEST_SERIES:
            return None
        try:
            block = self.read(some(entities, MOST_SERIES))
            fit = train_shared(block, plan, before.scorer if before else None, provenance={**about, "model": name})
        except UntrainableError as error:
            log.info("no shared model", extra={"target": self.target.name, "model": name, "reason": str(error)})
            return None
        except AnomalyModelsError as error:
            log.error("the shared model failed", extra={"target": self.target.name, "model": name, "error": str(error)})
            return None
        encoded = codec.encode(fit.pack)
        self.generations.put_pack(encoded)
        training = {
            "origin": "trained",
            "architecture": fit.pack.kind,
            "series": fit.prior.series,
            "samples": {"train": fit.samples},
            "epochs": fit.epochs,
            "loss": dict(fit.loss),
            "seconds": time.monotonic() - started,
            "started_at": self.began,
            **about,
        }
        entry = SharedEntry(
            model=name,
            pack=encoded.digest,
            prior=fit.prior,
            data_digest=data_digest(self.target),
            trained_at=self.wall(),
            trained_data_end=fit.data_end,
            training={key: value for key, value in training.items() if value is not None},
        )
        return InForce(fit.scorer, fit.prior), entry


def some(entities: Sequence[EntityKey], most: int) -> tuple[EntityKey, ...]:
    """At most ``most`` of ``entities``, evenly spread, always the same."""
    if len(entities) <= most:
        return tuple(entities)
    return tuple(entities[i] for i in np.linspace(0, len(entities) - 1, most).astype(int).tolist())
