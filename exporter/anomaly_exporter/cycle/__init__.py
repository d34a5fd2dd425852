"""Fetch, score, publish: one cycle over all targets."""

from .cycle import Cycle
from .watch import Resources

__all__ = ["Cycle", "Resources"]
