"""How errors become a threshold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import PositiveSeconds, Section

Method = Literal["budget", "mean_std", "mad", "p95", "p99"]


class Threshold(Section):
    base: Method = "budget"
    """Base threshold on held-out errors: as high as `alerting.budget` needs, mean + k std, median + k MAD, or a
    percentile."""
    k: Annotated[float, Field(gt=0)] = 5.0
    """Factor of mean_std and mad."""
    mode: Literal["decay", "literal"] = "decay"
    """`decay`: earlier thresholds fade; `literal`: the source formula as written, for comparison."""
    weighting: Literal["inverse_variance", "sigma"] = "inverse_variance"
    """How the earlier and the recent threshold are weighed by their spread."""
    half_life: PositiveSeconds = 24 * 3600
    """After this data time an earlier threshold counts half."""
    recent: PositiveSeconds = 24 * 3600
    """Newest held-out data that the recent threshold is taken from."""
    floor: Annotated[float, Field(gt=0)] = 0.05
    """Lowest threshold, in scaler units."""
    ceiling: Annotated[float, Field(gt=0)] | None = None
    """Highest threshold, in scaler units."""
    largest_step: Annotated[float, Field(gt=0)] | None = None
    """Largest relative change of the threshold from one generation to the next, 0.5 = half."""
    largest_rise: Annotated[float, Field(gt=0)] = 0.5
    """Base `budget`: largest relative rise of the recent threshold per day, so that no incident can lift it faster."""
