"""From a request to a page; what a form changes goes the way of the API."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from anomaly_exporter.control import audit, documents, statements, trainings
from anomaly_exporter.control.auth import Door, form_secret
from anomaly_exporter.control.desk import Desk
from anomaly_exporter.control.identity import Identity
from anomaly_exporter.control.problems import Problem
from anomaly_exporter.control.reading import document, form, query
from anomaly_exporter.http_server import Request, Response
from anomaly_exporter.http_server.protocol import HTML
from anomaly_exporter.self_metrics import SelfMetrics

from . import feedback, html, overview, sign_in, stop, train
from .html import Note, Viewer
from .style import HEADERS

Fields = Mapping[str, list[str]]
FORMS: Final = {"/train": train.show, "/stop": stop.show, "/feedback": feedback.show}
ACTIONS: Final[Mapping[str, audit.Action]] = {"/train": "train", "/stop": "stop", "/feedback": "feedback"}
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "/": ("GET",),
    "/sign-in": ("GET", "POST"),
    "/sign-out": ("POST",),
    **dict.fromkeys(FORMS, ("GET", "POST")),
}


class Pages:
    """Answers everything but the API."""

    def __init__(self, desk: Desk, door: Door, metrics: SelfMetrics, tokens: bool) -> None:
        self._desk = desk
        self._door = door
        self._metrics = metrics
        self._tokens = tokens

    def handle(self, request: Request) -> Response:
        """The answer to ``request``."""
        try:
            return self._handle(request)
        except Problem as problem:
            note = Note("bad", problem.detail, problem.errors)
            body = f"<p>{html.link('./', 'To the overview')}</p>"
            page = html.page(problem.status.phrase, request.path, body, None, [note])
            return Response(problem.status, (page,), HTML, {**HEADERS, **problem.headers})

    def _handle(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        if request.path not in METHODS:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such page.")
        if method not in METHODS[request.path]:
            allowed = ", ".join(METHODS[request.path])
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, f"expected {allowed}", headers={"Allow": allowed})
        if request.path == "/sign-in":
            return self._sign_in(request, method)
        identity = self._door.person(request)
        if identity is None:
            # What was asked for comes back after the sign-in, a form that was filled in does not.
            back = f"{request.path}?{request.query}" if method == "GET" else request.path
            return _page(sign_in.show(back, [], self._tokens), HTTPStatus.UNAUTHORIZED)
        viewer = Viewer(identity, self._door.signer.form(form_secret(identity)))
        if method == "POST":
            return self._posted(request, viewer)
        fields = query(request)
        if request.path == "/":
            return _page(overview.show(self._desk, viewer, next(iter(fields.get("said", [])), "")))
        return _page(FORMS[request.path](self._desk, viewer, fields, []))

    def _sign_in(self, request: Request, method: str) -> Response:
        if method == "GET":
            return _page(sign_in.show("/", [], self._tokens))
        fields = form(request)
        back = next(iter(fields.get("back", [])), "/")
        try:
            session = self._door.sign_in(request, next(iter(fields.get("token", [])), "").strip())
        except Problem as problem:
            if problem.status != HTTPStatus.UNAUTHORIZED:
                raise
            return _page(sign_in.show(back, [Note("bad", problem.detail)], self._tokens), problem.status)
        return _redirect(sign_in.local(back), {"Set-Cookie": self._cookie(session)})

    def _posted(self, request: Request, viewer: Viewer) -> Response:
        fields = form(request)
        try:
            self._door.require_form(request, viewer.identity, next(iter(fields.get("form", [])), ""))
        except Problem as problem:
            if request.path not in FORMS or problem.status != HTTPStatus.FORBIDDEN:
                raise
            return self._again(request, viewer, fields, problem)
        if request.path == "/sign-out":
            return _redirect("sign-in", {"Set-Cookie": self._cookie("", 0)})
        action = ACTIONS[request.path]
        if fields.get("withdraw"):
            action = "withdraw"
        status, about = HTTPStatus.INTERNAL_SERVER_ERROR, ""
        try:
            if not viewer.identity.may("operator"):
                self._metrics.inc("control_auth_failures_total", reason="role")
                raise Problem(HTTPStatus.FORBIDDEN, f"this needs the role operator, you have {viewer.identity.role}")
            about, said = self._do(action, fields, viewer.identity)
            status = HTTPStatus.SEE_OTHER
        except Problem as problem:
            status = problem.status
            return self._again(request, viewer, fields, problem)
        finally:
            audit.note(self._metrics, viewer.identity, peer=request.peer, action=action, about=about, status=status)
        return _redirect(f"./?said={said}")

    def _do(self, action: audit.Action, fields: Fields, identity: Identity) -> tuple[str, str]:
        """Do what the form asks for: what it was about, and what to say afterwards. Raises Problem."""
        if action == "train":
            start = document(documents.StartTrainings, train.wanted(fields))
            trainings.start(self._desk, start)
            return trainings.about(start, True), "started"
        if action == "stop":
            target = next(iter(fields.get("target", [])), "")
            trainings.stop(self._desk, target or None)
            return target or "all", "stopped"
        if action == "withdraw":
            record = statements.withdraw(self._desk, identity, fields["withdraw"][0], "page")
            return record.id, "withdrawn"
        said = document(documents.AddFeedback, feedback.wanted(fields))
        statements.add(self._desk, identity, said, "page")
        return statements.about(said), "kept"

    def _again(self, request: Request, viewer: Viewer, fields: Fields, problem: Problem) -> Response:
        """The page once more, with what was filled in and why it was not done."""
        shown = FORMS[request.path](self._desk, viewer, fields, [Note("bad", problem.detail, problem.errors)])
        return _page(shown, problem.status, problem.headers)

    def _cookie(self, value: str, age: int | None = None) -> str:
        # Lax, not Strict: a link in a mail must find people signed in. A GET changes nothing, and with a POST from
        # elsewhere the cookie does not come.
        secure = "; Secure" if self._door.secure else ""
        lasting = self._desk.config().control.session if age is None else age
        return f"{self._door.cookie}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={lasting}{secure}"


def _page(body: bytes, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, (body,), HTML, {**HEADERS, **(headers or {})})


def _redirect(where: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(HTTPStatus.SEE_OTHER, (), HTML, {**HEADERS, "Location": where, **(headers or {})})
