"""The API for programs: from a request to an operation and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from anomaly_exporter.http_server import Request, Response
from anomaly_exporter.self_metrics import SelfMetrics

from . import openapi
from .audit import note
from .auth import Door
from .desk import Desk
from .identity import Identity
from .operations import OPERATIONS, Call, Operation
from .problems import Problem, problem_response, unprocessable
from .reading import document, json_body, query, single

log = logging.getLogger(__name__)

HEADERS: Final[Mapping[str, str]] = {"Cache-Control": "no-store"}


class Api:
    """Answers what lies below ``/api/``; every answer is JSON."""

    def __init__(self, desk: Desk, door: Door, metrics: SelfMetrics) -> None:
        self._desk = desk
        self._door = door
        self._metrics = metrics
        self._description = openapi.text().encode()

    def handle(self, request: Request) -> Response:
        """The answer to ``request``."""
        try:
            return self._handle(request)
        except Problem as problem:
            return problem_response(problem, HEADERS)

    def _handle(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        if request.path == openapi.PATH:
            if method != "GET":
                raise _not_allowed({"GET"})
            return _json(HTTPStatus.OK, self._description)
        found = {o.method: (o, match.groupdict()) for o in OPERATIONS if (match := o.pattern.match(request.path))}
        if not found:
            raise Problem(HTTPStatus.NOT_FOUND, f"there is no such path; see {openapi.PATH}")
        if method not in found:
            raise _not_allowed(set(found))
        operation, path = found[method]
        identity = self._door.program(request)
        if operation.action is None:
            return self._run(operation, self._call(operation, request, identity, path))
        about, status = " ".join(path.values()), HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            call = self._call(operation, request, identity, path)
            about = operation.about(call, False)
            response = self._run(operation, call)
            about, status = operation.about(call, True), operation.status
            return response
        except Problem as problem:
            status = problem.status
            raise
        finally:
            note(self._metrics, identity, peer=request.peer, action=operation.action, about=about, status=status)

    def _call(self, operation: Operation, request: Request, identity: Identity, path: dict[str, str]) -> Call:
        """The validated call. Raises Problem."""
        if not identity.may(operation.role):
            self._metrics.inc("control_auth_failures_total", reason="role")
            raise Problem(
                HTTPStatus.FORBIDDEN, f"this needs the role {operation.role}, {identity.name} has {identity.role}"
            )
        asked = document(operation.query, single(query(request)))
        body = None
        if operation.body:
            body = document(operation.body, json_body(request))
        elif request.body:
            raise unprocessable(["body: expected none"])
        return Call(self._desk, identity, path, asked, body)

    def _run(self, operation: Operation, call: Call) -> Response:
        return _json(operation.status, operation.run(call).model_dump_json().encode() + b"\n")


def _json(status: HTTPStatus, body: bytes) -> Response:
    return Response(status, (body,), "application/json", HEADERS)


def _not_allowed(methods: set[str]) -> Problem:
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    return Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"expected {allowed}", headers={"Allow": allowed})
