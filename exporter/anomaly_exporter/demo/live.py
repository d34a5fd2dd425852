"""A live exporter of a feed: ``/metrics`` over HTTP, on compressed time."""

from __future__ import annotations

import contextlib
import math
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import numpy as np

from anomaly_exporter.clock import Clock

from .feeds import Feed, text_page


class LivePage:
    """Serves the value of the *next* grid instant of a feed.

    Prometheus scrapes somewhere between two instants and stamps the sample with that moment. Whoever evaluates at an
    instant sees the newest sample before it; with the page one instant ahead, that is the value a backfill would have
    put exactly there. ``page(wall)`` is what a scrape at that wall time gets.
    """

    def __init__(self, feed: Feed, clock: Clock, step: int) -> None:
        self.feed = feed
        self.clock = clock
        self.step = step
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def instant(self, wall: float) -> int:
        """The first grid instant not before ``wall``."""
        # Unix times as float64 are exact to 0.2 microseconds: an instant must not become the next one by rounding.
        return math.ceil(self.clock.to_data(wall) / self.step - 1e-6) * self.step

    def page(self, wall: float) -> str:
        return text_page(self.feed.read(np.array([self.instant(wall)], np.int64)))

    @property
    def address(self) -> str:
        """host:port, after :meth:`start`."""
        if self._server is None:
            raise RuntimeError("the live page is not started")
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/metrics"

    def start(self) -> Self:
        live = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.partition("?")[0] != "/metrics":
                    self.send_error(HTTPStatus.NOT_FOUND)
                    return
                body = live.page(live.clock.wall()).encode()
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                # A scraper on a busy machine may have given up meanwhile; it comes back.
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class' name
                """Two lines a second would bury the story."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="live-page", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
