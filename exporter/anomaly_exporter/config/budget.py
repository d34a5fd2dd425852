"""How many false alerts somebody is willing to read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from .base import LabelName, Section

PerWeek = Annotated[float, Field(gt=0, le=1000)]


class BudgetOverride(Section):
    """Another budget for some entities."""

    tag: str | None = Field(None, min_length=1)
    """Entities of this `tag`."""
    match: dict[LabelName, str] = {}
    """Entities whose labels all match: label -> regular expression of the whole value, as in PromQL's `=~`."""
    false_alerts_per_week: PerWeek
    """The budget of these entities."""

    @field_validator("match")
    @classmethod
    def _patterns(cls, match: dict[str, str]) -> dict[str, str]:
        for name, pattern in match.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"expected a regular expression for {name}, received {pattern!r}: {error}") from error
        return match

    @model_validator(mode="after")
    def _chooses(self) -> Self:
        if self.tag is None and not self.match:
            raise ValueError("an override needs tag or match: which entities is it about?")
        return self

    def fits(self, tag: str, labels: Mapping[str, str]) -> bool:
        """Whether an entity of ``tag`` with ``labels`` is meant; a label that it does not have is empty."""
        if self.tag is not None and self.tag != tag:
            return False
        return all(re.fullmatch(pattern, labels.get(name, "")) for name, pattern in self.match.items())


class Budget(Section):
    """False alerts that a threshold may cost; for the base threshold `budget` and the model `auto`."""

    false_alerts_per_week: PerWeek = 1.0
    """False alerts allowed per entity and week, counted as mails: a run is one, plus one for every further 4 hours."""
    overrides: tuple[BudgetOverride, ...] = ()
    """Other budgets by tag or label; the first that fits wins."""

    def of(self, tag: str, labels: Mapping[str, str]) -> float:
        """False alerts per week of an entity of ``tag`` with ``labels``."""
        for override in self.overrides:
            if override.fits(tag, labels):
                return override.false_alerts_per_week
        return self.false_alerts_per_week
