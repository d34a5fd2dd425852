"""Errors of the science, named by what the caller should do next.

* ``AnomalyModelsError``
    * ``InvalidShapeError``      arrays do not fit each other: a programming error, fix the call
    * ``UntrainableError``       this entity cannot be trained now: skip it, name the reason, go on with the others
    * ``PackError``              a stored pack must not be used: keep the models in force
        * ``PackTruncatedError``   bytes are missing: fetch again or fall back to the previous generation
        * ``PackRejectedError``    contents break a cap or the format: never retry
"""


class AnomalyModelsError(Exception):
    """Base of every error raised on purpose by ``anomaly_models``."""


class InvalidShapeError(AnomalyModelsError):
    """Arrays do not fit each other; says what was expected and what was received."""


class UntrainableError(AnomalyModelsError):
    """One entity cannot be trained now; ``reason`` is a short snake_case word fit for a metric label."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class PackError(AnomalyModelsError):
    """A stored pack must not be used; the models in force stay."""

    reason = "invalid"


class PackTruncatedError(PackError):
    """Bytes of a pack are missing."""

    reason = "truncated"


class PackRejectedError(PackError):
    """The contents of a pack break a cap or the format."""

    reason = "rejected"
