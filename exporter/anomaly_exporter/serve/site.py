"""What every path answers. A scrape only hands out bytes that a cycle has made; they expire when cycles stop coming."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from anomaly_exporter import canary, landing
from anomaly_exporter.config import Config
from anomaly_exporter.exposition import Page, body
from anomaly_exporter.exposition.page import EMPTY
from anomaly_exporter.http_server import Request, Response
from anomaly_exporter.http_server.protocol import HTML, PROMETHEUS
from anomaly_exporter.self_metrics import SelfMetrics
from anomaly_exporter.snapshot import LIFETIME, Snapshot, TrainingStatus

LEAST_LIFETIME: Final = 5.0
"""Wall seconds that a snapshot lives at least: matters only where time is compressed."""
LIVELINESS: Final = 2
"""Intervals without a cycle after which the process is not healthy."""
LEAST_LIVELINESS: Final = 10.0


@dataclass(frozen=True)
class Published:
    """A snapshot, its pages, and the steady clock's time of publication."""

    snapshot: Snapshot
    metrics: Page
    detail: Page
    at: float


class Site:
    """Answers requests from what was last published; may be called from any thread.

    ``interval``: wall seconds between cycles. ``reload`` returns what is wrong with the configuration, None when it was
    taken over. ``station`` is where the canary starts and comes home. ``clock`` is a steady clock in seconds.
    """

    def __init__(
        self,
        metrics: SelfMetrics,
        reload: Callable[[], str | None],
        training: Callable[[], Mapping[str, TrainingStatus]],
        station: canary.Station,
        telemetry_path: str = "/metrics",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.paths = (telemetry_path, f"{telemetry_path.rstrip('/')}/detail", "/-/healthy", "/-/ready")
        self._metrics = metrics
        self._reload = reload
        self._training = training
        self._station = station
        self._clock = clock
        self._lock = threading.Lock()
        self._published: Published | None = None
        self._beat = clock()
        self._config: Config | None = None
        self._interval = 60.0
        page, detail, healthy, ready = self.paths
        self._routes: dict[str, dict[str, Callable[[Request], Response]]] = {
            "/": {"GET": self._landing},
            page: {"GET": self._page},
            detail: {"GET": self._detail},
            healthy: {"GET": self._healthy},
            ready: {"GET": self._ready},
            "/-/reload": {"POST": self._reloaded},
            "/-/canary": {"POST": self._canary},
        }

    def configure(self, config: Config, interval: float) -> None:
        """What is watched, and wall seconds between two cycles."""
        with self._lock:
            self._config, self._interval = config, interval

    def publish(self, snapshot: Snapshot, metrics: Page, detail: Page) -> None:
        """Put the pages of a new snapshot in place of the old ones."""
        with self._lock:
            self._published = Published(snapshot, metrics, detail, self._clock())
        for name, page in (("metrics", metrics), ("detail", detail)):
            self._metrics.set("exposition_samples", page.samples, page=name)
            self._metrics.set("exposition_bytes", len(page.text), page=name)

    def beat(self) -> None:
        """A cycle has ended, well or badly: the process is alive."""
        self._beat = self._clock()

    def handle(self, request: Request) -> Response:
        """The answer to ``request``."""
        methods = self._routes.get(request.path)
        if methods is None:
            return Response.text(HTTPStatus.NOT_FOUND, "not found; see /")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allowed = ", ".join(["GET", "HEAD"] if "GET" in methods else methods)
            return Response.text(HTTPStatus.METHOD_NOT_ALLOWED, f"expected {allowed}", {"Allow": allowed})
        return handler(request)

    def current(self) -> Published | None:
        """What may still be served; None before the first cycle and when the last one is too long ago."""
        with self._lock:
            published, lifetime = self._published, max(LIFETIME * self._interval, LEAST_LIFETIME)
        return published if published and self._clock() - published.at <= lifetime else None

    def _page(self, request: Request) -> Response:
        current = self.current()
        self._station.refresh()
        return _text(current.metrics if current else EMPTY, self._metrics.render(), request)

    def _detail(self, request: Request) -> Response:
        current = self.current()
        return _text(current.detail if current else EMPTY, b"", request)

    def _healthy(self, _: Request) -> Response:
        age, limit = self._clock() - self._beat, max(LIVELINESS * self._interval, LEAST_LIVELINESS)
        if age > limit:
            return Response.text(HTTPStatus.SERVICE_UNAVAILABLE, f"the last cycle ended {age:.0f} s ago")
        return Response.text(HTTPStatus.OK, "healthy")

    def _ready(self, _: Request) -> Response:
        if self._metrics.value("ready") != 1:
            return Response.text(HTTPStatus.SERVICE_UNAVAILABLE, "not ready: no cycle has succeeded yet")
        return Response.text(HTTPStatus.OK, "ready")

    def _reloaded(self, _: Request) -> Response:
        problem = self._reload()
        if problem:
            return Response.text(HTTPStatus.INTERNAL_SERVER_ERROR, f"not reloaded, the last good one stays:\n{problem}")
        return Response.text(HTTPStatus.OK, "reloaded; in force from the next cycle")

    def _canary(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return Response.text(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json")
        try:
            arrived = self._station.receive(canary.read(request.body))
        except canary.WebhookError as error:
            return Response.text(HTTPStatus.BAD_REQUEST, str(error))
        if arrived is None:
            return Response.text(HTTPStatus.NOT_FOUND, "there is no canary here: canary.enabled is false")
        return Response.text(HTTPStatus.OK, "received" if arrived else "nothing new")

    def _landing(self, _: Request) -> Response:
        if self._config is None:
            return Response.text(HTTPStatus.SERVICE_UNAVAILABLE, "starting")
        current = self.current()
        page = landing.render(self._config, current.snapshot if current else None, self._training(), self.paths)
        return Response(HTTPStatus.OK, (page,), HTML, landing.HEADERS)


def _text(page: Page, live: bytes, request: Request) -> Response:
    gzip = request.accepts_gzip
    headers = {"Vary": "Accept-Encoding", **({"Content-Encoding": "gzip"} if gzip else {})}
    return Response(HTTPStatus.OK, body(page, live, gzip), PROMETHEUS, headers)
