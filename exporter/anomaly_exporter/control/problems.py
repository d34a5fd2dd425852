"""What goes wrong with a request, as an answer: problem details for programs (RFC 9457), a sentence for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from anomaly_exporter.http_server import Response

PROBLEM_JSON: Final = "application/problem+json"
MOST_ERRORS: Final = 20
LONGEST: Final = 500
"""Characters of one line."""


class Problem(Exception):  # noqa: N818 - the name of the RFC
    """A request that is not done: ``status``, one sentence, and where there are several reasons a line for each."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        errors: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(line[:LONGEST] for line in errors[:MOST_ERRORS])
        self.headers = dict(headers or {})


def unprocessable(errors: Sequence[str]) -> Problem:
    """What was sent is readable and not valid."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the request is not valid", errors)


def problem_response(problem: Problem, headers: Mapping[str, str]) -> Response:
    """The answer for a program."""
    document = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail,
        **({"errors": list(problem.errors)} if problem.errors else {}),
    }
    body = json.dumps(document).encode() + b"\n"
    return Response(problem.status, (body,), PROBLEM_JSON, {**headers, **problem.headers})
