"""``anomaly-exporter evaluate``: fit on the train part of labelled series, walk the test part, write the scores."""

from .command import run

__all__ = ["run"]
