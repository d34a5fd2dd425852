"""Generations of targets: what is in force, and a way back."""

from __future__ import annotations

import logging
from collections import Counter
from http import HTTPStatus

from anomaly_exporter.blobs import BlobError
from anomaly_exporter.generations import Generation, GenerationConflictError, GenerationError, GenerationMissingError

from . import documents
from .desk import Desk
from .problems import Problem
from .reading import written_time

log = logging.getLogger(__name__)


def listed(desk: Desk) -> documents.Generations:
    """What is in force for every target that has models. Raises Problem."""
    found = [_current(desk, target.name) for target in desk.targets()]
    return documents.Generations(generations=[_document(g) for g in found if g is not None])


def of_target(desk: Desk, target: str) -> documents.Generations:
    """What is in force for ``target``. Raises Problem."""
    _require(desk, target)
    found = _current(desk, target)
    return documents.Generations(generations=[_document(found)] if found else [])


def roll_back(desk: Desk, target: str) -> documents.Changed:
    """Return to the models before the newest round of training. Raises Problem."""
    _require(desk, target)
    try:
        made = desk.generations.rollback(target)
    except (GenerationError, BlobError) as error:
        raise _failed(error) from error
    return documents.Changed(target=target, number=made.number, entities=len(made.entries))


def _require(desk: Desk, target: str) -> None:
    if desk.target(target) is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no target {target[:80]!r}")


def _current(desk: Desk, target: str) -> Generation | None:
    try:
        return desk.generations.current(target)
    except (GenerationError, BlobError) as error:
        raise _failed(error) from error


def _document(generation: Generation) -> documents.Generation:
    entries = generation.entries.values()
    return documents.Generation(
        target=generation.target,
        number=generation.number,
        in_force=True,
        created_at=written_time(generation.created_at),
        previous=generation.previous,
        models=dict(sorted(Counter(entry.model for entry in entries).items())),
        verdicts=dict(sorted(Counter(entry.verdict for entry in entries).items())),
    )


def _failed(error: GenerationError | BlobError) -> Problem:
    match error:
        case GenerationMissingError():
            return Problem(HTTPStatus.CONFLICT, str(error))
        case GenerationConflictError():
            return Problem(HTTPStatus.CONFLICT, f"{error}")
    log.error("the store of generations does not answer", extra={"reason": error.reason, "error": str(error)})
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the store does not answer ({error.reason}): see the log")
