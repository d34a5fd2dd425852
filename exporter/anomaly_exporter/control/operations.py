"""Every operation of the API, declared once: the router, the description and the tests read this list."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final, Literal

from anomaly_exporter.config import Role
from anomaly_exporter.config.base import NAME

from . import documents, generations, results, statements, trainings
from .audit import Action
from .desk import Desk
from .identity import Identity
from .problems import unprocessable
from .reading import read_time

PREFIX: Final = "/api/v1"
STATEMENT_ID: Final = r"^[A-Za-z0-9._:=+-]{1,200}$"
SEGMENTS: Final = {"target": NAME, "id": STATEMENT_ID}
"""Patterns of the parts of paths that are parameters."""


@dataclass(frozen=True)
class Call:
    """One call: parts of the path, and the validated query and body."""

    desk: Desk
    identity: Identity
    path: dict[str, str]
    query: Any
    body: Any


@dataclass(frozen=True)
class Operation:
    """One method of one path. ``role`` is the least that may call it, ``action`` what the audit log calls it.

    ``problems``: answers that are part of its contract, beside those that every operation has. ``about``: what a change
    is about, for the audit log; its second argument says whether it was done, so that all of it is known to be valid.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    name: str
    summary: str
    role: Role
    answer: type[documents.Sent]
    run: Callable[[Call], documents.Sent] = field(repr=False)
    action: Action | None = None
    body: type[documents.Received] | None = None
    query: type[documents.Received] = documents.Nothing
    status: HTTPStatus = HTTPStatus.OK
    problems: tuple[HTTPStatus, ...] = ()
    about: Callable[[Call, bool], str] = field(default=lambda call, _: " ".join(call.path.values()), repr=False)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches paths of this operation; what does not fit the pattern of a part is no such path."""
        text = PREFIX + self.path
        for name, pattern in SEGMENTS.items():
            text = text.replace(f"{{{name}}}", f"(?P<{name}>{pattern.strip('^$')})")
        return re.compile(rf"{text}\Z")


def _results(call: Call) -> documents.Sent:
    asked: documents.ResultsQuery = call.query
    return results.newest(
        call.desk,
        target=asked.target,
        model=asked.model,
        least=asked.minimum_score,
        offset=asked.offset,
        limit=asked.limit,
    )


def _feedback(call: Call) -> documents.Sent:
    asked: documents.FeedbackQuery = call.query
    if (asked.start is None) != (asked.end is None):
        raise unprocessable(["start, end: expected both or none"])
    span = (read_time(asked.start), read_time(asked.end)) if asked.start and asked.end else None
    return statements.listed(call.desk, target=asked.target, span=span, offset=asked.offset, limit=asked.limit)


def _add_feedback(call: Call) -> documents.Sent:
    return statements.statement(call.desk, statements.add(call.desk, call.identity, call.body, "api"))


def _withdraw(call: Call) -> documents.Sent:
    return statements.statement(call.desk, statements.withdraw(call.desk, call.identity, call.path["id"], "api"))


def _who(call: Call) -> documents.Sent:
    return documents.Who(name=call.identity.name, role=call.identity.role, via=call.identity.via)


CONFLICT, MISSING, INVALID = HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation("GET", "/identity", "identity", "Who asks, and with which role", "viewer", documents.Who, _who),
    Operation(
        "GET",
        "/trainings",
        "listTrainings",
        "The newest training of every target",
        "viewer",
        documents.Trainings,
        lambda call: trainings.listed(call.desk),
    ),
    Operation(
        "POST",
        "/trainings",
        "startTrainings",
        "Train targets now, this once with other parameters",
        "operator",
        documents.Trainings,
        lambda call: trainings.start(call.desk, call.body),
        action="train",
        about=lambda call, done: trainings.about(call.body, done),
        body=documents.StartTrainings,
        status=HTTPStatus.ACCEPTED,
        problems=(CONFLICT, INVALID),
    ),
    Operation(
        "DELETE",
        "/trainings",
        "stopTrainings",
        "Stop all trainings; the models in force stay",
        "operator",
        documents.Trainings,
        lambda call: trainings.stop(call.desk, None),
        action="stop",
        about=lambda *_: "all",
        problems=(CONFLICT,),
    ),
    Operation(
        "DELETE",
        "/trainings/{target}",
        "stopTraining",
        "Stop the training of a target; the models in force stay",
        "operator",
        documents.Trainings,
        lambda call: trainings.stop(call.desk, call.path["target"]),
        action="stop",
        problems=(CONFLICT, MISSING),
    ),
    Operation(
        "GET",
        "/generations",
        "listGenerations",
        "The models in force, per target",
        "viewer",
        documents.Generations,
        lambda call: generations.listed(call.desk),
    ),
    Operation(
        "GET",
        "/generations/{target}",
        "listGenerationsOfTarget",
        "The generations of a target that are kept, the one in force first",
        "viewer",
        documents.Generations,
        lambda call: generations.of_target(call.desk, call.path["target"]),
        problems=(MISSING,),
    ),
    Operation(
        "POST",
        "/generations/{target}/promote",
        "promote",
        "Put models in force that the promotion gate kept out",
        "admin",
        documents.Changed,
        lambda call: generations.promote(call.desk, call.path["target"], call.body),
        action="promote",
        about=lambda call, _: generations.about(call.path["target"], call.body),
        body=documents.Choice,
        problems=(CONFLICT, MISSING, INVALID),
    ),
    Operation(
        "POST",
        "/generations/{target}/rollback",
        "rollBack",
        "Return to the models before the newest ones, of the whole target or of what is chosen",
        "admin",
        documents.Changed,
        lambda call: generations.roll_back(call.desk, call.path["target"], call.body),
        action="rollback",
        about=lambda call, _: generations.about(call.path["target"], call.body),
        body=documents.Choice,
        problems=(CONFLICT, MISSING, INVALID),
    ),
    Operation(
        "GET",
        "/results",
        "listResults",
        "The newest scores, the highest first",
        "viewer",
        documents.Results,
        _results,
        query=documents.ResultsQuery,
        problems=(INVALID,),
    ),
    Operation(
        "GET",
        "/feedback",
        "listFeedback",
        "Feedback in force, the newest stretch of time first",
        "viewer",
        documents.FeedbackList,
        _feedback,
        query=documents.FeedbackQuery,
        problems=(INVALID,),
    ),
    Operation(
        "POST",
        "/feedback",
        "addFeedback",
        "Say that a stretch of time was expected, an incident, or to be ignored",
        "operator",
        documents.Feedback,
        _add_feedback,
        action="feedback",
        about=lambda call, _: statements.about(call.body),
        body=documents.AddFeedback,
        status=HTTPStatus.CREATED,
        problems=(INVALID,),
    ),
    Operation(
        "DELETE",
        "/feedback/{id}",
        "withdrawFeedback",
        "Take feedback back",
        "operator",
        documents.Feedback,
        _withdraw,
        action="withdraw",
        problems=(MISSING,),
    ),
)
