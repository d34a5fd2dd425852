"""`serve` beside an application: it begins to scrape, goes on over a reload, and keeps everything when it ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from anomaly_exporter.blobs import DirectoryBlobs
from anomaly_exporter.clock import Clock
from anomaly_exporter.config import load
from anomaly_exporter.history import History
from anomaly_exporter.http_server import Address
from anomaly_exporter.serve.service import Service
from anomaly_models.frame import Span
from support.app import Application
from support.waiting import wait_for

ORIGIN = 1_800_000_000 // 3600 * 3600
SPEED = 300.0


def write(root: Path, url: str, wall: int, *targets: str) -> Path:
    def target(name: str) -> dict[str, Any]:
        queries = [{"name": name, "expr": name}]
        return {"name": name, "metric": name, "labels": ["namespace"], "models": ["zscore"], "queries": queries}

    document = {
        "scrape": {"url": url, "interval": 30, "labels": {"namespace": "a"}, "save_every": "1d"},
        "store": {"path": str(root / "data")},
        "timing": {"speed": SPEED, "wall_origin": wall, "data_origin": ORIGIN},
        "launcher": {"kind": "none"},
        "targets": [target(name) for name in targets],
    }
    path = root / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_reload_with_another_target_saves_the_old_rows_and_scrapes_on(tmp_path: Path) -> None:
    wall = int(time.time())
    history = History(DirectoryBlobs(tmp_path / "data"))
    with Application(lambda: "one 1\ntwo 2\n") as app:
        path = write(tmp_path, app.url, wall, "one")
        service = Service(load(path), path, [Address("127.0.0.1", 0)])
        service.start()
        try:
            wait_for(lambda: service.metrics.value("series_expected", target="one") == 1, 10, "a cycle with a sample")
            config = load(write(tmp_path, app.url, wall, "one", "two")).config
            assert history.entities(config.target("one"), everything(wall)) == ()
            assert service.reload() is None
            wait_for(lambda: history.entities(config.target("one"), everything(wall)), 10, "what the old source had")
            scrapes = app.scrapes
            wait_for(lambda: app.scrapes >= scrapes + 6, 10, "further scrapes")
        finally:
            service.stop()
    for name in ("one", "two"):
        kept = history.read(config.target(name), everything(wall))
        assert [e.get("namespace") for e in kept.entities] == ["a"]


def test_a_reload_with_a_query_that_cannot_be_evaluated_changes_nothing(tmp_path: Path) -> None:
    wall = int(time.time())
    with Application(lambda: "one 1\n") as app:
        path = write(tmp_path, app.url, wall, "one")
        service = Service(load(path), path, [Address("127.0.0.1", 0)])
        service.start()
        try:
            path.write_text(path.read_text().replace("expr: one", "expr: sum(one)"))
            problem = service.reload()
            assert problem is not None
            assert "there is no PromQL engine here" in problem
            scrapes = app.scrapes
            wait_for(lambda: app.scrapes >= scrapes + 3, 10, "further scrapes")
        finally:
            service.stop()


@pytest.mark.parametrize("interval", ["61s", "2m"])
def test_an_interval_longer_than_a_step_is_refused(tmp_path: Path, interval: str) -> None:
    path = write(tmp_path, "http://localhost:1/metrics", 0, "one")
    path.write_text(path.read_text().replace("interval: 30", f"interval: {interval}"))
    with pytest.raises(Exception, match=r"scrape\.interval must not exceed"):
        load(path)


def everything(wall: int) -> Span:
    return Span(ORIGIN, int(Clock(SPEED, wall, ORIGIN).now()) + 3600)
