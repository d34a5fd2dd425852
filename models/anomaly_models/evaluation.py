"""Walk forward over a test part as serving would: every score from samples up to its own instant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import cleaning, detector, following, stillness, windows
from .alerting import AlertSpec, AlertState
from .ensemble import Ensemble
from .exceptions import InvalidShapeError
from .exemplars import Exemplars
from .following import Sample
from .frame import F32, I64, Block, Bool, Scorer, Windows
from .renewal import renewed
from .signs import Signs
from .thresholds import ThresholdInputs, ThresholdStack
from .training import Plan

CHUNK_FLOATS = 2**23
"""Numbers of observed, expected, ... samples that one step of the walk holds per array: 32 MiB."""
PERIOD = 7200
"""Seconds between two trainings."""


class Followed:
    """Thresholds that are measured anew for every period on what a walk has seen, as trainers do."""

    def __init__(self, samples: list[Sample], inputs: list[ThresholdInputs], block: Block, plan: Plan) -> None:
        self.samples, self.inputs = samples, inputs
        self.specs = [plan.threshold_of(e, block.step) for e in block.entities]
        self.taken = 0

    def stack(self, error: F32, end: I64) -> ThresholdStack:
        """Inputs of all entities after the errors and ends [S, B] so far. None is older than its model."""
        for i, spec in enumerate(self.specs):
            before = self.samples[i]
            self.samples[i] = before.then(error[i, self.taken :], end[i, self.taken :])
            if self.samples[i].end[-1:] > before.end[-1:]:
                self.inputs[i] = following.next_inputs(self.inputs[i], self.samples[i], spec)
        self.taken = error.shape[1]
        return ThresholdStack.of(self.inputs)


@dataclass(frozen=True)
class Walk:
    """What a walk over B instants said of S entities with F features; NaN where nothing could be said.

    ``end`` [B]: data time of every instant. ``error`` and ``threshold`` in scaler units, ``score`` = error / threshold,
    ``alerting``: minimum of the last ``persistence`` scores, all [S, B]. ``feature_score`` [S, B, F]: the score as each
    feature alone would have it; their mean over the features that count is the score. ``expected`` [S, B, F]: value of
    the newest sample as the model expected it, own units. ``members`` [S, B, M]: decades of rarity of an ensemble's
    ``member_names``, None for others.
    """

    end: I64
    error: F32
    threshold: F32
    score: F32
    alerting: F32
    feature_score: F32
    expected: F32
    members: F32 | None = None
    member_names: tuple[str, ...] = ()


def walk(
    scorer: Scorer,
    inputs: Sequence[ThresholdInputs],
    block: Block,
    plan: Plan,
    alert: AlertSpec,
    *,
    exemplars: Exemplars | None = None,
    since: int | None = None,
    renew: bool = False,
    samples: Sequence[Sample] = (),
) -> Walk:
    """Score every window of ``block``, oldest first, with models and thresholds that never change.

    ``block`` holds the scorer's entities in its order, some history before the test part included, so that the first
    test windows are whole. ``since``: data time of the first window that is scored; what comes before it says how long
    the series usually stand still, as serving learns it from training (nothing is known without). With ``renew`` the
    context of an ensemble is drawn again for every period from all of the block before it, as trainers do; its
    autoencoder stays. With ``samples`` too, the errors that training took a budget's thresholds from, so are the
    thresholds of all others.

    Raises:
        InvalidShapeError: scorer, inputs and block are not of the same entities.
    """
    if not len(block.entities) == len(inputs) == scorer.scale.shape[0]:
        raise InvalidShapeError(
            f"a walk needs one model and one threshold per entity, received {len(block.entities)} entities, "
            f"{scorer.scale.shape[0]} models, {len(inputs)} thresholds"
        )
    x, valid = cleaning.clean(block.values, plan.cleaning)
    W = scorer.window
    begin = W - 1 if since is None else min(max(-(-(since - block.start) // block.step), W - 1), x.shape[0])
    lead = begin - W + 1
    all_windows = windows.make(x[lead:], valid[lead:], block.start + lead * block.step, block.step, W)
    S, B, _, F = all_windows.x.shape
    stack = ThresholdStack.of(inputs)
    budgets = np.array([plan.budgets.get(entity, plan.budget) for entity in block.entities])
    known = None if since is None else _still(x, valid, block, begin)
    state: AlertState | None = None
    error, threshold, score, alerting = (np.full((S, B), np.nan, np.float32) for _ in range(4))
    feature_score, expected = (np.full((S, B, F), np.nan, np.float32) for _ in range(2))
    members: list[F32] = []
    names: tuple[str, ...] = ()
    followed: Followed | None = None
    stages: Iterable[tuple[int, int, Scorer]]
    if renew and isinstance(scorer, Ensemble):
        stages = renewed(scorer, x, valid, block.start, block.step, begin)
    else:
        if renew and samples and plan.threshold.base == "budget":
            followed = Followed(list(samples), list(inputs), block, plan)
        size = max(CHUNK_FLOATS // max(S * F, 1), 1) if followed is None else max(PERIOD // block.step, 1)
        stages = ((first, first + size, scorer) for first in range(begin, begin + B, size))
    for first, last, stage in stages:
        at = slice(first - begin, last - begin)
        part = Windows(all_windows.x[:, at], all_windows.valid[:, at], all_windows.end[:, at])
        if followed is not None:
            stack = followed.stack(error[:, : first - begin], all_windows.end[:, : first - begin])
        said = detector.detect(
            stage,
            part,
            stack,
            plan.threshold,
            alert,
            plan.model.min_features,
            state,
            exemplars=exemplars,
            signs=None if known is None else known.at(at),
            budget=budgets,
        )
        state = said.state
        error[:, at], threshold[:, at], score[:, at] = said.error, said.threshold, said.score
        alerting[:, at], expected[:, at] = said.alerting, said.expected
        if said.members is not None:
            members.append(said.members)
            names = said.member_names
        counted = np.isfinite(said.contribution).sum(axis=2, keepdims=True)
        feature_score[:, at] = said.contribution * counted * said.score[:, :, None]
    end = all_windows.end[0] if S else np.empty(B, np.int64)
    spoken = np.concatenate(members, axis=1) if members else None
    return Walk(end, error, threshold, score, alerting, feature_score, expected, spoken, names)


def _still(x: F32, valid: Bool, block: Block, begin: int) -> Signs:
    """Who stands still from row ``begin`` of cleaned ``x``, ``valid`` [T, S, F] on, by what was usual before it."""
    limits = stillness.learn(x[:begin], valid[:begin], block.start, block.step)
    steps = x.shape[0] - begin
    found = stillness.still(x, valid, limits, steps)
    none = Signs.none(x.shape[1], steps)
    return replace(none, still=found)
