"""HTTP/1.1 as bytes in, values out: one request head parsed strictly, one response head rendered.

Strict where leniency has hurt servers before: no folded headers, no transfer encodings, exactly one length, bounded
sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote, urlsplit

MAX_HEAD: Final = 16 * 1024
MAX_BODY: Final = 64 * 1024
MAX_HEADERS: Final = 100

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VERSION = re.compile(r"HTTP/(\d)\.(\d)\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class BadRequest(Exception):  # noqa: N818 - the HTTP name
    """The bytes are not a request we accept; ``status`` says which answer they deserve before the connection closes."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class Request:
    """One request; header names are lower case, the path is percent-decoded, ``query`` (behind the ?) is as it came.

    ``peer``: address of whoever opened the connection, as the socket tells it.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    keep_alive: bool
    body_length: int = 0
    body: bytes = b""
    query: str = ""
    peer: str = ""

    @property
    def accepts_gzip(self) -> bool:
        """Whether the client takes ``Content-Encoding: gzip`` (RFC 9110, 12.5.3; ``q=0`` means no)."""
        quality: dict[str, float] = {}
        for part in self.headers.get("accept-encoding", "").lower().split(","):
            name, *parameters = (piece.strip() for piece in part.split(";"))
            quality[name] = next((_quality(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        return quality.get("gzip", quality.get("x-gzip", quality.get("*", 0.0))) > 0


@dataclass(frozen=True)
class Response:
    """One answer; ``body`` is a sequence of buffers that are sent one after the other and never copied together."""

    status: int = 200
    body: tuple[bytes, ...] = ()
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def text(cls, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
        """A short answer in words."""
        return cls(status, ((message.rstrip("\n") + "\n").encode(),), headers=headers or {})

    @property
    def length(self) -> int:
        return sum(len(part) for part in self.body)

    def head(self, keep_alive: bool) -> bytes:
        """Status line and headers, the empty line included."""
        lines = [
            f"HTTP/1.1 {self.status} {_reason(self.status)}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {self.length}",
            "X-Content-Type-Options: nosniff",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def split_head(received: bytes | bytearray) -> int | None:
    """Length of the request head in ``received``, its empty line included; None while it is incomplete.

    Raises:
        BadRequest: 431 when no head that we accept can still come out of it.
    """
    end = received.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end >= 0:
        return end + 4
    if len(received) >= MAX_HEAD:
        raise BadRequest(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"expected a request head of at most {MAX_HEAD} bytes"
        )
    return None


def parse(head: bytes) -> Request:
    """The request that ``head`` (with its empty line) is.

    Raises:
        BadRequest: with the status that says what is wrong.
    """
    lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "expected 'METHOD path HTTP/1.1'")
    method, target, version_text = parts
    version = _VERSION.match(version_text)
    if not version or not _TOKEN.match(method):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "expected 'METHOD path HTTP/1.1'")
    if version.group(1) != "1":
        raise BadRequest(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "expected HTTP/1.0 or HTTP/1.1")
    headers = _headers(lines[1:])
    recent = version.group(2) != "0"
    if recent and "host" not in headers:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "expected a Host header")
    connection = {word.strip() for word in headers.get("connection", "").lower().split(",")}
    keep_alive = "close" not in connection and (recent or "keep-alive" in connection)
    path, query = _split_target(target)
    return Request(method, path, headers, keep_alive, _body_length(headers), query=query)


def _headers(lines: list[str]) -> dict[str, str]:
    if len(lines) > MAX_HEADERS:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"expected at most {MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        # A name that does not directly meet its colon, or a folded line, reads differently to a proxy before us.
        if not colon or not _TOKEN.match(name) or _CONTROL.search(value):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "expected headers as 'Name: value'")
        key = name.lower()
        if key in headers and key in ("host", "content-length"):
            raise BadRequest(HTTPStatus.BAD_REQUEST, f"expected one {name} header")
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return headers


def _split_target(target: str) -> tuple[str, str]:
    """Path and query of a request target."""
    if not target.startswith("/"):
        try:
            absolute = urlsplit(target)
        except ValueError as error:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "expected a path that starts with /") from error
        if absolute.scheme not in ("http", "https") or not absolute.netloc:
            raise BadRequest(HTTPStatus.BAD_REQUEST, "expected a path that starts with /")
        target = f"{absolute.path or '/'}?{absolute.query}"
    path, _, query = target.partition("#")[0].partition("?")
    return unquote(path, errors="replace"), query


def _body_length(headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest(HTTPStatus.LENGTH_REQUIRED, "expected a body with Content-Length, or none")
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "expected Content-Length to be a number")
    if len(text) > 12 or int(text) > MAX_BODY:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {MAX_BODY} bytes")
    return int(text)


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
