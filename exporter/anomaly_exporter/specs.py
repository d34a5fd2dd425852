"""From the configuration's sections to the science's specifications: the only place where the two meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from anomaly_models import ensemble
from anomaly_models.alerting import AlertSpec
from anomaly_models.cleaning import CleaningSpec, Ranges
from anomaly_models.ensemble_spec import EnsembleSpec, UsualSpec
from anomaly_models.exemplars import ExemplarSpec
from anomaly_models.frame import EntityKey
from anomaly_models.gate import GateSpec
from anomaly_models.model_spec import ModelSpec
from anomaly_models.regime import RegimeSpec
from anomaly_models.thresholds import ThresholdSpec
from anomaly_models.time_of_day import Calendar

from .config import Alerting, Config, Model, Regime, Target, Threshold, Training

SHORTEST_REGIME = 12
"""Fewest steps that show whether a level is steady."""
REMEMBERED = 360
"""Most scores per series by which serving knows a new regime."""
UNCALIBRATED_PERSISTENCE = 3
"""Scores in a row that an alert needs where nobody said so and the score is not calibrated to a budget."""


def model_spec(model: Model, target: Target) -> ModelSpec:
    """What to fit for ``target``: the model's section and the fewest features a window of the target needs.

    Raises:
        ValueError: the fields contradict each other (a tail longer than the window).
    """
    return ModelSpec(**model.model_dump(), min_features=target.needed_features)


def cleaning_spec(target: Target, model: Model) -> CleaningSpec:
    """How samples of ``target`` are cleaned before ``model`` learns them; the model's seed also seeds the forest."""
    return replace(clean(target.training, target.zero_gap, model.seed), ranges=ranges(target))


def ranges(target: Target) -> Ranges:
    """Possible values of every feature of ``target``; empty where everything is possible."""
    known = tuple((query.valid.min, query.valid.max) for query in target.queries)
    return known if any(limit is not None for pair in known for limit in pair) else ()


def regime(section: Regime, step: int) -> RegimeSpec | None:
    """When serving takes a new level of series with a sample every ``step`` seconds for normal, None = never.

    Where that would take more scores than it remembers (steps of seconds), it is left to training.
    """
    spec = regime_spec(section, step)
    return spec if spec is not None and spec.after <= REMEMBERED else None


def regime_spec(section: Regime, step: int) -> RegimeSpec | None:
    """When a new level in the history of series with a sample every ``step`` seconds is a new normal, None = never."""
    if not section.enabled:
        return None
    after = max(-(-section.after // step), SHORTEST_REGIME)
    return RegimeSpec(after, section.extreme, max(section.longest // step, after))


def clean(training: Training, zero_gap: int, seed: int) -> CleaningSpec:
    """A cleaning specification from its parts; ``zero_gap`` in steps."""
    return CleaningSpec(training.contamination, training.max_gap, zero_gap, seed)


def threshold_spec(target: Target) -> ThresholdSpec:
    """How errors of ``target`` become a threshold."""
    return threshold(target.threshold)


def threshold(section: Threshold) -> ThresholdSpec:
    """The section ``threshold``, field for field."""
    return ThresholdSpec(**section.model_dump())


def ensemble_spec(target: Target) -> EnsembleSpec:
    """How the members of the model `auto` are calibrated for ``target``."""
    days = tuple(day.isoformat() for day in target.season.excluded_days)
    calendar = Calendar(target.season.timezone, days)
    return EnsembleSpec(usual=UsualSpec(calendar=calendar))


def window(model: Model, target: Target) -> int:
    """Samples that ``model`` needs to score an instant of ``target``."""
    if model.recipe == "auto":
        return ensemble.window(model.window, target.step, ensemble_spec(target))
    return model.window


def alert_spec(target: Target, model: Model) -> AlertSpec:
    """When a score that ``model`` gives to ``target`` becomes an alert."""
    spec = alert(target.alerting, persistence(target.alerting, target.threshold, model))
    held = target.hold_on.steps if target.hold_on else 0
    return replace(spec, hold_after_restart=held, regime=regime(target.regime, target.step))


def alert(section: Alerting, steps: int) -> AlertSpec:
    """The section ``alerting``, field for field, with a persistence of ``steps``."""
    return AlertSpec(**{**section.model_dump(exclude={"budget"}), "persistence": steps})


def budgets(target: Target, entities: Sequence[EntityKey]) -> npt.NDArray[np.float64]:
    """False alerts allowed per week of ``entities`` of ``target``, [S]."""
    budget = target.alerting.budget
    if not budget.overrides:
        return np.full(len(entities), budget.false_alerts_per_week)
    return np.array([budget.of(_tag(target, e), dict(e.labels)) for e in entities], np.float64)


def _tag(target: Target, entity: EntityKey) -> str:
    return target.tag if target.tag is not None else entity.get(target.tag_from)


def persistence(alerting: Alerting, threshold_: Threshold, model: Model) -> int:
    """Scores in a row that an alert needs; unset, it follows from how the score of ``model`` is calibrated.

    A calibrated score counts every notification it would send, those of single samples too. One that is only an error
    over a threshold does not, so that single samples must not alert.
    """
    if alerting.persistence is not None:
        return alerting.persistence
    return 1 if model.recipe == "auto" or threshold_.base == "budget" else UNCALIBRATED_PERSISTENCE


def exemplar_spec(config: Config) -> ExemplarSpec:
    """How alike a later window must be to what was called expected."""
    return ExemplarSpec(**config.feedback.expected.model_dump())


def gate_spec(target: Target) -> GateSpec:
    """Bounds of the promotion gate of ``target``; the section ``gate``, field for field."""
    return GateSpec(**target.gate.model_dump())
