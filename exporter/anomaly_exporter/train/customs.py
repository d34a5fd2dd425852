"""Habits of a batch: learned once for all of its models, and written beside each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from anomaly_exporter import specs
from anomaly_exporter.config import Config, Target
from anomaly_exporter.generations import Entry
from anomaly_models import habits
from anomaly_models.frame import Block, EntityKey
from anomaly_models.training import Previous

log = logging.getLogger(__name__)

SAME_REGIME = 7200
"""Two trainings that see a change of regime within so many seconds of each other see the same one."""

Customs = Mapping[EntityKey, Mapping[str, Any]]
"""What is stored of the habits of every entity."""


def learn(config: Config, target: Target, block: Block) -> tuple[Block, Customs]:
    """``block`` as models should learn it, older samples moved or left out where the regime changed; and habits."""
    clean = specs.cleaning_spec(target, config.model(target.models[0]))
    alone_after = target.regime.alone_after // target.step
    learned, found = habits.learn(block, clean, specs.regime_spec(target.regime, target.step), alone_after)
    changed = np.flatnonzero(np.isfinite(found.regime))
    if changed.size:
        names = "; ".join(str(block.entities[i]) for i in changed[:3])
        log.info("regimes changed", extra={"target": target.name, "entities": int(changed.size), "examples": names})
    return learned, dict(zip(block.entities, found.to_json(), strict=True))


def told(entries: Iterable[Entry], customs: Customs) -> Iterator[Entry]:
    """``entries`` with the habits of their entities."""
    for entry in entries:
        known = customs.get(entry.entity)
        yield entry if known is None else replace(entry, figures={**entry.figures, "habits": dict(known)})


def comparable(previous: Previous, entries: Mapping[EntityKey, Entry | None], customs: Customs) -> Previous:
    """``previous`` without the thresholds of models that did not know the regime that stands now.

    Earlier thresholds are brought to the scale of the new model by the errors that both make on the newest windows: a
    model of the old level errs hugely there, and its threshold would come out far too small.
    """
    strange = {e for e in previous.thresholds if not _knew(entries.get(e), customs.get(e, {}).get("regime"))}
    if not strange:
        return previous
    return replace(
        previous,
        thresholds={e: found for e, found in previous.thresholds.items() if e not in strange},
        test_starts={e: found for e, found in previous.test_starts.items() if e not in strange},
    )


def _knew(entry: Entry | None, regime: float | None) -> bool:
    """Whether the model of ``entry`` was trained for the ``regime``; None: there was never another."""
    if regime is None or entry is None:
        return True
    known = entry.figures.get("habits")
    before = known.get("regime") if isinstance(known, Mapping) else None
    return before is not None and abs(before - regime) <= SAME_REGIME
