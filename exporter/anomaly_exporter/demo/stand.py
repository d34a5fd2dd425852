"""Everything running together: feed -> Prometheus -> exporter -> Prometheus -> Alertmanager -> mailbox."""

from __future__ import annotations

import math
import secrets
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from anomaly_exporter.clock import Clock
from anomaly_exporter.config import Config, load
from anomaly_exporter.rendering import render_text

from . import page
from .feeds import I64, Feed
from .live import LivePage
from .mailbox import Mailbox
from .processes import Child, free_port, wait_until
from .stack import AlertmanagerServer, PrometheusServer, Scrape

LOOKBACK = 300  # Prometheus' own defaults, data seconds
RESEND = 60
TOKENS = "tokens.yaml"
"""File with the token of the control API, in the folder of the demo."""


@dataclass(frozen=True)
class Ends:
    """Where the parts find each other; what a configuration document needs to know."""

    prometheus_url: str
    smtp_port: int
    alertmanager_url: str


Document = Callable[[Ends], dict[str, Any]]


@dataclass
class Exporter:
    """``anomaly-exporter serve`` as a child process."""

    child: Child
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def metrics(self) -> page.Page | None:
        return page.fetch(f"{self.url}/metrics")

    def detail(self) -> page.Page | None:
        return page.fetch(f"{self.url}/metrics/detail")


@dataclass
class Stand:
    """The parts of a running demo; the monitoring parts are None where the exporter reads the simulator itself."""

    config: Config
    clock: Clock
    exporter: Exporter
    prometheus: PrometheusServer | None = None
    alertmanager: AlertmanagerServer | None = None
    mailbox: Mailbox | None = None
    live: LivePage | None = None
    urls: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The token of the control API; empty where there is none."""
        if self.config.control.tokens_file is None:
            return ""
        document = yaml.safe_load(self.config.control.tokens_file.read_text(encoding="utf-8"))
        return str(document["tokens"][0]["token"])

    @property
    def children(self) -> tuple[Child, ...]:
        parts = (self.exporter, self.prometheus, self.alertmanager)
        return tuple(p.child for p in parts if p is not None)

    def trained(self, metrics: page.Page) -> bool:
        """Whether every target has been trained and scored since."""
        done = "anomaly_exporter_training_last_success_timestamp_seconds"
        targets = [t.name for t in self.config.targets]
        scored = [metrics.value("anomaly_exporter_series_scored", target=t) for t in targets]
        return all(scored) and all(metrics.value(done, target=t) for t in targets)

    def check(self) -> None:
        """Raises StackError when a part has ended."""
        for child in self.children:
            child.check()


def clock_from(wall: float, data_start: int, speed: float, lead: float) -> Clock:
    """A clock that reaches ``data_start`` ``lead`` wall seconds after ``wall``, at a whole second."""
    return Clock(speed, float(math.ceil(wall + lead)), float(data_start))


def start(on: ExitStack, folder: Path, clock: Clock, document: Document, *, feed: Feed, past: I64) -> Stand:
    """Bring everything up; ``on`` takes it down again.

    ``past`` are the data times to backfill; its last instant may lie ahead of the clock, so that live samples join it
    without a gap. ``document`` gives the exporter's configuration, timing excluded.

    Raises:
        StackError: a part does not come up.
    """
    mailbox = on.enter_context(Mailbox())
    prometheus = PrometheusServer(folder / "prometheus", lookback=LOOKBACK / clock.speed, resend=RESEND / clock.speed)
    port = free_port()
    ends = Ends(prometheus.url, mailbox.port, f"http://127.0.0.1:{port}")
    config, path = configuration(folder, document(ends), clock)
    step = config.targets[0].step
    live = on.enter_context(LivePage(feed, clock, step))
    exporter = _exporter(folder, path)
    alertmanager = AlertmanagerServer(folder / "alertmanager", render_text("alertmanager", config), port)
    prometheus.alertmanagers = [alertmanager.address]
    prometheus.rules = {"anomaly-exporter.rules.yml": render_text("rules", config, "plain")}
    # Two scrapes per step: one that is late at the edge of an instant does not make a hole.
    often = step / clock.speed / 2
    address = f"127.0.0.1:{exporter.port}"
    prometheus.evaluation = often
    prometheus.scrapes = [
        Scrape("workload", live.address, often),
        Scrape("anomaly-exporter", address, often, honor_labels=True),
        Scrape("anomaly-exporter-detail", address, 2 * often, "/metrics/detail", honor_labels=True),
    ]
    prometheus.backfill(feed, past, clock)
    on.enter_context(alertmanager)
    on.enter_context(prometheus)
    _serve(on, exporter)
    urls = {
        "exporter": f"{exporter.url}/",
        "control": f"{config.control.external_url}/",
        "Prometheus": f"{prometheus.url}/graph?g0.expr=anomaly_score&g0.tab=0&g0.range_input=5m",
        "Alertmanager": f"{alertmanager.url}/#/alerts",
        "workload": live.url,
    }
    return Stand(config, clock, exporter, prometheus, alertmanager, mailbox, live, urls)


def start_embedded(on: ExitStack, folder: Path, clock: Clock, document: dict[str, Any]) -> Stand:
    """Only the exporter, which reads the simulator inside itself. Raises StackError."""
    config, path = configuration(folder, document, clock)
    exporter = _exporter(folder, path)
    _serve(on, exporter)
    urls = {"exporter": f"{exporter.url}/", "control": f"{config.control.external_url}/"}
    return Stand(config, clock, exporter, urls=urls)


def configuration(folder: Path, document: Mapping[str, Any], clock: Clock) -> tuple[Config, Path]:
    """The configuration of ``document`` on ``clock`` with its store in ``folder``, and the file it lies in.

    Raises:
        ConfigError: the document is not valid.
    """
    timing = {"speed": clock.speed, "wall_origin": clock.wall_origin, "data_origin": clock.data_origin}
    path = folder / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {**document, "store": {"path": str(folder / "store")}, "timing": timing, **_control(folder)}
    path.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    return load(path).config, path


def _control(folder: Path) -> dict[str, Any]:
    """The control API on a free port of this machine, and a token that nobody else knows."""
    tokens = folder / TOKENS
    entry = {"name": "demo", "role": "admin", "token": secrets.token_hex(16)}
    tokens.write_text(yaml.safe_dump({"tokens": [entry]}), encoding="utf-8")
    tokens.chmod(0o600)
    address = f"127.0.0.1:{free_port()}"
    section = {"enabled": True, "listen": address, "external_url": f"http://{address}", "tokens_file": str(tokens)}
    return {"control": section}


def _exporter(folder: Path, config: Path) -> Exporter:
    port = free_port()
    command = [sys.executable, "-m", "anomaly_exporter", "serve", "--config", str(config)]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    return Exporter(Child("anomaly-exporter", command, folder / "exporter.log"), port)


def _serve(on: ExitStack, exporter: Exporter) -> None:
    on.enter_context(exporter.child)
    wait_until(lambda: exporter.metrics() is not None, 60, f"the exporter to answer at {exporter.url}", exporter.child)
