"""The demo: everything on one machine, from a simulated cluster to the mail."""

from __future__ import annotations

from .run import run

__all__ = ["run"]
