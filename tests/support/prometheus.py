"""Debian's real Prometheus for tests: ``with prometheus(tmp_path, series=[Raw(...)]) as server: server.url``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anomaly_exporter.demo.stack import PrometheusServer, backfill, missing_programs
from support.openmetrics import Raw, write


def need_programs() -> None:
    """Fails the test, and says what to install, where a server program is missing."""
    if missing := missing_programs():
        pytest.fail(f"not on the path: {missing}; install them: apt-get install prometheus prometheus-alertmanager")


@contextmanager
def prometheus(folder: Path, series: Iterable[Raw] = (), **options: Any) -> Iterator[PrometheusServer]:
    """A running server whose past holds ``series``; ``options`` are those of PrometheusServer (scrapes, rules, ...)."""
    need_programs()
    server = PrometheusServer(folder / "prometheus", **options)
    raw = list(series)
    if raw:
        server.data.mkdir(parents=True, exist_ok=True)
        backfill(write(folder / "past.om", raw), server.data)
    with server:
        yield server
