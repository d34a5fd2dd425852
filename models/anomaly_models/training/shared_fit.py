"""Fit one model to all series of a target at once, and measure what it may expect of series that are yet to come."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from anomaly_models import scaling, sharing, windows
from anomaly_models.cleaning import CleaningSpec
from anomaly_models.exceptions import UntrainableError
from anomaly_models.frame import Block, Scorer, Windows
from anomaly_models.model_spec import ModelSpec
from anomaly_models.pack import Pack
from anomaly_models.pca import PcaLearner
from anomaly_models.scaling import UNSEEN, Scaler
from anomaly_models.sharing import Prior, Walks
from anomaly_models.zscore import ZScore

from .batch import Plan
from .ensembles import fitted_part
from .own_or_shared import can_share
from .parts import prepare, survey

MOST_SERIES = 64
"""Series that a shared model learns from, evenly chosen by whoever asks for it: more add time and little else."""
FEWEST_SERIES = 4
"""Below these a shared model would be one series' model under another name."""
POOL = 4
"""A shared model sees this many times ``max_windows`` windows in all, and half of that per epoch."""


@dataclass(frozen=True)
class SharedFit:
    """A shared model: a pack of one row in scaler units, its scorer, its prior, and how the fit went.

    ``data_end``: data time of the newest sample; ``samples``: observed training instants of all series.
    """

    pack: Pack
    scorer: Scorer
    prior: Prior
    data_end: int
    samples: int
    epochs: int | None
    loss: Mapping[str, float]


def train_shared(
    block: Block,
    plan: Plan,
    warm: Scorer | None = None,
    progress: Callable[[Any], None] | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> SharedFit:
    """Fit the model of ``plan`` to the series of ``block`` as one, each in the units of its own scale.

    ``warm``: the shared model in force. Of the ensemble ``auto`` it is the autoencoder that is shared. Outliers are not
    masked: among many series a few wild samples teach nothing.

    Raises:
        UntrainableError: too few series with enough history (``too_few``), nothing to learn from, or no finite result.
        InvalidShapeError: the model does not fit windows of the block's features.
    """
    spec = fitted_part(plan.model)
    if not can_share(spec.recipe):
        raise UntrainableError("not_shareable", f"the recipe {spec.recipe} knows a series by more than its scale")
    clean: CleaningSpec = replace(plan.cleaning, contamination=0.0)
    found = survey(block, spec, clean, plan.split, plan.min_samples)
    found = found.without(found.failed)
    entities = found.block.entities
    if len(entities) < FEWEST_SERIES:
        raise UntrainableError("too_few", f"{len(entities)} series have enough history, {FEWEST_SERIES} are needed")
    parts = prepare(found, spec, clean)
    scales = scaling.fit(windows.samples(parts.train)[0], spec.scaler, spec.minimum_scale, spec.minimum_relative_scale)
    pooled = replace(spec, max_windows=max(POOL * spec.max_windows // 2, 1))
    train, validation = _pool(parts.train, scales, spec), _pool(parts.validation, scales, spec)
    scorer, epochs, loss = _fit(pooled, train, validation, warm, progress)
    if not all(np.isfinite(t).all() for t in scorer.tensors().values()):
        raise UntrainableError("diverged", "the shared model did not come to a finite result")
    walks = Walks.of(found.x, found.valid, found.borders[:, 1], found.borders[:, 3])
    prior = sharing.measure(scorer, walks, scales, spec, plan.persistence)
    seen = np.flatnonzero(np.isfinite(found.block.values).any(axis=(1, 2)))
    data_end = int(found.block.start + found.block.step * seen[-1])
    row = {"seed": spec.seed, "data_end": data_end, "prior": prior.to_json(), "provenance": dict(provenance or {})}
    tensors = {name: np.ascontiguousarray(t, np.float32) for name, t in scorer.tensors().items()}
    pack = Pack(scorer.kind, scorer.spec(), tensors, (row,))
    return SharedFit(pack, scorer, prior, data_end, int(parts.samples[:, 0].sum()), epochs, loss)


def _fit(
    spec: ModelSpec,
    train: Windows,
    validation: Windows,
    warm: Scorer | None,
    progress: Callable[[Any], None] | None,
) -> tuple[Scorer, int | None, dict[str, float]]:
    """The one-row model of pooled windows in scaler units, its epochs and its losses."""
    features = train.x.shape[3]
    unit = sharing.identity(features)
    if spec.recipe == "zscore":
        return ZScore(spec.window, spec.tail, unit), None, {}
    if spec.recipe == "pca":
        return PcaLearner(spec, unit).fit(train, validation, None, None, spec.seed), None, {}
    from anomaly_models.keras_training import KerasLearner  # noqa: PLC0415  only where Keras trains

    learner = KerasLearner(spec, progress, unit)
    scorer = learner.fit(train, validation, None, warm, spec.seed)
    report = learner.report.rows[0] if learner.report else None
    if report is None or not report.trained:
        raise UntrainableError("diverged", "the shared model never became better than its random start")
    losses = {"train": report.train_loss, "validation": report.val_loss}
    return scorer, report.epochs, {name: loss for name, loss in losses.items() if math.isfinite(loss)}


def _pool(w: Windows, scales: Scaler, spec: ModelSpec) -> Windows:
    """Usable windows of all series as those of one [1, B, W, F], in scaler units, evenly thinned per series."""
    usable = windows.usable(w, spec.min_features, spec.tail)
    most = max(POOL * spec.max_windows // max(w.x.shape[0], 1), 1)
    x, valid = [], []
    for s in range(w.x.shape[0]):
        rows = np.flatnonzero(usable[s])
        if rows.size > most:
            rows = rows[np.linspace(0, rows.size - 1, most).astype(np.int64)]
        units = (w.x[s, rows] - scales.center[s]) / scales.scale[s]
        x.append(np.where(scales.scale[s] < UNSEEN, units, np.float32(np.nan)).astype(np.float32))
        valid.append(w.valid[s, rows])
    values, observed = np.concatenate(x)[None], np.concatenate(valid)[None]
    return Windows(values, observed, np.arange(values.shape[1], dtype=np.int64)[None])
