"""How history becomes models."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import PositiveSeconds, Section

Share = Annotated[float, Field(ge=0, le=1)]


class Training(Section):
    history: PositiveSeconds = 30 * 86400
    """Most history to learn from; less is used where less exists."""
    min_history: PositiveSeconds = 3 * 3600
    """Entities with less observed history than this wait untrained."""
    every: PositiveSeconds = 2 * 3600
    """Interval between trainings."""
    contamination: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    """Share of training samples that the isolation forest masks as outliers; 0 switches it off."""
    split: tuple[Share, Share, Share] = (0.7, 0.15, 0.15)
    """Train, validation and test shares, in time order."""
    max_gap: int = Field(3, ge=0)
    """Longest gap, in steps, that is bridged by the last value; windows never span a longer one."""

    scope: Literal["own", "shared", "both"] = "both"
    """`own`: every series has a model of its own. `shared`: one model per target, with a scale and a threshold per
    series. `both`: series without a model of their own, new ones above all, are scored by the shared one, and move to
    their own when it is trained and better. `seasonal` cannot be shared."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(sum(self.split) - 1) > 1e-6 or min(self.split) <= 0:
            raise ValueError(f"split must be three positive shares that sum to 1, received {self.split}")
        if self.min_history > self.history:
            raise ValueError("min_history must not exceed history")
        return self
