"""The clock of demo and replay."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import Section


class Timing(Section):
    """Data time runs ``speed`` times faster than wall time; only demo and replay set it."""

    speed: Annotated[float, Field(gt=0)] = 1.0
    """Data seconds per wall second."""
    wall_origin: float = 0.0
    """Unix wall time at which data time was `data_origin`."""
    data_origin: float = 0.0
    """Data time at `wall_origin`."""
