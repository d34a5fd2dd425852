"""One request head in, one value or one refusal out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_exporter.http_server.address import Address, parse_address
from anomaly_exporter.http_server.protocol import (
    MAX_BODY,
    MAX_HEAD,
    MAX_HEADERS,
    BadRequest,
    Request,
    Response,
    parse,
    split_head,
)


def _request(*headers: str, line: str = "GET /metrics HTTP/1.1") -> Request:
    return parse("\r\n".join((line, "Host: x", *headers, "", "")).encode("latin-1"))


def _status(head: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        parse(head)
    return int(caught.value.status)


def test_a_plain_request_is_understood() -> None:
    request = _request("Accept-Encoding: gzip, deflate", "X-Twice: a", "x-twice: b")
    assert (request.method, request.path, request.keep_alive, request.body_length) == ("GET", "/metrics", True, 0)
    assert request.headers["x-twice"] == "a, b"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/metrics?x=/y", "/metrics"),
        ("/a%2Fb%20c", "/a/b c"),
        ("http://host:1/metrics?q", "/metrics"),
        ("http://h", "/"),
    ],
)
def test_the_path_is_decoded_and_without_its_query(target: str, path: str) -> None:
    assert _request(line=f"GET {target} HTTP/1.1").path == path


@pytest.mark.parametrize(
    ("line", "connection", "keep_alive"),
    [
        ("GET / HTTP/1.1", "", True),
        ("GET / HTTP/1.1", "Connection: close", False),
        ("GET / HTTP/1.0", "", False),
        ("GET / HTTP/1.0", "Connection: Keep-Alive", True),
    ],
)
def test_the_connection_is_kept_as_the_version_and_header_say(line: str, connection: str, keep_alive: bool) -> None:
    assert _request(*([connection] if connection else []), line=line).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("GZIP;q=0.5, identity", True),
        ("br, *", True),
        ("*;q=0", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip;q=oops", False),
        ("identity", False),
        ("", False),
    ],
)
def test_gzip_is_sent_only_to_who_takes_it(header: str, accepted: bool) -> None:
    assert _request(f"Accept-Encoding: {header}").accepts_gzip is accepted


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET metrics HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://[oops/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\ny\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n".encode(), 413),
        (f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {'9' * 500}\r\n\r\n".encode(), 413),
    ],
)
def test_what_is_not_a_request_is_refused_with_the_status_that_says_why(head: bytes, status: int) -> None:
    assert _status(head) == status


def test_a_body_of_exactly_the_limit_and_as_many_headers_as_allowed_pass() -> None:
    assert _request(f"Content-Length: {MAX_BODY}", line="POST / HTTP/1.1").body_length == MAX_BODY
    assert _request(*(f"h{i}: x" for i in range(MAX_HEADERS - 1))).method == "GET"
    with pytest.raises(BadRequest):
        _request(*(f"h{i}: x" for i in range(MAX_HEADERS)))


def test_a_head_is_awaited_up_to_its_limit_and_refused_beyond() -> None:
    assert split_head(b"GET / HTTP/1.1\r\n\r\nrest") == 18
    assert split_head(b"x" * (MAX_HEAD - 1)) is None
    with pytest.raises(BadRequest) as caught:
        split_head(b"x" * MAX_HEAD)
    assert caught.value.status == 431


@given(st.binary(max_size=400))
def test_any_bytes_become_a_request_or_a_refusal(data: bytes) -> None:
    try:
        request = parse(data + b"\r\n\r\n")
    except BadRequest as bad:
        assert 400 <= bad.status < 600  # noqa: PT017
    else:
        assert request.path.startswith("/")


def test_a_response_says_its_length_without_copying_its_body() -> None:
    body = (b"abc", b"de")
    response = Response(200, body, headers={"Allow": "GET"})
    assert response.body[0] is body[0]
    head = response.head(keep_alive=False).decode()
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "\r\nContent-Length: 5\r\n" in head
    assert "\r\nAllow: GET\r\n" in head
    assert head.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8345", Address("", 8345)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:8345", Address("::1", 8345)),
        ("localhost:65535", Address("localhost", 65535)),
    ],
)
def test_listen_addresses_are_host_and_port(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["8345", "", "localhost", "::1:8345", "h:65536", "h:-1", "h:http"])
def test_other_listen_addresses_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        parse_address(text)
