"""Generations of targets: what is in force, and a way back."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

from anomaly_exporter.blobs import BlobError
from anomaly_exporter.generations import (
    Entry,
    Generation,
    GenerationConflictError,
    GenerationError,
    GenerationMissingError,
)
from anomaly_exporter.generations.documents import Key

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
    """What is in force for ``target``, and what rollbacks would return to, newest first. Raises Problem."""
    _require(desk, target)
    try:
        found = desk.generations.past(target, desk.config().store.keep_generations)
    except (GenerationError, BlobError) as error:
        raise _failed(error) from error
    return documents.Generations(generations=[_document(g, in_force=i == 0) for i, g in enumerate(found)])


def promote(desk: Desk, target: str, choice: documents.Choice) -> documents.Changed:
    """Put models that the gate kept out of force in force. Raises Problem."""
    keys = [key for key, entry in _chosen(desk, target, choice).items() if entry.rejected is not None]
    if not keys:
        raise Problem(HTTPStatus.CONFLICT, "no model that was chosen waits for a promotion")
    return _change(target, keys, lambda: desk.generations.promote(target, keys))


def roll_back(desk: Desk, target: str, choice: documents.Choice) -> documents.Changed:
    """Return to the models before the newest ones: of the whole target, or of what is chosen. Raises Problem."""
    keys = list(_chosen(desk, target, choice))
    if choice == documents.Choice():
        return _change(target, keys, lambda: desk.generations.rollback(target))
    return _change(target, keys, lambda: desk.generations.restore(target, keys))


def about(target: str, choice: documents.Choice) -> str:
    """What a change is about, in a line."""
    labels = "".join(f" {name}={value}" for name, value in sorted(choice.labels.items()))
    return f"{target}{f' model {choice.model}' if choice.model else ''}{labels}"


def _chosen(desk: Desk, target: str, choice: documents.Choice) -> dict[Key, Entry]:
    """The entries in force that ``choice`` means. Raises Problem."""
    _require(desk, target)
    current = _current(desk, target)
    found = {
        (entity, model): entry
        for (entity, model), entry in (current.entries if current else {}).items()
        if choice.model in (None, model) and choice.labels.items() <= dict(entity.labels).items()
    }
    if not found:
        raise Problem(HTTPStatus.CONFLICT, f"{target} has no models in force that fit")
    return found


def _change(target: str, keys: list[Key], change: Callable[[], Generation]) -> documents.Changed:
    try:
        made = change()
    except (GenerationError, BlobError) as error:
        raise _failed(error) from error
    return documents.Changed(target=target, number=made.number, models=len(keys))


def _require(desk: Desk, target: str) -> None:
    if desk.target(target) is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no target {target[:80]!r}")


def _current(desk: Desk, target: str) -> Generation | None:
    try:
        return desk.generations.current(target)
    except (GenerationError, BlobError) as error:
        raise _failed(error) from error


def _document(generation: Generation, *, in_force: bool = True) -> documents.Generation:
    entries = generation.entries.values()
    return documents.Generation(
        target=generation.target,
        number=generation.number,
        in_force=in_force,
        created_at=written_time(generation.created_at),
        previous=generation.previous,
        models=dict(sorted(Counter(entry.model for entry in entries).items())),
        verdicts=dict(sorted(Counter(entry.verdict for entry in entries).items())),
        rejected=sum(entry.rejected is not None for entry in entries),
    )


def _failed(error: GenerationError | BlobError) -> Problem:
    match error:
        case GenerationMissingError():
            return Problem(HTTPStatus.CONFLICT, str(error))
        case GenerationConflictError():
            return Problem(HTTPStatus.CONFLICT, f"{error}")
    log.error("the store of generations does not answer", extra={"reason": error.reason, "error": str(error)})
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the store does not answer ({error.reason}): see the log")
