"""The command `serve`: source, cycle, training and pages put together."""

from .command import run
from .service import Service
from .site import Site

__all__ = ["Service", "Site", "run"]
