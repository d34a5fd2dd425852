"""``anomaly-exporter tune``: search better settings of a model at random, on the history of a target."""

from .command import Request, run

__all__ = ["Request", "run"]
