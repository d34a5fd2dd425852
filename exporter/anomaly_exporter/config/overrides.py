"""What one training may do differently from the configuration: asked for by a person, validated by the same models.

Nothing of it is kept: the next scheduled training is again the configured one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field, ValidationError

from .base import Name, Section
from .load import ConfigError, describe
from .models import Model
from .root import Config
from .targets import Target
from .training import Training

PARAMETERS: Final = tuple(Model.model_fields)
"""Keys of a model that one training may change: all of them."""
TRAINING: Final = tuple(name for name in Training.model_fields if name != "every")
"""Keys of ``training`` that one training may change: not how often there is one."""
MAX_BYTES: Final = 16 * 1024


class Overrides(Section):
    """What one training does differently."""

    model: Name | None = None
    """Train only this model of the target; all of its models when left out."""
    parameters: dict[str, Any] = Field({}, max_length=len(PARAMETERS))
    """Keys of `models.<name>`, such as epochs and window, for the models that are trained."""
    training: dict[str, Any] = Field({}, max_length=len(TRAINING))
    """Keys of `training`, such as history, which cannot be longer than the configured one."""

    @property
    def nothing(self) -> bool:
        """Whether the training is the configured one."""
        return self == Overrides()

    def text(self) -> str:
        """As one line of JSON, for a command line or an environment variable."""
        return self.model_dump_json(exclude_defaults=True)


def read_overrides(text: str) -> Overrides:
    """What :meth:`Overrides.text` wrote. Raises ConfigError."""
    if len(text) > MAX_BYTES:
        raise ConfigError(f"--override: expected at most {MAX_BYTES} characters, received {len(text)}")
    try:
        return Overrides.model_validate(json.loads(text))
    except ValidationError as error:
        raise ConfigError("\n".join(f"--override: {line}" for line in describe(error))) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--override: expected JSON, received {text[:120]!r}") from error


def overridden(config: Config, target: str, overrides: Overrides) -> Config:
    """``config`` with the models and the section ``training`` of ``target`` as ``overrides`` asks.

    Raises:
        ConfigError: a line per problem with path, expectation and value, also when together they make no sense.
    """
    try:
        wanted = config.target(target)
    except KeyError:
        known = ", ".join(t.name for t in config.targets)
        raise ConfigError(f"target: {target!r} is not configured, known are {known}") from None
    if overrides.model is not None and overrides.model not in wanted.models:
        raise ConfigError(f"model: target {target!r} has the models {', '.join(wanted.models)}, not {overrides.model}")
    problems = [
        *_unknown("parameters", overrides.parameters, PARAMETERS),
        *_unknown("training", overrides.training, TRAINING),
    ]
    models = dict(config.models)
    for name in (overrides.model,) if overrides.model else wanted.models:
        try:
            models[name] = Model.model_validate(
                _laid(config.model(name).model_dump(), overrides.parameters, PARAMETERS)
            )
        except ValidationError as error:
            problems += [line for line in describe(error, "parameters") if line not in problems]
    try:
        training = Training.model_validate(_laid(wanted.training.model_dump(), overrides.training, TRAINING))
    except ValidationError as error:
        training = wanted.training
        problems += describe(error, "training")
    problems += _too_long(wanted, training)
    if problems:
        raise ConfigError("\n".join(problems))
    changed = wanted.model_copy(update={"training": training})
    targets = tuple(changed if t.name == target else t for t in config.targets)
    return config.model_copy(update={"models": models, "targets": targets})


def _laid(configured: Mapping[str, Any], asked: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """What is asked for over what is configured. Another recipe has another window, where none is asked for."""
    if asked.get("recipe", configured.get("recipe")) != configured.get("recipe"):
        configured = {key: value for key, value in configured.items() if key not in ("window", "tail")}
    return {**configured, **{key: value for key, value in asked.items() if key in known}}


def _unknown(section: str, asked: Mapping[str, Any], known: tuple[str, ...]) -> list[str]:
    return [f"{section}.{key}: unknown, expected one of {', '.join(known)}" for key in asked if key not in known]


def _too_long(target: Target, training: Training) -> list[str]:
    if training.history <= target.training.history:
        return []
    longest = f"the configured {target.training.history} s, which is what is kept"
    return [f"training.history: expected at most {longest}, received {training.history} s"]
