"""Random search over the widths and habits of an autoencoder.

A setting is judged by what it is for: the share of injected anomalies that it catches while it sends no more
notifications than the budget allows, on held-out data, and a little by its validation error. The winner is chosen on
the validation part and shown on the test part, which no choice has seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from . import gate, injection
from .exceptions import UntrainableError
from .frame import Block
from .injection import Case
from .model_spec import ModelSpec
from .proving import Contender, Ground, Rules, lead_of
from .training import Plan, survey, train

F64 = npt.NDArray[np.float64]
ERROR_WEIGHT: Final = 0.1
"""What a validation error as large as the untuned model's takes off the recall."""

SPACE: Final[Mapping[str, tuple[Any, ...]]] = {
    "filters": (64, 128, 192, 256),
    "kernel": (2, 3, 4, 5),
    "units": (64, 128, 192, 256),
    "code": (4, 8, 16, 32),
    "dropout": (0.1, 0.2, 0.3, 0.4, 0.5),
    "optimizer": ("adam", "rmsprop"),
    "window": (12, 24, 48),
}
"""What is tried, by field of :class:`ModelSpec`."""

_EVERY: Final = ("code", "dropout", "optimizer", "window")
RELEVANT: Final[Mapping[str, tuple[str, ...]]] = {
    "fc": ("units", *_EVERY),
    "cnn": ("filters", "kernel", *_EVERY),
    "lstm": ("units", *_EVERY),
    "gru": ("units", *_EVERY),
    "cnn_lstm": ("filters", "kernel", "units", *_EVERY),
    "cnn_gru": ("filters", "kernel", "units", *_EVERY),
}
"""Fields that a recipe has a use for; other recipes have nothing to tune."""


@dataclass(frozen=True)
class Trial:
    """What one setting reached, mean over entities and executions; None where it cannot be said.

    ``recall`` and ``test_recall`` of injected anomalies at the budget, on the validation and the test part; ``mae`` of
    the validation part, in scaler units; ``seconds`` of training per entity.
    """

    settings: Mapping[str, Any]
    recall: float | None
    test_recall: float | None
    mae: float | None
    seconds: float

    def objective(self, untuned: Trial) -> float:
        """What the search maximises: recall, less a tenth for a validation error as large as the untuned model's."""
        if self.recall is None:
            return float("-inf")
        if not self.mae or not untuned.mae:
            return self.recall
        return self.recall - ERROR_WEIGHT * self.mae / untuned.mae


def recipe_of(spec: ModelSpec) -> str:
    """The autoencoder that is tuned: of ``auto`` the one inside."""
    return spec.autoencoder if spec.recipe == "auto" else spec.recipe


def settings(spec: ModelSpec, trials: int, seed: int) -> Iterator[dict[str, Any]]:
    """At most ``trials`` different settings of the recipe of ``spec``, drawn at random.

    Raises:
        ValueError: the recipe has nothing to tune.
    """
    recipe = recipe_of(spec)
    if recipe not in RELEVANT:
        raise ValueError(f"only autoencoders can be tuned ({', '.join(RELEVANT)}), received the recipe {recipe!r}")
    names = RELEVANT[recipe]
    most = int(np.prod([len(SPACE[name]) for name in names]))
    rng = np.random.default_rng(seed)
    for number in rng.permutation(most)[:trials]:
        at = np.unravel_index(number, [len(SPACE[name]) for name in names])
        yield {name: SPACE[name][int(i)] for name, i in zip(names, at, strict=True)}


def changed(spec: ModelSpec, picked: Mapping[str, Any]) -> ModelSpec:
    """``spec`` with the settings ``picked``; a tail longer than the window becomes the window."""
    window = int(picked.get("window", spec.window))
    return replace(spec, **{**picked, "tail": min(spec.tail, window)})


@dataclass(frozen=True)
class Arena:
    """Where settings are compared: ``block`` of history, ``plan`` of the untuned model, ``rules`` whose budget is kept.

    ``cases`` are injected into the validation and the test part of every entity.
    """

    block: Block
    plan: Plan
    rules: Rules
    cases: Sequence[Case]

    @classmethod
    def of(cls, block: Block, plan: Plan, rules: Rules, amplitudes: tuple[float, ...]) -> Arena:
        """The entities of ``block`` that the untuned model can be trained for.

        Raises:
            UntrainableError: none can.
        """
        found = survey(block, plan.model, plan.cleaning, plan.split, plan.min_samples)
        keep = [i for i, e in enumerate(block.entities) if e not in found.failed]
        if not keep:
            raise UntrainableError("too_short", f"{len(block.entities)} entities, none with enough history")
        cases = injection.cases(block.step, amplitudes, least=rules.alert.persistence + 1)
        return cls(block.take(keep), plan, rules.take(keep), cases)

    def run(self, picked: Mapping[str, Any], executions: int = 1) -> Trial:
        """Train the setting ``picked`` (nothing: the untuned model) ``executions`` times with other seeds and judge it.

        Raises:
            UntrainableError: it could not be trained for any entity.
            InvalidShapeError: the layers do not fit the windows.
        """
        recalls: list[float] = []
        tests: list[float] = []
        errors: list[float] = []
        seconds: list[float] = []
        for execution in range(executions):
            plan = replace(self.plan, model=changed(self.plan.model, picked))
            plan = replace(plan, model=replace(plan.model, seed=plan.model.seed + execution))
            batch = train(self.block, plan)
            if batch.scorer is None:
                continue
            contender = Contender(batch.scorer, [row.threshold for row in batch.rows])
            rows = [self.block.entities.index(row.entity) for row in batch.rows]
            validation, test = self._grounds(rows, contender, plan)
            rules = self.rules.take(rows)
            recalls += _known(gate.recall_at_budget(validation, contender, rules, self.cases))
            tests += _known(gate.recall_at_budget(test, contender, rules, self.cases))
            errors += [mae for row in batch.rows if (mae := _mae(row.figures)) is not None]
            seconds += [row.seconds for row in batch.rows]
        if not seconds:
            raise UntrainableError("diverged", f"settings {dict(picked)}")
        return Trial(dict(picked), _mean(recalls), _mean(tests), _mean(errors), float(np.mean(seconds)))

    def _grounds(self, rows: Sequence[int], contender: Contender, plan: Plan) -> tuple[Ground, Ground]:
        """The validation and the test part of the entities at ``rows``."""
        block = self.block.take(rows)
        borders = survey(block, plan.model, plan.cleaning, plan.split, plan.min_samples).borders
        begin, middle, end = (block.start + block.step * borders[:, i] for i in (1, 2, 3))
        lead = lead_of([contender], self.rules)
        return Ground.of(block, plan.cleaning, begin, lead, middle), Ground.of(block, plan.cleaning, middle, lead, end)


def winner(trials: Sequence[Trial], untuned: Trial) -> Trial:
    """The trial with the highest objective; ``untuned`` itself where none is better."""
    return max((untuned, *trials), key=lambda trial: trial.objective(untuned))


def _mae(figures: Mapping[str, Any]) -> float | None:
    value = figures.get("quality", {}).get("validation", {}).get("mae")
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _known(values: F64) -> list[float]:
    return [float(v) for v in values if np.isfinite(v)]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
