"""The part of S3 that a store needs, in this process, with its wire format and its promises about conditions.

GET, HEAD, PUT with ``If-Match`` and ``If-None-Match``, DeleteObjects, and ListObjectsV2 in pages; path-style keys and
XML errors. Conditions are checked and objects changed under one lock, as S3 promises: of two writers that saw the same
ETag one gets 412. Signatures are not verified, but a request without one is refused.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

PAGE = 1000
_CODES = {403: "AccessDenied", 404: "NoSuchKey", 409: "ConditionalRequestConflict", 412: "PreconditionFailed"}


class FakeS3:
    """One bucket. ``objects``: key -> (bytes, ETag, time). ``trouble``: statuses for the next requests.

    ``requests``: (method, key) of everything that was asked.
    """

    def __init__(self, bucket: str = "anomalies", page: int = PAGE) -> None:
        self.bucket, self.page = bucket, page
        self.objects: dict[str, tuple[bytes, str, datetime]] = {}
        self.trouble: list[int] = []
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def put(self, key: str, data: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """Status and ETag."""
        found = self.objects.get(key)
        if headers.get("if-none-match") == "*" and found:
            return 412, ""
        if wanted := headers.get("if-match"):
            if not found:
                return 404, ""
            if found[1] != wanted:
                return 412, ""
        etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
        self.objects[key] = (data, etag, datetime.now(UTC))
        return 200, etag

    def delete(self, body: bytes) -> bytes:
        """Remove the keys that a DeleteObjects request names; those that are not there are as good as removed."""
        keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", body.decode())]
        for key in keys:
            self.objects.pop(key, None)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return f'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{deleted}</DeleteResult>'.encode()

    def listing(self, query: dict[str, list[str]]) -> bytes:
        """A page of ListObjectsV2."""
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = sorted(k for k in self.objects if k.startswith(prefix) and k > after)
        page = keys[: self.page]
        more = len(keys) > len(page)
        items = "".join(
            f"<Contents><Key>{escape(k)}</Key><LastModified>{self.objects[k][2]:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>{escape(self.objects[k][1])}</ETag><Size>{len(self.objects[k][0])}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for k in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{self.bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{self.page}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{items}{token}"
            "</ListBucketResult>"
        ).encode()


@contextmanager
def served_s3(s3: FakeS3) -> Iterator[str]:
    """The URL under which ``s3`` answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:  # noqa: PLR0911 - an answer each
            url = urlsplit(self.path)
            bucket, _, key = unquote(url.path).lstrip("/").partition("/")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with s3.lock:
                s3.requests.append((self.command, key))
                if s3.trouble:
                    return self._error(s3.trouble.pop(0))
                if "authorization" not in headers:
                    return self._error(403)
                if bucket != s3.bucket:
                    return self._error(404)
                if self.command == "PUT":
                    status, etag = s3.put(key, body, headers)
                    return self._send(200, b"", {"ETag": etag}) if status == 200 else self._error(status)
                if self.command == "POST" and "delete" in parse_qs(url.query, keep_blank_values=True):
                    return self._send(200, s3.delete(body), {"Content-Type": "application/xml"})
                if not key:
                    return self._send(200, s3.listing(parse_qs(url.query)), {"Content-Type": "application/xml"})
                if key not in s3.objects:
                    return self._error(404)
                data, etag, at = s3.objects[key]
            return self._send(200, data, {"ETag": etag, "Last-Modified": format_datetime(at, usegmt=True)})

        def _error(self, status: int) -> None:
            code = _CODES.get(status, "InternalError")
            text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>no</Message></Error>'
            self._send(status, text.encode(), {"Content-Type": "application/xml"})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = _reply  # noqa: N815 - names of the base class

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
