"""Debian's real Alertmanager for tests: ``with alertmanager(tmp_path, config_text) as server: server.address``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomaly_exporter.demo.stack import AlertmanagerServer
from support.prometheus import need_programs


@contextmanager
def alertmanager(folder: Path, config: str) -> Iterator[AlertmanagerServer]:
    """A running server with the configuration text ``config``."""
    need_programs()
    with AlertmanagerServer(folder / "alertmanager", config) as server:
        yield server
