"""What is known of a series beside its samples: possible values, what restarts it, when a new level is normal."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import PositiveSeconds, Section


class Valid(Section):
    min: float | None = None
    """Smallest possible value; samples below are missing."""
    max: float | None = None
    """Largest possible value; samples above are missing."""

    @model_validator(mode="after")
    def _some_value_is_possible(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min must not exceed max, received {self.min:g} and {self.max:g}")
        return self


class HoldOn(Section):
    expr: str = Field(min_length=1)
    """PromQL of something that stays the same until a deploy or restart, with the labels of the target: a count of
    restarts, a start time, a generation."""
    when: Literal["change", "rise", "fall"] = "change"
    """What of it is a deploy or restart: any change, or only the way up or down (`fall` for an uptime)."""
    aggregation: Literal["sum", "max"] = "sum"
    """How series that share the allow-listed labels become one: `sum` for counts, `max` for start times."""
    steps: int = Field(15, ge=1, le=240)
    """Steps from then on during which no alert begins; one that is on goes on. Only the first restart of a series of
    them holds, so that a crash loop is not hidden."""


class Regime(Section):
    """When a new level that lasts is a new normal. See docs/regimes.md for what this trades."""

    enabled: bool = True
    """Off: a new level alerts until retraining has learned it."""
    after: PositiveSeconds = 45 * 60
    """A steady new level that began with a step is absorbed after this long (never fewer than 12 steps)."""
    extreme: Annotated[float, Field(ge=1)] = 8.0
    """Up to this score; a level n times as far must last n times as long."""
    longest: PositiveSeconds = 12 * 3600
    """After this long any steady level is normal."""
    alone_after: PositiveSeconds = 86_400
    """A regime this old is learned alone; until then older samples are moved to its level and learned with it."""

    @model_validator(mode="after")
    def _longest_is_longer(self) -> Self:
        if self.longest < self.after:
            raise ValueError(f"longest ({self.longest} s) must not be shorter than after ({self.after} s)")
        return self
