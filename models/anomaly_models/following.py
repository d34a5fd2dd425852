"""Thresholds of the base ``budget`` that follow their entity, from one generation to the next and without labels.

What an entity did lately says what it will do, unless it was an incident. Three things keep an incident from teaching
the threshold: errors above the thresholds that were in force do not count, a threshold rises only by so much a day, and
rare peaks have no say in its tail anyway (:mod:`anomaly_models.budget`). Nothing is remembered but the earlier
thresholds, which a generation holds already; so trainers and evaluation do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import budget
from .budget import DAY, HABIT, WEEK, BudgetSpec, Calibrated
from .exceptions import UntrainableError
from .frame import F32, I64, Bool
from .thresholds import Recent, ThresholdInputs, ThresholdSpec

MEMORY = 14 * DAY
"""Held-out errors older than this (seconds) do not count: every weekday was seen twice."""
FEWEST = 30
"""Fewest errors that a threshold is taken from where incidents are left out; with less, nothing is."""
LONGEST = DAY
"""An alert that stands longer (seconds) is no incident but how things are now; six mails have told of it."""
KEEP = 36
"""Earlier thresholds kept per entity: three days of two-hourly trainings; older ones weigh less than an eighth."""


@dataclass(frozen=True)
class Sample:
    """Finite errors [B] of windows that a model did not learn from, and the data times [B] of their ends, ascending."""

    errors: F32
    end: I64

    def then(self, errors: F32, end: I64) -> Sample:
        """This sample and the finite errors that end after it, those of the newest ``MEMORY`` seconds."""
        later = np.isfinite(errors) & (end > (self.end[-1] if self.end.size else np.iinfo(np.int64).min))
        all_errors, all_end = np.concatenate([self.errors, errors[later]]), np.concatenate([self.end, end[later]])
        kept = all_end > (all_end[-1] if all_end.size else 0) - MEMORY
        return Sample(all_errors[kept], all_end[kept])


def follow(sample: Sample, earlier: Sequence[Recent], spec: ThresholdSpec) -> tuple[Recent, Calibrated]:
    """R of the base ``budget`` from the newest ``MEMORY`` seconds of ``sample``, and how it was calibrated.

    ``earlier``: thresholds in force before, on the scale of these errors. R is at most ``spec.largest_rise`` higher per
    day than the newest of them; where all history is shorter than a day, that rise is granted in its length.

    Raises:
        UntrainableError: the sample is empty.
    """
    if not sample.end.size:
        raise UntrainableError("no_errors", "a threshold needs at least one held-out window that can be scored")
    at = int(sample.end[-1])
    newest = sample.end > at - MEMORY
    heights, times = budget.laid(sample.errors[newest], sample.end[newest], spec.budget.step)
    calm = np.isfinite(heights) & ~incidents(heights, times, earlier, spec.budget)
    if calm.sum() < FEWEST:
        calm = np.isfinite(heights)
    found = budget.calibrate(np.where(calm, heights, np.nan), spec.budget)
    value = found.threshold
    if earlier:
        last = max(earlier, key=lambda r: r.at)
        known = min(DAY, max(DAY * 7 / found.attainable, DAY * budget.LEAST_DAYS))
        value = min(value, max(last.value, spec.floor) * (1 + spec.largest_rise) ** (max(at - last.at, 0) / known))
    return Recent(at, value, float(heights[calm].std())), found


def incidents(heights: budget.F64, times: I64, earlier: Sequence[Recent], spec: BudgetSpec) -> Bool:
    """Which ``heights`` [B] at ``times`` [B] raised an alert with the thresholds in force, and must teach nothing.

    Before the first threshold that is remembered, that one counts. No incident is what stands longer than a day. When
    the newest week alone held more of them than incidents come in a week, none is one: the threshold is wrong.
    """
    nothing = np.zeros(heights.shape, np.bool_)
    if not earlier:
        return nothing
    known = sorted(earlier, key=lambda r: r.at)
    since = np.array([r.at for r in known])
    in_force = np.array([r.value for r in known])[np.maximum(np.searchsorted(since, times, side="left") - 1, 0)]
    with np.errstate(invalid="ignore"):
        alerting = budget.persistent(heights, spec.persistence) >= in_force
    out = alerting.copy()
    for back in range(1, spec.persistence):
        out[:-back] |= alerting[back:]
    lately = budget.spans(out[times > times[-1] - WEEK], spec.step)
    if len(lately) > max(HABIT, spec.per_week):
        return nothing
    for first, last in budget.spans(out, spec.step).tolist():
        if (last - first) * spec.step > LONGEST:
            out[first : last + 1] = False
    return out


def next_inputs(inputs: ThresholdInputs, sample: Sample, spec: ThresholdSpec) -> ThresholdInputs:
    """Threshold inputs of the generation after ``inputs``, measured on ``sample`` with the same model."""
    earlier = (inputs.recent, *inputs.earlier)[:KEEP]
    recent, _ = follow(sample, earlier, spec)
    return inputs if recent.at <= inputs.recent.at else ThresholdInputs(recent, earlier)


def allowed(spec: ThresholdSpec, per_week: float, step: int, persistence: int) -> ThresholdSpec:
    """``spec`` with what the base ``budget`` allows an entity."""
    return replace(spec, budget=BudgetSpec(per_week, step, persistence))
