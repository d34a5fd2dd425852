"""A page that looks like the exporter's, with the scores a test writes: what rules and mails are driven with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Series:
    """One entity of a namespace, whose tag is the namespace."""

    namespace: str
    container: str
    metric: str = "cpu"

    def labels(self, feature: bool = False) -> str:
        pairs = {"env": "k8s-prod", "namespace": self.namespace, "container": self.container, "metric": self.metric}
        pairs |= {"model": "fc", "tag": self.namespace} | ({"feature": self.metric} if feature else {})
        return ",".join(f'{name}="{value}"' for name, value in pairs.items())


@dataclass
class ScriptedExporter:
    """Serves ``scores`` at ``address`` while it is entered; a score of 1 and above stands as an anomaly.

    ``cycle`` is the interval between two cycles in wall seconds. When ``source`` says that nothing can be read, the
    page does what the real one does: the series are left out, and the last success grows old.
    """

    cycle: float
    source: Callable[[], bool] = lambda: True
    scores: dict[Series, float] = field(default_factory=dict)
    last_success: float = 0.0

    def page(self) -> str:
        """What a scrape gets now."""
        well = self.source()
        if well:
            self.last_success = time.time()
        lines = [f"anomaly_exporter_cycle_interval_seconds {self.cycle}", "anomaly_exporter_total_shards 1"]
        lines.append("anomaly_exporter_shard_ordinal 0")
        if self.last_success:
            lines.append(f"anomaly_exporter_last_success_timestamp_seconds {self.last_success:.3f}")
        for series, score in list(self.scores.items()) if well else ():
            lines.append(f"anomaly_score{{{series.labels()}}} {score}")
            lines.append(f"anomaly_detected{{{series.labels()}}} {int(score >= 1)}")
            lines.append(f"anomaly_observed_value{{{series.labels(feature=True)}}} {score}")
            lines.append(f"anomaly_expected_value{{{series.labels(feature=True)}}} 0.5")
        return "\n".join(lines) + "\n"

    def __enter__(self) -> Self:
        self._server = serve(lambda: self.page().encode())
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        stop(self._server)


class Snitch:
    """The outside receiver of the watchdog: notes when it was called."""

    def __init__(self) -> None:
        self.calls: list[float] = []

    def missing_for(self, seconds: float) -> bool:
        """Whether it was called before, but not within ``seconds``."""
        return bool(self.calls) and time.monotonic() - self.calls[-1] > seconds

    def _called(self) -> bytes:
        self.calls.append(time.monotonic())
        return b""

    def __enter__(self) -> Self:
        self._server = serve(self._called)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        return self

    def __exit__(self, *_: object) -> None:
        stop(self._server)


def serve(answer: Callable[[], bytes]) -> ThreadingHTTPServer:
    """A server on a free port of the loopback that answers every GET and POST with ``answer()``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing: tests read no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def stop(server: ThreadingHTTPServer) -> None:
    """End a server of :func:`serve`."""
    server.shutdown()
    server.server_close()
