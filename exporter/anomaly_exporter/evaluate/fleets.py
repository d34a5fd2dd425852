"""Group entities of one shape into fleets, fit each as one batch, and walk its test part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import lcm
from typing import Any

import numpy as np

from anomaly_models.alerting import AlertSpec
from anomaly_models.evaluation import walk
from anomaly_models.exceptions import InvalidShapeError
from anomaly_models.frame import F32, Block, EntityKey
from anomaly_models.pack import MAX_MODELS
from anomaly_models.training import Plan, TrainedBatch, train

from .data import Series

WEEK = 604_800
FLEET_SAMPLES = 2**26
"""Most samples of one fleet's block, 256 MiB."""
WINDOWS_PER_HISTORY = 4
"""A history must hold this many windows; where it does not, the window is shortened."""


@dataclass(frozen=True)
class Scores:
    """Alerting scores [n] and feature scores [n, F] of a series' test timestamps; ``note`` says what was done instead.

    Where nothing could be said (a gap, a window not full yet) the score is 0: there is no reason for an alert.
    """

    series: Series
    alerting: F32
    feature_score: F32
    note: str = ""


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
        batch = train(replace(block, values=learned), plan, progress=progress)
    except InvalidShapeError as error:  # such as a pca of too many metrics
        batch = TrainedBatch(None, None, (), dict.fromkeys(keys, str(error)), {})
    said: dict[EntityKey, Scores] = {}
    if batch.scorer is not None:
        rows = [keys.index(r.entity) for r in batch.rows]
        walked = walk(batch.scorer, [r.threshold for r in batch.rows], block.take(rows), plan, alert)
        lead = plan.model.window - 1
        for at, row in enumerate(rows):
            s = fleet[row]
            said[keys[row]] = _scores(s, walked.alerting[at], walked.feature_score[at], offsets[row] - lead)
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


def _scores(s: Series, alerting: F32, feature_score: F32, first_window: int, note: str = "") -> Scores:
    """Scores of the test timestamps of ``s``; window ``i`` ends at row ``i - first_window`` of the series."""
    at = s.test_rows + first_window
    there = (at >= 0) & (at < len(alerting))
    kept = np.where(there, at, 0)
    score_ = np.where(there, alerting[kept], np.nan) if len(alerting) else np.full(at.shape, np.nan)
    features = np.zeros((at.size, len(s.features)), np.float32)
    if len(alerting):
        features = np.where(there[:, None], feature_score[kept], np.nan)
    return Scores(
        s, np.nan_to_num(score_, nan=0.0).astype(np.float32), np.nan_to_num(features, nan=0.0).astype(np.float32), note
    )


def _fallback(plan: Plan, alert: AlertSpec, s: Series, reason: str) -> Scores:
    if plan.model.recipe != "zscore":
        simple = replace(plan, model=replace(plan.model, recipe="zscore", window=2, tail=1))
        found = score(simple, alert, [s])[0]
        return replace(found, note=f"{reason}: zscore instead" if not found.note else found.note)
    nothing = np.zeros(s.test_times.size, np.float32)
    return Scores(s, nothing, np.zeros((s.test_times.size, len(s.features)), np.float32), f"{reason}: score 0")
