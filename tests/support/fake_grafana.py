"""The part of Grafana's HTTP API that annotations need, in this process, as its documentation describes it.

``GET /api/annotations`` with from, to (epoch milliseconds), limit (100 by default), type, and tags that must all be
there; bearer tokens. Annotations are made, changed and deleted through methods of the same names. Answers hold
the documented fields and no others.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

DEFAULT_LIMIT = 100
TOKEN = "glsa_secret"


class FakeGrafana:
    """``items``: annotations by id. ``trouble``: statuses for the next requests. ``asked``: queries of all searches."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.items: dict[int, dict[str, Any]] = {}
        self.trouble: list[int] = []
        self.asked: list[dict[str, list[str]]] = []
        self.address = ""
        self._next = 1

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def post(
        self, start: float, end: float | None, tags: list[str], text: str = "", login: str = "ada", **more: Any
    ) -> int:
        """Create an annotation over [start, end] in seconds; its id."""
        identity, now = self._next, int(time.time() * 1000)
        self._next += 1
        first = int(start * 1000)
        self.items[identity] = {
            "id": identity,
            "alertId": 0,
            "alertName": "",
            "dashboardId": 468,
            "dashboardUID": "uGlb_lG7z",
            "panelId": 2,
            "userId": 1,
            "newState": "",
            "prevState": "",
            "created": now,
            "updated": now,
            "time": first,
            "timeEnd": first if end is None else int(end * 1000),
            "text": text,
            "tags": tags,
            "login": login,
            "email": f"{login}@example.com",
            "avatarUrl": "/avatar/46d229b033af06a191ff2267bca9ae56",
            "data": {},
            **more,
        }
        return identity

    def patch(self, identity: int, **changes: Any) -> None:
        self.items[identity].update(changes, updated=int(time.time() * 1000))

    def delete(self, identity: int) -> None:
        del self.items[identity]

    def find(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        """What a search answers: the newest first, never more than the limit."""
        start, end = (int(query.get(name, ["0"])[0]) for name in ("from", "to"))
        kind, tags = query.get("type", [""])[0], query.get("tags", [])
        found = [
            item
            for item in self.items.values()
            if (not end or (item["time"] <= end and item["timeEnd"] >= start))
            and all(tag in item["tags"] for tag in tags)
            and (kind != "annotation" or item["alertId"] == 0)
        ]
        found.sort(key=lambda item: (-item["timeEnd"], -item["time"]))
        return found[: int(query.get("limit", ["0"])[0]) or DEFAULT_LIMIT]


@contextmanager
def fake_grafana(token: str = TOKEN) -> Iterator[FakeGrafana]:
    """A server on a port of its own."""
    grafana = FakeGrafana(token)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if grafana.trouble:
                return self.answer(grafana.trouble.pop(0), {"message": "trouble"})
            if self.headers.get("Authorization") != f"Bearer {grafana.token}":
                return self.answer(401, {"message": "Invalid API key"})
            if parts.path != "/api/annotations":
                return self.answer(404, {"message": "Not found"})
            query = parse_qs(parts.query)
            grafana.asked.append(query)
            return self.answer(200, grafana.find(query))

        def answer(self, status: int, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    grafana.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield grafana
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
