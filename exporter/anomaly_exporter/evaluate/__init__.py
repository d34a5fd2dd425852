"""``anomaly-exporter evaluate``: fit on the train part of labelled series, walk the test part, compare and draw."""

from .command import Request, run

__all__ = ["Request", "run"]
