"""A failing Prometheus costs the query it fails, with a typed error and a counter; the next one is served as ever."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from anomaly_exporter.config import PrometheusConnection, Query, Target
from anomaly_exporter.demo.stack import PrometheusServer
from anomaly_exporter.sources import (
    PrometheusSource,
    SourceAnswerError,
    SourceError,
    SourceLimitError,
    SourceRejectedError,
    SourceUnavailableError,
)
from anomaly_models.frame import Block, Span
from support.fault_proxy import (
    Fault,
    FaultProxy,
    answer,
    bomb,
    changed,
    cut,
    drip,
    honest,
    in_turn,
    stall,
    status,
    vector,
    when,
)
from support.openmetrics import Raw, every
from support.prometheus import prometheus

pytestmark = pytest.mark.e2e

T0 = 1_700_000_040
SPAN = Span(T0, T0 + 60)
RANGE = Span(T0, T0 + 600)


def target(name: str, expr: str) -> Target:
    return Target(name=name, metric="cpu", labels=("namespace",), queries=(Query(name="q", expr=expr),))


SICK, HEALTHY = target("sick", "cpu"), target("healthy", "memory")
PAST = [Raw(metric, {"namespace": "a"}, every(60, T0, [1.0] * 10)) for metric in ("cpu", "memory")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    with prometheus(tmp_path_factory.mktemp("past"), PAST) as running:
        yield running


@pytest.fixture
def proxy(server: PrometheusServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.url) as running:
        yield running


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly_exporter.sources.prometheus._BACKOFF", 0.01)


def source(url: str, **more: object) -> PrometheusSource:
    return PrometheusSource(PrometheusConnection.model_validate({"url": url, **more}))


def well(block: Block) -> bool:
    return block.values.shape[1:] == (1, 1) and bool((block.values == 1).all())


@pytest.mark.parametrize(
    ("fault", "error", "message", "asked"),
    [
        (status(500), SourceUnavailableError, "HTTP 500: played", 4),
        (status(502), SourceUnavailableError, "HTTP 502", 4),
        (status(503), SourceUnavailableError, "HTTP 503", 4),
        (status(429), SourceUnavailableError, "HTTP 429", 4),
        (status(422), SourceLimitError, "HTTP 422: played", 1),
        (status(400, "parse error"), SourceRejectedError, "HTTP 400: parse error", 1),
        (status(401), SourceRejectedError, "HTTP 401", 1),
        (status(403), SourceRejectedError, "HTTP 403", 1),
        (status(404), SourceRejectedError, "HTTP 404", 1),
        (status(204), SourceAnswerError, "expected HTTP 200, received 204", 1),
        (status(302, Location="http://u:secret@evil/"), SourceRejectedError, "HTTP 302: redirected to http://evil/", 1),
        (cut(), SourceUnavailableError, "IncompleteRead", 4),
        (changed(lambda body: body[:-30]), SourceAnswerError, "expected JSON", 1),
        (changed(lambda body: b"\x00" + body), SourceAnswerError, "expected JSON", 1),
        (answer("<html>login</html>"), SourceAnswerError, "expected JSON, received .*login", 1),
        (vector(({"namespace": "a"}, T0, "1"), warnings=["store down"]), SourceAnswerError, "partial: store down", 1),
        (vector(({"namespace": "a"}, T0 + 1, "1")), SourceAnswerError, "expected times from", 1),
        (vector(({"namespace": "a"}, T0, "one")), SourceAnswerError, 'expected .time,"number"', 1),
    ],
)
def test_a_fault_is_a_typed_error_that_names_the_query_and_spares_the_others(
    proxy: FaultProxy, fault: Fault, error: type[SourceError], message: str, asked: int
) -> None:
    proxy.fault = when(lambda request: "cpu" in request.fields["query"], fault)
    reader = source(proxy.url)
    with pytest.raises(error, match=f"target 'sick', query 'q': .*{message}") as caught:
        reader.read(SICK, SPAN)
    assert "secret" not in str(caught.value)
    assert len(proxy.requests) == asked
    assert reader.counters.queries == {caught.value.outcome: asked}
    assert reader.counters.retries == asked - 1
    assert well(reader.read(HEALTHY, SPAN))
    proxy.fault = honest
    assert well(reader.read(SICK, SPAN))


def test_a_partial_answer_is_counted(proxy: FaultProxy) -> None:
    proxy.fault = vector(({"namespace": "a"}, T0, "1"), warnings=["store down"])
    reader = source(proxy.url)
    with pytest.raises(SourceAnswerError):
        reader.read(SICK, SPAN)
    assert reader.counters.partial == 1
    assert reader.counters.queries == {"partial": 1}


def test_remarks_of_the_engine_are_only_counted(proxy: FaultProxy) -> None:
    proxy.fault = vector(({"namespace": "a"}, T0, "1"), infos=["PromQL info: x"], warnings=["PromQL warning: y"])
    reader = source(proxy.url)
    assert well(reader.read(SICK, SPAN))
    assert (reader.counters.annotations, reader.counters.partial) == (2, 0)


def test_a_server_that_is_down_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    reader = source(url)
    with pytest.raises(SourceUnavailableError, match=r"target 'sick', query 'q': http://127.*refused"):
        reader.read(SICK, SPAN)
    assert reader.counters.queries == {"unavailable": 4}


@pytest.mark.parametrize(
    "fault",
    [stall(), stall(b'{"status":"success","data":'), drip(), drip(head=True)],
    ids=["no body", "half a body", "dripping body", "dripping header"],
)
def test_no_answer_takes_longer_than_the_deadline(
    proxy: FaultProxy, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anomaly_exporter.sources.prometheus.RETRIES", 0)
    proxy.fault = fault
    reader = source(proxy.url, timeout=1)
    began = time.monotonic()
    with pytest.raises(SourceUnavailableError, match="no complete answer within"):
        reader.read(SICK, SPAN)
    assert time.monotonic() - began < 2
    proxy.fault = honest
    assert well(reader.read(SICK, SPAN))


def test_a_question_with_its_retries_takes_at_most_two_deadlines() -> None:
    """The server accepts the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reader = source(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=1)
        began = time.monotonic()
        with pytest.raises(SourceUnavailableError, match="no complete answer within"):
            reader.read(SICK, SPAN)
        assert time.monotonic() - began < 3


def test_an_answer_over_the_cap_is_refused_before_it_fills_the_memory(proxy: FaultProxy) -> None:
    proxy.fault = bomb(64 * 2**20)
    reader = source(proxy.url, max_answer_bytes=2**20)
    with pytest.raises(SourceAnswerError, match=r"larger than max_answer_bytes = 1048576"):
        reader.read(SICK, SPAN)
    assert reader.counters.queries == {"invalid": 1}
    proxy.fault = honest
    assert well(reader.read(SICK, SPAN))


def test_a_refusal_with_an_endless_body_is_read_only_in_part(proxy: FaultProxy) -> None:
    proxy.fault = status(400, "x" * 2**20)
    with pytest.raises(SourceRejectedError) as caught:
        source(proxy.url).read(SICK, SPAN)
    assert len(str(caught.value)) < 500


def test_a_passing_fault_is_asked_again(proxy: FaultProxy) -> None:
    proxy.fault = in_turn(status(503), cut(), status(429, Retry_After="0"), honest)
    reader = source(proxy.url)
    assert well(reader.read(SICK, SPAN))
    assert reader.counters.queries == {"unavailable": 3, "ok": 1}
    assert reader.counters.retries == 3


def test_retry_after_is_honoured(proxy: FaultProxy) -> None:
    proxy.fault = in_turn(status(429, Retry_After="1"), honest)
    assert well(source(proxy.url).read(SICK, SPAN))
    first, second = proxy.requests
    assert second.at - first.at >= 1


def test_a_retry_after_beyond_the_budget_is_an_error_at_once(proxy: FaultProxy) -> None:
    proxy.fault = status(503, Retry_After="3600")
    with pytest.raises(SourceUnavailableError) as caught:
        source(proxy.url).read(SICK, SPAN)
    assert caught.value.retry_after == 3600
    assert len(proxy.requests) == 1


def test_a_retry_after_may_be_a_date(proxy: FaultProxy) -> None:
    proxy.fault = status(503, Retry_After="Fri, 31 Dec 2100 23:59:59 GMT")
    with pytest.raises(SourceUnavailableError) as caught:
        source(proxy.url).read(SICK, SPAN)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 1e6


def test_one_failing_part_of_a_range_fails_the_range(proxy: FaultProxy) -> None:
    """No block with a hole in the middle that looks like missing data."""
    proxy.fault = when(lambda r: r.fields.get("start", "").startswith(str(T0 + 240)), status(400))
    with pytest.raises(SourceRejectedError):
        source(proxy.url, max_points=2).read(SICK, RANGE)
    proxy.fault = honest
    assert well(source(proxy.url, max_points=2).read(SICK, RANGE))


def test_the_retries_of_many_threads_stay_within_two_in_flight(proxy: FaultProxy) -> None:
    reader = source(proxy.url)
    blocks: list[Block] = []
    threads = [threading.Thread(target=lambda: blocks.append(reader.read(HEALTHY, SPAN))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(blocks) == 12
    assert all(map(well, blocks))
    assert proxy.most_in_flight <= 2


def test_closing_ends_the_wait_between_retries(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly_exporter.sources.prometheus._BACKOFF", 20.0)
    proxy.fault = status(503)
    reader = source(proxy.url, timeout=600)
    failures: list[Exception] = []

    def read() -> None:
        try:
            reader.read(SICK, SPAN)
        except SourceUnavailableError as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    while not reader.counters.retries:
        thread.join(0.01)
    reader.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(failures) == 1


def test_a_token_is_read_again_at_every_request(proxy: FaultProxy, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    reader = source(proxy.url, bearer_token_file=str(token))
    reader.read(HEALTHY, SPAN)
    token.write_text("second\n")
    reader.read(HEALTHY, SPAN)
    assert [r.headers["Authorization"] for r in proxy.requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("content", [None, "", "two\nlines", "\xff"])
def test_a_bad_token_is_rejected_without_asking_and_never_shown(
    proxy: FaultProxy, tmp_path: Path, content: str | None
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content.encode("latin-1"))
    with pytest.raises(SourceRejectedError) as caught:
        source(proxy.url, bearer_token_file=str(token)).read(HEALTHY, SPAN)
    assert str(token) in str(caught.value)
    assert "lines" not in str(caught.value)
    assert proxy.requests == []


def test_basic_authentication_and_extra_headers_are_sent(proxy: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p:w")
    basic = {"username": "me", "password_file": str(tmp_path / "password")}
    source(proxy.url, basic_auth=basic, headers={"X-Scope-OrgID": "tenant"}).read(HEALTHY, SPAN)
    headers = proxy.requests[0].headers
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me:p:w"
    assert headers["X-Scope-OrgID"] == "tenant"


def test_the_environment_adds_no_proxy_and_no_credentials(
    proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login thief password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert well(source(proxy.url).read(HEALTHY, SPAN))
    assert "Authorization" not in proxy.requests[0].headers


def test_a_redirect_never_carries_the_token_on(proxy: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    with FaultProxy() as elsewhere:
        proxy.fault = status(307, Location=f"{elsewhere.url}/api/v1/query")
        with pytest.raises(SourceRejectedError, match="redirects are not followed"):
            source(proxy.url, bearer_token_file=str(tmp_path / "token")).read(HEALTHY, SPAN)
        assert elsewhere.requests == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    return cert, key


class Healthy(BaseHTTPRequestHandler):
    """Answers every query over TLS; asks for a client certificate."""

    def do_GET(self) -> None:
        series = b'{"metric":{"namespace":"a"},"value":[%d,"1"]}' % T0
        body = b'{"status":"success","data":{"resultType":"vector","result":[%s]}}' % series
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The test's own output is enough."""


@pytest.fixture
def tls_url(certificate: tuple[Path, Path]) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate[0])
    server = HTTPServer(("127.0.0.1", 0), Healthy)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  refused handshakes are the test
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_tls_with_its_own_ca_and_a_client_certificate(tls_url: str, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    tls = {"ca_file": str(cert), "cert_file": str(cert), "key_file": str(key)}
    assert well(source(tls_url, tls=tls).read(HEALTHY, SPAN))


def test_an_unknown_ca_is_refused(tls_url: str) -> None:
    with pytest.raises(SourceRejectedError, match=r"TLS failed.*certificate"):
        source(tls_url).read(HEALTHY, SPAN)


def test_a_ca_file_that_is_not_there_is_named(tls_url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceRejectedError, match=r"none\.pem"):
        source(tls_url, tls={"ca_file": str(tmp_path / "none.pem")}).read(HEALTHY, SPAN)


def test_a_silent_tls_server_is_given_up() -> None:
    """Accepts the connection and never answers the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reader = source(f"https://127.0.0.1:{silent.getsockname()[1]}", timeout=1)
        began = time.monotonic()
        with pytest.raises(SourceUnavailableError, match="no complete answer within"):
            reader.read(HEALTHY, SPAN)
        assert time.monotonic() - began < 3
