"""When a score becomes an alert."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Section
from .budget import Budget


class Alerting(Section):
    budget: Budget = Budget()
    """False alerts that somebody is willing to read; see docs/thresholds.md."""
    persistence: Annotated[int, Field(ge=1, le=1440)] | None = None
    """The alerting score is the minimum of this many newest scores. Unset: 1 where the score is calibrated to an alert
    budget (model `auto`, or base threshold `budget`), else 3: one spike alone mails nobody."""
    direction: Literal["both", "up", "down"] = "both"
    """Which side of the expectation is worth an alert."""
    minimum_deviation: Annotated[float, Field(ge=0)] = 0.0
    """Smallest |observed - expected| worth an alert, in the series' own unit."""
    minimum_relative_deviation: Annotated[float, Field(ge=0)] = 0.0
    """Smallest |observed - expected| / |expected| worth an alert."""
    clear_below: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Hysteresis: an alert ends only when the score falls below this."""
    clear_after: int = Field(3, ge=1, le=1440)
    """Scores in a row below `clear_below` that end an alert."""
    hold: int = Field(0, ge=0, le=1440)
    """Steps after an entity (re)appears during which it is scored but raises no alert."""
