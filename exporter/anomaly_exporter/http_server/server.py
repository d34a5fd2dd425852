"""A bounded HTTP server in one thread: an event loop over non-blocking sockets.

Every answer is made of bytes that already lie in memory, so nothing here waits but the sockets, and a connection costs
a file descriptor, not a thread. Bounds: open connections, size of a request, and one total deadline from the first
moment of a connection (or the end of the previous answer) to the last byte of the answer, so that silence, dripped
bytes and slow readers all end alike. At the connection limit the connection that has waited longest without a complete
request makes room; only when all are being answered is a newcomer turned away with 503.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final

from anomaly_exporter.self_metrics import SelfMetrics

from .address import Address, listen
from .protocol import BadRequest, Request, Response, parse, split_head

log = logging.getLogger(__name__)

Handler = Callable[[Request], Response]

_RECEIVE: Final = 64 * 1024
_TICK: Final = 0.25
_LINGER: Final = 1.0
_MOST_BUFFERS: Final = 16


@dataclass(frozen=True)
class Limits:
    """``request_deadline`` in wall seconds; see the module for what it spans."""

    max_connections: int = 512
    request_deadline: float = 10.0


@dataclass(eq=False)
class _Connection:
    """State of one connection: waiting for a request or its body, sending, or draining before it closes."""

    socket: socket.socket
    peer: str
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    request: Request | None = None
    out: deque[memoryview] = field(default_factory=deque)
    close_after: bool = False
    draining: bool = False
    answered: int = 0


class Server:
    """Serves ``handler`` on ``addresses`` (bound at once; port 0 picks a free one) from :meth:`start` to :meth:`stop`.

    The handler runs on the server's thread: while it waits, so do all who ask this server. What it raises becomes a 500
    and a log line. ``name`` is that of the thread, and what its self metrics begin with: ``<name>_inflight``,
    ``<name>_requests_total`` and ``<name>_rejected_total``.

    Raises:
        OSError: an address cannot be bound.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        handler: Handler,
        limits: Limits,
        metrics: SelfMetrics,
        name: str = "http",
    ) -> None:
        self.limits = limits
        self._inflight, self._requests, self._rejected = (
            f"{name}_{what}" for what in ("inflight", "requests_total", "rejected_total")
        )
        self._handler = handler
        self._metrics = metrics
        self._selector = selectors.DefaultSelector()
        self._connections: set[_Connection] = set()
        self._listeners: list[socket.socket] = []
        self._paused_until = 0.0
        self._stopping: float | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            for address in addresses:
                self._listeners.append(listen(address))
        except OSError:
            self._close_all()
            raise
        metrics.set(self._inflight, 0)
        metrics.begin(self._rejected, "reason", ("accept", "bad_request", "capacity", "deadline"))

    @property
    def addresses(self) -> list[Address]:
        """Where the server listens; ports are the real ones."""
        return [Address(*listener.getsockname()[:2]) for listener in self._listeners]

    def start(self) -> None:
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ)
        self._thread.start()

    def stop(self, grace: float = 2.0) -> None:
        """Stop listening, let answers under way finish for ``grace`` seconds, then close everything. Idempotent."""
        if self._thread.ident is None:
            self._close_all()
            return
        if self._stopping is None:
            self._stopping = time.monotonic() + grace
            with contextlib.suppress(OSError):
                self._wake_writer.send(b"\0")
        self._thread.join(grace + 5.0)

    def _run(self) -> None:
        try:
            while not self._finished():
                for key, _ in self._selector.select(_TICK):
                    if key.fileobj is self._wake_reader:
                        self._begin_stopping()
                    elif isinstance(key.data, _Connection):
                        self._guard(key.data, self._write if key.data.out else self._read)
                    else:
                        self._accept(key.fileobj)  # type: ignore[arg-type]
                self._sweep()
        except Exception:
            log.exception("http server stopped by an error of its own")
            raise
        finally:
            self._close_all()

    def _finished(self) -> bool:
        return self._stopping is not None and (not self._connections or time.monotonic() > self._stopping)

    def _begin_stopping(self) -> None:
        self._selector.unregister(self._wake_reader)
        self._pause_listening()
        for connection in [c for c in self._connections if not c.out]:
            self._close(connection)

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, where = listener.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError as error:
            # Usually out of file descriptors: the backlog may wait a moment, a busy loop helps nobody.
            log.warning("cannot accept a connection", extra={"error": str(error)})
            self._metrics.inc(self._rejected, reason="accept")
            self._pause_listening()
            self._paused_until = time.monotonic() + _TICK
            return
        accepted.setblocking(False)
        if len(self._connections) >= self.limits.max_connections and not self._make_room():
            self._turn_away(accepted)
            return
        if accepted.family != socket.AF_UNIX:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = str(where[0]) if isinstance(where, tuple) else ""
        connection = _Connection(accepted, peer, time.monotonic() + self.limits.request_deadline)
        self._connections.add(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)
        self._metrics.set(self._inflight, len(self._connections))

    def _make_room(self) -> bool:
        """Close the connection that has waited longest without a complete request; False when there is none."""
        idle = [c for c in self._connections if not c.out]
        if not idle:
            return False
        oldest = min(idle, key=lambda c: c.deadline)
        self._reject(oldest, HTTPStatus.SERVICE_UNAVAILABLE, "capacity")
        return True

    def _turn_away(self, accepted: socket.socket) -> None:
        self._metrics.inc(self._rejected, reason="capacity")
        answer = _refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        with contextlib.suppress(OSError):
            accepted.send(answer)
            accepted.shutdown(socket.SHUT_WR)
        accepted.close()

    def _reject(self, connection: _Connection, status: HTTPStatus, reason: str) -> None:
        """Close a connection that is not being answered, with a word if the socket takes it."""
        self._metrics.inc(self._rejected, reason=reason)
        if not connection.draining:
            with contextlib.suppress(OSError):
                connection.socket.send(_refusal(status))
        self._close(connection)

    def _guard(self, connection: _Connection, action: Callable[[_Connection], None]) -> None:
        """Run ``action``; whatever goes wrong with one connection ends that connection only."""
        try:
            action(connection)
        except OSError:
            self._close(connection)
        except Exception:
            log.exception("a connection was closed by an error of ours")
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self._close(connection)
        elif not connection.draining:
            connection.received += data
            self._advance(connection)

    def _advance(self, connection: _Connection) -> None:
        """Take as many requests out of what was received as can be answered without waiting."""
        while not connection.out and connection in self._connections and not connection.draining:
            try:
                request = self._next_request(connection)
            except BadRequest as bad:
                self._metrics.inc(self._rejected, reason="bad_request")
                self._answer(connection, Response.text(bad.status, str(bad)), head_only=False, keep_alive=False)
                continue
            if request is None:
                return
            keep_alive = request.keep_alive and self._stopping is None
            self._answer(connection, self._handle(request), request.method == "HEAD", keep_alive)

    def _next_request(self, connection: _Connection) -> Request | None:
        """The next request with its body, which is small; None while bytes are missing."""
        if connection.request is None:
            length = split_head(connection.received)
            if length is None:
                return None
            connection.request = replace(parse(bytes(connection.received[:length])), peer=connection.peer)
            del connection.received[:length]
        length = connection.request.body_length
        if len(connection.received) < length:
            return None
        request, connection.request = connection.request, None
        if length:
            request = replace(request, body=bytes(connection.received[:length]))
            del connection.received[:length]
        return request

    def _handle(self, request: Request) -> Response:
        try:
            return self._handler(request)
        except Exception:
            log.exception("a request failed", extra={"method": request.method, "path": request.path[:200]})
            return Response.text(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error, see the log")

    def _answer(self, connection: _Connection, response: Response, head_only: bool, keep_alive: bool) -> None:
        self._metrics.inc(self._requests, code=str(int(response.status)))
        connection.close_after = not keep_alive
        connection.out.append(memoryview(response.head(keep_alive)))
        if not head_only:
            connection.out.extend(memoryview(part) for part in response.body if part)
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        self._flush(connection)

    def _write(self, connection: _Connection) -> None:
        self._flush(connection)
        self._advance(connection)

    def _flush(self, connection: _Connection) -> None:
        """Send what the socket takes now; after the last byte wait for the next request, or drain and close."""
        try:
            sent = connection.socket.sendmsg(
                [connection.out[i] for i in range(min(len(connection.out), _MOST_BUFFERS))]
            )
        except (BlockingIOError, InterruptedError):
            return
        while sent:
            first = connection.out[0]
            if sent < len(first):
                connection.out[0] = first[sent:]
                return
            sent -= len(first)
            connection.out.popleft()
        if connection.out:
            return
        connection.answered += 1
        self._selector.modify(connection.socket, selectors.EVENT_READ, connection)
        now = time.monotonic()
        if connection.close_after:
            # Closing while unread bytes lie in the socket resets it and may cost the client our answer.
            connection.draining = True
            connection.deadline = min(connection.deadline, now + _LINGER)
            connection.received.clear()
            connection.socket.shutdown(socket.SHUT_WR)
        else:
            connection.deadline = now + self.limits.request_deadline

    def _sweep(self) -> None:
        """Close what is past its deadline; listen again after a pause."""
        now = time.monotonic()
        for connection in [c for c in self._connections if c.deadline <= now]:
            if connection.draining or (connection.answered and not connection.received and not connection.out):
                self._close(connection)
            elif connection.out:
                self._metrics.inc(self._rejected, reason="deadline")
                self._close(connection)
            else:
                self._reject(connection, HTTPStatus.REQUEST_TIMEOUT, "deadline")
        if self._paused_until and now >= self._paused_until and self._stopping is None:
            self._paused_until = 0.0
            for listener in self._listeners:
                self._selector.register(listener, selectors.EVENT_READ)

    def _pause_listening(self) -> None:
        for listener in self._listeners:
            with contextlib.suppress(KeyError):
                self._selector.unregister(listener)

    def _close(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._selector.unregister(connection.socket)
            connection.socket.close()
            self._metrics.set(self._inflight, len(self._connections))

    def _close_all(self) -> None:
        for connection in list(self._connections):
            self._close(connection)
        for listener in self._listeners:
            listener.close()
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()


def _refusal(status: HTTPStatus) -> bytes:
    response = Response.text(status, status.description or status.phrase)
    return response.head(keep_alive=False) + b"".join(response.body)
