"""Where everything durable lives."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .base import Section


class Store(Section):
    path: Path = Path("data")
    """Directory of history, models and generations; one writer per target at a time is enough, more are safe."""
    keep_generations: int = Field(3, ge=2)
    """Generations kept for rollback, the one in force included."""
