"""Errors of the training part as a model would have made that had not learned from it.

For learners that are fitted in a moment: the newest part of the training samples is cut into contiguous blocks, and a
model that learned from all but one block scores that block. Blocks of days, not samples drawn at random, since the
neighbours of a sample know too much about it. The errors of all folds are brought to the scale of the final model.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from anomaly_models import cleaning, windows
from anomaly_models.following import MEMORY, Sample
from anomaly_models.frame import F32, I64, Learner, Scorer
from anomaly_models.model_spec import ModelSpec

from .parts import Parts, Survey, windows_of

FOLDS = 4
LEAST_WINDOWS = 4
"""A block must be at least this many windows long; with less history there are no folds."""


def samples(
    learner: Learner, scorer: Scorer, found: Survey, parts: Parts, spec: ModelSpec, *, max_gap: int
) -> list[Sample]:
    """Out-of-fold errors of the newest ``MEMORY`` seconds of every entity of ``found``, in units of ``scorer``.

    Only those of the training part. Empty for entities whose training part is too short to be cut.
    """
    borders, step = found.borders, found.block.step
    lowest = np.maximum(borders[:, 0], borders[:, 3] - MEMORY // step)
    edges = np.linspace(lowest, np.maximum(borders[:, 1], lowest), FOLDS + 1).astype(np.int64)  # [folds + 1, S]
    first = (int(parts.train.end[0, 0]) - found.block.start) // step - (spec.window - 1)
    pieces: list[Sample] = []
    errors: list[list[F32]] = [[] for _ in lowest]
    ends: list[list[I64]] = [[] for _ in lowest]
    for begin, end in pairwise(edges):
        learned = parts.observed.transpose(1, 0, 2).copy()
        for s in range(learned.shape[1]):
            learned[max(int(begin[s]) - first, 0) : max(int(end[s]) - first, 0), s] = np.nan
        x, valid = cleaning.bridge(learned, max_gap)
        train = windows.make(x, valid, found.block.start + first * step, step, spec.window, spec.stride)
        fold = learner.fit(train, parts.validation, None, None, spec.seed)
        w = windows_of(found, begin - (spec.window - spec.tail), end, replace(spec, stride=1))
        said = fold.infer(w)
        error = _expressed(said.feature_error, fold.scale / scorer.scale)
        error = np.where(windows.usable(w, spec.min_features, spec.tail), error, np.float32(np.nan))
        for s in range(len(lowest)):
            inside = np.flatnonzero(
                (w.end[s] >= found.block.start + step * begin[s]) & (w.end[s] < found.block.start + step * end[s])
            )
            errors[s].append(error[s, inside])
            ends[s].append(w.end[s, inside])
    for s in range(len(lowest)):
        enough = edges[-1, s] - edges[0, s] >= FOLDS * LEAST_WINDOWS * spec.window
        nothing = Sample(np.empty(0, np.float32), np.empty(0, np.int64))
        pieces.append(Sample(np.concatenate(errors[s]), np.concatenate(ends[s])) if enough else nothing)
    return pieces


def _expressed(feature_error: F32, ratio: F32) -> F32:
    """Mean [S, B] over the features that count of ``feature_error`` [S, B, F] in another unit, NaN where none does."""
    there = np.isfinite(feature_error)
    total = np.where(there, feature_error * ratio[:, None, :], np.float32(0)).sum(axis=2)
    number = there.sum(axis=2)
    return np.where(number > 0, total / np.maximum(number, 1), np.float32(np.nan)).astype(np.float32)
