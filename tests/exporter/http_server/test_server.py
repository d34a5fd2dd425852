"""The server stays quick and bounded whatever its clients do."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from anomaly_exporter.http_server import Address, Limits, Request, Response, Server
from anomaly_exporter.http_server.protocol import MAX_BODY
from anomaly_exporter.self_metrics import SelfMetrics
from support.waiting import wait_for

PAGE = b"x" * 4_000_000
ANSWERS: dict[str, Callable[[Request], Response]] = {
    "/": lambda _: Response.text(200, "hello"),
    "/page": lambda _: Response(200, (PAGE, b"tail")),
    "/gzip": lambda _: Response(200, (gzip.compress(PAGE, 1),), headers={"Content-Encoding": "gzip"}),
    "/echo": lambda request: Response.text(200, f"[{request.body.decode()}]"),
    "/size": lambda request: Response.text(200, str(sum(request.body))),
    "/broken": lambda _: 1 / 0,  # type: ignore[dict-item,return-value]
}


def _handle(request: Request) -> Response:
    return ANSWERS.get(request.path, lambda _: Response.text(404, "not found"))(request)


class Site:
    """A running server and the means to talk to it."""

    def __init__(self, **limits: float) -> None:
        self.metrics = SelfMetrics()
        self.server = Server([Address("127.0.0.1", 0)], _handle, Limits(**limits), self.metrics)  # type: ignore[arg-type]
        self.server.start()
        self.port = self.server.addresses[0].port

    def connect(self, **options: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10, **options)  # type: ignore[arg-type]

    def get(self, path: str = "/", method: str = "GET") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def talk(self, data: bytes) -> bytes:
        """Send ``data``; everything the server says until it closes."""
        with self.connect() as sock:
            sock.sendall(data)
            return _read_all(sock)

    def rejected(self, reason: str) -> float:
        return self.metrics.value("http_rejected_total", reason=reason) or 0.0

    def open(self) -> float:
        return self.metrics.value("http_inflight") or 0.0


def _read_all(sock: socket.socket) -> bytes:
    chunks = []
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            chunks.append(data)
    return b"".join(chunks)


@contextlib.contextmanager
def _site(**limits: float) -> Iterator[Site]:
    site = Site(**limits)
    try:
        yield site
    finally:
        site.server.stop(grace=0.2)


@pytest.fixture
def site() -> Iterator[Site]:
    with _site() as running:
        yield running


def test_get_head_and_unknown_paths_are_answered(site: Site) -> None:
    assert site.get("/") == (200, b"hello\n")
    assert site.get("/nowhere")[0] == 404
    assert site.get("/", "HEAD") == (200, b"")
    assert site.metrics.value("http_requests_total", code="200") == 2
    assert site.metrics.value("http_requests_total", code="404") == 1


def test_a_large_page_arrives_whole_and_in_order(site: Site) -> None:
    assert site.get("/page") == (200, PAGE + b"tail")


def test_a_connection_is_reused_for_the_next_request(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    for _ in range(3):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello\n"
    assert site.open() == 1
    connection.close()


def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    ask = "GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n"
    data = ask.format("/", "") + ask.format("/nowhere", "") + ask.format("/", "Connection: close\r\n")
    said = site.talk(data.encode())
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"404", b"200"]


def test_a_body_reaches_its_handler_and_the_next_request_is_read_after_it(site: Site) -> None:
    said = site.talk(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /GET /echo HTTP/1.0\r\n\r\n",
    )
    assert said.count(b"200 OK") == 2
    assert said.split(b"\r\n\r\n")[1].startswith(b"[GET /]\n")
    assert said.endswith(b"[]\n")


@pytest.mark.parametrize("length", [1, MAX_BODY])
def test_a_body_in_pieces_arrives_whole(site: Site, length: int) -> None:
    body = bytes(i % 251 for i in range(length))
    with site.connect() as sock:
        sock.sendall(f"POST /size HTTP/1.0\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        for i in range(0, length, 10_000):
            sock.sendall(body[i : i + 10_000])
        assert _read_all(sock).endswith(f"\r\n\r\n{sum(body)}\n".encode())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 3000 + b"\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n" + b"z" * 100_000, b"413"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    ],
)
def test_bad_requests_get_their_status_and_the_connection_closes(site: Site, data: bytes, status: bytes) -> None:
    assert site.talk(data).startswith(b"HTTP/1.1 " + status)
    assert site.rejected("bad_request") == 1
    assert site.get("/")[0] == 200


def test_an_error_of_a_handler_is_a_500_and_the_server_goes_on(site: Site) -> None:
    assert site.get("/broken")[0] == 500
    assert site.get("/")[0] == 200


def _drip(sock: socket.socket, stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(b"GET / HTTP/1.1\r\n")
        while not stop.wait(0.05):
            sock.sendall(b"x")


def test_silent_dripping_and_slow_reading_clients_are_all_closed_by_the_deadline() -> None:
    with _site(request_deadline=0.6) as site, contextlib.ExitStack() as stack:
        stop = threading.Event()
        silent, dripping = site.connect(), site.connect()
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", site.port))
        for sock in (silent, dripping, slow):
            stack.enter_context(sock)
        thread = threading.Thread(target=_drip, args=(dripping, stop))
        thread.start()
        slow.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        began = time.monotonic()
        wait_for(lambda: site.open() == 3, 5, "three open connections")
        wait_for(lambda: site.open() == 0, 5, "all of them closed")
        assert time.monotonic() - began < 2.5
        assert site.rejected("deadline") == 3
        stop.set()
        thread.join()
        assert _read_all(silent).startswith(b"HTTP/1.1 408")


def test_a_kept_connection_that_stays_silent_is_closed_without_being_called_a_fault() -> None:
    with _site(request_deadline=0.4) as site:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
        connection.request("GET", "/")
        connection.getresponse().read()
        wait_for(lambda: site.open() == 0, 5, "the kept connection to be closed")
        assert site.rejected("deadline") == 0
        connection.close()


def test_hundreds_of_idle_sockets_do_not_block_a_healthy_scrape() -> None:
    with _site(max_connections=64) as site, contextlib.ExitStack() as stack:
        for i in range(300):
            sock = stack.enter_context(site.connect())
            if i % 2:
                sock.sendall(b"GET /metr")
        durations = []
        for _ in range(20):
            began = time.monotonic()
            assert site.get("/")[0] == 200
            durations.append(time.monotonic() - began)
        assert max(durations) < 1.0
        assert site.open() <= 64
        assert site.rejected("capacity") > 200


def test_a_newcomer_is_turned_away_with_503_only_when_all_connections_are_being_answered() -> None:
    with _site(max_connections=2) as site, contextlib.ExitStack() as stack:
        for _ in range(2):
            busy = stack.enter_context(socket.socket())
            busy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            busy.connect(("127.0.0.1", site.port))
            busy.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: site.metrics.value("http_requests_total", code="200") == 2, 5, "two answers under way")
        with site.connect() as newcomer:
            assert _read_all(newcomer).startswith(b"HTTP/1.1 503")
        assert site.rejected("capacity") == 1


def test_a_hundred_scrapers_at_once_are_all_answered() -> None:
    with _site() as site, ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: site.get("/gzip"), range(100)))
        assert {status for status, _ in answers} == {200}
        assert {len(body) for _, body in answers} == {len(gzip.compress(PAGE, 1))}


def test_a_client_that_resets_its_connection_costs_nobody_else_anything(site: Site) -> None:
    for _ in range(20):
        sock = site.connect()
        sock.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        sock.close()
    assert site.get("/")[0] == 200
    wait_for(lambda: site.open() == 0, 5, "the reset connections to be forgotten")


def test_stopping_lets_an_answer_under_way_finish() -> None:
    site = Site()
    with site.connect() as sock:
        sock.sendall(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: site.metrics.value("http_requests_total", code="200"), 5, "the answer to begin")
        stopper = threading.Thread(target=site.server.stop)
        stopper.start()
        assert _read_all(sock).endswith(PAGE[-100:] + b"tail")
        stopper.join()
    with pytest.raises(ConnectionRefusedError):
        site.connect()


def test_an_address_in_use_is_named(site: Site) -> None:
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{site.port}"):
        Server([Address("127.0.0.1", site.port)], _handle, Limits(), SelfMetrics())


def test_an_empty_host_listens_on_all_interfaces() -> None:
    server = Server([Address("", 0)], _handle, Limits(), SelfMetrics())
    server.start()
    with socket.create_connection(("127.0.0.1", server.addresses[0].port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert _read_all(sock).endswith(b"hello\n")
    server.stop(grace=0.1)
