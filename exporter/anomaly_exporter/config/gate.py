"""Which newly trained models may take the place of those in force."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import PositiveSeconds, Section


class Gate(Section):
    enabled: bool = True
    """Replay new models beside those in force before they are promoted; off: every new model is."""
    replay: PositiveSeconds = 3 * 86400
    """Newest held-out data that both replay."""
    more_alerts: int = Field(2, ge=0)
    """Notifications that a new model may raise in the replay beyond those of the model in force."""
    recall_loss: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Largest loss of recall on injected anomalies, 0.15 = fifteen points; twice that against a week or month ago."""
    threshold_ratio: Annotated[float, Field(gt=1)] = 1.5
    """Most times wider, in units of the series' local variation, that the threshold may be where recall fell: against
    the model in force, a week and a month ago."""
    patience: int = Field(12, ge=1)
    """Rejections in a row (12: a day at two hours) after which a new model wins that is better on the newest day."""
    amplitudes: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=8)] = (4, 8, 16)
    """Sizes of injected anomalies in units of the series' local variation; every shape is injected at each."""
