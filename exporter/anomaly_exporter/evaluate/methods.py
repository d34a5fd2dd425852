"""What is judged: which models, and how each is trained and alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from anomaly_exporter import specs
from anomaly_exporter.config import Alerting, Config, ConfigError, Model, Regime, Threshold, Training
from anomaly_exporter.config.models import RECIPES
from anomaly_models.alerting import AlertSpec
from anomaly_models.model_spec import ModelSpec
from anomaly_models.training import Plan

EVERYTHING = "all"


@dataclass(frozen=True)
class Method:
    """One model under one seed: how to train and when to alert.

    ``bare_alert``: when its bare error over a base threshold would alert, for comparison with other thresholds.
    ``budget``: false notifications per entity and week at which recall is compared. ``regime``: when a new level is
    normal.
    """

    name: str
    plan: Plan
    alert: AlertSpec
    bare_alert: AlertSpec
    budget: float
    regime: Regime

    def alert_of(self, step: int) -> AlertSpec:
        """When it alerts on series with a sample every ``step`` seconds."""
        return replace(self.alert, regime=specs.regime(self.regime, step))

    @property
    def seed(self) -> int:
        return self.plan.model.seed


def method_of(config: Config | None, model: str, seed: int | None) -> Method:
    """The method that ``config`` (None: the defaults) and the options name. Raises ConfigError for an unknown model."""
    try:
        section = config.model(model) if config else Model.model_validate({"recipe": model})
    except (KeyError, ValueError) as error:
        known = ", ".join([*_known(config), EVERYTHING])
        raise ConfigError(f"--model: expected one of {known}, received {model!r}") from error
    training, threshold, alerting = (
        (config.training, config.threshold, config.alerting) if config else (Training(), Threshold(), Alerting())
    )
    spec = ModelSpec(**section.model_dump())
    if seed is not None:
        spec = replace(spec, seed=seed)
    steps = specs.persistence(alerting, threshold, section)
    plan = Plan(
        model=spec,
        cleaning=specs.clean(training, 0, spec.seed),
        threshold=specs.threshold(threshold),
        split=training.split,
        persistence=steps,
        budget=alerting.budget.false_alerts_per_week,
    )
    regime = config.regime if config else Regime()
    bare = alerting.persistence or specs.UNCALIBRATED_PERSISTENCE
    budget = alerting.budget.false_alerts_per_week
    return Method(model, plan, specs.alert(alerting, steps), specs.alert(alerting, bare), budget, regime)


def methods_of(config: Config | None, models: str, seed: int | None, seeds: int) -> list[Method]:
    """Every model of the comma-separated ``models`` (or all of them) under ``seeds`` seeds, the first one being
    ``seed`` or the model's own.

    Raises:
        ConfigError: a model is unknown.
    """
    names: Sequence[str] = _known(config) if models == EVERYTHING else [name.strip() for name in models.split(",")]
    out = []
    for name in dict.fromkeys(names):
        first = method_of(config, name, seed)
        out += [first if n == 0 else method_of(config, name, first.seed + n) for n in range(seeds)]
    return out


def _known(config: Config | None) -> list[str]:
    return list(dict.fromkeys([*RECIPES, *(config.models if config else ())]))
