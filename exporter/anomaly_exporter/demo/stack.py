"""Debian's Prometheus and Alertmanager as child processes on free loopback ports, and the backfill of their past."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import requests
import yaml

from anomaly_exporter.clock import Clock

from .feeds import I64, Feed, openmetrics
from .processes import Child, StackError, free_port, wait_ready

PROMETHEUS_PROGRAMS = ("prometheus", "promtool")
ALERTMANAGER_PROGRAMS = ("prometheus-alertmanager", "amtool")


def missing_programs() -> list[str]:
    """Programs of Debian's packages prometheus and prometheus-alertmanager that are not on the path."""
    return [p for p in (*PROMETHEUS_PROGRAMS, *ALERTMANAGER_PROGRAMS) if shutil.which(p) is None]


@dataclass(frozen=True)
class Scrape:
    """One scrape job: ``address`` is host:port, ``interval`` wall seconds."""

    job: str
    address: str
    interval: float
    path: str = "/metrics"
    honor_labels: bool = False


@dataclass
class PrometheusServer:
    """A Prometheus in ``folder``; what :meth:`backfill` wrote before the start is there when it comes up.

    ``lookback``, ``evaluation`` and ``resend`` (firing alerts are told again so often) are wall seconds. Live samples
    are accepted only after the newest backfilled one, so a backfill may reach a little into the future: the live
    samples then join without a gap.
    """

    folder: Path
    scrapes: Sequence[Scrape] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    alertmanagers: Sequence[str] = ()
    evaluation: float = 15.0
    lookback: float = 300.0
    resend: float = 60.0
    extra_flags: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    child: Child = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.child = Child("prometheus", self._command(), self.folder / "prometheus.log")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def backfill(self, feed: Feed, times: I64, clock: Clock) -> int:
        """Put ``feed`` at ``times`` (data time) into the storage; only before the start. Returns the samples written.

        Raises:
            StackError: promtool refuses the input.
        """
        block = feed.read(times)
        text = self.folder / "backfill.om"
        with text.open("w", encoding="utf-8") as out:
            out.writelines(openmetrics(block, clock))
        backfill(text, self.data)
        text.unlink()
        return int((block.values == block.values).sum())

    def write_config(self) -> None:
        """Write the configuration and the rule files; a running server reads them at :meth:`reload`."""
        for name, rules in self.rules.items():
            (self.folder / name).write_text(rules, encoding="utf-8")
        document: dict[str, Any] = {
            "global": {"scrape_interval": _ms(self.evaluation), "evaluation_interval": _ms(self.evaluation)},
            "rule_files": sorted(self.rules),
            "scrape_configs": [_scrape(s) for s in self.scrapes],
        }
        if self.alertmanagers:
            targets = [{"targets": list(self.alertmanagers)}]
            document["alerting"] = {"alertmanagers": [{"static_configs": targets, "timeout": "2s"}]}
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def start(self) -> Self:
        """Start and wait until it answers. Raises StackError."""
        self.write_config()
        self.data.mkdir(exist_ok=True)
        self.child.start()
        try:
            wait_ready(self.child, f"{self.url}/-/ready")
        except BaseException:
            self.child.stop()
            raise
        return self

    def reload(self) -> None:
        self.write_config()
        self.child.signal(signal.SIGHUP)

    def stop(self) -> None:
        self.child.stop()

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """The instant vector of ``expr`` at wall time ``at`` (now when None)."""
        return self._ask("query", {"query": expr} if at is None else {"query": expr, "time": f"{at:.3f}"})

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The matrix of ``expr`` from wall time ``start`` to ``end``, a value every ``step`` wall seconds."""
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        return self._ask("query_range", {"query": expr, **span})

    def _ask(self, endpoint: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/api/v1/{endpoint}", params=fields, timeout=10)
        answer.raise_for_status()
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def _command(self) -> list[str]:
        return [
            "prometheus",
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.data}",
            # Recorded series are years old: nothing here is ever too old to keep.
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--web.external-url={self.url}",
            f"--query.lookback-delta={_ms(self.lookback)}",
            f"--rules.alert.resend-delay={_ms(self.resend)}",
            *self.extra_flags,
        ]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass
class AlertmanagerServer:
    """An Alertmanager in ``folder`` with the configuration text ``config``."""

    folder: Path
    config: str
    port: int = field(default_factory=free_port)
    child: Child = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            "prometheus-alertmanager",
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'alertmanager-data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--web.external-url={self.url}",
            "--cluster.listen-address=",
        ]
        self.child = Child("alertmanager", command, self.folder / "alertmanager.log")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> Self:
        """Start and wait until it answers. Raises StackError."""
        (self.folder / "alertmanager.yml").write_text(self.config, encoding="utf-8")
        self.child.start()
        try:
            wait_ready(self.child, f"{self.url}/-/ready")
        except BaseException:
            self.child.stop()
            raise
        return self

    def stop(self) -> None:
        self.child.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def backfill(text: Path, data: Path) -> None:
    """Turn the OpenMetrics file ``text`` into storage blocks in ``data`` with promtool.

    Raises:
        StackError: promtool is missing or refuses the file.
    """
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(data)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"promtool could not backfill: {error}") from error
    if done.returncode:
        raise StackError(f"promtool refused the backfill: {(done.stderr or done.stdout).strip()[-500:]}")


def _scrape(scrape: Scrape) -> dict[str, Any]:
    return {
        "job_name": scrape.job,
        "scrape_interval": _ms(scrape.interval),
        "scrape_timeout": _ms(scrape.interval),
        "metrics_path": scrape.path,
        "honor_labels": scrape.honor_labels,
        "static_configs": [{"targets": [scrape.address]}],
    }


def _ms(seconds: float) -> str:
    return f"{max(round(seconds * 1000), 1)}ms"
