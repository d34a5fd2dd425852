"""Group entities of one shape into fleets, fit each as one batch, and walk its test part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import lcm
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_models import quality
from anomaly_models.alerting import AlertSpec
from anomaly_models.evaluation import Walk, walk
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import F32, Block, Bool, EntityKey
from anomaly_models.pack import MAX_MODELS
from anomaly_models.training import Plan, Probe, TrainedBatch, train

from .data import Series

WEEK = 604_800
FLEET_SAMPLES = 2**26
"""Most samples of one fleet's block, 256 MiB."""
WINDOWS_PER_HISTORY = 4
"""A history must hold this many windows; where it does not, the window is shortened."""


@dataclass(frozen=True)
class Fitted:
    """What a fitted model said of the n test timestamps of a series, and what it cost.

    ``error`` and ``threshold`` [n] in scaler units, ``score`` [n], ``expected`` [n, F] in own units, NaN where nothing
    was said; ``members`` [n, M]: decades of rarity of an ensemble's ``member_names``. ``scale`` [F] is the unit of the
    error, ``naive`` [F] the naive forecast's error on the training part in that unit. ``base``: base threshold by
    method. Seconds of training one entity and of scoring one window.
    """

    error: F32
    threshold: F32
    score: F32
    expected: F32
    scale: F32
    naive: npt.NDArray[np.float64]
    base: Mapping[str, float]
    training_seconds: float
    inference_seconds: float
    members: F32 | None = None
    member_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scores:
    """Alerting scores [n] and feature scores [n, F] of a series' test timestamps; ``note`` says what was done instead.

    Where nothing could be said (a gap, a window not full yet) the score is 0: there is no reason for an alert.
    ``fitted`` is None where no model could be fitted at all.
    """

    series: Series
    alerting: F32
    feature_score: F32
    note: str = ""
    fitted: Fitted | None = None


def fleets(series: Sequence[Series], plan: Plan) -> Iterator[tuple[Plan, list[Series]]]:
    """``series`` in groups of one step, feature count and window, each small enough to be one block."""
    groups: dict[tuple[int, int, int], list[Series]] = {}
    for s in series:
        groups.setdefault((s.step, len(s.features), _window(s, plan.model.window)), []).append(s)
    for (_, features, window), members in sorted(groups.items(), key=lambda g: g[0]):
        short = replace(plan.model, window=window, tail=min(plan.model.tail, window), min_features=-(-features // 2))
        fleet: list[Series] = []
        for s in sorted(members, key=lambda s: len(s.values)):
            # A common grid is at most a week longer than its longest member.
            rows = len(s.values) + WEEK // s.step
            if fleet and (len(fleet) == MAX_MODELS or rows * (len(fleet) + 1) * features > FLEET_SAMPLES):
                yield replace(plan, model=short), fleet
                fleet = []
            fleet.append(s)
        yield replace(plan, model=short), fleet


def score(
    plan: Plan, alert: AlertSpec, fleet: Sequence[Series], progress: Callable[[Any], None] | None = None
) -> list[Scores]:
    """Fit a fleet on its training parts and score its test parts; entities that cannot be trained fall back.

    The fall-back is the recipe ``zscore`` on windows of two samples, and after that a score of 0 everywhere.
    """
    keys = [EntityKey.of("evaluate", {"entity": f"{i:03}"}) for i in range(len(fleet))]
    block, offsets = _block(fleet, keys)
    learned = block.values.copy()
    for i, (s, offset) in enumerate(zip(fleet, offsets, strict=True)):
        learned[offset + s.train[1] :, i] = np.nan
    try:
        batch = train(replace(block, values=learned), plan, progress=progress, probe=Probe(seconds=time.perf_counter))
    except InvalidShapeError as error:  # such as a pca of too many metrics
        batch = TrainedBatch(None, None, (), dict.fromkeys(keys, str(error)), {})
    said: dict[EntityKey, Scores] = {}
    if batch.scorer is not None:
        rows = [keys.index(r.entity) for r in batch.rows]
        # Windows before any test part are not judged; the context of an ensemble is renewed as trainers would.
        since = min(
            block.start + block.step * (offsets[row] + int(fleet[row].test_rows.min(initial=len(fleet[row].values))))
            for row in rows
        )
        # Periods begin at their own multiples, whoever is beside an entity.
        since -= since % plan.ensemble.period
        inputs = [r.threshold for r in batch.rows]
        samples = [r.sample for r in batch.rows]
        walked = walk(batch.scorer, inputs, block.take(rows), plan, alert, since=since, renew=True, samples=samples)
        lead = int(walked.end[0] - block.start) // block.step if walked.end.size else 0
        for at, row in enumerate(rows):
            picked = _Picked.of(fleet[row], offsets[row] - lead, walked.end.size)
            said[keys[row]] = _scores(fleet[row], picked, walked, at, batch)
    for i, key in enumerate(keys):
        if key not in said:
            said[key] = _fallback(plan, alert, fleet[i], batch.failed[key])
    return [said[key] for key in keys]


def _window(s: Series, wanted: int) -> int:
    return min(wanted, max((s.train[1] - s.train[0]) // WINDOWS_PER_HISTORY, 2))


def _block(fleet: Sequence[Series], keys: Sequence[EntityKey]) -> tuple[Block, list[int]]:
    """All members on one grid, and the row at which each begins.

    Histories from different years are moved onto each other by whole weeks, which keeps the time of day and the day of
    the week; scores depend on nothing else.
    """
    step = fleet[0].step
    period = lcm(WEEK, step) // step
    firsts = [s.first % period for s in fleet]
    start = min(firsts)
    offsets = [f - start for f in firsts]
    rows = max(o + len(s.values) for o, s in zip(offsets, fleet, strict=True))
    values = np.full((rows, len(fleet), len(fleet[0].features)), np.nan, np.float32)
    for i, (s, offset) in enumerate(zip(fleet, offsets, strict=True)):
        values[offset : offset + len(s.values), i] = s.values
    names = tuple(f"f{i:03}" for i in range(values.shape[2]))
    return Block(start * step, step, tuple(keys), names, values), offsets


@dataclass(frozen=True)
class _Picked:
    """Which windows of a walk end at the test timestamps of a series; NaN where none does."""

    rows: npt.NDArray[np.intp]
    there: Bool

    @classmethod
    def of(cls, s: Series, shift: int, size: int) -> _Picked:
        """Window ``i`` of ``size`` ends at row ``i - shift`` of the series."""
        at = s.test_rows + shift
        there = (at >= 0) & (at < size)
        return cls(np.where(there, at, 0), there)

    def of_values(self, values: F32) -> F32:
        """``values`` [B, ...] at the test timestamps, [n, ...]."""
        if len(values) == 0:
            return np.full((self.rows.size, *values.shape[1:]), np.nan, np.float32)
        there = self.there.reshape(-1, *([1] * (values.ndim - 1)))
        picked: F32 = np.where(there, values[self.rows], np.float32(np.nan))
        return picked


def _scores(s: Series, picked: _Picked, walked: Walk, at: int, batch: TrainedBatch) -> Scores:
    """Scores of the test timestamps of ``s``, entity ``at`` of the walk."""
    row, scale = batch.rows[at], _scale(batch, at)
    learned = s.values[s.train[0] : s.train[1]]
    fitted = Fitted(
        error=picked.of_values(walked.error[at]),
        threshold=picked.of_values(walked.threshold[at]),
        score=picked.of_values(walked.score[at]),
        expected=picked.of_values(walked.expected[at]),
        scale=scale,
        naive=quality.naive_error(learned / scale),
        base=dict(row.figures["base"]),
        training_seconds=row.seconds,
        inference_seconds=row.inference_seconds,
        members=None if walked.members is None else picked.of_values(walked.members[at]),
        member_names=walked.member_names,
    )
    alerting = np.nan_to_num(picked.of_values(walked.alerting[at]), nan=0.0)
    features = np.nan_to_num(picked.of_values(walked.feature_score[at]), nan=0.0)
    return Scores(s, alerting, features, fitted=fitted)


def _scale(batch: TrainedBatch, at: int) -> F32:
    if batch.scorer is None:
        raise InvalidShapeError("a batch with rows has a scorer")
    scale: F32 = batch.scorer.scale[at]
    return scale


def _fallback(plan: Plan, alert: AlertSpec, s: Series, reason: str) -> Scores:
    if plan.model.recipe != "zscore":
        simple = replace(plan, model=replace(plan.model, recipe="zscore", window=2, tail=1))
        found = score(simple, alert, [s])[0]
        return replace(found, note=f"{reason}: zscore instead" if not found.note else found.note)
    nothing = np.zeros(s.test_times.size, np.float32)
    return Scores(s, nothing, np.zeros((s.test_times.size, len(s.features)), np.float32), f"{reason}: score 0")
