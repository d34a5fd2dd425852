"""Train one batch: at most 64 entities, one model, one pack."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_models import following, quality, scorers
from anomaly_models.budget import WEEK, Calibrated
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.ensemble_spec import EnsembleSpec
from anomaly_models.exceptions import InvalidShapeError, UntrainableError
from anomaly_models.following import Sample
from anomaly_models.frame import Block, Bool, EntityKey, Inference, Learner, Scorer, Windows
from anomaly_models.model_spec import ModelSpec
from anomaly_models.pack import MAX_MODELS, Pack
from anomaly_models.thresholds import Recent, ThresholdInputs, ThresholdSpec

from . import held_out, out_of_fold
from .ensembles import AUTO, complete, fitted_part, fitted_scorer
from .held_out import Old
from .own_or_shared import OwnOrShared, Scope, can_share
from .parts import SPLITS, Parts, prepare, survey

MAX_TEST_WINDOWS = 8192
"""Newest test windows that are scored; more would change no threshold and cost minutes."""
MAX_FIGURE_WINDOWS = 1024
"""Windows of the training and validation part that figures are taken from, thinned evenly."""

NOTHING_LEFT = 1e-8
"""Validation loss (squared scaler units) at which nothing is left to learn: a constant series is reconstructed by the
initial weights already, and no epoch can improve on that. Its first step away from the constant is an anomaly."""


@dataclass(frozen=True)
class Plan:
    """What to train and how: model, cleaning, thresholds, the three shares of the split, fewest observed instants.

    ``persistence``: so many errors in a row count as detected and are kept out of the newest threshold. ``shared``: the
    one-row model of all series, where there is one; with the scope ``both`` a series keeps it until its own is better,
    with ``shared`` it only gets a scale and a threshold of its own. ``ensemble``: how the members of
    the recipe ``auto`` are calibrated.
    ``budget``: false alerts allowed per entity and week, ``budgets`` of entities with another one.
    """

    model: ModelSpec
    cleaning: CleaningSpec = field(default_factory=CleaningSpec)
    threshold: ThresholdSpec = field(default_factory=ThresholdSpec)
    split: Sequence[float] = (0.7, 0.15, 0.15)
    min_samples: int = 1
    persistence: int = 3
    scope: Scope = "own"
    shared: Scorer | None = None
    ensemble: EnsembleSpec = field(default_factory=EnsembleSpec)
    budget: float = 1.0
    budgets: Mapping[EntityKey, float] = field(default_factory=dict)

    def threshold_of(self, entity: EntityKey, step: int) -> ThresholdSpec:
        """How errors of ``entity`` become a threshold, its budget included; ``step``: seconds between samples."""
        return following.allowed(self.threshold, self.budgets.get(entity, self.budget), step, self.persistence)


@dataclass(frozen=True)
class Probe:
    """How the caller measures: peak memory in bytes since the last call, and seconds of a steady clock."""

    memory: Callable[[], int] = lambda: 0
    seconds: Callable[[], float] = lambda: 0.0


@dataclass(frozen=True)
class Previous:
    """What is in force: one-row scorers, threshold inputs and the data time at which each test part began.

    Entities that are missing here, or whose old model is of another architecture, start without a past.
    """

    scorers: Mapping[EntityKey, Scorer] = field(default_factory=dict)
    thresholds: Mapping[EntityKey, ThresholdInputs] = field(default_factory=dict)
    test_starts: Mapping[EntityKey, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedRow:
    """One trained entity: row ``row`` of the pack.

    ``figures``: quality per split (scaler units), base thresholds per method on the held-out errors, what lies above
    them, and under ``budget`` the false alerts per week that were asked for, the fewest that the history can support
    and how many the held-out errors would have made. ``loss`` and the epochs are None for models that are not fitted in
    epochs. ``seconds`` is the entity's share of the fit, ``inference_seconds`` the time of one window. ``scope``: whose
    weights these are, ``own`` or ``shared``. ``sample``: the errors that a budget's threshold was taken from.
    """

    entity: EntityKey
    row: int
    threshold: ThresholdInputs
    figures: dict[str, Any]
    epochs: int | None
    best_epoch: int | None
    loss: dict[str, float]
    masked_ratio: float
    samples: dict[str, int]
    seconds: float
    inference_seconds: float
    test_start: int
    data_end: int
    sample: Sample
    scope: str = "own"


@dataclass(frozen=True)
class TrainedBatch:
    """What came of a batch. ``pack`` and ``scorer`` are None when no entity could be trained.

    ``failed`` names why an entity was not: no_data, too_short, no_windows, diverged. ``stage_memory`` is the peak
    memory of every stage in bytes.
    """

    pack: Pack | None
    scorer: Scorer | None
    rows: tuple[TrainedRow, ...]
    failed: dict[EntityKey, str]
    stage_memory: dict[str, int]


def train(
    block: Block,
    plan: Plan,
    previous: Previous | None = None,
    progress: Callable[[Any], None] | None = None,
    *,
    probe: Probe | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> TrainedBatch:
    """Fit one model for every entity of ``block`` (at most 64), each on its own history.

    ``progress`` is told about epochs by learners that have them; ``provenance`` goes into every row of the pack. What
    cannot be trained is named in ``failed`` and disturbs no other entity; nothing infinite or NaN gets into the pack.

    Raises:
        InvalidShapeError: the block holds more than 64 entities, or the model does not fit windows of its features.
    """
    if len(block.entities) > MAX_MODELS:
        raise InvalidShapeError(f"a batch has at most {MAX_MODELS} entities, received {len(block.entities)}")
    probe, previous = probe or Probe(), previous or Previous()
    memory: dict[str, int] = {}
    found = survey(block, plan.model, plan.cleaning, plan.split, plan.min_samples)
    failed = dict(found.failed)
    found = found.without(failed)
    entities = found.block.entities
    if not entities:
        return TrainedBatch(None, None, (), failed, {"clean": probe.memory()})
    parts = prepare(found, plan.model, plan.cleaning)
    memory["clean"] = probe.memory()
    fitted = fitted_part(plan.model)
    previous = replace(previous, scorers={e: fitted_scorer(s) for e, s in previous.scorers.items()})
    learner = make_learner(fitted, progress, shared=plan.shared, scope=plan.scope)
    began = probe.seconds()
    try:
        scorer = learner.fit(parts.train, parts.validation, None, _warm(previous, entities), plan.model.seed)
    except UntrainableError as error:
        failed.update(dict.fromkeys(entities, error.reason))
        return TrainedBatch(None, None, (), failed, {**memory, "fit": probe.memory()})
    seconds = (probe.seconds() - began) / len(entities)
    memory["fit"] = probe.memory()
    scopes = getattr(learner, "scopes", ("own",) * len(entities))
    folds: Sequence[Sample] = ()
    if fitted.recipe in scorers.SIMPLE and "shared" not in scopes:
        simple = scorers.simple_learner(fitted)
        folds = out_of_fold.samples(simple, scorer, found, parts, fitted, max_gap=plan.cleaning.max_gap)
    judge = _Judge(plan, found.block, parts, scorer, _reports(learner, len(entities)), seconds, probe, folds)
    rows: list[TrainedRow] = []
    kept: list[int] = []
    for i, entity in enumerate(entities):
        row = judge.row(i, len(rows), previous)
        if row is None:
            failed[entity] = "diverged"
        else:
            rows.append(replace(row, scope=scopes[i]))
            kept.append(i)
    memory["score"] = probe.memory()
    if not rows:
        return TrainedBatch(None, None, (), failed, memory)
    if fitted is plan.model:
        scorer = scorer.take(kept)
    else:
        scorer = complete(scorer, found, kept, plan.ensemble)
        memory["context"] = probe.memory()
    pack = Pack(
        kind=scorer.kind,
        spec=scorer.spec(),
        tensors={name: np.ascontiguousarray(t, np.float32) for name, t in scorer.tensors().items()},
        rows=tuple(_json(r, plan.model, provenance or {}) for r in rows),
    )
    return TrainedBatch(pack, scorer, tuple(rows), failed, memory)


def make_learner(
    model: ModelSpec,
    progress: Callable[[Any], None] | None = None,
    *,
    shared: Scorer | None = None,
    scope: Scope = "own",
) -> Learner:
    """The learner of a recipe. TensorFlow is imported only for a recipe that is an autoencoder and is fitted.

    With a model ``shared`` by all series (one row) and a ``scope`` other than ``own`` it is one that weighs it.
    """
    # A z-score is nothing but its scale, which is always a series' own.
    if scope == "own" or shared is None or model.recipe == "zscore" or not can_share(model.recipe):
        return _own_learner(model, progress)
    return OwnOrShared(_own_learner(model, progress) if scope == "both" else None, shared, model)


def _own_learner(model: ModelSpec, progress: Callable[[Any], None] | None) -> Learner:
    try:
        return scorers.simple_learner(model)
    except KeyError:
        from anomaly_models.keras_training import KerasLearner  # noqa: PLC0415

        return KerasLearner(model, progress)


class _Judge:
    """Scores the held-out windows of a fitted stack once and makes a row of every entity."""

    def __init__(  # noqa: PLR0917
        self,
        plan: Plan,
        block: Block,
        parts: Parts,
        scorer: Scorer,
        reports: Sequence[_Report],
        seconds: float,
        probe: Probe,
        folds: Sequence[Sample],
    ) -> None:
        self.plan, self.block, self.parts, self.scorer = plan, block, parts, scorer
        self.reports, self.seconds, self.folds = reports, seconds, folds
        self.windows = {
            "train": _thinned(parts.train, MAX_FIGURE_WINDOWS),
            "validation": _newest(parts.validation, MAX_TEST_WINDOWS),
            "test": _newest(parts.test, MAX_TEST_WINDOWS),
        }
        began = probe.seconds()
        self.said: dict[str, Inference] = {
            name: held_out.score(scorer, w, plan.model.min_features, plan.model.tail)
            for name, w in self.windows.items()
        }
        scored = sum(w.end.size for w in self.windows.values())
        self.inference_seconds = (probe.seconds() - began) / max(scored, 1)
        self.finite = _finite_rows(scorer)

    def row(self, i: int, at: int, previous: Previous) -> TrainedRow | None:
        """Entity ``i`` of the stack as row ``at`` of the pack; None where its model came to nothing."""
        report, parts, entity = self.reports[i], self.parts, self.block.entities[i]
        test, errors = self.windows["test"], self.said["test"].error[i]
        if not (self.finite[i] and report.trained and np.isfinite(errors).any()):
            return None
        spec, persistence = self.plan.threshold_of(entity, self.block.step), self.plan.persistence
        validation = (self.said["validation"].error[i], self.windows["validation"].end[i])
        earlier = self._earlier(i, previous, spec)
        now, looked_at, calm = held_out.recent(validation, (errors, test.end[i]), spec, persistence)
        sample = held_out.joined((*self.folds[i : i + 1], Sample(*validation), Sample(errors, test.end[i])))
        is_budget = spec.base == "budget"
        measured, calibrated = following.follow(sample, earlier if is_budget else (), spec)
        if is_budget:
            now = measured
        return TrainedRow(
            entity=entity,
            row=at,
            # Training again without new data must not make the same measurement count twice.
            threshold=ThresholdInputs(now, tuple(r for r in earlier if r.at < now.at)),
            figures={
                "quality": self._quality(i),
                **held_out.base_figures(looked_at, calm, spec, measured.value),
                "budget": self._budget(i, calibrated, spec),
            },
            epochs=report.epochs,
            best_epoch=report.best_epoch,
            loss=report.loss,
            masked_ratio=float(parts.masked_ratio[i]),
            samples=dict(zip(SPLITS, (int(n) for n in parts.samples[i]), strict=True)),
            seconds=self.seconds,
            inference_seconds=self.inference_seconds,
            test_start=int(parts.test_start[i]),
            data_end=_data_end(self.block, i),
            sample=sample,
        )

    def _budget(self, i: int, calibrated: Calibrated, spec: ThresholdSpec) -> dict[str, float]:
        """What was asked for and what the history can support; an ensemble is calibrated on all of it."""
        attainable = calibrated.attainable
        if self.plan.model.recipe == AUTO:
            attainable = WEEK / max(float(self.parts.samples[i].sum()) * self.block.step, 1.0)
        asked = spec.budget.per_week
        return {
            "asked": asked,
            "attainable": attainable,
            "expected": calibrated.expected,
            "widened": calibrated.widened,
        }

    def _earlier(self, i: int, previous: Previous, spec: ThresholdSpec) -> tuple[Recent, ...]:
        """Earlier thresholds of entity ``i`` on the new model's scale; none where there is no comparable old model."""
        entity = self.block.entities[i]
        old, inputs = previous.scorers.get(entity), previous.thresholds.get(entity)
        if old is None or inputs is None or _architecture(old) != _architecture(self.scorer):
            return ()
        test, errors = self.windows["test"], self.said["test"].error[i]
        own = Windows(test.x[i : i + 1], test.valid[i : i + 1], test.end[i : i + 1])
        calm = ~held_out.detected(errors, spec, self.plan.persistence)
        return held_out.earlier(Old(old, inputs, previous.test_starts.get(entity, 0)), own, errors, calm, spec)

    def _quality(self, i: int) -> dict[str, dict[str, float]]:
        naive = quality.naive_error(self.parts.observed[i] / self.scorer.scale[i])
        return {
            name: held_out.quality_figures(said, self.windows[name], self.scorer.scale, i, naive)
            for name, said in self.said.items()
        }


@dataclass(frozen=True)
class _Report:
    """What a learner says of one row; learners without epochs say nothing."""

    trained: bool = True
    epochs: int | None = None
    best_epoch: int | None = None
    loss: dict[str, float] = field(default_factory=dict)


def _reports(learner: Learner, rows: int) -> list[_Report]:
    report = getattr(learner, "report", None)
    if report is None:
        return [_Report()] * rows
    return [
        _Report(
            row.trained or row.val_loss <= NOTHING_LEFT,
            row.epochs,
            row.best_epoch,
            {n: v for n, v in (("train", row.train_loss), ("validation", row.val_loss)) if np.isfinite(v)},
        )
        for row in report.rows
    ]


def _warm(previous: Previous, entities: Sequence[EntityKey]) -> Scorer | None:
    """The autoencoders in force as one stack in the order of ``entities``, None where there are none.

    Entities without one (or with another architecture than most) get weights of NaN, which start cold.
    """
    old = [previous.scorers.get(e) for e in entities]
    specs = Counter(_architecture(o) for o in old if o is not None and o.kind == "autoencoder")
    if not specs:
        return None
    common = specs.most_common(1)[0][0]
    like = next(o for o in old if o is not None and _architecture(o) == common)
    cold = {
        name: tensor if name in ("center", "scale") else np.full_like(tensor, np.nan)
        for name, tensor in like.tensors().items()
    }
    stacks = [o.tensors() if o is not None and _architecture(o) == common else cold for o in old]
    return scorers.restore(like.kind, like.spec(), {name: np.concatenate([s[name] for s in stacks]) for name in cold})


def _architecture(scorer: Scorer) -> str:
    return json.dumps([scorer.kind, scorer.spec()], sort_keys=True)


def _finite_rows(scorer: Scorer) -> Bool:
    """Which rows of the stack hold only finite numbers."""
    good = np.ones(scorer.scale.shape[0], np.bool_)
    for tensor in scorer.tensors().values():
        good &= np.isfinite(tensor.reshape(tensor.shape[0], -1)).all(axis=1)
    return good


def _newest(w: Windows, most: int) -> Windows:
    first = max(w.end.shape[1] - most, 0)
    return Windows(w.x[:, first:], w.valid[:, first:], w.end[:, first:])


def _thinned(w: Windows, most: int) -> Windows:
    every = max(-(-w.end.shape[1] // most), 1)
    return Windows(w.x[:, ::every], w.valid[:, ::every], w.end[:, ::every])


def _data_end(block: Block, i: int) -> int:
    """Data time of the newest observed sample of entity ``i``."""
    rows: npt.NDArray[np.intp] = np.flatnonzero(np.isfinite(block.values[:, i]).any(axis=1))
    return int(block.start + block.step * rows[-1])


def _json(row: TrainedRow, model: ModelSpec, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What a pack says of one of its models."""
    return {
        "entity": {"target": row.entity.target, "labels": dict(row.entity.labels)},
        "seed": model.seed,
        "data_end": row.data_end,
        "threshold": row.threshold.to_json(),
        "figures": row.figures,
        "provenance": dict(provenance),
    }
