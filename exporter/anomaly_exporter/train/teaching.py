"""What people said of a batch: what is not learned from, what is kept as an exemplar, and how the models did."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from anomaly_exporter.config import Config, Target
from anomaly_exporter.feedback import Feedback, Kept, Record, Shelf, ShelfError, Shelved, Stretch, timelines
from anomaly_exporter.specs import cleaning_spec, exemplar_spec
from anomaly_models import cleaning, evaluation
from anomaly_models.alerting import AlertSpec
from anomaly_models.exceptions import AnomalyModelsError
from anomaly_models.exemplars import CONTEXT, LONGEST, MOST, Exemplars, cut
from anomaly_models.frame import Block, EntityKey, Scorer, Span
from anomaly_models.thresholds import ThresholdInputs
from anomaly_models.training import Plan

log = logging.getLogger(__name__)

OUTCOMES: Final = ("tp", "fp", "fn", "tn")
MAX_JUDGED: Final = 200
"""Newest stretches per entity that a new model is judged by."""


@dataclass(frozen=True)
class Teaching:
    """Statements in force about ``target`` and the exemplars that are known from earlier trainings."""

    config: Config
    target: Target
    statements: tuple[Record, ...] = ()
    shelf: Shelf | None = None
    known: Shelved = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, target: Target, feedback: Feedback, shelf: Shelf) -> Teaching:
        """What the store says. Raises BlobError."""
        try:
            known = shelf.load(target.name)
        except (ShelfError, OSError) as error:
            log.error("the exemplars are cut anew", extra={"target": target.name, "error": str(error)})
            known = {}
        return cls(config, target, feedback.current(target.name).statements, shelf, known)

    def take(self, block: Block) -> tuple[Block, Lesson]:
        """``block`` without the samples that nothing may be learned from, and the lesson of what was said of it.

        Exemplars of its entities are cut, kept in the store, and those of withdrawn statements are forgotten there.

        Raises:
            BlobError: the store cannot be written.
        """
        said = timelines(self.statements, self.config, self.target, block.entities, block.span)
        exemplars = self._exemplars(block, said)
        if self.shelf is not None:
            changed = {e: found for e, found in exemplars.items() if found or e in self.known}
            if changed:
                self.shelf.replace(self.target.name, changed)
        lesson = Lesson(block, {e: found for e, found in zip(block.entities, said, strict=True) if found}, exemplars)
        return masked(block, said), lesson

    def without(self, block: Block) -> Block:
        """``block`` without the samples that nothing may be learned from."""
        return masked(block, timelines(self.statements, self.config, self.target, block.entities, block.span))

    def _exemplars(self, block: Block, said: Sequence[tuple[Stretch, ...]]) -> dict[EntityKey, tuple[Kept, ...]]:
        """Exemplars per entity: cut anew where the history reaches, those of earlier trainings beyond it."""
        still = {r.id for r in self.statements if r.verdict == "expected"}
        out = {
            entity: tuple(
                k for k in self.known.get(entity, ()) if k.statement in still and k.exemplar.start < block.start
            )
            for entity in block.entities
        }
        rows = [i for i, found in enumerate(said) if any(s.verdict == "expected" for s in found)]
        if not rows:
            return out
        part = block.take(rows)
        spec = cleaning_spec(self.target, self.config.model(self.target.models[0]))
        x, _ = cleaning.clean(part.values, spec)
        for column, row in enumerate(rows):
            fresh = [
                Kept(stretch.record.id, exemplar)
                for stretch, span in echoing(said[row], block.step)
                for exemplar in cut(part, x, column, [span])
            ]
            entity = block.entities[row]
            out[entity] = tuple(sorted((*out[entity], *fresh), key=lambda k: k.exemplar.start))[-MOST:]
        return out


@dataclass(frozen=True)
class Lesson:
    """What was said of a ``block`` that nothing was taken out of, and the exemplars of its entities."""

    block: Block
    said: Mapping[EntityKey, tuple[Stretch, ...]]
    exemplars: Mapping[EntityKey, tuple[Kept, ...]]

    def judge(
        self,
        config: Config,
        entity: EntityKey,
        scorer: Scorer,
        threshold: ThresholdInputs,
        rules: tuple[Plan, AlertSpec],
    ) -> dict[str, int] | None:
        """How one model does on the stretches that people spoke of, as a confusion matrix of events; None without any.

        ``scorer`` holds the model of ``entity`` alone. An incident in which an alert would be on is a true positive,
        an expected stretch in which one would be a false positive. What is expected is judged without its own
        exemplar: otherwise every lesson would count as learned.
        """
        stretches = [s for s in self.said.get(entity, ()) if s.verdict in ("incident", "expected")][-MAX_JUDGED:]
        if not stretches:
            return None
        own = self.block.take([self.block.entities.index(entity)])
        counts = dict.fromkeys(OUTCOMES, 0)
        for stretch in stretches:
            others = [k.exemplar for k in self.exemplars.get(entity, ()) if k.statement != stretch.record.id]
            exemplars = Exemplars([others], exemplar_spec(config)) if others else None
            on = _alerted(scorer, threshold, own, stretch, rules, exemplars=exemplars)
            if on is not None:
                counts[{True: "tp", False: "fn"}[on] if stretch.verdict == "incident" else "fp" if on else "tn"] += 1
        return counts if any(counts.values()) else None


def _alerted(
    scorer: Scorer,
    threshold: ThresholdInputs,
    block: Block,
    stretch: Stretch,
    rules: tuple[Plan, AlertSpec],
    *,
    exemplars: Exemplars | None,
) -> bool | None:
    """Whether the alerting score reaches 1 in ``stretch``; None where nothing can be scored in it."""
    plan, alert = rules
    end = min(stretch.end, stretch.start + 8 * LONGEST * block.step)
    lead = (scorer.window + plan.cleaning.max_gap + alert.persistence) * block.step
    part = block.slice(Span(stretch.start - lead, end))
    try:
        walk = evaluation.walk(scorer, [threshold], part, plan, alert, exemplars=exemplars)
    except AnomalyModelsError as error:
        log.warning("a model cannot be judged by what people said", extra={"error": str(error)})
        return None
    inside = walk.alerting[0, (walk.end >= stretch.start) & (walk.end < end)]
    return bool((inside >= 1).any()) if np.isfinite(inside).any() else None


def masked(block: Block, said: Sequence[tuple[Stretch, ...]]) -> Block:
    """``block`` with what was called an incident or to be ignored missing, entity by entity."""
    if not any(s.verdict != "expected" for found in said for s in found):
        return block
    values = block.values.copy()
    for i, found in enumerate(said):
        for stretch in found:
            if stretch.verdict != "expected":
                part = block.slice(stretch.span)
                first = (part.start - block.start) // block.step
                values[first : first + part.values.shape[0], i] = np.nan
    return replace(block, values=values)


def echoing(said: Sequence[Stretch], step: int) -> list[tuple[Stretch, Span]]:
    """Expected stretches, each with the time after it in which a window still holds a part of it.

    That time ends where somebody said something else.
    """
    out = []
    for i, stretch in enumerate(said):
        if stretch.verdict == "expected":
            until = said[i + 1].start if i + 1 < len(said) else stretch.end + CONTEXT * step
            out.append((stretch, Span(stretch.start, max(min(stretch.end + CONTEXT * step, until), stretch.end))))
    return out
