"""Train the batches of one target and put what came of them in force."""

from __future__ import annotations

import gc
import logging
import math
import platform
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from anomaly_exporter import __version__, specs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, Model, Target
from anomaly_exporter.generations import Entry, Generations
from anomaly_exporter.history import History, data_digest
from anomaly_models import pack as codec
from anomaly_models.exceptions import AnomalyModelsError
from anomaly_models.frame import Block, EntityKey, Span
from anomaly_models.pack import MAX_MODELS
from anomaly_models.proving import Rules
from anomaly_models.training import Plan, Previous, Probe, TrainedBatch, TrainedRow, train

from . import customs, gating
from .events import Emit
from .memory import peak_since_last_call
from .sharing import Sharing
from .standing import Committer, Standing
from .teaching import Lesson, Teaching

log = logging.getLogger(__name__)

BATCH_SAMPLES = 2**25
"""Most samples of a batch, 128 MiB; training holds a few copies of them."""


@dataclass
class Outcome:
    """What became of the entities of one model; the ``rejected`` ones are among the ``trained``."""

    trained: int = 0
    rejected: int = 0
    failed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Run:
    """Everything one training of a target needs. ``began`` is the wall time of its start.

    ``forget_before``: data time; models that learned nothing since are dropped. The start of the span when left out.
    """

    config: Config
    target: Target
    clock: Clock
    history: History
    generations: Generations
    span: Span
    began: float
    emit: Emit
    forget_before: int | None = None
    teaching: Teaching | None = None

    def fit(self, models: Sequence[str], entities: Sequence[EntityKey]) -> dict[str, Outcome]:
        """Train ``models`` for ``entities`` batch by batch, committing on the way; what became of them, per model.

        Raises:
            BlobError, GenerationError: the store cannot be written. What was committed stays in force.
        """
        outcomes = {model: Outcome() for model in models}
        oldest = self.span.start if self.forget_before is None else self.forget_before
        committer = Committer(self.generations, self.target, self.began, oldest)
        in_force = Standing(self.generations, self.target)
        self._share(models, entities, in_force, committer)
        done = 0
        for batch in batches(entities, self._rows(), len(self.target.features)):
            read, lesson = self.history.read(self.target, self.span, entities=batch), None
            if self.teaching is not None:
                read, lesson = self.teaching.take(read)
            block, habits = customs.learn(self.config, self.target, _trimmed(read))
            self._stage("read")
            for name in models:
                outcome = outcomes[name]
                progress = Progress(self, name, done, len(entities))
                trained = self._train(name, block, in_force, progress, habits)
                outcome.failed.update(trained.failed.values())
                self._explain(name, trained)
                if trained.pack is not None:
                    encoded = codec.encode(trained.pack)
                    self.generations.put_pack(encoded)
                    entries = [self._entry(name, encoded.digest, row, trained, lesson) for row in trained.rows]
                    judged = self._judge(name, trained, entries, block, in_force)
                    committer.add(customs.told(judged.entries, habits))
                    outcome.trained += len(trained.rows)
                    outcome.rejected += judged.rejected
                for stage, peak in trained.stage_memory.items():
                    self._stage(stage, peak)
            done += len(batch)
            for name in models:
                self.emit(self._event("progress", model=name, done=done, total=len(entities)))
            # A fitted stack and its windows form cycles (Keras); without this they pile up over the batches.
            del block, read, lesson, trained
            gc.collect()
            self._stage("freed")
        committer.flush()
        for name, outcome in outcomes.items():
            self.emit(
                self._event(
                    "trained",
                    model=name,
                    entities=outcome.trained - outcome.rejected,
                    rejected=outcome.rejected,
                    failed=dict(outcome.failed),
                    generation=committer.number,
                )
            )
        return outcomes

    def _lessons(self, entities: Sequence[EntityKey]) -> Block:
        """What may be learned of ``entities``."""
        read = self.history.read(self.target, self.span, entities=entities)
        return _trimmed(read if self.teaching is None else self.teaching.without(read))

    def _share(
        self, models: Sequence[str], entities: Sequence[EntityKey], in_force: Standing, committer: Committer
    ) -> None:
        """Fit the models that series without one of their own are scored by, and own ones are measured against."""
        sharing = Sharing(
            self.target,
            self.generations,
            self.began,
            self.clock.wall,
            self._lessons,
        )
        for name in models:
            plan = self._plan(self.config.model(name))
            if not sharing.wanted(plan):
                continue
            entry = in_force.shared_entries.get(name)
            before = sharing.known(entry)
            about = {"versions": versions(), "recipe": plan.model.recipe, "seed": plan.model.seed}
            recent = before is not None and sharing.is_recent(entry)
            fitted = None if recent else sharing.fit(name, plan, entities, before, about)
            if fitted is not None:
                before = fitted[0]
                committer.share(fitted[1])
                self._stage("shared")
            if before is not None:
                in_force.shared[name] = before

    def _train(
        self, name: str, block: Block, in_force: Standing, progress: Progress, habits: customs.Customs
    ) -> TrainedBatch:
        """One batch of one model; a batch that fails as a whole fails alone."""
        model = self.config.model(name)
        budgets = dict(zip(block.entities, specs.budgets(self.target, block.entities).tolist(), strict=True))
        plan = replace(in_force.sharing(name, self._plan(model)), budgets=budgets)
        try:
            return train(
                block,
                plan,
                self._past(name, block, in_force, plan, habits),
                progress.epoch,
                probe=Probe(peak_since_last_call, time.perf_counter),
                provenance={"versions": versions(), "model": name, "trained_at": self.clock.wall()},
            )
        except ModuleNotFoundError:
            raise
        except Exception as error:
            expected = isinstance(error, AnomalyModelsError)
            log.error(
                "batch failed",
                extra={"target": self.target.name, "model": name, "error": f"{type(error).__name__}: {error}"},
                exc_info=None if expected else error,
            )
            return TrainedBatch(None, None, (), dict.fromkeys(block.entities, "invalid" if expected else "error"), {})

    def _judge(
        self, name: str, trained: TrainedBatch, entries: Sequence[Entry], block: Block, in_force: Standing
    ) -> gating.Judged:
        """The entries of a batch with the verdicts of the promotion gate."""
        target, model = self.target, self.config.model(name)
        rules = Rules(
            specs.threshold_spec(target),
            specs.alert_spec(target, model),
            target.needed_features,
            specs.budgets(target, [entry.entity for entry in entries]),
        )
        before = gating.InForce(in_force.entries, in_force.stack, in_force.digest)
        judged = gating.judge(trained, entries, block, self._plan(model), rules, specs.gate_spec(target), before)
        self._stage("gate")
        return judged

    def _past(self, name: str, block: Block, in_force: Standing, plan: Plan, habits: customs.Customs) -> Previous:
        """What is in force and may be compared with what ``plan`` will give."""
        entries = {entity: in_force.entries.get((entity, name)) for entity in block.entities}
        return customs.comparable(in_force.previous(name, block.entities, plan), entries, habits)

    def _explain(self, name: str, batch: TrainedBatch) -> None:
        """One line per reason for which entities of a batch were not trained, with some of them."""
        entities: dict[str, list[str]] = {}
        for entity, reason in batch.failed.items():
            entities.setdefault(reason, []).append(str(entity))
        for reason, names in sorted(entities.items()):
            log.info(
                "not trained",
                extra={"target": self.target.name, "model": name, "reason": reason, "entities": len(names)}
                | {"examples": "; ".join(names[:3])},
            )

    def _plan(self, model: Model) -> Plan:
        training = self.target.training
        return Plan(
            model=specs.model_spec(model, self.target),
            cleaning=specs.cleaning_spec(self.target, model),
            threshold=specs.threshold_spec(self.target),
            split=training.split,
            ensemble=specs.ensemble_spec(self.target),
            min_samples=max(training.min_history // self.target.step, 1),
            persistence=specs.persistence(self.target.alerting, self.target.threshold, model),
            budget=self.target.alerting.budget.false_alerts_per_week,
        )

    def _figures(self, name: str, row: TrainedRow, batch: TrainedBatch, lesson: Lesson | None) -> dict[str, Any]:
        """What training measured, and how the new model does on what people spoke of."""
        if lesson is None or batch.scorer is None:
            return dict(row.figures)
        model = self.config.model(name)
        rules = self._plan(model), specs.alert_spec(self.target, model)
        judged = lesson.judge(self.config, row.entity, batch.scorer.take([row.row]), row.threshold, rules)
        return {**row.figures, **({"labelled": judged} if judged else {})}

    def _entry(self, name: str, pack: str, row: TrainedRow, batch: TrainedBatch, lesson: Lesson | None) -> Entry:
        model, wall = self.config.model(name), self.clock.wall()
        threshold = self.target.threshold
        training = {
            "state": "succeeded",
            "recipe": model.recipe,
            "architecture": _architecture(model, batch),
            "samples": row.samples,
            "epochs": row.epochs,
            "best_epoch": row.best_epoch,
            "loss": row.loss,
            "masked_ratio": row.masked_ratio,
            "seconds": row.seconds,
            "inference_seconds": row.inference_seconds,
            "started_at": self.began,
            "seed": model.seed,
            "scope": row.scope,
            "test_start": row.test_start,
            "base": threshold.base,
            "k": threshold.k,
            "versions": versions(),
        }
        return Entry(
            entity=row.entity,
            model=name,
            pack=pack,
            row=row.row,
            threshold=row.threshold,
            data_digest=data_digest(self.target),
            trained_at=wall,
            trained_data_end=row.data_end,
            evaluated_at=wall,
            figures=self._figures(name, row, batch, lesson),
            training={key: value for key, value in training.items() if value is not None},
        )

    def _rows(self) -> int:
        return max(self.span.seconds // self.target.step, 1)

    def _stage(self, stage: str, peak: int | None = None) -> None:
        self.emit(self._event("stage", stage=stage, rss_bytes=peak_since_last_call() if peak is None else peak))

    def _event(self, event: str, **fields: Any) -> dict[str, Any]:
        return {"event": event, "target": self.target.name, **fields}


@dataclass(frozen=True)
class Progress:
    """Tells of the epochs of one batch."""

    run: Run
    model: str
    done: int
    total: int

    def epoch(self, said: Any) -> None:
        """One epoch of the fit is over; ``said`` is what the learner reports of it."""
        losses = {"train": said.train_loss, "validation": said.val_loss}
        finite = {split: loss for split, loss in losses.items() if math.isfinite(loss)}
        so_far = {"model": self.model, "done": self.done, "total": self.total}
        self.run.emit(self.run._event("progress", **so_far, epoch=said.epoch, loss=finite))


def batches(entities: Sequence[EntityKey], rows: int, features: int) -> Iterator[tuple[EntityKey, ...]]:
    """``entities`` in groups of at most 64 whose samples fit the memory; ``rows``: instants of the history."""
    size = max(min(MAX_MODELS, BATCH_SAMPLES // max(rows * features, 1)), 1)
    for first in range(0, len(entities), size):
        yield tuple(entities[first : first + size])


def _architecture(model: Model, batch: TrainedBatch) -> str:
    """What a model is made of: the kind of its pack; of an ensemble also the recipe of its autoencoder."""
    kind = batch.pack.kind if batch.pack else ""
    return f"{kind}({model.autoencoder})" if model.recipe == "auto" else kind


def versions() -> dict[str, str]:
    """Versions that a model depends on."""
    return {"anomaly-exporter": __version__, "numpy": np.__version__, "python": platform.python_version()}


def _trimmed(block: Block) -> Block:
    """The block from its first to its last row with any sample."""
    rows = np.flatnonzero(np.isfinite(block.values).any(axis=(1, 2)))
    if rows.size == 0:
        return block.slice(Span(block.start, block.start))
    return block.slice(Span(block.start + block.step * int(rows[0]), block.start + block.step * int(rows[-1]) + 1))
