"""Where series come from: the Prometheus HTTP API, tables, or the simulator of the demo."""

from .base import (
    Source,
    SourceAnswerError,
    SourceCounters,
    SourceError,
    SourceLimitError,
    SourceRejectedError,
    SourceUnavailableError,
)

__all__ = [
    "Source",
    "SourceAnswerError",
    "SourceCounters",
    "SourceError",
    "SourceLimitError",
    "SourceRejectedError",
    "SourceUnavailableError",
]
