"""An HTTP server that stands in front of a real Prometheus and plays faults.

``with FaultProxy(server.url) as proxy: proxy.fault = stall(); source.read(...)``. A fault is a function of the request
and of what Prometheus answered; it returns a :class:`Response` or writes to the socket itself and returns None.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import requests


@dataclass(frozen=True)
class Request:
    """What the client asked: ``fields`` of the query string or of the form, first values."""

    method: str
    path: str
    fields: Mapping[str, str]
    headers: Mapping[str, str]
    at: float


@dataclass(frozen=True)
class Response:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Connection:
    """The client's socket, for faults that no well-formed response can express."""

    def __init__(self, handler: BaseHTTPRequestHandler, closing: threading.Event) -> None:
        self._handler = handler
        self.closing = closing

    def send(self, data: bytes) -> None:
        self._handler.wfile.write(data)
        self._handler.wfile.flush()


Fault = Callable[[Request, Callable[[], Response], Connection], Response | None]


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that hang up are what the faults are for."""


class FaultProxy:
    """``requests`` is all that was asked; ``most_in_flight`` how much of it at once."""

    def __init__(self, upstream: str = "") -> None:
        self.upstream = upstream
        self.fault: Fault = honest
        self.requests: list[Request] = []
        self.most_in_flight = 0
        self._in_flight = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._serve(self)

            do_POST = do_GET  # noqa: N815  the base class' name

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class' name
                """The test's own output is enough."""

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        form = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode()
        fields = {name: values[0] for name, values in parse_qs(form or url.query).items()}
        request = Request(handler.command, url.path, fields, dict(handler.headers), time.monotonic())
        with self._lock:
            self.requests.append(request)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            response = self.fault(request, lambda: self._forward(request), Connection(handler, self._closing))
            if response is None:
                handler.close_connection = True
            else:
                handler.send_response(response.status)
                for name, value in {"Content-Length": str(len(response.body)), **response.headers}.items():
                    handler.send_header(name, value)
                handler.end_headers()
                handler.wfile.write(response.body)
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True
        finally:
            with self._lock:
                self._in_flight -= 1

    def _forward(self, request: Request) -> Response:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(f"{self.upstream}{request.path}", data=dict(request.fields), timeout=30)
        return Response(answer.status_code, answer.content, {"Content-Type": "application/json"})


def honest(_request: Request, forward: Callable[[], Response], _connection: Connection) -> Response | None:
    """No fault."""
    return forward()


def status(code: int, error: str = "played", **headers: str) -> Fault:
    """A refusal with ``code``; header names with ``_`` for ``-``."""
    body = json.dumps({"status": "error", "errorType": "played", "error": error}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda *_: Response(code, body, named)


def answer(body: bytes | str | dict[str, Any]) -> Fault:
    """A 200 with this body instead of Prometheus' own."""
    raw = json.dumps(body, separators=(",", ":")) if isinstance(body, dict) else body
    return lambda *_: Response(200, raw.encode() if isinstance(raw, str) else raw)


def vector(*series: tuple[dict[str, str], float, str], **more: Any) -> Fault:
    """A 200 with an instant vector of (labels, time, value); ``more`` goes beside ``data``."""
    result = [{"metric": labels, "value": [at, value]} for labels, at, value in series]
    return answer({"status": "success", "data": {"resultType": "vector", "result": result}, **more})


def changed(change: Callable[[bytes], bytes]) -> Fault:
    """Prometheus' answer with its body changed."""

    def play(_request: Request, forward: Callable[[], Response], _connection: Connection) -> Response:
        response = forward()
        return replace(response, body=change(response.body))

    return play


def stall(after: bytes = b"") -> Fault:
    """The head of a 200, then ``after``, then silence with the connection open."""

    def play(_request: Request, _forward: Callable[[], Response], connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + after)
        connection.closing.wait(60)

    return play


def drip(every: float = 0.05, head: bool = False) -> Fault:
    """A body (or, with ``head``, a header) that comes a byte at a time and never ends."""

    def play(_request: Request, _forward: Callable[[], Response], connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n" + (b"X-Drip: " if head else b"Content-Length: 1000000\r\n\r\n"))
        while not connection.closing.wait(every):
            connection.send(b" ")

    return play


def cut(kept: int = 40) -> Fault:
    """The connection ends after ``kept`` bytes of a longer body."""

    def play(_request: Request, forward: Callable[[], Response], connection: Connection) -> None:
        body = forward().body
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:kept])

    return play


def bomb(size: int) -> Fault:
    """``size`` bytes of well-formed beginning, sent as fast as they are taken."""

    def play(_request: Request, _forward: Callable[[], Response], connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b'{"status":"success","data":"')
        for _ in range(size // 65536):
            connection.send(b"x" * 65536)

    return play


def in_turn(*faults: Fault) -> Fault:
    """The first fault for the first request and so on; the last one stays."""
    lock = threading.Lock()
    turn = iter(faults[:-1])

    def play(request: Request, forward: Callable[[], Response], connection: Connection) -> Response | None:
        with lock:
            fault = next(turn, faults[-1])
        return fault(request, forward, connection)

    return play


def when(condition: Callable[[Request], bool], fault: Fault, otherwise: Fault = honest) -> Fault:
    """``fault`` for the requests that meet ``condition``."""
    return lambda request, forward, connection: (fault if condition(request) else otherwise)(
        request, forward, connection
    )
