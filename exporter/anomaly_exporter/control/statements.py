"""Feedback: keep what somebody says, list it, take it back."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Literal

from anomaly_exporter.blobs import BlobError
from anomaly_exporter.config import Config, Target
from anomaly_exporter.feedback import Record, RecordError
from anomaly_models.frame import Span

from . import documents
from .desk import Desk
from .identity import Identity
from .problems import Problem, unprocessable
from .reading import read_time, written_time

log = logging.getLogger(__name__)


def add(desk: Desk, identity: Identity, said: documents.AddFeedback, source: Literal["api", "page"]) -> Record:
    """Keep what ``identity`` says. Raises Problem."""
    if said.target is not None and desk.target(said.target) is None:
        known = ", ".join(t.name for t in desk.targets())
        raise unprocessable([f"target: {said.target!r} is not configured, known are {known}"])
    if said.target is None and not said.labels:
        raise unprocessable(["labels: expected a label or a target: which entities are meant?"])
    known_labels = label_names(desk.config(), desk.targets(), said.target)
    if unknown := [name for name in said.labels if name not in known_labels]:
        raise unprocessable([f"labels.{name}: unknown, expected one of {', '.join(known_labels)}" for name in unknown])
    span = data_span(desk, read_time(said.start), read_time(said.end))
    try:
        return desk.feedback.say(
            said.verdict,
            span,
            author=identity.name,
            source=source,
            target=said.target,
            labels=said.labels,
            comment=said.comment,
            fixed_by=said.fixed_by,
        )
    except RecordError as error:
        raise unprocessable([str(error)]) from error
    except BlobError as error:
        raise _unavailable(error) from error


def about(said: documents.AddFeedback) -> str:
    """What was said, in a line; comments are kept, not logged."""
    labels = "".join(f" {name}={value}" for name, value in sorted(said.labels.items()))
    return f"{said.verdict} {said.start}/{said.end} {said.target or 'any'}{labels}"


def listed(
    desk: Desk, *, target: str | None, span: tuple[float, float] | None, offset: int, limit: int
) -> documents.FeedbackList:
    """What is in force about ``target`` and ``span`` (wall time), the newest stretch first. Raises Problem."""
    try:
        view = desk.feedback.current(target, data_span(desk, *span) if span else None)
    except BlobError as error:
        raise _unavailable(error) from error
    newest = sorted(view.statements, key=lambda record: (-record.start, record.id))
    return documents.FeedbackList(
        feedback=[statement(desk, record) for record in newest[offset : offset + limit]],
        total=len(newest),
        conflicts=len(view.conflicts),
    )


def withdraw(desk: Desk, identity: Identity, statement_id: str, source: Literal["api", "page"]) -> Record:
    """Take a statement back. Raises Problem."""
    try:
        found = desk.feedback.withdraw(statement_id, author=identity.name, source=source)
    except BlobError as error:
        raise _unavailable(error) from error
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such feedback in force")
    return found


def label_names(config: Config, targets: tuple[Target, ...], target: str | None) -> list[str]:
    """Labels by which entities can be named, in the order of the metrics."""
    own = [name for t in targets if target in (None, t.name) for name in t.labels]
    emitted = [config.exposition.emitted(name) for name in own]
    return list(dict.fromkeys([*config.static_labels, *emitted, *own, "metric", "tag"]))


def data_span(desk: Desk, start: float, end: float) -> Span:
    """The span of data time between two moments of wall time. Raises Problem."""
    first, last = int(desk.clock.to_data(start)), int(desk.clock.to_data(end))
    if not 0 <= first < last:
        raise unprocessable(
            [f"end: expected a time after start, received {written_time(start)} to {written_time(end)}"]
        )
    return Span(first, last)


def statement(desk: Desk, record: Record) -> documents.Feedback:
    """One statement as a document."""
    return documents.Feedback(
        id=record.id,
        verdict=record.verdict,
        start=_moment(desk, record.start),
        end=_moment(desk, record.end),
        target=record.target,
        matchers=[str(matcher) for matcher in record.matchers],
        author=record.author,
        source=record.source,
        stated_at=written_time(record.stated_at),
        comment=record.comment,
        fixed_by=record.fixed_by,
    )


def _moment(desk: Desk, data: int) -> str:
    return written_time(min(max(desk.clock.to_wall(data), 0), 253_402_300_799))


def _unavailable(error: BlobError) -> Problem:
    log.error("the store of feedback does not answer", extra={"reason": error.reason, "error": str(error)})
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the store does not answer now ({error.reason}): try again")
